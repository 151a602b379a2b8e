//! What can fail in a step or an evaluation, before it is said where.

use objective::ObjectiveError;
use policy::PolicyError;
use ranks::RankError;
use rollout::RolloutError;

use crate::{LastGood, TrainError};

/// What can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    #[error(transparent)]
    Ranks(#[from] RankError),
}

impl Failure {
    /// In the step after so many updates, whose parameters are left.
    pub(crate) fn in_step(self, updates: usize) -> TrainError {
        let (step, last_good) = (updates + 1, LastGood { updates });
        match self {
            Self::Rollout(source) => TrainError::Rollout {
                step,
                source,
                last_good,
            },
            Self::Policy(source) => TrainError::Policy {
                step,
                source,
                last_good,
            },
            Self::Objective(source) => TrainError::Objective {
                step,
                source,
                last_good,
            },
            Self::Ranks(source) => lost(step, source),
        }
    }

    /// In an evaluation.
    pub(crate) fn in_evaluation(self) -> TrainError {
        match self {
            Self::Rollout(source) => TrainError::Evaluation { source },
            Self::Policy(source) => TrainError::Evaluation {
                source: source.into(),
            },
            Self::Objective(source) => TrainError::Drift { source },
            Self::Ranks(source) => TrainError::Ranks {
                place: "evaluation".to_owned(),
                source,
            },
        }
    }
}

/// A rank that is lost in a step.
pub(crate) fn lost(step: usize, source: RankError) -> TrainError {
    TrainError::Ranks {
        place: format!("step {step}"),
        source,
    }
}
