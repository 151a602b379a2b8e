//! The keys of `[run]` that say what is kept of a run.

use crate::range::{OutOfRange, require};

/// How checkpoints are kept; the keys of `[run]`, by transformers' names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SaveOptions {
    /// Checkpoints to keep; `None`: all.
    pub(crate) total_limit: Option<usize>,
    /// The metric of the best, and whether more is better.
    pub(crate) best: Option<(String, bool)>,
}

impl SaveOptions {
    /// From the values of the keys; 0 keeps all.
    pub(crate) fn new(total_limit: usize, metric: Option<&String>, greater: Option<bool>) -> Self {
        let best = metric.map(|metric| {
            let is_loss = metric.ends_with("loss");
            (metric.clone(), greater.unwrap_or(!is_loss))
        });
        Self {
            total_limit: Some(total_limit).filter(|&limit| limit > 0),
            best,
        }
    }
}

/// # Errors
/// A direction without a metric.
pub(super) fn check(metric: Option<&String>, greater: Option<bool>) -> Result<(), OutOfRange> {
    require(
        greater.is_none() || metric.is_some(),
        "run.metric_for_best_model",
        "not set",
        "a metric beside run.greater_is_better",
    )
}
