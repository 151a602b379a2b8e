//! A cloud against itself: one potential, one averaged update, no Newton step.

use crate::softmin::softmin;
use crate::{Options, Transport};

/// Solves the transport of a cloud onto itself for the squared distances `cost_nn`.
///
/// The update `f ← ½(f + softmin(f))` converges at a rate of ½ or better at any ε: the Gaussian
/// kernel is positive semi-definite, so the plan is, so the update's Jacobian `½(1 − n·P)` has its
/// eigenvalues in [0, ½]. The start `½ ε ln n` is the solution for ε → 0 and an upper bound of it
/// otherwise, which keeps the first exponentials in range.
///
/// # Source
/// Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences"
/// (2019), section 3; the argument on the rate is [ours].
pub(crate) fn symmetric(
    cost_nn: &[f64],
    points: usize,
    epsilon: f64,
    options: &Options,
) -> Transport {
    let scaled_nn: Vec<f64> = cost_nn.iter().map(|cost| cost / epsilon).collect();
    let share = 1.0 / points as f64;
    let mut potential = vec![0.5 * (points as f64).ln(); points];
    let mut update = vec![0.0; points];
    let mut plan = vec![0.0; points * points];
    let mut rows;
    let mut iterations = 0;
    let marginal_error = loop {
        softmin(&scaled_nn, &potential, &mut update, &mut plan);
        iterations += 1;
        let pairs = potential.iter().zip(&update);
        rows = pairs
            .map(|(f, u)| share * (f - u).exp())
            .collect::<Vec<f64>>();
        let error = rows.iter().map(|row| (row - share).abs()).sum::<f64>();
        if error <= options.tolerance || iterations >= options.iterations_max {
            break error;
        }
        for (potential, update) in potential.iter_mut().zip(&update) {
            *potential = 0.5 * (*potential + update);
        }
    };
    for (plan, row) in plan.chunks_exact_mut(points).zip(&rows) {
        for plan in plan {
            *plan *= row / share;
        }
    }
    let excess = math::sum(&rows) - 1.0;
    let potential: Vec<f64> = potential.iter().map(|f| f * epsilon).collect();
    Transport {
        value: 2.0 * math::mean(&potential) - epsilon * excess,
        cost: math::dot(&plan, cost_nn),
        source_potential: potential.clone(),
        target_potential: potential,
        plan,
        converged: marginal_error <= options.tolerance,
        iterations,
        marginal_error,
    }
}
