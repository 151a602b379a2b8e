//! The reward preference of groups of two, which is one of pairs.

/// The margins `P(a≻b) − P(b≻a)` of rewards with Gaussian noise: `erf((r_a − r_b)/(2·noise))`
/// \[D\], since the difference of two rewards has the variance `2·noise²`.
pub(crate) fn gaussian(values_l: &[f64], noise: f64) -> Vec<Vec<f64>> {
    let row = |a: &f64| {
        let margin = |b: &f64| libm::erf((a - b) / (2.0 * noise));
        values_l.iter().map(margin).collect()
    };
    values_l.iter().map(row).collect()
}

/// `Σ_b π(b)·margin(a, b)` for every a.
pub(crate) fn preference(margins_ll: &[Vec<f64>], policy_l: &[f64]) -> Vec<f64> {
    margins_ll
        .iter()
        .map(|row| math::dot(row, policy_l))
        .collect()
}

/// The same for levels in ascending order of deterministic rewards: mass below less mass above.
pub(crate) fn ranks(policy_l: &[f64]) -> Vec<f64> {
    let mut above: f64 = math::sum(policy_l);
    let mut below = 0.0;
    let rank = |mass: &f64| {
        above -= mass;
        let preference = below - above;
        below += mass;
        preference
    };
    policy_l.iter().map(rank).collect()
}
