//! Why a loss could not be computed.

use transport::TransportError;

/// Why a loss could not be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// A term that compares with the frozen policy was not given its signals.
    #[error("the term {term} needs the signals of the reference, found none")]
    MissingReference {
        /// The term.
        term: &'static str,
    },
    /// A term's loss is NaN or infinite.
    #[error("the {part} of the term {term} is not finite")]
    NotFinite {
        /// The term.
        term: &'static str,
        /// The value or the gradient.
        part: &'static str,
    },
    /// A point that cannot be brought to length 1.
    #[error("the {whose} point of row {row} has length {length}, expected a positive one")]
    NoDirection {
        /// The policy's or the reference's.
        whose: &'static str,
        /// Its row in the batch.
        row: usize,
        /// The length found: 0 or not finite.
        length: f64,
    },
    /// The transport problem was refused.
    #[error("the term transport: {0}")]
    Transport(#[from] TransportError),
}
