//! Statements with the ways in which each can become a principle.

use super::{Negative, Statement, negatives};

/// A rule in one wording, and one text that breaks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The rule.
    pub positive: String,
    /// Matched with it.
    pub negative: Negative,
}

/// A statement that can become a principle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What the document says.
    pub statement: Statement,
    /// At least one; the one that the rules of polarity prefer comes first.
    pub pairs: Vec<Pair>,
}

/// Statements with a negative, and those without, both in the order given.
pub fn candidates(statements: Vec<Statement>) -> (Vec<Candidate>, Vec<Statement>) {
    let mut candidates = Vec::new();
    let mut without = Vec::new();
    for statement in statements {
        let pairs: Vec<Pair> = wordings(&statement);
        if pairs.is_empty() {
            without.push(statement);
        } else {
            candidates.push(Candidate { statement, pairs });
        }
    }
    (candidates, without)
}

fn wordings(statement: &Statement) -> Vec<Pair> {
    let wordings = statement.wordings();
    wordings
        .iter()
        .flat_map(|positive| pairs(positive))
        .collect()
}

fn pairs(positive: &str) -> Vec<Pair> {
    let pair = |negative| Pair {
        positive: positive.to_owned(),
        negative,
    };
    negatives(positive).into_iter().map(pair).collect()
}

impl Statement {
    /// An id from its first words that carry its topic, which `taken` does not hold.
    pub fn id(&self, taken: impl Fn(&str) -> bool) -> String {
        const WORDS: usize = 4;
        let mut words = super::words::topic_words(&self.text);
        words.truncate(WORDS);
        let letters = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let id: String = words.join("-").chars().map(letters).collect();
        let numbered = (2..).map(|number| format!("{id}-{number}"));
        let free = std::iter::once(id.clone()).chain(numbered);
        free.into_iter()
            .find(|id| !id.is_empty() && !taken(id))
            .expect("some number is free")
    }
}

#[cfg(test)]
mod tests {
    use super::super::statements;
    use super::*;

    #[test]
    fn every_wording_brings_its_negatives_and_what_has_none_is_told() {
        let policy = "The agent must never guess a number.\n\nUse it.\n";
        let (candidates, without) = candidates(statements(policy).found);
        let found: Vec<(&str, &str)> = candidates[0]
            .pairs
            .iter()
            .map(|pair| (pair.positive.as_str(), pair.negative.text.as_str()))
            .collect();
        let expected = [
            (
                "The agent must never guess a number.",
                "The agent must always guess a number.",
            ),
            ("Never guess a number.", "Always guess a number."),
        ];
        assert_eq!(found, expected);
        let without: Vec<&str> = without.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(without, ["Use it."]);
    }

    #[test]
    fn ids_are_words_of_the_rule_and_each_its_own() {
        let statement = &statements("Verify the source of each number.\n").found[0];
        assert_eq!(statement.id(|_| false), "verify-source-number");
        let taken = |id: &str| id == "verify-source-number";
        assert_eq!(statement.id(taken), "verify-source-number-2");
    }
}
