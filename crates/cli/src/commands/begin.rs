//! The beginning of a run: a new folder, or one whose run was broken off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use record::{Best, Checkpoint, Position, RecordError, RunFolder, RunLock, TrainerState};

use crate::error::InputError;
use crate::recipe::{RecipeText, Sections, read};
use crate::terminal::Screen;

/// A run that is written by this process alone.
pub(super) struct Begun {
    pub(super) folder: RunFolder,
    _lock: Option<RunLock>,
    /// Where it goes on; for a new run its beginning.
    pub(super) position: Position,
    /// From which checkpoint.
    pub(super) checkpoint: Option<Checkpoint>,
    /// When this process began.
    pub(super) started: Instant,
    /// Wall-clock time that led there.
    pub(super) seconds: f64,
    /// The best checkpoint so far.
    pub(super) best: Option<Best>,
}

/// A run that was broken off, before anything of it is changed.
pub(super) struct Resumed {
    folder: RunFolder,
    lock: Option<RunLock>,
    checkpoint: Checkpoint,
    state: TrainerState,
    /// The plan it began with.
    pub(super) plan: RecipeText,
}

/// Keys that change nothing of what was done.
const FREE: [&str; 6] = [
    "run.max_steps",
    "run.save_steps",
    "run.save_total_limit",
    "run.metric_for_best_model",
    "run.greater_is_better",
    "run.log_completions_steps",
];
/// Keys of paths: what they lead to counts, by its digest.
const PATHS: [&str; 6] = [
    "model.path",
    "model.chat_template",
    "data.questions",
    "data.held_out",
    "data.examples",
    "principles.files",
];

/// Begins a run with this plan, or goes on with one; nothing was written before.
///
/// # Errors
/// Where the file system refuses.
pub(super) fn begun(
    path: &Path,
    plan: &str,
    inputs: &BTreeMap<String, String>,
    resumed: Option<Resumed>,
    started: Instant,
    screen: &Screen,
) -> Result<Begun, InputError> {
    let Some(resumed) = resumed else {
        return begin(path, plan, inputs, started);
    };
    let (begun, set_aside) = resumed.begin(plan, started)?;
    if set_aside > 0 {
        screen.line(format!(
            "{} {set_aside} later checkpoints are set aside, as checkpoint-N.old",
            screen.dim("note:")
        ));
    }
    Ok(begun)
}

/// Makes the folder of a run and writes its plan, and what it is made from.
///
/// # Errors
/// Where the file system refuses.
fn begin(
    path: &Path,
    plan: &str,
    inputs: &BTreeMap<String, String>,
    started: Instant,
) -> Result<Begun, InputError> {
    let begun = RunFolder::create(path, plan).and_then(|folder| {
        let locked = folder.write_inputs(inputs).and_then(|()| folder.lock());
        match locked {
            Ok(lock) => Ok((folder, lock)),
            Err(error) => {
                folder.withdraw();
                Err(error)
            }
        }
    });
    let (folder, lock) = begun.map_err(|error| InputError::OutNotWritable {
        path: path.to_owned(),
        reason: match error {
            RecordError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        },
    })?;
    Ok(Begun {
        folder,
        _lock: Some(lock),
        position: Position::default(),
        checkpoint: None,
        started,
        seconds: 0.0,
        best: None,
    })
}

impl Resumed {
    /// The run in a folder, at its newest checkpoint; or the one of a checkpoint, at that.
    ///
    /// # Errors
    /// Where there is no run, no checkpoint, or another process is at work on it; `is_writer` says
    /// whether this one will be.
    pub(super) fn open(path: &Path, is_writer: bool) -> Result<Self, InputError> {
        if !path.exists() {
            return Err(InputError::Missing {
                key: "--resume",
                found: path.display().to_string(),
                tried: vec![path.display().to_string()],
            });
        }
        let refused = |error: RecordError| InputError::refused("--resume", &error);
        let above = path.parent().filter(|parent| *parent != Path::new(""));
        let above = above.unwrap_or(Path::new("."));
        let is_checkpoint = path.join("trainer_state.json").is_file();
        let folder = if is_checkpoint { above } else { path };
        let folder = RunFolder::open(folder).map_err(refused)?;
        let lock = is_writer
            .then(|| folder.lock())
            .transpose()
            .map_err(refused)?;
        let mut checkpoints = folder.checkpoints().map_err(refused)?;
        if is_checkpoint {
            checkpoints.retain(|checkpoint| checkpoint.path.file_name() == path.file_name());
        }
        let place = || folder.path().to_owned();
        let Some(checkpoint) = checkpoints.pop() else {
            return Err(InputError::NoCheckpoint { run: place() });
        };
        let title = folder.path().join("plan.toml").display().to_string();
        let plan = RecipeText {
            name: String::new(),
            title,
            folder: None,
            text: folder.plan().map_err(refused)?,
        };
        let state = checkpoint.state().map_err(|e| damaged(&checkpoint, &e))?;
        // A run that cannot be led back there is refused before anything is changed.
        checkpoint.steps().map_err(|e| damaged(&checkpoint, &e))?;
        Ok(Self {
            folder,
            lock,
            checkpoint,
            state,
            plan,
        })
    }

    /// The run's folder.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The step it goes on after.
    pub(super) fn step(&self) -> usize {
        self.checkpoint.step
    }

    /// Where it goes on.
    pub(super) fn position(&self) -> Position {
        self.state.position.clone()
    }

    /// The run's folder as it is.
    pub(super) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The checkpoint it goes on from.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Passes where the run may go on with `plan`, which has `steps` steps; what a reader should
    /// know of it.
    ///
    /// # Errors
    /// Where a key that decides what was done has another value, or an input another content.
    pub(super) fn check<R: Sections + serde::Serialize>(
        &self,
        plan: &R,
        steps: usize,
        inputs: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, InputError> {
        let old = table(&read::<R>(&self.plan, &[])?);
        let new = table(plan);
        let run = self.path();
        let differs = |key: &&String| old.get(*key) != new.get(*key);
        let is_fixed = |key: &&String| {
            let key = key.as_str();
            !FREE.contains(&key) && !PATHS.contains(&key)
        };
        let mut keys = old.keys().chain(new.keys()).filter(differs);
        if let Some(key) = keys.find(is_fixed) {
            return Err(InputError::OtherPlan {
                key: key.clone(),
                found: shown(new.get(key)),
                expected: shown(old.get(key)),
                run,
            });
        }
        let began_with = self.folder.inputs();
        let began_with = began_with.map_err(|error| InputError::refused("--resume", &error))?;
        let mut names = began_with.keys().chain(inputs.keys());
        if let Some(name) = names.find(|name| began_with.get(*name) != inputs.get(*name)) {
            let name = name.clone();
            return Err(InputError::OtherInput { name, run });
        }
        if steps < self.step() {
            return Err(InputError::FewSteps {
                found: steps,
                expected: self.step(),
                checkpoint: self.checkpoint.path.clone(),
            });
        }
        let is_longer = old.get("run.max_steps") != new.get("run.max_steps");
        let course = new.get("optimizer.lr_scheduler_type");
        let course = course.and_then(toml::Value::as_str).unwrap_or_default();
        let mut notes = Vec::new();
        if is_longer && course != "constant" {
            notes.push(format!(
                "the learning rate falls to 0 at run.max_steps ({course}): from step {} on it \
                 follows the new course",
                self.step() + 1
            ));
        }
        Ok(notes)
    }

    /// Leads the run back to its checkpoint and goes on with this plan; also how many checkpoints
    /// that sets aside.
    fn begin(self, plan: &str, started: Instant) -> Result<(Begun, usize), InputError> {
        let refused =
            |error: RecordError| InputError::refused(self.folder.path().display(), &error);
        let set_aside = self.folder.rewind(&self.checkpoint).map_err(refused)?;
        if plan != self.plan.text {
            self.folder.replace_plan(plan).map_err(refused)?;
        }
        let begun = Begun {
            folder: self.folder,
            _lock: self.lock,
            position: self.state.position,
            checkpoint: Some(self.checkpoint),
            started,
            seconds: self.state.seconds,
            best: self.state.best,
        };
        Ok((begun, set_aside))
    }
}

/// A checkpoint that does not read: which, why, and what can be done.
pub(super) fn damaged(checkpoint: &Checkpoint, error: &dyn std::error::Error) -> InputError {
    InputError::DamagedCheckpoint {
        checkpoint: checkpoint.path.clone(),
        reason: error.to_string(),
    }
}

/// What two processes that make the same run have the same: every key but those of paths.
pub(super) fn comparable<R: serde::Serialize>(plan: &R) -> BTreeMap<String, String> {
    let keys = table(plan).into_iter();
    let keys = keys.filter(|(key, _)| !PATHS.contains(&key.as_str()));
    keys.map(|(key, value)| (key, value.to_string())).collect()
}

/// The keys of a recipe, as `section.key`.
fn table<R: serde::Serialize>(recipe: &R) -> BTreeMap<String, toml::Value> {
    let sections = toml::Table::try_from(recipe).expect("a recipe is TOML");
    let mut keys = BTreeMap::new();
    for (section, values) in sections {
        let values = values.as_table().expect("a recipe has sections").clone();
        keys.extend(
            values
                .into_iter()
                .map(|(key, value)| (format!("{section}.{key}"), value)),
        );
    }
    keys
}

fn shown(value: Option<&toml::Value>) -> String {
    value.map_or_else(|| "not set".to_owned(), ToString::to_string)
}
