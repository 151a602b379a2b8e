//! Estimates that carry their 95 % interval.

use std::collections::BTreeMap;

use crate::{Key, mean};

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The estimate itself.
    pub value: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Lower and upper end; `None` where either is not finite, as of a single unit.
    pub fn ends(&self) -> Option<[f64; 2]> {
        let ends = [self.low, self.high];
        ends.iter().all(|end| end.is_finite()).then_some(ends)
    }
}

/// The mean of values that come in units, with its percentile bootstrap interval (95 %).
///
/// A value is given with the number of its unit. Units are independent of each other and are what
/// is resampled; values of one unit may depend on each other in any way and stay together. The mean
/// of a resample is the ratio of its sum to its count, so units may differ in size.
///
/// The ends are NaN for fewer than two units or no resamples, which say nothing of spread; they
/// meet where all values are equal, which is no proof that the next one will be. With few units the
/// interval is too narrow. Cost: `resamples · units`.
///
/// # Source
/// Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3; whole units:
/// Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
pub fn bootstrap_mean(values: &[(usize, f64)], resamples: usize, key: Key) -> Interval {
    let mut totals = BTreeMap::<usize, (f64, f64)>::new();
    for &(unit, value) in values {
        let (sum, count) = totals.entry(unit).or_default();
        *sum += value;
        *count += 1.0;
    }
    let totals: Vec<(f64, f64)> = totals.into_values().collect();
    let value = mean(&values.iter().map(|&(_, value)| value).collect::<Vec<_>>());
    let of_drawn = |drawn: &[usize]| {
        let (sum, count) = drawn
            .iter()
            .map(|&unit| totals[unit])
            .fold((0.0, 0.0), |(sum, count), (more_sum, more)| {
                (sum + more_sum, count + more)
            });
        sum / count
    };
    Interval {
        value,
        ..bootstrap(totals.len(), resamples, key, of_drawn)
    }
}

/// Any statistic of `units` independent units, with its percentile bootstrap interval (95 %).
///
/// `statistic` is given the numbers of the units of a resample, as often as each was drawn; the
/// value is that of every unit once. Resamples in which it is not finite are left out.
///
/// The ends are NaN for fewer than two units or no resamples that can be used.
///
/// # Source
/// As [`bootstrap_mean`].
pub fn bootstrap(
    units: usize,
    resamples: usize,
    key: Key,
    statistic: impl Fn(&[usize]) -> f64,
) -> Interval {
    let mut drawn: Vec<usize> = (0..units).collect();
    let value = statistic(&drawn);
    let mut found = Vec::with_capacity(resamples);
    if units > 1 {
        for resample in 0..resamples {
            let key = key.child(resample as u64);
            for (draw, unit) in drawn.iter_mut().enumerate() {
                *unit = key.below(draw as u64, units);
            }
            found.push(statistic(&drawn));
        }
    }
    let [low, high] = central(found);
    Interval { low, value, high }
}

/// The ends between which the central 95 % of the finite values lie; NaN where there are none.
pub fn central(mut values: Vec<f64>) -> [f64; 2] {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    [0.025, 0.975].map(|share| {
        let last = values.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        values.get(at).copied().unwrap_or(f64::NAN)
    })
}

/// Spearman's rank correlation of pairs, ties at their mean rank; NaN where a side does not vary.
///
/// # Source
/// Spearman, "The proof and measurement of association between two things" (1904); ties: Kendall
/// and Gibbons, "Rank Correlation Methods" (1990), section 3.8.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |side: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let values: Vec<f64> = pairs.iter().map(side).collect();
        let rank = |value: &f64| {
            let below = values.iter().filter(|other| *other < value).count();
            let upto = values.iter().filter(|other| *other <= value).count();
            0.5 * (below + upto) as f64
        };
        let ranks: Vec<f64> = values.iter().map(rank).collect();
        let middle = mean(&ranks);
        ranks.iter().map(|rank| rank - middle).collect()
    };
    let (left, right) = (ranks(|pair| pair.0), ranks(|pair| pair.1));
    crate::dot(&left, &right) / (crate::norm(&left) * crate::norm(&right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 97.5 % quantile of the standard normal law.
    const Z: f64 = 1.959_963_984_540_054;

    /// A standard normal draw for each unit, as often as `copies` says.
    fn drawn(units: usize, copies: impl Fn(usize) -> usize) -> Vec<(usize, f64)> {
        let value = |unit: usize| (unit, Key::new(3).normal(unit as u64));
        (0..units)
            .flat_map(|unit| vec![value(unit); copies(unit)])
            .collect()
    }

    fn width(values: &[(usize, f64)]) -> f64 {
        let found = bootstrap_mean(values, 1000, Key::new(4));
        assert!(found.low < found.value && found.value < found.high);
        found.high - found.low
    }

    #[test]
    fn ranks_alone_decide_a_rank_correlation() {
        let check = |pairs: &[(f64, f64)], expected: f64| {
            let found = spearman(pairs);
            assert!((found - expected).abs() < 1e-12, "{pairs:?}: {found}");
        };
        check(&[(1.0, 1.0), (2.0, 8.0), (3.0, 100.0)], 1.0);
        check(&[(1.0, 3.0), (2.0, 2.0), (30.0, 1.0)], -1.0);
        // 1 − 6·Σd²/(n·(n² − 1)) with differences of 0, 1, 1, 0.
        check(&[(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 4.0)], 0.8);
        // Ranks 1.5, 1.5, 3 and 1, 2, 3.
        check(&[(1.0, 1.0), (1.0, 2.0), (2.0, 3.0)], 0.75_f64.sqrt());
        assert!(spearman(&[(1.0, 1.0), (1.0, 2.0)]).is_nan());
    }

    #[test]
    fn a_single_unit_has_no_interval_however_many_values_it_has() {
        let found = bootstrap_mean(&[(7, 0.5), (7, 0.0), (7, 1.0)], 1000, Key::new(4));
        assert!(
            found.value.to_bits() == 0.5_f64.to_bits() && found.low.is_nan(),
            "{found:?}"
        );
        assert_eq!(found.ends(), None);
    }

    #[test]
    fn perfectly_correlated_copies_within_a_unit_do_not_narrow_the_interval() {
        let copied = drawn(200, |_| 9);
        let (alone, together) = (width(&drawn(200, |_| 1)), width(&copied));
        assert!((alone - together).abs() < 1e-12, "{alone} {together}");
        let independent = copied.iter().enumerate();
        let independent: Vec<(usize, f64)> =
            independent.map(|(i, &(_, value))| (i, value)).collect();
        assert!(width(&independent) < 0.4 * together);
    }

    /// Units of 1 and of 3 equal values by turns: the mean `Σ n·v / Σ n` has the variance
    /// `Σ n² / (Σ n)² = 1.25/units` for values of variance 1.
    #[test]
    fn the_interval_has_the_width_of_the_central_limit_for_units_of_any_size() {
        for (sizes, variance) in [([1, 1], 1.0), ([1, 3], 1.25)] {
            let found = width(&drawn(2000, |unit| sizes[unit % 2]));
            let share = found / (2.0 * Z * f64::sqrt(variance / 2000.0));
            assert!((share - 1.0).abs() < 0.1, "{sizes:?}: {share}");
        }
    }
}
