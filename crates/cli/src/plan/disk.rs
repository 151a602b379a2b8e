//! What a run leaves on disk at most, known before it starts.

use std::fs;
use std::path::Path;

use model::Dtype;

use crate::error::InputError;
use crate::machine::Opened;
use crate::recipe::SaveOptions;

/// A line of `metrics.jsonl`, generously. [ours]
const STEP_BYTES: u64 = 4096;
/// A token of a completion as text beside its figures, generously. [ours]
const TOKEN_BYTES: u64 = 8;

/// Bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Disk {
    /// One checkpoint: the model or its adapters, the optimiser's moments, the tokenizer.
    pub(crate) checkpoint_bytes: u64,
    /// Checkpoints that are there at once, at most: one is written before another is removed.
    pub(crate) checkpoints: u64,
    /// Metrics and completions.
    pub(crate) record_bytes: u64,
    /// What the file system of the run's folder has left for it; `None` where it does not tell.
    pub(crate) free_bytes: Option<u64>,
}

/// What a run writes.
pub(super) struct Written<'a> {
    pub(super) opened: &'a Opened,
    pub(super) dtype: Dtype,
    pub(super) saves: SaveOptions,
    /// Steps of the run, and after how many a checkpoint is written; 0: after the last.
    pub(super) steps: [usize; 2],
    /// Tokens of all completions that are kept as text.
    pub(super) tokens: usize,
}

impl Disk {
    /// What a run in the folder `out` takes.
    ///
    /// # Errors
    /// Where the folder's file system has not so much left.
    pub(super) fn new(written: &Written, out: &Path) -> Result<Self, InputError> {
        let Written { opened, dtype, .. } = written;
        let numbers = opened.config.checkpoint_bytes(opened.lora.as_ref(), *dtype);
        let metrics = (written.steps[0] as u64).saturating_mul(STEP_BYTES);
        let text = opened.tokenizer.saved_bytes();
        let numbers_and_text = (numbers + text) as u64;
        let disk = Self {
            checkpoint_bytes: numbers_and_text.saturating_add(metrics),
            checkpoints: checkpoints(written.steps, &written.saves) as u64,
            record_bytes: (written.tokens as u64)
                .saturating_mul(TOKEN_BYTES)
                .saturating_add(metrics),
            free_bytes: free(out),
        };
        match disk.free_bytes {
            Some(free) if disk.needed() > free => Err(InputError::NoSpace {
                path: out.to_owned(),
                disk,
                free,
            }),
            _ => Ok(disk),
        }
    }

    /// All bytes of the run.
    pub(crate) fn needed(&self) -> u64 {
        let checkpoints = self.checkpoints.saturating_mul(self.checkpoint_bytes);
        checkpoints.saturating_add(self.record_bytes)
    }
}

/// Checkpoints at once, at most.
fn checkpoints([steps, save_steps]: [usize; 2], saves: &SaveOptions) -> usize {
    let written = match save_steps {
        0 => 1,
        every => steps.div_ceil(every),
    };
    match saves.total_limit {
        // The newest and the best stay whatever the limit.
        Some(limit) => written.min(limit.max(1 + usize::from(saves.best.is_some())) + 1),
        None => written,
    }
}

/// What is free where a folder is or will be, and what a run there that is taken up again holds.
fn free(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|above| above.exists())?;
    let free = fs4::available_space(there).ok()?;
    Some(free + if there == folder { held(there) } else { 0 })
}

/// Bytes of the files below a folder, as far as they can be seen.
fn held(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => held(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saves(total_limit: usize, has_best: bool) -> SaveOptions {
        let metric = has_best.then(|| "reward".to_owned());
        SaveOptions::new(total_limit, metric.as_ref(), None)
    }

    #[test]
    fn one_checkpoint_more_than_are_kept_is_there_while_it_is_written() {
        for (steps, limit, has_best, expected) in [
            ([100, 10], 2, false, 3),
            ([100, 10], 1, true, 3),
            ([100, 10], 0, false, 10),
            ([101, 10], 0, true, 11),
            ([15, 10], 5, false, 2),
            ([100, 0], 2, true, 1),
        ] {
            let found = checkpoints(steps, &saves(limit, has_best));
            assert_eq!(found, expected, "{steps:?}, limit {limit}, best {has_best}");
        }
    }

    #[test]
    fn a_run_that_is_there_may_write_over_itself() {
        let folder = std::env::temp_dir().join(format!("enigma-disk-{}", std::process::id()));
        let below = folder.join("checkpoint-1");
        fs::create_dir_all(&below).expect("a folder for the test");
        fs::write(below.join("model"), [0; 1000]).expect("the test's own folder");
        assert_eq!(held(&folder), 1000);
        assert!(free(&folder.join("not/there")).is_some());
        fs::remove_dir_all(folder).expect("it is ours");
    }
}
