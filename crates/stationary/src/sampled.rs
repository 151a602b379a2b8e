//! The reward preference by Monte Carlo, where there are too many groups to enumerate.

use math::Key;

use crate::compositions::unit;

/// Groups of others drawn from a proposal, good for any policy that is near it.
///
/// A draw is stratified: over the groups of a sample, the uniform that picks the level of the j-th
/// other falls once into each of as many equal parts of `[0, 1)` (a Latin hypercube), and so do
/// those of the noise by antithetic pairs. Other policies than the proposal are met by weighting
/// each group with its ratio of probabilities, which keeps the estimate smooth in the policy, so
/// that a stationary policy of the sample exists and can be found to rounding.
///
/// # Source
/// Latin hypercubes: M. D. Mc Kay, Beckman and Conover, "A comparison of three methods for
/// selecting values of input variables" (1979).
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    /// `[n, j]`: the level of each of the others.
    levels_nj: Vec<usize>,
    others: usize,
    /// Sum and sum of squares of the others' rewards.
    moments_n: Vec<(f64, f64)>,
    /// The noise on a completion's own reward.
    own_noise_n: Vec<f64>,
    proposal_l: Vec<f64>,
    unit_l: Vec<f64>,
}

/// A sample's size, shape and name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) groups: usize,
    pub(crate) others: usize,
    pub(crate) key: Key,
}

impl Groups {
    /// Draws from `proposal_l` over rewards `values_l` with Gaussian noise.
    pub(crate) fn new(values_l: &[f64], noise: f64, proposal_l: &[f64], draw: Draw) -> Self {
        let Draw {
            groups,
            others,
            key,
        } = draw;
        let unit_l = unit(values_l);
        let range = values_l[values_l.len() - 1] - values_l[0];
        let noise = if range > 0.0 { noise / range } else { noise };
        let cumulative_l: Vec<f64> = proposal_l
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        let level = |u: f64| {
            let level = cumulative_l.partition_point(|&c| c <= u);
            level.min(proposal_l.len() - 1)
        };
        let mut levels_nj = vec![0; groups * others];
        for j in 0..others {
            let key = key.child(j as u64);
            for (n, stratum) in key.permutation(groups).into_iter().enumerate() {
                let jitter = key.child(1).uniform(n as u64);
                levels_nj[n * others + j] = level((stratum as f64 + jitter) / groups as f64);
            }
        }
        let noises = key.child(others as u64);
        let drawn = |n: usize, j: usize| {
            // A group and its neighbour have noise of opposite sign.
            let sign = if n.is_multiple_of(2) { 1.0 } else { -1.0 };
            sign * noise * noises.child(j as u64).normal((n / 2) as u64)
        };
        let moments = |n: usize| {
            let reward = |j: usize| unit_l[levels_nj[n * others + j]] + drawn(n, j);
            let rewards = (0..others).map(reward);
            rewards.fold((0.0, 0.0), |(a, b), r| (a + r, b + r * r))
        };
        Self {
            moments_n: (0..groups).map(moments).collect(),
            own_noise_n: (0..groups).map(|n| drawn(n, others)).collect(),
            levels_nj,
            others,
            proposal_l: proposal_l.to_vec(),
            unit_l,
        }
    }

    /// The estimate of `E[advantage | own level]` for each level, by population deviation.
    pub(crate) fn preference(&self, policy_l: &[f64]) -> Vec<f64> {
        let ratios_l: Vec<f64> = policy_l
            .iter()
            .zip(&self.proposal_l)
            .map(|(policy, proposal)| policy / proposal)
            .collect();
        let group = (self.others + 1) as f64;
        let mut preference_l = vec![0.0; policy_l.len()];
        let mut weights = 0.0;
        let samples = self.levels_nj.chunks(self.others);
        for ((levels_j, &(sum, squares)), noise) in
            samples.zip(&self.moments_n).zip(&self.own_noise_n)
        {
            let weight: f64 = levels_j.iter().map(|&l| ratios_l[l]).product();
            weights += weight;
            for (total, unit) in preference_l.iter_mut().zip(&self.unit_l) {
                let own = unit + noise;
                let mean = (sum + own) / group;
                let variance = (squares + own * own) / group - mean * mean;
                if variance > SPREAD_MIN {
                    *total += weight * (own - mean) / variance.sqrt();
                }
            }
        }
        preference_l.iter().map(|p| p / weights).collect()
    }
}

/// A variance below this, of rewards in `[0, 1]`, is what rounding left of 0.
const SPREAD_MIN: f64 = 1e-14;
