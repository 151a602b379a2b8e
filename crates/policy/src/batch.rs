//! Rows of tokens to be scored, grouped under the prefixes they share.

use std::ops::Range;

use crate::{PolicyError, Signals};

/// Completions under shared prefixes. A prefix is computed once, however many rows follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Token ids of each prefix (a rendered prompt); none is empty.
    pub prefixes: Vec<Vec<u32>>,
    /// The completions, in any order; each names its prefix.
    pub rows: Vec<Row>,
    /// Logits are divided by this before the log-probabilities are taken; positive.
    pub temperature: f64,
}

/// One completion after a prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Index into [`Batch::prefixes`].
    pub prefix: usize,
    /// Token ids of the completion, as sampled, the end token included; not empty.
    pub tokens_t: Vec<u32>,
    /// The tokens whose hidden states are pooled into the row's point: the reasoning of a
    /// completion whose format is valid. Never empty, and never reaching the last token, which is
    /// predicted but not read. `None`: the row has no point.
    pub reasoning: Option<Range<usize>>,
}

/// A part of a batch that is computed at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Some of the rows, with the prefixes they need.
    pub batch: Batch,
    /// For each row of the slice, its index in the whole batch.
    pub rows: Vec<usize>,
}

impl Batch {
    /// The number of tokens a policy computes: each prefix once, each row without its last token.
    pub fn computed_tokens(&self) -> usize {
        let prefixes: usize = self.prefixes.iter().map(Vec::len).sum();
        prefixes
            + self
                .rows
                .iter()
                .map(|row| row.tokens_t.len() - 1)
                .sum::<usize>()
    }

    /// Cuts the batch between prefixes, and inside a prefix's rows where one prefix alone is too
    /// large, so that each slice computes at most `tokens_max` tokens (a single row may exceed it).
    ///
    /// Every row is in exactly one slice; rows keep their order within a prefix.
    pub fn slices(&self, tokens_max: usize) -> Vec<Slice> {
        self.cut(tokens_max, true)
    }

    /// As [`Self::slices`]; unless prefixes stay whole where they fit, as few as can be.
    fn cut(&self, tokens_max: usize, whole_prefixes: bool) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        let mut computed = 0;
        let rows_p = self.rows_by_prefix();
        for (prefix, tokens) in self.prefixes.iter().enumerate() {
            let mut opened = false;
            let rows = rows_p[prefix]
                .iter()
                .map(|&row| self.rows[row].tokens_t.len() - 1);
            let whole = tokens.len() + rows.sum::<usize>();
            if whole_prefixes && whole <= tokens_max && computed + whole > tokens_max {
                // The slice at work takes no more.
                computed = tokens_max;
            }
            for &row in &rows_p[prefix] {
                let length = self.rows[row].tokens_t.len() - 1;
                let added = length + if opened { 0 } else { tokens.len() };
                if slices.is_empty() || computed + added > tokens_max {
                    slices.push(Slice {
                        batch: self.without_rows(),
                        rows: Vec::new(),
                    });
                    computed = 0;
                    opened = false;
                }
                let slice = slices.last_mut().expect("a slice was opened above");
                if !opened {
                    slice.batch.prefixes.push(tokens.clone());
                    computed += tokens.len();
                    opened = true;
                }
                let own = Row {
                    prefix: slice.batch.prefixes.len() - 1,
                    ..self.rows[row].clone()
                };
                slice.batch.rows.push(own);
                slice.rows.push(row);
                computed += length;
            }
        }
        slices
    }

    /// Cuts the batch into so many parts of about equal cost; where there are too few rows, the
    /// last have none. One part is the batch as it is; rows keep their order within a prefix.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn shares(&self, count: usize) -> Vec<Slice> {
        assert!(count > 0, "a batch has at least one share");
        if count == 1 {
            return vec![Slice {
                batch: self.clone(),
                rows: (0..self.rows.len()).collect(),
            }];
        }
        // The least size of slices that are few enough.
        let (mut too_small, mut size) = (0, self.computed_tokens());
        while size - too_small > 1 {
            let middle = usize::midpoint(too_small, size);
            if self.cut(middle, false).len() <= count {
                size = middle;
            } else {
                too_small = middle;
            }
        }
        let mut shares = self.cut(size, false);
        shares.resize_with(count, || Slice {
            batch: self.without_rows(),
            rows: Vec::new(),
        });
        shares
    }

    /// The signals of every row, from a `score` that is asked for one slice of at most `tokens_max`
    /// tokens after the other.
    ///
    /// # Errors
    /// Where `score` fails.
    pub fn scored(
        &self,
        tokens_max: usize,
        mut score: impl FnMut(&Self) -> Result<Signals, PolicyError>,
    ) -> Result<Signals, PolicyError> {
        let unscored = vec![Vec::new(); self.rows.len()];
        let mut whole = Signals {
            logprobs_nt: unscored.clone(),
            points_nd: unscored,
        };
        for slice in self.slices(tokens_max) {
            slice.place(score(&slice.batch)?, &mut whole);
        }
        Ok(whole)
    }

    /// For each prefix, the indices of its rows in their order.
    pub fn rows_by_prefix(&self) -> Vec<Vec<usize>> {
        let mut rows_p = vec![Vec::new(); self.prefixes.len()];
        for (index, row) in self.rows.iter().enumerate() {
            rows_p[row.prefix].push(index);
        }
        rows_p
    }

    fn without_rows(&self) -> Self {
        Self {
            prefixes: Vec::new(),
            rows: Vec::new(),
            temperature: self.temperature,
        }
    }
}

impl Slice {
    /// The part of `signals` (of the whole batch) that belongs to this slice's rows.
    pub fn select(&self, signals: &Signals) -> Signals {
        Signals {
            logprobs_nt: self
                .rows
                .iter()
                .map(|&row| signals.logprobs_nt[row].clone())
                .collect(),
            points_nd: self
                .rows
                .iter()
                .map(|&row| signals.points_nd[row].clone())
                .collect(),
        }
    }

    /// Writes this slice's signals into those of the whole batch.
    pub fn place(&self, part: Signals, whole: &mut Signals) {
        let parts = part.logprobs_nt.into_iter().zip(part.points_nd);
        for (&row, (logprobs_t, point_d)) in self.rows.iter().zip(parts) {
            whole.logprobs_nt[row] = logprobs_t;
            whole.points_nd[row] = point_d;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let row = |prefix, length| Row {
            prefix,
            tokens_t: vec![1; length],
            reasoning: None,
        };
        Batch {
            prefixes: vec![vec![7; 10], vec![8; 4], vec![9; 6]],
            rows: vec![
                row(1, 5),
                row(0, 3),
                row(1, 9),
                row(2, 2),
                row(0, 4),
                row(1, 2),
            ],
            temperature: 1.0,
        }
    }

    #[test]
    fn slices_hold_every_row_once_under_its_own_prefix() {
        let whole = batch();
        for tokens_max in [1, 12, 16, 25, 1000] {
            let slices = whole.slices(tokens_max);
            let mut seen: Vec<usize> = slices.iter().flat_map(|s| s.rows.clone()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..6).collect::<Vec<_>>(), "at {tokens_max}");
            for slice in &slices {
                for (own, &row) in slice.batch.rows.iter().zip(&slice.rows) {
                    assert_eq!(own.tokens_t, whole.rows[row].tokens_t);
                    let prefix = &whole.prefixes[whole.rows[row].prefix];
                    assert_eq!(&slice.batch.prefixes[own.prefix], prefix);
                }
                let computed = slice.batch.computed_tokens();
                assert!(
                    computed <= tokens_max || slice.rows.len() == 1,
                    "{computed}"
                );
            }
        }
        assert_eq!(whole.slices(whole.computed_tokens()).len(), 1);
        // 15, 17 and 7 tokens: only the last two fit a slice together.
        let rows: Vec<Vec<usize>> = whole.slices(24).into_iter().map(|s| s.rows).collect();
        assert_eq!(rows, [vec![1, 4], vec![0, 2, 5, 3]]);
    }

    #[test]
    fn shares_hold_every_row_once_and_none_is_much_larger_than_its_part() {
        let whole = batch();
        assert_eq!(whole.shares(1)[0].batch, whole);
        for count in 2..9 {
            let shares = whole.shares(count);
            assert_eq!(shares.len(), count);
            let mut seen: Vec<usize> = shares.iter().flat_map(|s| s.rows.clone()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..6).collect::<Vec<_>>(), "{count} shares");
            // No part is larger than its even share and the longest prefix with its longest row.
            let most = shares.iter().map(|share| share.batch.computed_tokens());
            let most = most.max().expect("shares");
            let limit = whole.computed_tokens() / count + 10 + 8;
            assert!(most <= limit, "{most} of {limit} in {count} shares");
        }
    }

    #[test]
    fn signals_cut_into_slices_come_together_again() {
        let whole = batch();
        let signals = Signals {
            logprobs_nt: whole
                .rows
                .iter()
                .map(|r| vec![r.tokens_t.len() as f64])
                .collect(),
            points_nd: whole.rows.iter().map(|r| vec![r.prefix as f64]).collect(),
        };
        let slices = whole.slices(12);
        let mut asked = slices.iter();
        let rebuilt = whole.scored(12, |batch| {
            let slice = asked.next().expect("as many slices");
            assert_eq!(&slice.batch, batch);
            Ok(slice.select(&signals))
        });
        assert_eq!(rebuilt, Ok(signals));
    }
}
