//! Who keeps a run from being lost.

use std::error::Error;

use record::Position;

use crate::{Observer, TrainError};

/// Keeps checkpoints of a run, and may end it early. Policy and position together are all that is
/// needed to go on.
pub trait Keeper<P: ?Sized>: Observer {
    /// Whether the run is to end after the step just made; asked once a step.
    fn is_stopped(&mut self) -> bool {
        false
    }

    /// Keeps the policy as it is after the update of the position.
    ///
    /// # Errors
    /// Where it cannot be kept; the run ends then.
    fn keep(&mut self, policy: &P, position: &Position) -> Result<(), NotKept>;
}

/// Why a checkpoint could not be written.
pub type NotKept = Box<dyn Error + Send + Sync>;

/// Nothing is kept.
impl<P: ?Sized> Keeper<P> for () {
    fn keep(&mut self, _: &P, _: &Position) -> Result<(), NotKept> {
        Ok(())
    }
}

/// Between two steps: keeps what is due to be kept, and says whether the run ends here.
///
/// Due is every `save_steps`-th step (0: none), the last of `steps`, and one that the run is
/// stopped after.
///
/// # Errors
/// [`TrainError::Checkpoint`].
pub(crate) fn keep_due<P: ?Sized>(
    policy: &P,
    keeper: &mut dyn Keeper<P>,
    position: impl FnOnce() -> Position,
    step: usize,
    [save_steps, steps]: [usize; 2],
) -> Result<bool, TrainError> {
    let ends = keeper.is_stopped() || step == steps;
    let is_due = save_steps > 0 && step.is_multiple_of(save_steps);
    if ends || is_due {
        let kept = keeper.keep(policy, &position());
        kept.map_err(|source| TrainError::Checkpoint { step, source })?;
    }
    Ok(ends)
}

/// After a step that failed, and so changed nothing: keeps what was before it. Gives the failure
/// back.
pub(crate) fn keep_last_good<P: ?Sized>(
    failure: TrainError,
    policy: &P,
    keeper: &mut dyn Keeper<P>,
    position: &Position,
) -> TrainError {
    match keeper.keep(policy, position) {
        Ok(()) => failure,
        Err(source) => TrainError::Lost {
            failure: Box::new(failure),
            source,
        },
    }
}
