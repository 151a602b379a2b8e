//! Why a run stopped before its end.

use objective::ObjectiveError;
use policy::PolicyError;
use ranks::RankError;
use rollout::RolloutError;

use crate::NotKept;

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting that the task does not allow.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        found: String,
        /// What can be.
        expected: String,
    },
    /// No rollout.
    #[error("step {step}, rollout: {source}; {last_good}")]
    Rollout {
        /// The step, from 1.
        step: usize,
        /// Why.
        source: RolloutError,
        /// What is left.
        last_good: LastGood,
    },
    /// The policy could not be run over the batch.
    #[error("step {step}: {source}; {last_good}")]
    Policy {
        /// The step, from 1.
        step: usize,
        /// Why.
        source: PolicyError,
        /// What is left.
        last_good: LastGood,
    },
    /// A term failed, or gave numbers that are not finite.
    #[error("step {step}: {source}; {last_good}")]
    Objective {
        /// The step, from 1.
        step: usize,
        /// The term and why.
        source: ObjectiveError,
        /// What is left.
        last_good: LastGood,
    },
    /// The loss of given completions is not finite.
    #[error("step {step}: the loss of the examples is {found}; {last_good}")]
    Loss {
        /// The step, from 1.
        step: usize,
        /// The loss.
        found: f64,
        /// What is left.
        last_good: LastGood,
    },
    /// The gradient in the parameters is not finite; nothing was changed.
    #[error("step {step}: the norm of the gradient in the parameters is {grad_norm}; {last_good}")]
    Update {
        /// The step, from 1.
        step: usize,
        /// The norm found.
        grad_norm: f64,
        /// What is left.
        last_good: LastGood,
    },
    /// A rank of the run is lost; the others end with it.
    #[error("{place}: {source}")]
    Ranks {
        /// Where it was noticed.
        place: String,
        /// Which, and what became of it.
        source: RankError,
    },
    /// No rollout of the held-out questions, or no scores of it.
    #[error("evaluation: {source}")]
    Evaluation {
        /// Why.
        source: RolloutError,
    },
    /// The drift from the reference could not be measured.
    #[error("evaluation: {source}")]
    Drift {
        /// Why.
        source: ObjectiveError,
    },
    /// A position from which the run cannot go on.
    #[error("the position after step {step}: {reason}")]
    Position {
        /// Updates that led there.
        step: usize,
        /// What contradicts what.
        reason: String,
    },
    /// The policy could not be kept.
    #[error("the checkpoint after step {step}: {source}")]
    Checkpoint {
        /// Updates that led there.
        step: usize,
        /// Why.
        source: NotKept,
    },
    /// A step failed, and what was before it could not be kept.
    #[error("{failure}; but they cannot be kept: {source}")]
    Lost {
        /// Why the step failed.
        failure: Box<TrainError>,
        /// Why there is no checkpoint.
        source: NotKept,
    },
    /// The run could not be written down.
    #[error(transparent)]
    Record(#[from] record::RecordError),
}

/// The last good parameters: a step that fails changes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// Updates they have seen.
    pub updates: usize,
}

impl std::fmt::Display for LastGood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the policy still holds the parameters after {} updates",
            self.updates
        )
    }
}
