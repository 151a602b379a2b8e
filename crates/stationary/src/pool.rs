//! How a penalty pools a reference with given preferences, and how far a policy is from that.

use math::{mean, softmax, sum};

use crate::Penalty;

/// A penalty, its weight and what it holds to.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) penalty: Penalty,
    pub(crate) beta: f64,
    pub(crate) reference_l: Vec<f64>,
}

/// Newton steps that the constant of [`Pull::pool`] may take; tens suffice.
const STEPS_MAX: usize = 200;

impl Pull {
    /// The policy that is stationary where the preferences are these, whatever the policy:
    /// `π_ref/(1 − (P − c)/β)` for k3, `π_ref·e^{(P − c)/β}` for the direct KL, with the `c` that
    /// makes it sum to 1.
    ///
    /// # Source
    /// Vojnović and Yun (arXiv 2502.18548), equation 11; direct KL: their section on alternatives.
    pub(crate) fn pool(&self, preference_l: &[f64]) -> Vec<f64> {
        match self.penalty {
            Penalty::Kl => {
                let logits: Vec<f64> = preference_l
                    .iter()
                    .zip(&self.reference_l)
                    .map(|(p, reference)| p / self.beta + reference.ln())
                    .collect();
                softmax(&logits)
            }
            Penalty::K3 => self.pool_k3(preference_l),
        }
    }

    /// With `d = β + c − max P` every denominator `d + max P − P` is a sum of numbers that are not
    /// negative. Their total is decreasing and convex in `d`, its inverse concave, so Newton on the
    /// inverse climbs to the root from below without passing it.
    fn pool_k3(&self, preference_l: &[f64]) -> Vec<f64> {
        let top = preference_l
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let pairs = || preference_l.iter().zip(&self.reference_l);
        let mut d = pairs()
            .filter(|(p, _)| **p >= top)
            .map(|(_, reference)| self.beta * reference)
            .sum::<f64>();
        for _ in 0..STEPS_MAX {
            let (mut total, mut slope) = (0.0, 0.0);
            for (p, reference) in pairs() {
                let term = self.beta * reference / (d + (top - p));
                total += term;
                slope += term / (d + (top - p));
            }
            let step = total * (total - 1.0) / slope;
            d += step;
            if step.abs() <= f64::EPSILON * d {
                break;
            }
        }
        let policy_l: Vec<f64> = pairs()
            .map(|(p, reference)| self.beta * reference / (d + (top - p)))
            .collect();
        let total = sum(&policy_l);
        policy_l.iter().map(|p| p / total).collect()
    }

    /// How far a policy is from stationary under the preferences that it has itself: the largest
    /// `|(1 − (P − E_π P)/β)·π − π_ref|` for k3, and `|π − π_ref·e^{P/β}/Z|` for the direct KL.
    pub(crate) fn residual(&self, policy_l: &[f64], preference_l: &[f64]) -> f64 {
        let distance = |(a, b): (f64, &f64)| (a - b).abs();
        let largest = |distances: &mut dyn Iterator<Item = f64>| distances.fold(0.0, f64::max);
        match self.penalty {
            Penalty::Kl => {
                let pooled_l = self.pool(preference_l);
                largest(&mut pooled_l.into_iter().zip(policy_l).map(distance))
            }
            Penalty::K3 => {
                // Centred twice, so that a common part of the preferences is lost by no rounding.
                let middle = mean(preference_l);
                let centred = preference_l.iter().map(|p| p - middle);
                let average = sum(&centred
                    .clone()
                    .zip(policy_l)
                    .map(|(p, policy)| p * policy)
                    .collect::<Vec<_>>());
                let left = centred
                    .zip(policy_l)
                    .map(|(p, policy)| (1.0 - (p - average) / self.beta) * policy);
                largest(&mut left.zip(&self.reference_l).map(distance))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooled_policy_satisfies_its_equation_for_any_preferences() {
        for penalty in [Penalty::K3, Penalty::Kl] {
            for beta in [1e-4, 0.3, 50.0] {
                let pull = Pull {
                    penalty,
                    beta,
                    reference_l: vec![0.2, 1e-9, 0.5, 0.3 - 1e-9],
                };
                let preference_l = [3.0, 7.0, -2.0, 7.0];
                let policy_l = pull.pool(&preference_l);
                let found = pull.residual(&policy_l, &preference_l);
                assert!(found < 1e-11, "{penalty:?} {beta}: {found:e}");
            }
        }
    }
}
