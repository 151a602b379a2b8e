//! Estimates that carry their 95 % interval.

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

/// The 97.5 % quantile of the standard normal law.
const Z: f64 = 1.959_963_984_540_054;

/// Percentile bootstrap of a mean over exchangeable units (95 %).
///
/// The ends are NaN for fewer than two values or no resamples, which say nothing of spread. Cost:
/// `resamples · length`.
///
/// # Source
/// Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
pub fn bootstrap_mean(values: &[f64], resamples: usize, key: Key) -> Interval {
    let value = mean(values);
    if values.len() < 2 || resamples == 0 {
        return Interval {
            low: f64::NAN,
            value,
            high: f64::NAN,
        };
    }
    let mut means: Vec<f64> = (0..resamples)
        .map(|resample| {
            let key = key.child(resample as u64);
            let drawn = (0..values.len()).map(|i| values[key.below(i as u64, values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((resamples - 1) as f64 * share).round() as usize];
    Interval {
        low: at(0.025),
        value,
        high: at(0.975),
    }
}

/// Wilson's score interval of a rate (95 %); NaN for no trials.
///
/// # Source
/// Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
pub fn wilson(successes: usize, trials: usize) -> Interval {
    let (n, rate) = (trials as f64, successes as f64 / trials as f64);
    let centre = (rate + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval {
        low: (centre - half).max(0.0),
        value: rate,
        high: (centre + half).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R: `binom::binom.wilson(15, 50)` → 0.1910, 0.4375.
    #[test]
    fn wilson_gives_the_textbook_interval() {
        let found = wilson(15, 50);
        assert!((found.low - 0.1910).abs() < 1e-4 && (found.high - 0.4375).abs() < 1e-4);
    }

    #[test]
    fn a_single_value_has_no_interval() {
        let found = bootstrap_mean(&[0.5], 1000, Key::new(4));
        assert!(
            found.value.to_bits() == 0.5_f64.to_bits() && found.low.is_nan(),
            "{found:?}"
        );
    }

    #[test]
    fn the_bootstrap_interval_has_the_width_of_the_central_limit() {
        let key = Key::new(3);
        let values: Vec<f64> = (0..2000).map(|i| key.normal(i)).collect();
        let found = bootstrap_mean(&values, 1000, Key::new(4));
        let width = (found.high - found.low) / (2.0 * Z / 2000_f64.sqrt());
        assert!((width - 1.0).abs() < 0.1, "{width}");
        assert!(found.low < found.value && found.value < found.high);
    }
}
