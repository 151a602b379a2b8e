//! The contrastive log-ratio upper bound, and the information itself where both are at hand.

use crate::contrast::assert_square;
use crate::contrast_losses;

/// An upper bound on what a completion tells about its constitution, in nats:
/// `E[ln p(y|c)]` over pairs that belong together less the same over all pairs.
///
/// `logprobs_kk[i][j]` is the log-probability of the *whole* completion `j` under constitution `i`,
/// summed over its tokens, by the very model that drew it, one completion under each of `k` equally
/// likely constitutions. Then the mean of this over questions is never below the information, and
/// an unbiased estimate of its bound. For completions of another origin, or scores that are no
/// log-probabilities (means over tokens), it bounds nothing.
///
/// It does not change where a completion's column or a constitution's row is raised by a constant,
/// and its mean over all ways to pair completions with constitutions is 0.
///
/// # Panics
/// If the matrix is empty or not square.
///
/// # Source
/// Cheng et al., "CLUB: a contrastive log-ratio upper bound of mutual information" (arXiv
/// 2006.12013, 2020), theorem 3.1 and its sample estimate; that all `k` constitutions are there,
/// each once, so that the second mean is over all `k²` entries, is ours. \[ours\]
pub fn club(logprobs_kk: &[Vec<f64>]) -> f64 {
    assert_square(logprobs_kk);
    let k = logprobs_kk.len();
    let own: Vec<f64> = (0..k).map(|i| logprobs_kk[i][i]).collect();
    math::mean(&own) - math::mean(&logprobs_kk.concat())
}

/// What a completion tells about its constitution, in nats, where the model that drew it says how
/// likely each constitution makes it: `E[ln p(y|c) − ln (1/k)·Σ_i p(y|c_i)]`.
///
/// The matrix is that of [`club`]. The constitutions are few and known, so the mixture is too, and
/// the contrast over constitutions is no bound here but the information itself: its mean over
/// questions is an unbiased estimate. For completions of another origin it is a lower bound.
///
/// # Panics
/// If the matrix is empty or not square.
///
/// # Source
/// Barber and Agakov, "The IM algorithm: a variational approach to information maximization"
/// (2003), section 2, whose bound is tight for the exact posterior. \[ours\] as a figure of a
/// principle.
pub fn channel_information(logprobs_kk: &[Vec<f64>]) -> f64 {
    contrast_losses(logprobs_kk)
        .bounds(logprobs_kk.len())
        .over_constitutions
}
