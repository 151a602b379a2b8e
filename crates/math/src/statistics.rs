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
    if totals.len() < 2 || resamples == 0 {
        return Interval {
            low: f64::NAN,
            value,
            high: f64::NAN,
        };
    }
    let resampled = |resample: usize| {
        let key = key.child(resample as u64);
        let drawn = (0..totals.len()).map(|draw| totals[key.below(draw as u64, totals.len())]);
        let (sum, count) = drawn.fold((0.0, 0.0), |(sum, count), (more_sum, more)| {
            (sum + more_sum, count + more)
        });
        sum / count
    };
    let mut means: Vec<f64> = (0..resamples).map(resampled).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((resamples - 1) as f64 * share).round() as usize];
    Interval {
        low: at(0.025),
        value,
        high: at(0.975),
    }
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
    fn a_single_unit_has_no_interval_however_many_values_it_has() {
        let found = bootstrap_mean(&[(7, 0.5), (7, 0.0), (7, 1.0)], 1000, Key::new(4));
        assert!(
            found.value.to_bits() == 0.5_f64.to_bits() && found.low.is_nan(),
            "{found:?}"
        );
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
