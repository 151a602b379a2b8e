//! The loop: steps, one after the other, each put on record before the next.

use policy::Policy;
use record::RunFolder;
use rollout::WeightedGrader;

use crate::keep::{keep_due, keep_last_good};
use crate::{Keeper, TrainError, Training};

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trained {
    /// Updates made, those of before the run was taken up again among them.
    pub steps: usize,
    /// Tokens learnt from: prompts and completions, a prompt counted for each of its completions.
    pub tokens: u64,
}

/// Makes the steps of a run that are left, and writes each to `run` before it is kept; of several
/// ranks, the first alone has a `run` to write to. What a policy is made of is the keeper's to
/// know.
///
/// A step that fails changes nothing; the keeper is given what was before it, and then the run
/// ends.
///
/// # Errors
/// As [`Training::step`], and where the record or a checkpoint cannot be written.
pub fn train<P: Policy>(
    policy: &mut P,
    training: &mut Training,
    graders: &mut [WeightedGrader],
    run: Option<&RunFolder>,
    keeper: &mut dyn Keeper<P>,
) -> Result<Trained, TrainError> {
    let settings = training.settings();
    let saves = [settings.save_steps, settings.steps];
    for updates in training.updates()..settings.steps {
        let record = match training.step(policy, graders, updates, keeper) {
            Ok(record) => record,
            Err(failure) => {
                let position = training.position();
                return Err(keep_last_good(failure, policy, keeper, &position));
            }
        };
        if let Some(run) = run {
            run.append_step(&record)?;
            let every = settings.log_completions_steps;
            if every > 0 && record.step.is_multiple_of(every) {
                run.write_completions(record.step, &training.completions(graders))?;
            }
        }
        keeper.step(&record);
        if keep_due(policy, keeper, || training.position(), record.step, saves)? {
            break;
        }
    }
    Ok(Trained {
        steps: training.updates(),
        tokens: training.tokens() as u64,
    })
}
