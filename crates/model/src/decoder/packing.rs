//! A batch laid out for the decoder: every token once, without padding.

use std::ops::Range;

use kernel::attention::{Layout, Segment};
use math::Key;
use policy::Batch;

use super::Input;

/// Packed tokens: each prefix is followed by its rows, a row without its last token (which is
/// predicted and never read). Row order is that of the batch.
#[derive(Debug)]
pub(crate) struct Packing {
    pub(crate) tokens_n: Vec<u32>,
    /// Rows of the tables of angles.
    pub(crate) positions_n: Vec<u32>,
    pub(crate) layout: Layout,
    /// For each scored token, row after row, the packed token whose hidden state predicts it.
    pub(crate) predictors_m: Vec<u32>,
    pub(crate) targets_m: Vec<u32>,
    /// For each row with reasoning, in order: the packed tokens that its point is the mean of.
    pub(crate) spans: Vec<Range<usize>>,
    /// For each row: its number of scored tokens, and whether it has a point.
    pub(crate) rows: Vec<(usize, bool)>,
}

impl Packing {
    /// `start` gives the table's row of the first token of a sequence with a prefix of so many.
    pub(crate) fn new(batch: &Batch, start: impl Fn(usize) -> usize) -> Self {
        let mut packed = Packed::default();
        let mut starts = vec![0; batch.rows.len()];
        let mut ends = Vec::with_capacity(batch.prefixes.len());
        for (prefix, rows) in batch.prefixes.iter().zip(batch.rows_by_prefix()) {
            let at = start(prefix.len());
            let parent = packed.push(prefix, at, None);
            ends.push(packed.tokens_n.len() - 1);
            for row in rows {
                starts[row] = packed.tokens_n.len();
                let tokens_t = &batch.rows[row].tokens_t;
                packed.push(&tokens_t[..tokens_t.len() - 1], at + prefix.len(), parent);
            }
        }
        let mut packing = Self {
            tokens_n: packed.tokens_n,
            positions_n: packed.positions_n,
            layout: Layout::new(packed.segments),
            predictors_m: Vec::new(),
            targets_m: Vec::new(),
            spans: Vec::new(),
            rows: Vec::with_capacity(batch.rows.len()),
        };
        for (row, start) in batch.rows.iter().zip(starts) {
            packing.predictors_m.push(ends[row.prefix] as u32);
            packing
                .predictors_m
                .extend((start..start + row.tokens_t.len() - 1).map(|n| n as u32));
            packing.targets_m.extend(&row.tokens_t);
            packing
                .rows
                .push((row.tokens_t.len(), row.reasoning.is_some()));
            if let Some(span) = &row.reasoning {
                assert!(
                    !span.is_empty() && span.end < row.tokens_t.len(),
                    "reasoning at {span:?} of a row of {} tokens",
                    row.tokens_t.len()
                );
                packing.spans.push(start + span.start..start + span.end);
            }
        }
        packing
    }

    /// What a pass over all tokens reads.
    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            tokens_n: &self.tokens_n,
            positions_n: &self.positions_n,
        }
    }

    /// A name for each packed token: a function of the key and of all tokens up to it, and not of
    /// what it is packed beside.
    pub(crate) fn names(&self, key: Key) -> Vec<Key> {
        let mut names: Vec<Key> = Vec::with_capacity(self.tokens_n.len());
        for segment in self.layout.segments() {
            let parent = segment
                .parent
                .map(|index| self.layout.segments()[index].rows().end - 1);
            let mut name = parent.map_or(key, |last| names[last]);
            for &token in &self.tokens_n[segment.rows()] {
                name = name.child(u64::from(token));
                names.push(name);
            }
        }
        names
    }
}

#[derive(Default)]
struct Packed {
    tokens_n: Vec<u32>,
    positions_n: Vec<u32>,
    segments: Vec<Segment>,
}

impl Packed {
    /// Appends a segment and gives its index; nothing for no tokens.
    fn push(&mut self, tokens: &[u32], position: usize, parent: Option<usize>) -> Option<usize> {
        if tokens.is_empty() {
            return None;
        }
        let start = self.tokens_n.len();
        self.tokens_n.extend(tokens);
        self.positions_n
            .extend((position..position + tokens.len()).map(|p| p as u32));
        self.segments.push(Segment {
            start,
            length: tokens.len(),
            parent,
        });
        Some(self.segments.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use policy::Row;

    use super::*;

    #[test]
    fn every_scored_token_is_predicted_by_the_token_before_it() {
        let row = |prefix, tokens: &[u32], reasoning| Row {
            prefix,
            tokens_t: tokens.to_vec(),
            reasoning,
        };
        let batch = Batch {
            prefixes: vec![vec![1, 2, 3], vec![4]],
            rows: vec![
                row(1, &[5, 6, 7], Some(0..2)),
                row(0, &[8], None),
                row(0, &[9, 1], None),
            ],
            temperature: 1.0,
        };
        let packing = Packing::new(&batch, |prefix| if prefix > 2 { 100 } else { 0 });
        assert_eq!(packing.tokens_n, [1, 2, 3, 9, 4, 5, 6]);
        assert_eq!(packing.positions_n, [100, 101, 102, 103, 0, 1, 2]);
        assert_eq!(packing.predictors_m, [4, 5, 6, 2, 2, 3]);
        assert_eq!(packing.targets_m, [5, 6, 7, 8, 9, 1]);
        assert_eq!(packing.spans, vec![Range { start: 5, end: 7 }]);
    }
}
