//! When two answers are the same.

/// Whether a given answer says the same as the expected one.
///
/// Of either, only what follows the last `####` counts (the form of GSM8K, Cobbe et al., arXiv
/// 2110.14168), and of that only what the last `\boxed{…}` holds, where there is one (the form of
/// MATH, Hendrycks et al., arXiv 2103.03874). Where both are numbers they are compared exactly as
/// such: decimal numbers and fractions (`1/2`, `\frac{1}{2}`, `0.5`), whatever their sign of
/// currency (`$`, `€`, `£`), dollars of mathematics, thousands separators, leading and trailing
/// zeros and closing full stop. A per cent sign is left out, as lm-eval leaves it out for MATH: 50
/// % is 50, not 0.5. A unit (`18 apples`) makes a text of a number. Otherwise they are compared as
/// text, case and all, without the white space at the ends.
pub fn same_answer(given: &str, expected: &str) -> bool {
    let [given, expected] = [given, expected].map(final_part);
    match (Number::parse(given), Number::parse(expected)) {
        (Some(given), Some(expected)) => given.equals(&expected),
        _ => given == expected,
    }
}

fn final_part(answer: &str) -> &str {
    let answer = answer.rsplit("####").next().unwrap_or(answer);
    boxed(answer).unwrap_or(answer).trim()
}

/// What the last `\boxed{…}` holds, its own braces matched.
fn boxed(text: &str) -> Option<&str> {
    const OPEN: &str = "\\boxed{";
    let content = &text[text.rfind(OPEN)? + OPEN.len()..];
    let mut depth = 1;
    let end = content.find(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    Some(&content[..end?])
}

/// A ratio of whole numbers, of any size.
struct Number {
    negative: bool,
    /// Decimal digits, the lowest first, without zeros at the top; none is 0.
    numerator: Vec<u8>,
    /// Likewise; not 0.
    denominator: Vec<u8>,
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let inner = text.strip_prefix('$').and_then(|t| t.strip_suffix('$'));
        let text = inner.unwrap_or(text).trim();
        let percent = text.strip_suffix("\\%").or(text.strip_suffix('%'));
        let text = percent.unwrap_or(text).trim_end();
        let text = without_currency(text);
        let (negative, text) = match text.strip_prefix(['-', '\u{2212}']) {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (above, below) = fraction(without_currency(text));
        let (above, above_decimals) = decimal(above)?;
        let (below, below_decimals) = decimal(below)?;
        // a·10⁻ⁱ / b·10⁻ʲ is a·10ʲ / b·10ⁱ.
        let number = Self {
            negative: negative && !above.is_empty(),
            numerator: scaled(above, below_decimals),
            denominator: scaled(below, above_decimals),
        };
        (!number.denominator.is_empty()).then_some(number)
    }

    fn equals(&self, other: &Self) -> bool {
        self.negative == other.negative
            && product(&self.numerator, &other.denominator)
                == product(&other.numerator, &self.denominator)
    }
}

fn without_currency(text: &str) -> &str {
    let signs = ["\\$", "$", "€", "£"];
    let found = signs.iter().find_map(|sign| text.strip_prefix(sign));
    found.unwrap_or(text)
}

/// Both parts of `a/b` or of `\frac{a}{b}`; of anything else the text, and 1.
fn fraction(text: &str) -> (&str, &str) {
    let commands = ["\\frac{", "\\dfrac{", "\\tfrac{"];
    let latex = commands.iter().find_map(|c| text.strip_prefix(c));
    let latex = latex.and_then(|rest| rest.strip_suffix('}')?.split_once("}{"));
    latex
        .or_else(|| text.split_once('/'))
        .unwrap_or((text, "1"))
}

/// The digits of a decimal number without its point, lowest first, and how many stand after it.
fn decimal(text: &str) -> Option<(Vec<u8>, usize)> {
    let (whole, after) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = whole.split(',').enumerate().all(|(index, group)| {
        let length_is_right = match index {
            0 => !group.is_empty() && (group.len() <= 3 || group.len() == whole.len()),
            _ => group.len() == 3,
        };
        length_is_right && is_digits(group)
    });
    let has_whole = grouped || (whole.is_empty() && !after.is_empty());
    if !has_whole || !is_digits(after) {
        return None;
    }
    let digits = whole
        .bytes()
        .filter(|&byte| byte != b',')
        .chain(after.bytes());
    let mut digits: Vec<u8> = digits.map(|byte| byte - b'0').collect();
    digits.reverse();
    Some((trimmed(digits), after.len()))
}

/// Without zeros at the top.
fn trimmed(mut digits: Vec<u8>) -> Vec<u8> {
    while digits.last() == Some(&0) {
        digits.pop();
    }
    digits
}

/// The number times 10 to the power of `zeros`.
fn scaled(mut digits: Vec<u8>, zeros: usize) -> Vec<u8> {
    if !digits.is_empty() {
        digits.splice(..0, std::iter::repeat_n(0, zeros));
    }
    digits
}

fn product(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut sums = vec![0u64; left.len() + right.len()];
    for (i, &a) in left.iter().enumerate() {
        for (j, &b) in right.iter().enumerate() {
            sums[i + j] += u64::from(a) * u64::from(b);
        }
    }
    let mut carry = 0;
    let digit = |sum: &u64| {
        let all = sum + carry;
        carry = all / 10;
        (all % 10) as u8
    };
    trimmed(sums.iter().map(digit).collect())
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
            ("\u{2212}5", "-5", true),
            ("€1,000", "1000", true),
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
            ("$$", "0", false),
            ("%", "0", false),
            (" Paris\n", "Paris", true),
            ("paris", "Paris", false),
            ("1,2", "1,2", true),
            ("", "", true),
        ];
        check(&cases);
    }

    #[test]
    fn boxes_fractions_and_percentages_are_read_as_what_they_hold() {
        check(&[
            ("So it is \\boxed{18}.", "18", true),
            ("\\boxed{1} or rather \\boxed{ 2 }", "2", true),
            ("\\boxed{\\frac{1}{2}}", "0.5", true),
            ("\\boxed{x^{2}}", "x^{2}", true),
            ("\\boxed{18", "18", false),
            ("$\\dfrac{3}{4}$", ".75", true),
            ("-\\frac{1}{2}", "-1/2", true),
            ("2/4", "1/2", true),
            ("1/3", "0.3333", false),
            ("1/3", "2/6", true),
            ("0/5", "0", true),
            ("1/0", "1/0", true),
            ("1/0", "2/0", false),
            ("1/2/3", "1/6", false),
            ("1.5/0.5", "3", true),
            ("50%", "50", true),
            ("50\\%", "50 %", true),
            ("50%", "0.5", false),
            ("\\$5", "5", true),
            ("$5$", "5", true),
            ("12/5/2024", "12/5/2024", true),
        ]);
    }

    fn check(cases: &[(&str, &str, bool)]) {
        for &(given, expected, same) in cases {
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
            assert!(Number::parse(final_part(answer)).is_some(), "{answer}");
        }
    }
}
