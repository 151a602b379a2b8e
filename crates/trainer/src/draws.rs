//! The streams of draws below the key of a run. Each has a number of its own, so that none depends
//! on how much another draws.

/// The order of the data.
pub(crate) const ORDER: u64 = 0;
/// The principle that a question is asked under.
pub(crate) const PRINCIPLE: u64 = 1;
/// The completions of training.
pub(crate) const COMPLETIONS: u64 = 2;
/// The completions of an evaluation.
pub(crate) const EVALUATION: u64 = 3;
/// The resamples behind intervals.
pub(crate) const BOOTSTRAP: u64 = 4;
/// The points of a cloud that has too many.
pub(crate) const CLOUD: u64 = 5;
