//! Principles that a language model proposes, held to the same checks as those of the rules.

use super::matching::{self, Unmatched};
use super::statements::Kind;
use super::words::topic_words;
use super::{Candidate, Negative, Pair, Rule, Statement};

/// Lines around the one a proposal names in which its words are looked for.
const LINES_NEAR: usize = 2;
/// The least share of a proposal's topic words that its lines have.
const TRACED_SHARE_MIN: f64 = 0.5;

/// A rule that a language model found in a document, and texts that break it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Proposal {
    /// The line of the document it is taken from, from 1.
    pub line: usize,
    /// The rule.
    pub positive: String,
    /// Texts that break it.
    pub negatives: Vec<String>,
}

/// Why a proposal is no candidate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProposalError {
    /// A line that is not there.
    #[error("line {line}, expected one of {lines} lines")]
    NoLine {
        /// The line named.
        line: usize,
        /// Lines of the document.
        lines: usize,
    },
    /// The document does not say it there.
    #[error(
        "line {line} has {:.0} % of the rule's topic words, expected {:.0} % or more",
        100.0 * found, 100.0 * TRACED_SHARE_MIN
    )]
    NotThere {
        /// The line named.
        line: usize,
        /// The share found.
        found: f64,
    },
    /// No negative was proposed.
    #[error("no negative, expected at least one")]
    NoNegative,
    /// No negative is matched; the first one's reason.
    #[error("its negative has {0}")]
    Unmatched(#[from] Unmatched),
}

impl Proposal {
    /// The proposal as a candidate with its matched negatives.
    ///
    /// # Errors
    /// Where the document does not say the rule at its line, or no negative is matched.
    pub fn check(self, document: &str) -> Result<Candidate, ProposalError> {
        traced(&self, document)?;
        let positive = self.positive.trim().to_owned();
        let mut pairs = Vec::new();
        let mut refused = ProposalError::NoNegative;
        for text in self.negatives {
            match matching::check(&positive, text.trim()) {
                Ok(()) => pairs.push(Pair {
                    positive: positive.clone(),
                    negative: Negative {
                        text: text.trim().to_owned(),
                        rule: Rule::Proposed,
                    },
                }),
                Err(reason) => refused = reason.into(),
            }
        }
        if pairs.is_empty() {
            return Err(refused);
        }
        let statement = Statement {
            line: self.line,
            kind: Kind::Sentence,
            text: positive,
        };
        Ok(Candidate { statement, pairs })
    }
}

fn traced(proposal: &Proposal, document: &str) -> Result<(), ProposalError> {
    let lines: Vec<&str> = document.lines().collect();
    let line = proposal.line;
    if line == 0 || line > lines.len() {
        let lines = lines.len();
        return Err(ProposalError::NoLine { line, lines });
    }
    let near = line.saturating_sub(1 + LINES_NEAR)..lines.len().min(line + LINES_NEAR);
    let said = topic_words(&lines[near].join(" "));
    let topic = topic_words(&proposal.positive);
    let there = topic.iter().filter(|word| said.contains(word)).count();
    let found = there as f64 / topic.len().max(1) as f64;
    if found < TRACED_SHARE_MIN {
        return Err(ProposalError::NotThere { line, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# Reports\n\nEvery report names the source of each number.\n\n\n\nEnd.\n";

    fn proposal(line: usize, positive: &str, negative: &str) -> Proposal {
        Proposal {
            line,
            positive: positive.to_owned(),
            negatives: vec![negative.to_owned()],
        }
    }

    #[test]
    fn a_proposal_is_traced_to_its_line_and_its_negative_is_matched() {
        let positive = "Name the source of each number in a report.";
        let negative = "Hide the source of each number in a report.";
        let candidate = proposal(3, positive, negative)
            .check(POLICY)
            .expect("valid");
        assert_eq!((candidate.statement.line, candidate.pairs.len()), (3, 1));
        let refused = [
            (proposal(0, positive, negative), "line 0, expected one of 7"),
            (proposal(7, positive, negative), "line 7 has 0 %"),
            (
                proposal(3, positive, "Say nothing."),
                "its negative has 12 characters",
            ),
            (
                Proposal {
                    negatives: Vec::new(),
                    ..proposal(3, positive, negative)
                },
                "no negative",
            ),
        ];
        for (proposal, expected) in refused {
            let error = proposal.check(POLICY).expect_err(expected).to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
    }
}
