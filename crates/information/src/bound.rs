//! Information bounds over many contrasts, with their intervals.

use math::{Interval, Key, bootstrap_mean};

use crate::{Bounds, contrast_losses};

/// Mean bounds over contrasts, in nats, each with a 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundEstimate {
    /// From the contrast over constitutions.
    pub over_constitutions: Interval,
    /// From the contrast over completions.
    pub over_completions: Interval,
}

/// The bounds of several contrasts: for each, its question and its matrix of scores
/// (constitutions × completions).
///
/// Questions are the units that are resampled, each with all its contrasts; both directions see the
/// same resamples. NaN for no contrasts; for those of one question, a value without an interval.
///
/// # Panics
/// If a matrix is empty or not square.
pub fn bounds(matrices: &[(usize, Vec<Vec<f64>>)], resamples: usize, key: Key) -> BoundEstimate {
    let estimate = |direction: fn(Bounds) -> f64| {
        let bound = |(question, matrix_kk): &(usize, Vec<Vec<f64>>)| {
            let bounds = contrast_losses(matrix_kk).bounds(matrix_kk.len());
            (*question, direction(bounds))
        };
        let values: Vec<(usize, f64)> = matrices.iter().map(bound).collect();
        bootstrap_mean(&values, resamples, key)
    };
    BoundEstimate {
        over_constitutions: estimate(|bounds| bounds.over_constitutions),
        over_completions: estimate(|bounds| bounds.over_completions),
    }
}
