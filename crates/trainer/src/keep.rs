//! Who keeps a run from being lost.

use std::error::Error;

use ranks::RankError;
use record::Position;

use crate::failure::lost;
use crate::{Observer, TrainError};

/// Keeps checkpoints of a run, and may end it early. Policy and position together are all that is
/// needed to go on.
pub trait Keeper<P: ?Sized>: Observer {
    /// Whether the run is to end after the step just made; asked once a step, on all ranks.
    ///
    /// # Errors
    /// Where a rank is lost; the run ends then, and what was learnt is kept.
    fn is_stopped(&mut self) -> Result<bool, RankError> {
        Ok(false)
    }

    /// Passes where all ranks have the same policy; asked before it is kept.
    ///
    /// # Errors
    /// Where one has another, which is then not kept; or as [`is_stopped`](Self::is_stopped).
    fn agree(&mut self, policy: &P) -> Result<(), RankError> {
        let _ = policy;
        Ok(())
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
/// [`TrainError::Checkpoint`], and [`TrainError::Ranks`] where a rank is lost or has learnt
/// something else.
pub(crate) fn keep_due<P: ?Sized>(
    policy: &P,
    keeper: &mut dyn Keeper<P>,
    position: impl FnOnce() -> Position,
    step: usize,
    [save_steps, steps]: [usize; 2],
) -> Result<bool, TrainError> {
    let is_due = step == steps || (save_steps > 0 && step.is_multiple_of(save_steps));
    let agreed = keeper.is_stopped().and_then(|is_stopped| {
        if is_stopped || is_due {
            keeper.agree(policy)?;
        }
        Ok(is_stopped)
    });
    let is_stopped = match agreed {
        Ok(is_stopped) => is_stopped,
        Err(source @ RankError::Differs { .. }) => return Err(lost(step, source)),
        Err(source) => {
            let failure = lost(step, source);
            return Err(keep_last_good(failure, policy, keeper, &position()));
        }
    };
    if is_stopped || is_due {
        let kept = keeper.keep(policy, &position());
        kept.map_err(|source| TrainError::Checkpoint { step, source })?;
    }
    Ok(is_stopped || step == steps)
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
