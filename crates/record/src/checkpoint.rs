//! The checkpoints of a run: written whole, the oldest removed, and the run led back to one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::atomic::{is_left_over, remove_folder, sync_parent};
use crate::folder::{lines, read_json, read_lines};
use crate::{RecordError, RunFolder, StepRecord, TrainerState, atomic_folder, write_atomic};

/// Before the step in a checkpoint's name, as transformers has it.
const PREFIX: &str = "checkpoint-";
/// After the name of a checkpoint that was set aside.
const OLD: &str = ".old";

/// A checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Updates that led to it.
    pub step: usize,
    /// Its folder.
    pub path: PathBuf,
}

/// Held by the process that writes a run; the system lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl Checkpoint {
    /// Where the run stood.
    ///
    /// # Errors
    /// Where the state cannot be read, or is that of another step.
    pub fn state(&self) -> Result<TrainerState, RecordError> {
        let state: TrainerState = read_json(&self.path.join("trainer_state.json"))?;
        let (found, expected) = (state.position.global_step, self.step);
        if found != expected {
            let path = self.path.clone();
            return Err(RecordError::OtherStep {
                path,
                found,
                expected,
            });
        }
        Ok(state)
    }

    /// The steps that led to it.
    ///
    /// # Errors
    /// Where they cannot be read, or are not all there.
    pub fn steps(&self) -> Result<Vec<StepRecord>, RecordError> {
        let path = self.path.join("metrics.jsonl");
        let steps: Vec<StepRecord> = read_lines(&path)?;
        let numbered = steps.iter().map(|record| record.step);
        if !numbered.eq(1..=self.step) {
            return Err(RecordError::StepsMissing {
                path,
                found: steps.len(),
                expected: self.step,
            });
        }
        Ok(steps)
    }
}

impl RunFolder {
    /// Takes the run for this process, for as long as the lock lives.
    ///
    /// # Errors
    /// If another process has it, or where the file system refuses. A file system without locks
    /// gives one that holds nothing.
    pub fn lock(&self) -> Result<RunLock, RecordError> {
        let path = self.lock_path();
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(RecordError::io("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RecordError::Busy {
                path: self.path().to_owned(),
            }),
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                Err(RecordError::io("lock", &path)(error))
            }
            _ => Ok(RunLock { _file: file }),
        }
    }

    /// Has `build` fill the folder of a checkpoint with the policy; the state and the steps so far
    /// go beside it.
    ///
    /// # Errors
    /// As [`atomic_folder`].
    pub fn write_checkpoint<E: From<RecordError>>(
        &self,
        state: &TrainerState,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Checkpoint, E> {
        let step = state.position.global_step;
        let path = self.path().join(format!("{PREFIX}{step}"));
        atomic_folder::<E>(&path, |folder| {
            build(folder)?;
            let text = serde_json::to_string_pretty(state).expect("a state is plain values");
            let named = folder.join("trainer_state.json");
            write_atomic(&named, format!("{text}\n").as_bytes())?;
            let mut steps = self.steps()?;
            steps.retain(|record| record.step <= step);
            Ok(write_atomic(
                &folder.join("metrics.jsonl"),
                lines(&steps).as_bytes(),
            )?)
        })?;
        Ok(Checkpoint { step, path })
    }

    /// The checkpoints, the oldest first.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, RecordError> {
        let checkpoint = |name: String| {
            let step = name.strip_prefix(PREFIX)?.parse().ok()?;
            let path = self.path().join(name);
            path.is_dir().then_some(Checkpoint { step, path })
        };
        let mut found: Vec<Checkpoint> = names(self.path())?
            .into_iter()
            .filter_map(checkpoint)
            .collect();
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// Removes the oldest checkpoints, so that at most `limit` are left; neither the newest nor
    /// that of step `best` is ever removed (transformers' `save_total_limit`).
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn prune(&self, limit: usize, best: Option<usize>) -> Result<(), RecordError> {
        let checkpoints = self.checkpoints()?;
        let steps: Vec<usize> = checkpoints.iter().map(|c| c.step).collect();
        let surplus = surplus(&steps, limit, best);
        let mut removed = checkpoints.iter().filter(|c| surplus.contains(&c.step));
        removed.try_for_each(|checkpoint| remove_folder(&checkpoint.path))
    }

    /// Leads the run back to a checkpoint: its steps are those of the metrics again, completions of
    /// later steps and the summary are removed, and so is what a crash left half-made. Later
    /// checkpoints are set aside as `checkpoint-N.old`; how many is returned.
    ///
    /// # Errors
    /// Where the checkpoint has not its steps, or the file system refuses.
    pub fn rewind(&self, to: &Checkpoint) -> Result<usize, RecordError> {
        let metrics = lines(&to.steps()?);
        let mut set_aside = 0;
        for later in self.checkpoints()?.iter().filter(|c| c.step > to.step) {
            let mut name = later.path.clone().into_os_string();
            name.push(OLD);
            let old = PathBuf::from(name);
            if old.exists() {
                fs::remove_dir_all(&old).map_err(RecordError::io("remove", &old))?;
            }
            fs::rename(&later.path, &old).map_err(RecordError::io("rename to", &old))?;
            set_aside += 1;
        }
        write_atomic(&self.metrics_path(), metrics.as_bytes())?;
        let summary = self.summary_path();
        if summary.exists() {
            fs::remove_file(&summary).map_err(RecordError::io("remove", &summary))?;
        }
        self.remove_completions_after(to.step)?;
        for name in names(self.path())?.iter().filter(|name| is_left_over(name)) {
            let path = self.path().join(name);
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(RecordError::io("remove", &path))?;
        }
        sync_parent(&summary)?;
        Ok(set_aside)
    }

    fn remove_completions_after(&self, step: usize) -> Result<(), RecordError> {
        let last = self.completions_path(step);
        let folder = last.parent().expect("a file of a folder");
        let number = |name: &str| -> Option<usize> {
            let number = name.strip_prefix("step-")?.strip_suffix(".jsonl")?;
            number.parse().ok()
        };
        for name in names(folder)? {
            let path = folder.join(&name);
            if is_left_over(&name) || number(&name).is_some_and(|number| number > step) {
                fs::remove_file(&path).map_err(RecordError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.path().join(".lock")
    }
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<String>, RecordError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(RecordError::io("list", folder))?;
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries.into_iter().map(name).collect())
}

/// Which of the steps, in rising order, are too many.
fn surplus(steps: &[usize], limit: usize, best: Option<usize>) -> Vec<usize> {
    let newest = steps.last().copied();
    let is_free = |step: &usize| Some(*step) != newest && Some(*step) != best;
    let free: Vec<usize> = steps.iter().copied().filter(is_free).collect();
    let kept = steps.len() - free.len();
    let removed = free.len() - limit.saturating_sub(kept).min(free.len());
    free[..removed].to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scratch::Scratch;
    use crate::{DrawnRecord, GradeRecord, GroupRecord, Position};

    fn run(scratch: &Scratch) -> RunFolder {
        RunFolder::create(&scratch.path().join("run"), "").unwrap()
    }

    fn record(step: usize) -> StepRecord {
        let metrics = BTreeMap::from([("reward".to_owned(), step as f64 / 3.0)]);
        StepRecord { step, metrics }
    }

    fn state(step: usize) -> TrainerState {
        let drawn = DrawnRecord {
            completion_ids: vec![3, 1],
            logprobs: vec![-0.1, -1.0 / 3.0],
            entropies: vec![0.7, 0.1 + 0.2],
            truncated: true,
            text: "é\u{2028}".to_owned(),
            grades: vec![
                GradeRecord::Ungraded("late".to_owned()),
                GradeRecord::Given(1e-300),
            ],
            reward: Some(-std::f64::consts::PI),
            format_valid: true,
            reasoning: Some([0, 1]),
            answer_right: None,
        };
        let group = GroupRecord {
            question: 2,
            constitution: 1,
            prompt_ids: vec![7],
            completions: vec![drawn],
        };
        TrainerState {
            position: Position {
                global_step: step,
                num_input_tokens_seen: 40,
                pending_rollout: Some(vec![group]),
            },
            seconds: 0.1,
            best: None,
        }
    }

    /// A step with its line, its completions and its checkpoint.
    fn step(run: &RunFolder, step: usize) -> Checkpoint {
        run.append_step(&record(step)).unwrap();
        run.write_completions(step, &[]).unwrap();
        let build = |folder: &Path| write_atomic(&folder.join("config.json"), b"{}");
        run.write_checkpoint(&state(step), build).unwrap()
    }

    fn steps(run: &RunFolder) -> Vec<usize> {
        let found = run.checkpoints().unwrap();
        found.iter().map(|checkpoint| checkpoint.step).collect()
    }

    #[test]
    fn a_checkpoint_is_named_for_its_step_and_its_state_reads_back_to_the_bit() {
        let scratch = Scratch::new("checkpoint");
        let run = run(&scratch);
        let written: Vec<Checkpoint> = (1..=10).map(|number| step(&run, number)).collect();
        assert_eq!(run.checkpoints().unwrap(), written);
        assert_eq!(written[9].path, run.path().join("checkpoint-10"));
        assert_eq!(written[9].state().unwrap(), state(10));
        assert_eq!(written[1].steps().unwrap(), [record(1), record(2)]);
        assert!(written[9].path.join("config.json").is_file());
    }

    #[test]
    fn a_state_cut_anywhere_or_of_another_step_is_an_error_that_names_it() {
        let scratch = Scratch::new("state-cut");
        let written = step(&run(&scratch), 1);
        let path = written.path.join("trainer_state.json");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() - 2 {
            fs::write(&path, &whole[..length]).unwrap();
            let error = written.state().unwrap_err().to_string();
            assert!(error.contains("trainer_state.json"), "{length}: {error}");
        }
        fs::write(&path, &whole).unwrap();
        let renamed = Checkpoint {
            step: 2,
            path: written.path.with_file_name("checkpoint-2"),
        };
        fs::rename(&written.path, &renamed.path).unwrap();
        assert!(matches!(
            renamed.state(),
            Err(RecordError::OtherStep {
                found: 1,
                expected: 2,
                ..
            })
        ));
        assert!(matches!(
            renamed.steps(),
            Err(RecordError::StepsMissing {
                found: 1,
                expected: 2,
                ..
            })
        ));
    }

    #[test]
    fn a_run_led_back_has_what_it_had_then_and_later_checkpoints_are_set_aside() {
        let scratch = Scratch::new("rewind");
        let run = run(&scratch);
        let written: Vec<Checkpoint> = (1..=4).map(|number| step(&run, number)).collect();
        run.append_step(&record(5)).unwrap();
        fs::create_dir(run.path().join(".checkpoint-5.partial")).unwrap();
        fs::write(run.path().join("summary.json"), "{}").unwrap();
        assert_eq!(run.rewind(&written[1]).unwrap(), 2);
        assert_eq!(run.steps().unwrap(), [record(1), record(2)]);
        assert!(run.completions(2).is_ok() && run.completions(3).is_err());
        let mut left = names(run.path()).unwrap();
        left.sort();
        let expected = [
            "checkpoint-1",
            "checkpoint-2",
            "checkpoint-3.old",
            "checkpoint-4.old",
            "completions",
            "metrics.jsonl",
            "plan.toml",
        ];
        assert_eq!(left, expected);
        assert_eq!(steps(&run), [1, 2]);
        step(&run, 3);
        assert_eq!(run.rewind(&written[0]).unwrap(), 2);
    }

    #[test]
    fn pruning_removes_the_oldest_but_neither_the_newest_nor_the_best() {
        for (limit, best, left) in [
            (9, None, vec![1, 2, 3, 4]),
            (2, None, vec![3, 4]),
            (1, None, vec![4]),
            (2, Some(1), vec![1, 4]),
            (3, Some(1), vec![1, 3, 4]),
            (1, Some(2), vec![2, 4]),
            (1, Some(4), vec![4]),
        ] {
            let scratch = Scratch::new(&format!("prune-{limit}-{best:?}"));
            let run = run(&scratch);
            (1..=4).for_each(|number| drop(step(&run, number)));
            run.prune(limit, best).unwrap();
            assert_eq!(steps(&run), left, "limit {limit}, best {best:?}");
        }
    }

    #[test]
    fn a_run_has_one_writer_until_that_is_gone() {
        let scratch = Scratch::new("lock");
        let run = run(&scratch);
        let lock = run.lock().unwrap();
        let second = RunFolder::open(run.path()).unwrap().lock();
        assert!(matches!(second, Err(RecordError::Busy { .. })));
        drop(lock);
        run.lock().unwrap();
    }
}
