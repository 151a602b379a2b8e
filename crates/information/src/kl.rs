//! Divergence from the reference, estimated at one sampled token.

/// The estimate k3 of `KL(policy ‖ reference)` from one token drawn by the policy, and its
/// derivative in the policy's log-probability.
///
/// With `d = reference − policy` log-probability the value is `exp(d) − d − 1`: never negative, 0
/// only for d = 0, and the divergence itself in the mean over the policy's tokens. The derivative
/// is that of the value alone, `1 − exp(d)`.
///
/// # Source
/// Schulman, "Approximating KL divergence" (2020), estimator k3; as in TRL's `GRPOTrainer`.
pub fn k3(policy_logprob: f64, reference_logprob: f64) -> (f64, f64) {
    let difference = reference_logprob - policy_logprob;
    let growth = difference.exp_m1();
    (growth - difference, -growth)
}
