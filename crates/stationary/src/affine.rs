//! Where the reward preference is a slope times the distance from the mean reward, `P_l = h·(r_l −
//! r̄)`, and the policy enters through `h` alone: then `π` is a pooling of the rewards with weight
//! `s = β/h`, and all stationary policies are the roots of `s·h(π(s)) = β` in one variable \[D\].
//!
//! This covers rewards without scale normalisation, large groups, Bernoulli rewards in groups of
//! any size, and deterministic rewards of two values.

use crate::Penalty;
use crate::binary::preference_gap;
use crate::pool::Pull;
use crate::roots::{Root, roots};

/// What `h` depends on. Rewards are those of the levels, ascending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Slope {
    /// A constant.
    Constant(f64),
    /// `1/√(Var_π r + noise²)`.
    Deviation { noise: f64 },
    /// `1/√(r̄(1−r̄))`: large groups, Bernoulli rewards.
    BernoulliDeviation,
    /// `D_G(r̄)`: groups of G, Bernoulli rewards.
    Gap { group: usize },
    /// `D_G(π_2)/(r_2 − r_1)`: groups of G, two deterministic rewards.
    TwoLevels { group: usize },
}

/// A stationary policy of the levels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Balance {
    pub(crate) policy_l: Vec<f64>,
    pub(crate) attracting: bool,
}

/// Cells of the scan in `ln s`, over so many powers of e.
const CELLS: usize = 3000;
const SPAN: f64 = 60.0;

impl Slope {
    /// `h` at a policy; infinite where rewards have no spread and would be divided by 0.
    pub(crate) fn at(self, values_l: &[f64], policy_l: &[f64]) -> f64 {
        let last = values_l.len() - 1;
        // Distances below the best, which keep their digits where it has nearly all mass.
        let below = |l: usize| values_l[last] - values_l[l];
        let levels = 0..values_l.len();
        let moment = |power| -> f64 {
            let terms = levels.clone().map(|l| policy_l[l] * below(l).powi(power));
            math::sum(&terms.collect::<Vec<_>>())
        };
        match self {
            Self::Constant(slope) => slope,
            Self::Deviation { noise } => {
                let variance = moment(2) - moment(1) * moment(1);
                1.0 / (variance.max(0.0) + noise * noise).sqrt()
            }
            Self::BernoulliDeviation => {
                let fails = (1.0 - values_l[last]) + moment(1);
                1.0 / (fails.min(1.0) * (1.0 - fails).max(0.0)).sqrt()
            }
            Self::Gap { group } => {
                preference_gap(group, (values_l[last] - moment(1)).clamp(0.0, 1.0))
            }
            Self::TwoLevels { group } => {
                preference_gap(group, policy_l[0].clamp(0.0, 1.0)) / below(0)
            }
        }
    }

    /// `h·(r_l − r̄)` for every level; 0 where rewards have no spread (0/0 ≡ 0).
    pub(crate) fn preference(self, values_l: &[f64], policy_l: &[f64]) -> Vec<f64> {
        let slope = self.at(values_l, policy_l);
        let top = values_l[values_l.len() - 1];
        let below: Vec<f64> = values_l.iter().map(|v| top - v).collect();
        let average = math::dot(&below, policy_l) / math::sum(policy_l);
        let entry = |b: &f64| {
            if slope.is_finite() {
                slope * (average - b)
            } else {
                0.0
            }
        };
        below.iter().map(entry).collect()
    }

    /// The stationary policies under preferences of `factor` times these, the one that training
    /// meets first from the reference before the others; none where the best level takes all.
    ///
    /// Two levels or more.
    pub(crate) fn balances(self, factor: f64, values_l: &[f64], pull: &Pull) -> Vec<Balance> {
        let pooled = |log_s: f64| {
            let pull = Pull {
                beta: log_s.exp(),
                ..pull.clone()
            };
            pull.pool(values_l)
        };
        if let Self::Constant(slope) = self {
            let policy_l = pooled((pull.beta / (factor * slope)).ln());
            return vec![Balance {
                policy_l,
                attracting: true,
            }];
        }
        let excess =
            |log_s: f64| log_s + (factor * self.at(values_l, &pooled(log_s))).ln() - pull.beta.ln();
        let range = values_l[values_l.len() - 1] - values_l[0];
        // 1/h is at most this, so no root has a larger s.
        let bound = match self {
            Self::Deviation { noise } => range + noise,
            Self::TwoLevels { .. } => range,
            _ => 1.0,
        };
        let high = (2.0 * pull.beta * bound / factor).ln();
        let low = high - SPAN + pull.beta.min(1.0).ln();
        let found = roots(&excess, low, high, CELLS);
        let balance = |root: &Root| Balance {
            policy_l: pooled(root.at),
            attracting: root.rises,
        };
        found.iter().rev().map(balance).collect()
    }

    /// Whether the best level may take all: the penalty alone cannot keep a policy inside.
    pub(crate) fn may_collapse(self, penalty: Penalty) -> bool {
        penalty == Penalty::Kl && matches!(self, Self::Deviation { .. } | Self::BernoulliDeviation)
    }
}
