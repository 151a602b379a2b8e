//! Closed forms of questions with two answers, a and b, in the probability of a.

use crate::roots::{Root, roots, valley};

/// `D_G(p)`: for rewards of 0 and 1, of which the others of a group are 1 with probability `p`, the
/// reward preference of a 1 less that of a 0, with the population's deviation \[D\].
///
/// ```text
/// D_G(p) = Σ_K C(G−1, K) p^K (1−p)^{G−1−K} [√((G−1−K)/(K+1)) + √(K/(G−K))],  K = 0..G−1
/// ```
///
/// It is between 1 (G = 2) and its limit for large groups, `1/√(p(1−p))`. Cost: about `√G` terms,
/// as the binomial's tails are cut where they fall below rounding.
///
/// # Panics
/// If the group is below 2 or `p` outside `[0, 1]`.
///
/// # Source
/// Derived here from the reward preference of Vojnović and Yun (arXiv 2502.18548) \[D\].
pub fn preference_gap(group: usize, p: f64) -> f64 {
    assert!(group >= 2, "a group holds two completions or more");
    assert!((0.0..=1.0).contains(&p), "{p} is no probability");
    let others = (group - 1) as f64;
    let gap = |k: f64| ((others - k) / (k + 1.0)).sqrt() + (k / (others + 1.0 - k)).sqrt();
    if p <= 0.0 || p >= 1.0 {
        return others.sqrt();
    }
    let mode = (group as f64 * p).floor().min(others);
    // Weights relative to the mode's; they are divided by their sum, which keeps all digits.
    let (mut total, mut weights) = (gap(mode), 1.0);
    let odds = p / (1.0 - p);
    let mut add = |mut k: f64, up: bool| {
        let mut weight = 1.0;
        loop {
            weight *= if up {
                (others - k) / (k + 1.0) * odds
            } else {
                k / ((others - k + 1.0) * odds)
            };
            k += if up { 1.0 } else { -1.0 };
            if weight < f64::EPSILON * 1e-3 || weight.is_nan() {
                break;
            }
            total += weight * gap(k);
            weights += weight;
        }
    };
    add(mode, true);
    add(mode, false);
    total / weights
}

/// The stationary probability of a for groups of two and k3 (equation 14):
/// `½(1 − t + √((1−t)² + 4·t·π_ref))` with `t = β/γ` and the margin `γ = P(a≻b) − P(b≻a)`.
///
/// A tie (γ = 0) keeps the reference; for γ < 0 it is 1 less that of b \[D\].
///
/// # Source
/// Vojnović and Yun (arXiv 2502.18548), equation 14.
pub fn pairs(beta: f64, margin: f64, reference: f64) -> f64 {
    if margin.abs() <= 0.0 {
        return reference;
    }
    if margin < 0.0 {
        return 1.0 - pairs(beta, -margin, 1.0 - reference);
    }
    let t = beta / margin;
    let root = ((1.0 - t) * (1.0 - t) + 4.0 * t * reference).sqrt();
    if t > 1.0 {
        // The same without the difference of two large numbers.
        2.0 * t * reference / (t - 1.0 + root)
    } else {
        f64::midpoint(1.0 - t, root)
    }
}

/// The stationary probability of the better answer for large groups, k3 and noiseless rewards
/// (equation 15); the size of the difference in reward does not matter.
///
/// # Source
/// Vojnović and Yun (arXiv 2502.18548), equation 15.
pub fn large_groups(beta: f64, reference: f64) -> f64 {
    let square = beta * beta;
    let root = (1.0 + 4.0 * square * reference * (1.0 - reference)).sqrt();
    (2.0 * square * reference + 1.0 + root) / (2.0 * (1.0 + square))
}

/// The probability of the worse answer where [`large_groups`] gives the better one's, without the
/// loss of digits of `1 − π`: the smaller root of the same quadratic.
pub(crate) fn worse_in_large_groups(beta: f64, reference_worse: f64) -> f64 {
    let square = beta * beta;
    let root = (1.0 + 4.0 * square * reference_worse * (1.0 - reference_worse)).sqrt();
    2.0 * square * reference_worse * reference_worse / (2.0 * square * reference_worse + 1.0 + root)
}

/// A stationary policy of the direct KL penalty in large groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DirectRoot {
    /// Probability of the better answer.
    pub probability: f64,
    /// Whether training returns to it after a small push.
    pub attracting: bool,
}

/// The β below which direct KL penalty, large groups and noiseless rewards have no stationary
/// policy, so that the better answer takes all: the least of `1/(√(x(1−x))·(logit x − logit
/// π_ref))` over `x > π_ref` \[D\].
///
/// # Panics
/// If `reference` is not inside `(0, 1)`.
///
/// # Source
/// Derived here from the modified objectives of Vojnović and Yun (arXiv 2502.18548) \[D\].
pub fn critical_beta(reference: f64) -> f64 {
    let start = logit(reference);
    let log_beta = |z: f64| -(z - start).ln() - 0.5 * log_variance(z);
    // It falls from infinity, has one valley, and rises again.
    valley(&log_beta, start + 1e-9, start.max(0.0) + 60.0)
        .1
        .exp()
}

/// The stationary policies of direct KL penalty, large groups and noiseless rewards, ascending:
/// none below [`critical_beta`], two above it, of which the lower attracts \[D\].
///
/// # Panics
/// If `reference` is not inside `(0, 1)`.
///
/// # Source
/// Derived here: `1/(β√(x(1−x))) − logit x + logit π_ref = 0` \[D\].
pub fn direct_large_groups(beta: f64, reference: f64) -> Vec<DirectRoot> {
    let start = logit(reference);
    let force = |z: f64| (-0.5 * log_variance(z)).exp() / beta - (z - start);
    // Beyond, 1/√(x(1−x)) overflows: no β is large enough for a root there.
    let high = 1400.0;
    let direct = |root: Root| DirectRoot {
        probability: sigmoid(root.at),
        attracting: !root.rises,
    };
    roots(&force, start, high, 20_000)
        .into_iter()
        .map(direct)
        .collect()
}

fn logit(p: f64) -> f64 {
    assert!(p > 0.0 && p < 1.0, "{p} is not inside (0, 1)");
    p.ln() - (-p).ln_1p()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// `ln(x(1−x))` at `x = sigmoid(z)`.
fn log_variance(z: f64) -> f64 {
    -z.abs() - 2.0 * (-z.abs()).exp().ln_1p()
}
