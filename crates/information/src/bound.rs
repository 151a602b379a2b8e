//! Information bounds over many prompts, with their intervals.

use math::{Interval, Key, bootstrap_mean};

use crate::contrast_losses;

/// Mean bounds over prompts, in nats, each with a 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundEstimate {
    /// From the contrast over constitutions.
    pub over_constitutions: Interval,
    /// From the contrast over completions.
    pub over_completions: Interval,
}

/// The bounds of several prompts, one matrix of scores (constitutions × completions) each.
///
/// Prompts are the units that are resampled, and both directions see the same resamples. NaN for
/// no prompts; for one, a value without an interval.
///
/// # Panics
/// If a matrix is empty or not square.
pub fn bounds(matrices: &[Vec<Vec<f64>>], resamples: usize, key: Key) -> BoundEstimate {
    let of_prompts: Vec<_> = matrices
        .iter()
        .map(|matrix_kk| contrast_losses(matrix_kk).bounds(matrix_kk.len()))
        .collect();
    let constitutions: Vec<f64> = of_prompts.iter().map(|b| b.over_constitutions).collect();
    let completions: Vec<f64> = of_prompts.iter().map(|b| b.over_completions).collect();
    BoundEstimate {
        over_constitutions: bootstrap_mean(&constitutions, resamples, key),
        over_completions: bootstrap_mean(&completions, resamples, key),
    }
}
