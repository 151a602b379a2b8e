//! The reward preference of deterministic rewards by enumeration: every way in which the others of
//! a group can be spread over the levels, with the advantages that it gives.

/// All compositions of a group's others, ready for any policy.
#[derive(Clone, Debug)]
pub(crate) struct Compositions {
    /// `[c, l]`: how many of the others are at each level.
    counts_cl: Vec<f64>,
    /// Logarithm of the number of orders of each composition.
    log_orders_c: Vec<f64>,
    /// `[c, l]`: the advantage of a completion at level l among others of composition c.
    advantages_cl: Vec<f64>,
    levels: usize,
}

/// Number of compositions of `others` completions over `levels`; infinite where it has no end.
pub(crate) fn count(others: usize, levels: usize) -> f64 {
    let (n, l) = (others as f64, levels as f64);
    (libm::lgamma(n + l) - libm::lgamma(l) - libm::lgamma(n + 1.0)).exp()
}

impl Compositions {
    /// Of `others` completions over rewards that are all different; deviations by divisor
    /// `others + 1`.
    pub(crate) fn new(values_l: &[f64], others: usize) -> Self {
        let levels = values_l.len();
        let unit_l = unit(values_l);
        let mut all = Self {
            counts_cl: Vec::new(),
            log_orders_c: Vec::new(),
            advantages_cl: Vec::new(),
            levels,
        };
        let mut counts_l = vec![0; levels];
        counts_l[0] = others;
        loop {
            all.push(&counts_l, &unit_l);
            if !advance(&mut counts_l) {
                return all;
            }
        }
    }

    fn push(&mut self, counts_l: &[usize], unit_l: &[f64]) {
        let others: usize = counts_l.iter().sum();
        let counts = || counts_l.iter().map(|&n| n as f64);
        let orders = libm::lgamma(others as f64 + 1.0)
            - counts().map(|n| libm::lgamma(n + 1.0)).sum::<f64>();
        self.log_orders_c.push(orders);
        self.counts_cl.extend(counts());
        let group = (others + 1) as f64;
        let (sum, squares) = counts()
            .zip(unit_l)
            .fold((0.0, 0.0), |(a, b), (n, r)| (a + n * r, b + n * r * r));
        for (&own, &same) in unit_l.iter().zip(counts_l) {
            let mean = (sum + own) / group;
            // Values are in [0, 1] and differ, so no digits are lost that matter.
            let variance = (squares + own * own) / group - mean * mean;
            let alone = same == others;
            let advantage = if alone {
                0.0
            } else {
                (own - mean) / variance.sqrt()
            };
            self.advantages_cl.push(advantage);
        }
    }

    /// `E[advantage | own level]` for each level, the others drawn by `policy_l`.
    pub(crate) fn preference(&self, policy_l: &[f64]) -> Vec<f64> {
        let logs_l: Vec<f64> = policy_l.iter().map(|p| p.ln()).collect();
        let mut preference_l = vec![0.0; self.levels];
        let rows = self.counts_cl.chunks(self.levels);
        let advantages = self.advantages_cl.chunks(self.levels);
        for ((counts_l, advantages_l), orders) in rows.zip(advantages).zip(&self.log_orders_c) {
            let logs = counts_l.iter().zip(&logs_l);
            let drawn: f64 = logs
                .filter(|(n, _)| **n > 0.0)
                .map(|(n, log)| n * log)
                .sum();
            let weight = (orders + drawn).exp();
            for (sum, advantage) in preference_l.iter_mut().zip(advantages_l) {
                *sum += weight * advantage;
            }
        }
        preference_l
    }
}

/// Ascending values moved and scaled to `[0, 1]`, which changes no advantage.
pub(crate) fn unit(values_l: &[f64]) -> Vec<f64> {
    let low = values_l[0];
    let range = values_l[values_l.len() - 1] - low;
    let range = if range > 0.0 { range } else { 1.0 };
    values_l.iter().map(|v| (v - low) / range).collect()
}

/// The next composition; `false` after the last, in which all are at the last level.
fn advance(counts_l: &mut [usize]) -> bool {
    let last = counts_l.len() - 1;
    let Some(from) = (0..last).rev().find(|&l| counts_l[l] > 0) else {
        return false;
    };
    counts_l[from] -= 1;
    let behind = counts_l[last];
    counts_l[last] = 0;
    counts_l[from + 1] = behind + 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_compositions_are_visited_as_there_are_and_their_weights_sum_to_1() {
        for (others, levels) in [(1, 2), (4, 3), (7, 5)] {
            let values_l: Vec<f64> = (0..levels).map(|l| l as f64).collect();
            let all = Compositions::new(&values_l, others);
            let expected = count(others, levels).round() as usize;
            assert_eq!(all.log_orders_c.len(), expected);
            let equal: f64 = all.log_orders_c.iter().map(|log| log.exp()).sum();
            let total = equal / (levels as f64).powf(others as f64);
            assert!((total - 1.0).abs() < 1e-12, "{total}");
        }
    }
}
