//! The loop: steps, one after the other, each put on record before the next.

use policy::{Policy, TextCodec};
use record::RunFolder;
use rollout::WeightedGrader;

use crate::{Observer, Settings, Task, TrainError, Training};

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trained {
    /// Updates made.
    pub steps: usize,
    /// Tokens learnt from: prompts and completions, a prompt counted for each of its completions.
    pub tokens: u64,
}

/// Trains `policy`, and writes each step to `run`. Checkpoints are the caller's, who knows what a
/// policy is made of.
///
/// # Errors
/// As [`Training::step`], and where the record cannot be written.
pub fn train(
    policy: &mut dyn Policy,
    codec: &dyn TextCodec,
    task: &Task,
    graders: &mut [WeightedGrader],
    settings: &Settings,
    run: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    let mut training = Training::new(codec, task, settings)?;
    for updates in 0..settings.steps {
        let record = training.step(policy, graders, updates, observer)?;
        run.append_step(&record)?;
        let every = settings.log_completions_steps;
        if every > 0 && record.step.is_multiple_of(every) {
            run.write_completions(record.step, &training.completions(graders))?;
        }
        observer.step(&record);
    }
    Ok(Trained {
        steps: settings.steps,
        tokens: training.tokens() as u64,
    })
}
