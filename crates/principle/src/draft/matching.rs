//! When a negative is matched: same template, like length, same topic. \[ours\]

use super::words::topic_words;
use crate::LENGTH_TOLERANCE;

/// The least share of a positive's words that its negative keeps in their order.
const TEMPLATE_SHARE_MIN: f64 = 0.6;
/// The least share of a positive's topic words that its negative keeps.
const TOPIC_SHARE_MIN: f64 = 0.5;

/// Why a text is no matched negative of another.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unmatched {
    /// The length alone would tell the two apart.
    #[error(
        "{found} characters, expected {expected} within {:.0} %", 100.0 * LENGTH_TOLERANCE
    )]
    Length {
        /// Characters of the negative.
        found: usize,
        /// Characters of the positive.
        expected: usize,
    },
    /// Another sentence altogether.
    #[error(
        "{:.0} % of the positive's words in their order, expected {:.0} % or more",
        100.0 * found, 100.0 * TEMPLATE_SHARE_MIN
    )]
    Template {
        /// The share found.
        found: f64,
    },
    /// About something else.
    #[error(
        "{:.0} % of the positive's topic words, expected {:.0} % or more",
        100.0 * found, 100.0 * TOPIC_SHARE_MIN
    )]
    Topic {
        /// The share found.
        found: f64,
    },
    /// No negative at all.
    #[error("the same words as the positive, expected a text that differs")]
    Same,
}

/// Passes a negative that differs from its positive in little but polarity; one word may always be
/// another, since in a rule as short as "Be clear." it is half of all.
///
/// # Errors
/// Where it says the same, or length, template or topic would tell the two apart.
pub fn check(positive: &str, negative: &str) -> Result<(), Unmatched> {
    let plain = |text: &str| text.split_whitespace().map(super::words::bare).collect();
    let (ours, theirs): (Vec<String>, Vec<String>) = (plain(positive), plain(negative));
    if ours == theirs {
        return Err(Unmatched::Same);
    }
    let (found, expected) = (negative.chars().count(), positive.chars().count());
    if found.abs_diff(expected) as f64 > LENGTH_TOLERANCE * expected as f64 {
        return Err(Unmatched::Length { found, expected });
    }
    let shared = in_order(&ours, &theirs);
    let found = shared as f64 / ours.len() as f64;
    if found < TEMPLATE_SHARE_MIN && shared + 1 < ours.len() {
        return Err(Unmatched::Template { found });
    }
    let topic = topic_words(positive);
    let kept = topic.iter().filter(|word| theirs.contains(word)).count();
    let found = kept as f64 / topic.len().max(1) as f64;
    if kept + 1 < topic.len() && found < TOPIC_SHARE_MIN {
        return Err(Unmatched::Topic { found });
    }
    Ok(())
}

/// Length of the longest common subsequence.
fn in_order(ours: &[String], theirs: &[String]) -> usize {
    let mut lengths = vec![0; theirs.len() + 1];
    for word in ours {
        let mut diagonal = 0;
        for (at, other) in theirs.iter().enumerate() {
            let above = lengths[at + 1];
            lengths[at + 1] = if word == other {
                diagonal + 1
            } else {
                above.max(lengths[at])
            };
            diagonal = above;
        }
    }
    lengths[theirs.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_template_and_topic_each_refuse() {
        let positive = "Always verify the source of each number in a report.";
        let refused = [
            (
                "always verify the source of each number in a report",
                "same words",
            ),
            (
                "Never verify the source.",
                "24 characters, expected 52 within 20 %",
            ),
            (
                "A wholly different sentence stands here in its place",
                "words in their order",
            ),
            (
                "Always paint the house of each person in a street.",
                "topic words",
            ),
        ];
        for (negative, expected) in refused {
            let error = check(positive, negative).expect_err(negative).to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
        let matched = "Never verify the source of each number in a report.";
        assert_eq!(check(positive, matched), Ok(()));
        assert_eq!(check("Be clear.", "Be vague."), Ok(()));
    }
}
