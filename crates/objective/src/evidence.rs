//! What the terms are told of a batch, besides the policy's own signals.

use std::ops::Range;

use policy::{Batch, Signals};

use crate::ObjectiveError;

/// One optimiser batch: its rows, and the part that each row plays.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The rows that were scored, in the order of the signals.
    pub batch: &'a Batch,
    /// The completions under their own constitution that were graded; each row at most once.
    pub graded: Vec<Graded>,
    /// One for each prompt that has a gated completion under every constitution.
    pub contrasts: Vec<Contrast>,
    /// The rows whose points enter the transport term; each has reasoning.
    pub cloud: Vec<usize>,
    /// The frozen policy's signals of the same rows, where a term needs them.
    pub reference: Option<&'a Signals>,
    /// Tokens that `dapo` divides by: those of the rollout's graded completions, over the number of
    /// updates that the rollout is spread over. With one update, the tokens of `graded`.
    pub active_tokens: f64,
}

/// A completion that carries an advantage.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// Its row in the batch.
    pub row: usize,
    /// Its advantage, without unit.
    pub advantage: f64,
    /// For each token of the row, its log-probability under the policy that sampled it, in nats.
    pub old_logprobs_t: Vec<f64>,
    /// For each token, by how much its loss counts for having been drawn with other
    /// log-probabilities than `old_logprobs_t`; none: once.
    pub importance_t: Option<Vec<f64>>,
}

/// One completion of a prompt for each constitution, each scored under every constitution.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Entry `[i][j]` is the row of completion `j` under constitution `i`; square, at least 2 × 2.
    /// Every row has reasoning.
    pub rows_kk: Vec<Vec<usize>>,
}

impl<'a> Evidence<'a> {
    /// The reasoning tokens of a row.
    ///
    /// # Panics
    /// If it has none: whoever gathers evidence admits only gated completions to a contrast.
    pub(crate) fn reasoning(&self, row: usize) -> Range<usize> {
        let reasoning = self.batch.rows[row].reasoning.clone();
        reasoning.unwrap_or_else(|| panic!("row {row} of a contrast has no reasoning"))
    }

    /// The reference signals that `term` compares with.
    pub(crate) fn reference_for(&self, term: &'static str) -> Result<&'a Signals, ObjectiveError> {
        self.reference
            .ok_or(ObjectiveError::MissingReference { term })
    }
}
