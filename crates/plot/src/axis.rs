//! Numbers to places along an axis, and the numbers written beside it.

use crate::Spacing;

/// A range of numbers along one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    spacing: Spacing,
}

impl Axis {
    /// From `low` to `high`, a little wider where they are one.
    pub(crate) fn new(low: f64, high: f64, spacing: Spacing) -> Self {
        let is_wide = high > low;
        let (low, high) = match (is_wide, spacing) {
            (true, _) => (low, high),
            (false, Spacing::Linear) => (low - 0.5, low + 0.5),
            (false, Spacing::Logarithmic) => (low / 2.0, low * 2.0),
        };
        Self { low, high, spacing }
    }

    /// Where a number lies, from 0 to 1.
    pub(crate) fn place(&self, number: f64) -> f64 {
        let at = |x: f64| match self.spacing {
            Spacing::Linear => x,
            Spacing::Logarithmic => x.ln(),
        };
        (at(number) - at(self.low)) / (at(self.high) - at(self.low))
    }

    /// Round numbers within the range, ascending, about five of them.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let ticks = match self.spacing {
            Spacing::Linear => self.even_ticks(),
            Spacing::Logarithmic => self.decade_ticks(),
        };
        let slack = 1e-9 * self.high.abs();
        let within = |x: &f64| (self.low - slack..=self.high + slack).contains(x);
        ticks.into_iter().filter(within).collect()
    }

    fn even_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough * (1.0 - 1e-9))
            .unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        (first..first + 12).map(|i| i as f64 * step).collect()
    }

    /// Powers of ten; over less than two decades also their double and fivefold, or doublings.
    fn decade_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let factors: &[f64] = if decades < 2.5 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let every = ((last - first) / 8 + 1) as usize;
        let powers = (first..=last).step_by(every);
        powers
            .flat_map(|power| factors.iter().map(move |f| f * 10.0_f64.powi(power)))
            .collect()
    }
}

/// A tick's number with few digits.
pub(crate) fn label(number: f64) -> String {
    if number.abs() >= 1e5 || (number.abs() > 0.0 && number.abs() < 1e-3) {
        return format!("{number:.0e}");
    }
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(low: f64, high: f64, spacing: Spacing, expected: &[&str]) {
        let ticks = Axis::new(low, high, spacing).ticks();
        let found: Vec<String> = ticks.into_iter().map(label).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        check(
            0.0,
            1.0,
            Spacing::Linear,
            &["0", "0.2", "0.4", "0.6", "0.8", "1"],
        );
        check(
            0.01,
            10.0,
            Spacing::Logarithmic,
            &["0.01", "0.1", "1", "10"],
        );
        check(
            2.0,
            64.0,
            Spacing::Logarithmic,
            &["2", "5", "10", "20", "50"],
        );
        check(
            3.0,
            3.0,
            Spacing::Linear,
            &["2.6", "2.8", "3", "3.2", "3.4"],
        );
    }
}
