//! Why a check could not be made.

use policy::{PolicyError, TextError};
use rollout::RolloutError;
use trainer::TrainError;
use transport::TransportError;

/// What stops a check; a check that fails is no error but a finding.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The step failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The policy failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A prepared completion cannot be encoded.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A prompt cannot be rendered.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// A transport problem was refused.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
