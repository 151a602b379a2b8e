//! Numbers as a person reads them.

use std::time::Duration;

/// `1234567` → `1 234 567`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `65.3 s`, `4 min 5 s`, `2 h 3 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0 | 1, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A share as a percentage; a missing one as a dash.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// Below this a figure is what rounding left of 0.
const ROUNDING: f64 = 1e-12;

/// About four significant digits, whatever the size; a missing number as a dash.
pub(crate) fn short(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let size = value.abs();
    if size < ROUNDING {
        return "0.0000".to_owned();
    }
    if !(1e-3..1e4).contains(&size) {
        return format!("{value:.2e}");
    }
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three_from_the_right() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let table = [
            (0.25, "0.2 s"),
            (65.3, "65.3 s"),
            (245.0, "4 min 5 s"),
            (7400.0, "2 h 3 min"),
        ];
        for (seconds, text) in table {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!(short(Some(0.000_012_34)), "1.23e-5");
        assert_eq!(short(Some(0.0)), "0.0000");
        assert_eq!(short(Some(-1.39e-17)), "0.0000");
        assert_eq!(short(None), "–");
    }
}
