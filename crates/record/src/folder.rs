//! The folder of one run.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::sync_parent;
use crate::{Before, CompletionRecord, DataRecord, RecordError, StepRecord, Summary, write_atomic};

/// What a run has from its beginning, beside the plan.
const FOLDERS: [&str; 1] = ["completions"];

/// A run on disk. It holds a path and nothing else, so several may look at one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new run with its plan, as TOML.
    ///
    /// # Errors
    /// If the folder exists and is not empty, or where the file system refuses; then no folder is
    /// left that was not there.
    pub fn create(path: &Path, plan: &str) -> Result<Self, RecordError> {
        let missing = path.ancestors().take_while(|folder| !folder.exists());
        let missing: Vec<&Path> = missing.collect();
        Self::build(path, plan).inspect_err(|_| {
            for folder in missing {
                let _ = fs::remove_dir(folder);
            }
        })
    }

    fn build(path: &Path, plan: &str) -> Result<Self, RecordError> {
        fs::create_dir_all(path).map_err(RecordError::io("create", path))?;
        let mut entries = fs::read_dir(path).map_err(RecordError::io("list", path))?;
        if entries.next().is_some() {
            let path = path.to_owned();
            return Err(RecordError::NotEmpty { path });
        }
        let run = Self {
            path: path.to_owned(),
        };
        for folder in FOLDERS {
            let folder = path.join(folder);
            fs::create_dir(&folder).map_err(RecordError::io("create", &folder))?;
        }
        let written = run.replace_plan(plan).and_then(|()| sync_parent(path));
        written.inspect_err(|_| run.clone().withdraw())?;
        Ok(run)
    }

    /// A run that exists; nothing is changed.
    ///
    /// # Errors
    /// If the folder has no plan.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let run = Self {
            path: path.to_owned(),
        };
        if run.plan_path().is_file() {
            Ok(run)
        } else {
            Err(RecordError::NotARun { path: run.path })
        }
    }

    /// Takes back a run that was created and has recorded nothing but what it is made from. What
    /// cannot be removed stays.
    pub fn withdraw(self) {
        let [plan, data] = [self.plan_path(), self.data_path()];
        for file in [plan, data, self.inputs_path(), self.lock_path()] {
            let _ = fs::remove_file(file);
        }
        for folder in FOLDERS {
            let _ = fs::remove_dir(self.path.join(folder));
        }
        let _ = fs::remove_dir(self.path);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The plan, as TOML.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn plan(&self) -> Result<String, RecordError> {
        read(&self.plan_path())
    }

    /// Writes another plan, of a run that goes on to another end.
    ///
    /// # Errors
    /// Where the file system refuses; the plan is then as it was.
    pub fn replace_plan(&self, plan: &str) -> Result<(), RecordError> {
        write_atomic(&self.plan_path(), plan.as_bytes())
    }

    /// Adds a step's line to the metrics, after dropping a last line that a crash has torn.
    ///
    /// # Errors
    /// Where the file system refuses.
    ///
    /// # Panics
    /// If a metric is called `step`.
    pub fn append_step(&self, record: &StepRecord) -> Result<(), RecordError> {
        assert!(
            !record.metrics.contains_key("step"),
            "`step` is not a metric"
        );
        let path = self.metrics_path();
        let line = lines(std::slice::from_ref(record));
        append_whole(&path, line.as_bytes()).map_err(RecordError::io("write", &path))
    }

    /// The steps so far, in the order written; a torn last line does not count.
    ///
    /// # Errors
    /// Where the file system refuses, or a whole line is not a step.
    pub fn steps(&self) -> Result<Vec<StepRecord>, RecordError> {
        let path = self.metrics_path();
        if path.exists() {
            read_lines(&path)
        } else {
            Ok(Vec::new())
        }
    }

    /// Writes the completions of a step.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_completions(
        &self,
        step: usize,
        completions: &[CompletionRecord],
    ) -> Result<(), RecordError> {
        write_atomic(&self.completions_path(step), lines(completions).as_bytes())
    }

    /// The completions of a step.
    ///
    /// # Errors
    /// If they were not written, or a line is not a completion.
    pub fn completions(&self, step: usize) -> Result<Vec<CompletionRecord>, RecordError> {
        read_lines(&self.completions_path(step))
    }

    /// The steps whose completions were written, ascending.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn completion_steps(&self) -> Result<Vec<usize>, RecordError> {
        let folder = self.path.join("completions");
        let step = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("step-")?.strip_suffix(".jsonl")?;
            number.parse().ok()
        };
        let entries = fs::read_dir(&folder).map_err(RecordError::io("list", &folder))?;
        let mut steps: Vec<usize> = entries.filter_map(|entry| step(entry.ok()?)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes the figures of before training, with the completions behind them.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_before(&self, before: &Before) -> Result<(), RecordError> {
        write_json(&self.before_path(), before)
    }

    /// The figures of before training.
    ///
    /// # Errors
    /// If they were not written.
    pub fn before(&self) -> Result<Before, RecordError> {
        read_json(&self.before_path())
    }

    /// Writes what the run was made from: a name of each input, and a digest of its bytes.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_inputs(&self, inputs: &BTreeMap<String, String>) -> Result<(), RecordError> {
        write_json(&self.inputs_path(), inputs)
    }

    /// What the run was made from.
    ///
    /// # Errors
    /// If it was not written.
    pub fn inputs(&self) -> Result<BTreeMap<String, String>, RecordError> {
        read_json(&self.inputs_path())
    }

    /// Writes what became of the rows of the data.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_data(&self, data: &DataRecord) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(data).expect("counts are plain values");
        write_atomic(&self.data_path(), format!("{text}\n").as_bytes())
    }

    /// Writes the result.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), RecordError> {
        write_json(&self.summary_path(), summary)
    }

    /// The result.
    ///
    /// # Errors
    /// If the run has none yet.
    pub fn summary(&self) -> Result<Summary, RecordError> {
        read_json(&self.summary_path())
    }

    fn plan_path(&self) -> PathBuf {
        self.path.join("plan.toml")
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    pub(crate) fn completions_path(&self, step: usize) -> PathBuf {
        self.path.join(format!("completions/step-{step:06}.jsonl"))
    }

    fn data_path(&self) -> PathBuf {
        self.path.join("data.json")
    }

    fn before_path(&self) -> PathBuf {
        self.path.join("evaluation-before.json")
    }

    fn inputs_path(&self) -> PathBuf {
        self.path.join("inputs.json")
    }

    pub(crate) fn summary_path(&self) -> PathBuf {
        self.path.join("summary.json")
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let text = serde_json::to_string_pretty(value).expect("a record is plain values");
    write_atomic(path, format!("{text}\n").as_bytes())
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    serde_json::from_str(&read(path)?).map_err(|source| RecordError::Malformed {
        line: source.line(),
        path: path.to_owned(),
        source,
    })
}

/// Each record as a line of JSON.
pub(crate) fn lines<T: Serialize>(records: &[T]) -> String {
    let line = |record| serde_json::to_string(record).expect("a record is plain values") + "\n";
    records.iter().map(line).collect()
}

/// Appends in one write, after the last line that ends.
fn append_whole(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut last = *b"\n";
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
    }
    file.write_all(line)
}

pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let bytes = fs::read(path).map_err(RecordError::io("read", path))?;
    let whole = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let parse = |(index, line)| {
        serde_json::from_slice(line).map_err(|source| RecordError::Malformed {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    };
    whole.enumerate().map(parse).collect()
}

fn read(path: &Path) -> Result<String, RecordError> {
    fs::read_to_string(path).map_err(RecordError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evaluation;
    use crate::scratch::Scratch;

    const PLAN: &str = "seed = 1\n";

    fn step(step: usize) -> StepRecord {
        let metrics = BTreeMap::from([("reward".to_owned(), step as f64 / 3.0)]);
        StepRecord { step, metrics }
    }

    fn run(scratch: &Scratch) -> RunFolder {
        RunFolder::create(&scratch.path().join("run"), PLAN).unwrap()
    }

    #[test]
    fn a_run_is_never_mixed_with_what_is_there() {
        let scratch = Scratch::new("existing");
        let empty = scratch.path().join("empty");
        fs::create_dir(&empty).unwrap();
        RunFolder::create(&empty, PLAN).unwrap();
        let again = RunFolder::create(&empty, "seed = 2\n");
        assert!(
            matches!(again, Err(RecordError::NotEmpty { .. })),
            "{again:?}"
        );
        assert_eq!(RunFolder::open(&empty).unwrap().plan().unwrap(), PLAN);
        let other = RunFolder::open(scratch.path());
        assert!(
            matches!(other, Err(RecordError::NotARun { .. })),
            "{other:?}"
        );
    }

    #[test]
    fn a_run_that_cannot_begin_or_is_withdrawn_leaves_nothing() {
        let scratch = Scratch::new("withdrawn");
        let too_long = "n".repeat(300);
        RunFolder::create(&scratch.path().join("a/b").join(too_long), PLAN).unwrap_err();
        run(&scratch).withdraw();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_step_torn_anywhere_is_dropped_and_the_steps_before_it_stay() {
        let scratch = Scratch::new("torn");
        let run = run(&scratch);
        assert_eq!(run.steps().unwrap(), []);
        run.append_step(&step(1)).unwrap();
        let one = fs::read(run.metrics_path()).unwrap();
        run.append_step(&step(2)).unwrap();
        let two = fs::read(run.metrics_path()).unwrap();
        for length in one.len()..two.len() {
            fs::write(run.metrics_path(), &two[..length]).unwrap();
            assert_eq!(run.steps().unwrap(), [step(1)], "cut to {length} bytes");
            run.append_step(&step(2)).unwrap();
            assert_eq!(
                fs::read(run.metrics_path()).unwrap(),
                two,
                "cut to {length} bytes"
            );
        }
        fs::write(run.metrics_path(), &one[..5]).unwrap();
        run.append_step(&step(1)).unwrap();
        assert_eq!(fs::read(run.metrics_path()).unwrap(), one);
    }

    #[test]
    fn a_whole_line_that_is_no_step_is_an_error_that_names_it() {
        let scratch = Scratch::new("malformed");
        let run = run(&scratch);
        fs::write(
            run.metrics_path(),
            "{\"step\":1}\n{\"step\":\n{\"step\":3}\n",
        )
        .unwrap();
        let error = run.steps().unwrap_err();
        assert!(
            matches!(error, RecordError::Malformed { line: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn completions_and_summary_read_back_as_written() {
        let scratch = Scratch::new("round-trip");
        let run = run(&scratch);
        let completion = CompletionRecord {
            question: 40,
            constitution: 1,
            sample: 3,
            prompt: "Why\n\"so\"?".to_owned(),
            completion: "é\u{2028}\u{0}".to_owned(),
            tokens: 7,
            truncated: false,
            format_valid: true,
            answer_right: None,
            rewards: BTreeMap::from([("format".to_owned(), Some(1.0)), ("a".to_owned(), None)]),
            reward: None,
            advantage: Some(-std::f64::consts::FRAC_1_SQRT_2),
        };
        let completions = [completion.clone(), completion];
        run.write_completions(10, &completions).unwrap();
        assert_eq!(run.completions(10).unwrap(), completions);
        assert!(run.path().join("completions/step-000010.jsonl").is_file());
        run.write_completions(2, &[]).unwrap();
        assert_eq!(run.completion_steps().unwrap(), [2, 10]);
        let summary = Summary {
            before: Evaluation::default(),
            after: Evaluation {
                format_valid: Some(1.0 / 3.0),
                ..Evaluation::default()
            },
            seconds: 0.1,
            peak_mib: None,
            tokens: 0,
            run: run.path().to_owned(),
            checkpoint: PathBuf::from("é"),
            best_checkpoint: None,
            resumed_from: Some(3),
        };
        let before = Before {
            evaluation: summary.after.clone(),
            completions: completions.to_vec(),
        };
        run.write_before(&before).unwrap();
        assert_eq!(run.before().unwrap(), before);
        assert!(matches!(run.summary(), Err(RecordError::Io { .. })));
        run.write_summary(&summary).unwrap();
        assert_eq!(run.summary().unwrap(), summary);
    }
}
