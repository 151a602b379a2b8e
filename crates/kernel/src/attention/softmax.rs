//! Softmax over blocks of keys that come one after another, with the queries side by side in the
//! lanes of vectors: a row of scores belongs to a key, a column to a query.

use std::ops::Range;

use crate::matrix::Mode;
use crate::product::{Target, View};
use crate::softcap;
use crate::tile::{Source, dot_rows, multiply_small};
use crate::vector::{exp, exp_and_sum, max, vectorised};

/// Keys of one block of scores.
const KEY_ROWS: usize = 32;
/// Lanes are padded to a multiple of this.
pub(super) const VECTOR: usize = 16;

/// What has been seen by each query: the greatest score, the sum of exponentials relative to it,
/// and the values weighted by those exponentials.
pub(super) struct Softmax {
    queries: usize,
    size: usize,
    softcap: Option<f32>,
    greatest: Vec<f32>,
    sums: Vec<f32>,
    values: Vec<f32>,
    shrinks: Vec<f32>,
    scores: Vec<f32>,
}

/// Which keys the queries see. Queries come some heads a row, and a key is seen by a run of rows.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    heads: usize,
    rows: usize,
    /// The first row sees the keys up to this one, each next row one more.
    last: usize,
    /// The first key is seen by the rows before this one, each next key by one row more.
    reach: usize,
}

impl Sight {
    /// Of `rows` rows of `heads` queries: the first row sees the keys up to `last`, and the first
    /// key, which the first row sees, is seen by the rows before `reach`.
    pub(super) fn new(heads: usize, rows: usize, last: usize, reach: usize) -> Sight {
        Sight {
            heads,
            rows,
            last,
            reach,
        }
    }

    /// Every query sees every key.
    pub(super) fn all(queries: usize) -> Sight {
        Sight::new(1, queries, usize::MAX, usize::MAX)
    }

    /// The lanes from the first query to the last that sees some of these keys; those that no
    /// query fills count to the last query.
    #[inline]
    pub(super) fn lanes(self, keys: Range<usize>) -> Range<usize> {
        let first = keys.start.saturating_sub(self.last) * self.heads;
        let rows = self.reach.saturating_add(keys.end - 1);
        let end = if rows < self.rows {
            rows * self.heads
        } else {
            lanes(self.rows * self.heads)
        };
        first..end
    }
}

/// The number of lanes for this many queries.
pub(super) fn lanes(queries: usize) -> usize {
    queries.next_multiple_of(VECTOR)
}

/// Ranges of keys that tile `0..keys`, one for each block of scores.
pub(super) fn key_blocks(keys: usize) -> impl Iterator<Item = Range<usize>> {
    (0..keys)
        .step_by(KEY_ROWS)
        .map(move |start| start..(start + KEY_ROWS).min(keys))
}

impl Softmax {
    /// Nothing seen yet, for this many queries of `size` entries, their scores capped or not.
    pub(super) fn new(queries: usize, size: usize, softcap: Option<f32>) -> Softmax {
        let lanes = lanes(queries);
        Softmax {
            queries,
            size,
            softcap,
            greatest: vec![f32::NEG_INFINITY; lanes],
            sums: vec![0.0; lanes],
            values: vec![0.0; queries * size],
            shrinks: vec![0.0; lanes],
            scores: vec![0.0; KEY_ROWS * lanes],
        }
    }

    /// Shows keys and values to the queries, which come scaled, as `[size, lanes]`.
    pub(super) fn attend(&mut self, query_t: View, key: View, value: View, sight: Sight) {
        let size = self.size;
        for block in key_blocks(key.rows()) {
            let seeing = sight.lanes(block.clone());
            let queries = seeing.start..seeing.end.min(self.queries);
            let values = queries.start * size..queries.end * size;
            let scores = &mut self.scores[..block.len() * seeing.len()];
            let mut target = Target::new(scores, seeing.len());
            let query_t = query_t.block(0..size, seeing.clone());
            multiply_small(
                key.block(block.clone(), 0..size),
                query_t,
                &mut target,
                Mode::Write,
                Source::Cache,
            );
            if let Some(cap) = self.softcap {
                softcap::bend(scores, cap);
            }
            let state = State {
                greatest: &mut self.greatest[seeing.clone()],
                sums: &mut self.sums[seeing.clone()],
                shrinks: &mut self.shrinks[seeing.clone()],
                values: &mut self.values[values.clone()],
                size,
            };
            accumulate(scores, block.start, sight, seeing.start, state);
            let weights = View::new(scores, seeing.len()).transposed();
            let weights = weights.block(0..queries.len(), 0..block.len());
            let mut values = Target::new(&mut self.values[values], size);
            multiply_small(
                weights,
                value.block(block, 0..size),
                &mut values,
                Mode::Add,
                Source::Cache,
            );
        }
    }

    /// Shows keys and values to a few of the queries, which come scaled, one a row: less work than
    /// [`Softmax::attend`] where queries would fill a small part of a vector.
    pub(super) fn attend_few(
        &mut self,
        queries: Range<usize>,
        query: View,
        key: View,
        value: View,
    ) {
        let keys = key.rows();
        if keys == 0 {
            return;
        }
        self.scores.resize(queries.len() * keys, 0.0);
        for (row, at) in queries.clone().enumerate() {
            let scores = &mut self.scores[row * keys..][..keys];
            let values = &mut self.values[at * self.size..][..self.size];
            let next = (row == 0).then_some(value);
            dot_rows(query.row(row), key, next, scores);
            if let Some(cap) = self.softcap {
                softcap::bend(scores, cap);
            }
            accumulate_row(scores, &mut self.greatest[at], &mut self.sums[at], values);
        }
        let values = &mut self.values[queries.start * self.size..queries.end * self.size];
        let mut values = Target::new(values, self.size);
        multiply_small(
            View::new(&self.scores, keys),
            value,
            &mut values,
            Mode::Add,
            Source::Cache,
        );
    }

    /// The attention's output of some queries, side by side.
    pub(super) fn write_values(&self, queries: Range<usize>, out: &mut [f32]) {
        let values = &self.values[queries.start * self.size..queries.end * self.size];
        divide(values, &self.sums[queries], out);
    }

    /// The logarithm of the sum of exponentials of some queries' scores.
    pub(super) fn write_log_sums(&self, queries: Range<usize>, out: &mut [f32]) {
        for (query, out) in queries.zip(out) {
            *out = self.greatest[query] + self.sums[query].ln();
        }
    }
}

/// The state of the queries that a block of keys meets.
struct State<'a> {
    greatest: &'a mut [f32],
    sums: &'a mut [f32],
    shrinks: &'a mut [f32],
    values: &'a mut [f32],
    size: usize,
}

vectorised! {
    /// Takes a block of scores, of the keys from `start` on and the queries from `first` on, into
    /// the state and turns it into weights.
    fn accumulate(scores: &mut [f32], start: usize, sight: Sight, first: usize, state: State) {
        let State { greatest, sums, shrinks, values, size } = state;
        let lanes = greatest.len();
        shrinks.copy_from_slice(greatest);
        for (key, scores) in scores.chunks_mut(lanes).enumerate() {
            let seeing = sight.lanes(start + key..start + key + 1);
            scores[..seeing.start - first].fill(f32::NEG_INFINITY);
            if seeing.end - first < lanes {
                scores[seeing.end - first..].fill(f32::NEG_INFINITY);
            }
            for (greatest, score) in greatest.iter_mut().zip(scores) {
                *greatest = if *score > *greatest { *score } else { *greatest };
            }
        }
        for ((shrink, greatest), sum) in shrinks.iter_mut().zip(&*greatest).zip(&mut *sums) {
            *shrink = exp(*shrink - greatest);
            *sum *= *shrink;
        }
        for scores in scores.chunks_mut(lanes) {
            for (score, (greatest, sum)) in scores.iter_mut().zip(greatest.iter().zip(&mut *sums)) {
                *score = exp(*score - greatest);
                *sum += *score;
            }
        }
        for (values, shrink) in values.chunks_mut(size).zip(shrinks) {
            if *shrink < 1.0 {
                for value in values {
                    *value *= *shrink;
                }
            }
        }
    }

    /// Takes the scores of one query into its state and turns them into weights.
    fn accumulate_row(scores: &mut [f32], greatest: &mut f32, total: &mut f32, values: &mut [f32]) {
        let old = *greatest;
        *greatest = max(scores).max(old);
        let shrink = exp(old - *greatest);
        *total = *total * shrink + exp_and_sum(scores, *greatest);
        for value in values {
            *value *= shrink;
        }
    }

    /// Divides the weighted values of each query by the query's sum of weights.
    fn divide(values: &[f32], sums: &[f32], out: &mut [f32]) {
        let size = values.len() / sums.len();
        let queries = values.chunks(size).zip(out.chunks_mut(size));
        for ((values, out), sum) in queries.zip(sums) {
            let inverse = 1.0 / sum;
            for (out, value) in out.iter_mut().zip(values) {
                *out = value * inverse;
            }
        }
    }
}
