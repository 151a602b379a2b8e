//! Principles and the texts a model meets them as.

/// The largest share of its positive's length by which a matched negative may differ. \[ours\]
pub const LENGTH_TOLERANCE: f64 = 0.2;

/// One or more principles that hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constitution {
    /// At least one; ids are unique.
    pub principles: Vec<Principle>,
}

/// A rule, and what breaking it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principle {
    /// Names it in files and messages.
    pub id: String,
    /// Names it to readers.
    pub name: String,
    /// The rule.
    pub positive: String,
    /// At least one text that is like the rule but for its polarity.
    pub negatives: Vec<String>,
    /// The labels of a SAMI file.
    pub identifiers: Option<Identifiers>,
    /// Where the rule comes from, such as `policy.md:12`.
    pub source: Option<String>,
}

/// What each numbered line of a SAMI text stands for, such as `pos concise`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identifiers {
    /// Of the positive text.
    pub positive: Vec<String>,
    /// Of the negative text.
    pub negative: Vec<String>,
}

/// A negative whose length alone tells it from its positive. It displays as one line; whether it is
/// a warning or an error is for the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "negative {number} of principle {id:?} has {found} characters, expected {expected} within \
     {:.0} %", 100.0 * LENGTH_TOLERANCE
)]
pub struct Mismatch {
    /// The principle.
    pub id: String,
    /// Which of its negatives, from 1.
    pub number: usize,
    /// Characters of the negative.
    pub found: usize,
    /// Characters of the positive.
    pub expected: usize,
}

impl Constitution {
    /// The negatives whose length in characters differs from their positive's by more than
    /// [`LENGTH_TOLERANCE`].
    pub fn mismatches(&self) -> Vec<Mismatch> {
        let of_principle = |principle: &Principle| {
            let expected = principle.positive.chars().count();
            let mismatch = |(index, negative): (usize, &String)| {
                let found = negative.chars().count();
                let is_far = found.abs_diff(expected) as f64 > LENGTH_TOLERANCE * expected as f64;
                is_far.then(|| Mismatch {
                    id: principle.id.clone(),
                    number: index + 1,
                    found,
                    expected,
                })
            };
            let negatives = principle.negatives.iter().enumerate();
            negatives.filter_map(mismatch).collect::<Vec<_>>()
        };
        self.principles.iter().flat_map(of_principle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principle(id: &str, positive: &str, negatives: &[&str]) -> Principle {
        Principle {
            id: id.to_owned(),
            name: id.to_owned(),
            positive: positive.to_owned(),
            negatives: negatives.iter().map(|&text| text.to_owned()).collect(),
            identifiers: None,
            source: None,
        }
    }

    #[test]
    fn a_negative_is_matched_up_to_a_fifth_of_its_positives_characters() {
        let positive = "é".repeat(10);
        let lengths = [8, 12, 7, 13].map(|length| "é".repeat(length));
        let negatives: Vec<&str> = lengths.iter().map(String::as_str).collect();
        let principles = vec![principle("a", &positive, &negatives)];
        let found = Constitution { principles }.mismatches();
        let numbers: Vec<usize> = found.iter().map(|mismatch| mismatch.number).collect();
        assert_eq!(numbers, [3, 4]);
        let expected = "negative 3 of principle \"a\" has 7 characters, expected 10 within 20 %";
        assert_eq!(found[0].to_string(), expected);
    }
}
