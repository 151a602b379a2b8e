//! Half a Sinkhorn sweep in the log domain.

/// Gives each row its best potential against `from`, and the plan that follows:
/// `to_r = −ln mean_c exp(from_c − cost_rc)` and
/// `plan_rc = exp(to_r + from_c − cost_rc)/(rows·columns)`.
///
/// `cost_rc` is in units of ε. Each row of `plan_rc` sums to 1/rows.
///
/// # Source
/// Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences"
/// (2019), section 3.
pub(crate) fn softmin(cost_rc: &[f64], from: &[f64], to: &mut [f64], plan_rc: &mut [f64]) {
    let columns = from.len();
    let share = 1.0 / to.len() as f64;
    let rows = cost_rc
        .chunks_exact(columns)
        .zip(plan_rc.chunks_exact_mut(columns));
    for ((cost_c, plan_c), to) in rows.zip(to) {
        let mut largest = f64::NEG_INFINITY;
        for ((plan, cost), from) in plan_c.iter_mut().zip(cost_c).zip(from) {
            *plan = from - cost;
            largest = largest.max(*plan);
        }
        for plan in &mut *plan_c {
            *plan = (*plan - largest).exp();
        }
        let total: f64 = plan_c.iter().sum();
        *to = -largest - (total / columns as f64).ln();
        for plan in plan_c {
            *plan *= share / total;
        }
    }
}

/// The rows of a matrix as its columns; `columns` of the given one.
pub(crate) fn transpose(matrix_rc: &[f64], columns: usize) -> Vec<f64> {
    let column = |c| matrix_rc.iter().skip(c).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}
