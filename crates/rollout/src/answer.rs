//! When two answers are the same.

/// Whether a given answer says the same as the expected one.
///
/// Of either, only what follows the last `####` counts (the form of GSM8K, Cobbe et al., arXiv
/// 2110.14168). Where both are decimal numbers they are compared exactly as such, whatever their
/// sign of currency (`$`), thousands separators, leading and trailing zeros and closing full stop;
/// otherwise as text, case and all, without the white space at the ends.
pub fn same_answer(given: &str, expected: &str) -> bool {
    let [given, expected] = [given, expected].map(final_part);
    match (Decimal::parse(given), Decimal::parse(expected)) {
        (Some(given), Some(expected)) => given == expected,
        _ => given == expected,
    }
}

fn final_part(answer: &str) -> &str {
    answer.rsplit("####").next().unwrap_or(answer).trim()
}

/// A decimal number in the one spelling that equal numbers share.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    /// Digits before the point, without leading zeros.
    whole: String,
    /// Digits after the point, without trailing zeros.
    fraction: String,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let text = text.strip_prefix('$').unwrap_or(text);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let grouped = whole.split(',').enumerate().all(|(index, group)| {
            let length_is_right = match index {
                0 => !group.is_empty() && (group.len() <= 3 || group.len() == whole.len()),
                _ => group.len() == 3,
            };
            length_is_right && is_digits(group)
        });
        let has_whole = grouped || (whole.is_empty() && !fraction.is_empty());
        if !has_whole || !is_digits(fraction) {
            return None;
        }
        let whole = whole.replace(',', "").trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        Some(Self {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_as_numbers_and_text_as_text() {
        let cases = [
            ("18", "6 + 12 = <<6+12=18>>18\n#### 18", true),
            ("The sum.\n#### 18", "#### 18", true),
            ("$18", "18", true),
            ("$-5", "-$5", true),
            ("18.", "18", true),
            ("18.00", "18", true),
            ("018", "18", true),
            ("+18", "18", true),
            ("-0.0", "0", true),
            (".5", "0.50", true),
            ("1,234,567.5", "1234567.50", true),
            (
                "100000000000000000000000.1",
                "100000000000000000000000.10",
                true,
            ),
            (
                "100000000000000000000000.1",
                "100000000000000000000000.2",
                false,
            ),
            ("-18", "18", false),
            ("1.8", "18", false),
            ("1,2", "12", false),
            ("1,2345", "12345", false),
            ("1234,567", "1234567", false),
            (",123", "123", false),
            ("1e3", "1000", false),
            ("18 apples", "18", false),
            ("", "0", false),
            (".", "0", false),
            ("$", "0", false),
            (" Paris\n", "Paris", true),
            ("paris", "Paris", false),
            ("1,2", "1,2", true),
            ("", "", true),
        ];
        for (given, expected, same) in cases {
            assert_eq!(same_answer(given, expected), same, "{given:?} {expected:?}");
            assert_eq!(same_answer(expected, given), same, "{expected:?} {given:?}");
        }
    }

    #[test]
    fn every_answer_of_gsm8k_is_a_number() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/data/gsm8k/test.jsonl"
        );
        let Ok(lines) = std::fs::read_to_string(path) else {
            eprintln!("skipped: {path} is absent");
            return;
        };
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let answer = row["answer"].as_str().expect("text");
            assert!(Decimal::parse(final_part(answer)).is_some(), "{answer}");
        }
    }
}
