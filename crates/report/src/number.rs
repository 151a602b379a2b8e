//! Numbers in sentences.

/// Two to four significant digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 1e-12 {
        return "0".to_owned();
    }
    match size {
        _ if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        _ if size < 0.01 => format!("{value:.4}"),
        _ if size < 1.0 => format!("{value:.3}"),
        _ if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 1.0 {
        return format!("{percent:.1} %");
    }
    format!("{percent:.0} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_lose_their_rounding() {
        let table = [
            (0.0, "0"),
            (-3e-17, "0"),
            (1.5e-4, "1.5e-4"),
            (0.001_42, "0.0014"),
            (0.4567, "0.457"),
            (12.346, "12.35"),
            (1234.4, "1234"),
        ];
        for (value, text) in table {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            [0.0, 0.004, 0.55, 1.0].map(percent),
            ["0 %", "0.4 %", "55 %", "100 %"]
        );
    }
}
