//! What the commands that run a recipe share: the model with its optimiser, the folder, the
//! checkpoint.

use std::path::{Path, PathBuf};

use math::Key;
use model::{ChatTokenizer, Device, ModelError, Transformer};
use policy::TextCodec;
use record::{RecordError, RunFolder};
use trainer::{LastGood, TrainError};

use crate::error::{Failure, InputError};
use crate::machine::Opened;
use crate::plan;
use crate::recipe::{CheckpointDtype, ModelSection, OptimizerSection};

/// Stream of the key of a seed that fresh weights are drawn from; the trainer's start at 0.
const WEIGHTS: u64 = u64::MAX;

/// The model with its weights, ready to learn.
///
/// # Errors
/// Where the weights are missing or not valid.
pub(super) fn learner(
    opened: &Opened,
    section: &ModelSection,
    optimizer: &OptimizerSection,
    seed: u64,
    device: &Device,
) -> Result<Transformer, InputError> {
    let mut policy = if section.random_weights {
        Transformer::random(opened.config.clone(), device, Key::new(seed).child(WEIGHTS))
    } else {
        Transformer::open(&opened.source, device)
            .map_err(|error| InputError::refused(&section.path, &error))?
    };
    policy.grow_vocabulary(opened.config.vocabulary);
    policy.set_end_tokens(opened.tokenizer.end_tokens());
    policy.set_optimizer(plan::optimizer(optimizer));
    Ok(policy)
}

/// Makes the folder of a run and writes its plan.
///
/// # Errors
/// Where the file system refuses.
pub(super) fn begin(path: &Path, plan: &str) -> Result<RunFolder, InputError> {
    RunFolder::create(path, plan).map_err(|error| InputError::OutNotWritable {
        path: path.to_owned(),
        reason: match error {
            RecordError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        },
    })
}

/// Writes the model as a folder that `transformers` opens, and gives its path.
///
/// # Errors
/// Where the file system refuses.
pub(super) fn save(
    run: &RunFolder,
    step: usize,
    policy: &Transformer,
    tokenizer: &ChatTokenizer,
    dtype: CheckpointDtype,
) -> Result<PathBuf, Failure> {
    let written = run.write_checkpoint::<SaveError>(step, |folder| {
        policy.save(folder, plan::dtype(dtype))?;
        Ok(tokenizer.save(folder)?)
    });
    written.map_err(|error| Failure::Run(format!("the checkpoint: {error}")))
}

/// What a failed run leaves: where a step failed, the weights of before it.
pub(super) fn stopped(
    error: &TrainError,
    save: impl FnOnce(usize) -> Result<PathBuf, Failure>,
) -> Failure {
    let Some(LastGood { updates }) = last_good(error) else {
        return Failure::Run(error.to_string());
    };
    let reason = error.to_string();
    match save(updates) {
        Ok(checkpoint) => Failure::Stopped { reason, checkpoint },
        Err(failure) => Failure::Run(format!("{reason}; but they cannot be kept: {failure}")),
    }
}

fn last_good(error: &TrainError) -> Option<LastGood> {
    match error {
        TrainError::Rollout { last_good, .. }
        | TrainError::Policy { last_good, .. }
        | TrainError::Objective { last_good, .. }
        | TrainError::Loss { last_good, .. }
        | TrainError::Update { last_good, .. } => Some(*last_good),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Record(#[from] RecordError),
}
