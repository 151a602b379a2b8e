//! Softmax over blocks of keys that come one after another.

use std::ops::Range;

use super::KEY_ROWS;
use crate::matrix::Mode;
use crate::product::{Target, View, multiply};
use crate::vector::{exp, max, sum, vectorised};

/// What has been seen by each query: the greatest score, the sum of exponentials relative to it,
/// and the values weighted by those exponentials.
pub(super) struct Softmax {
    pub(super) greatest: Vec<f32>,
    pub(super) sums: Vec<f32>,
    pub(super) values: Vec<f32>,
    size: usize,
    scores: Vec<f32>,
}

/// How many keys of a block each query sees.
#[derive(Clone, Copy)]
pub(super) enum Sight {
    /// All of them.
    All,
    /// Queries come `queries` heads a row; the first row sees `first` keys, each next row one
    /// more.
    Causal { queries: usize, first: usize },
}

impl Sight {
    /// The number of keys, of `keys`, that the query `index` sees.
    #[inline]
    pub(super) fn of(self, index: usize, keys: usize) -> usize {
        match self {
            Sight::All => keys,
            Sight::Causal { queries, first } => keys.min(first + index / queries),
        }
    }

    /// The same sight of a block that starts `skipped` keys later.
    pub(super) fn after(self, skipped: usize) -> Sight {
        match self {
            Sight::All => Sight::All,
            Sight::Causal { queries, first } => Sight::Causal {
                queries,
                first: first - skipped,
            },
        }
    }
}

/// Ranges of at most [`KEY_ROWS`] that tile `0..keys`.
pub(super) fn key_blocks(keys: usize) -> impl Iterator<Item = Range<usize>> {
    (0..keys)
        .step_by(KEY_ROWS)
        .map(move |start| start..(start + KEY_ROWS).min(keys))
}

impl Softmax {
    /// Nothing seen yet, for this many queries of `size` entries.
    pub(super) fn new(queries: usize, size: usize) -> Softmax {
        Softmax {
            greatest: vec![f32::NEG_INFINITY; queries],
            sums: vec![0.0; queries],
            values: vec![0.0; queries * size],
            size,
            scores: Vec::new(),
        }
    }

    /// Shows keys and values to the scaled queries of a range of this softmax.
    pub(super) fn attend(
        &mut self,
        range: Range<usize>,
        query: View,
        key: View,
        value: View,
        sight: Sight,
    ) {
        let (queries, size) = (range.len(), self.size);
        let values = &mut self.values[range.start * size..range.end * size];
        let (greatest, sums) = (&mut self.greatest[range.clone()], &mut self.sums[range]);
        for block in key_blocks(key.rows()) {
            let (keys, sight) = (block.len(), sight.after(block.start));
            let (key, value) = (
                key.block(block.clone(), 0..size),
                value.block(block, 0..size),
            );
            if self.scores.len() < queries * keys {
                self.scores.resize(queries * keys, 0.0);
            }
            let scores = &mut self.scores[..queries * keys];
            multiply(
                query,
                key.transposed(),
                &mut Target::new(scores, keys),
                Mode::Write,
            );
            accumulate(scores, keys, sight, greatest, sums, values);
            multiply(
                View::new(scores, keys),
                value,
                &mut Target::new(values, size),
                Mode::Add,
            );
        }
    }
}

vectorised! {
    /// Takes a block of scores into the state of each query and turns it into weights.
    fn accumulate(
        scores: &mut [f32],
        keys: usize,
        sight: Sight,
        greatest: &mut [f32],
        sums: &mut [f32],
        values: &mut [f32],
    ) {
        let size = values.len() / sums.len();
        let states = greatest.iter_mut().zip(sums).zip(values.chunks_mut(size));
        let rows = scores.chunks_mut(keys).zip(states);
        for (index, (scores, ((greatest, total), values))) in rows.enumerate() {
            let (seen, unseen) = scores.split_at_mut(sight.of(index, keys));
            unseen.fill(0.0);
            let old = *greatest;
            *greatest = max(seen).max(old);
            for score in seen.iter_mut() {
                *score = exp(*score - *greatest);
            }
            let shrink = exp(old - *greatest);
            *total = *total * shrink + sum(seen);
            if *greatest > old && old > f32::NEG_INFINITY {
                for value in values {
                    *value *= shrink;
                }
            }
        }
    }
}
