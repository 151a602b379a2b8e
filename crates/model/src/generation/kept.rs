//! What drawing computes, kept for training's forward pass over the same tokens.
//!
//! A token's values take the next free row of a trace. Where there are more tokens than are to be
//! kept, those of the last request make room, so that whole requests stay: the first ones.

use policy::{Batch, Request, Sample};

use crate::decoder::{Activations, Trace};

/// Takes the values of a call of the sampler.
pub(super) struct Keeper<'a> {
    trace: &'a mut Trace,
    tokens_max: usize,
    /// Of the requests that are kept, the first ones.
    places: Vec<Places>,
    /// Rows of the trace that have been taken, those that are free again among them.
    taken: usize,
    free: Vec<usize>,
    /// Rows of the pass at work and of the trace.
    pairs: Vec<(usize, usize)>,
}

/// Rows of the trace.
struct Places {
    prefix: Vec<usize>,
    /// Of each completion, without its last token, which is never read.
    completions: Vec<Vec<usize>>,
}

/// A token that a pass reads.
pub(super) struct Token {
    /// The row of the pass.
    pub(super) row: usize,
    pub(super) request: usize,
    /// The completion it belongs to; a prefix's token to none.
    pub(super) completion: Option<usize>,
}

/// Where the tokens of some requests and their completions lie in a trace.
#[derive(Debug)]
pub(crate) struct Kept {
    sequences: Vec<Sequence>,
}

/// A completion after its prefix: their tokens and their rows.
#[derive(Debug)]
struct Sequence {
    prefix: Vec<u32>,
    completion: Vec<u32>,
    prefix_rows: Vec<usize>,
    completion_rows: Vec<usize>,
}

impl<'a> Keeper<'a> {
    /// Keeps at most so many tokens in the trace, whose values are lost.
    pub(super) fn new(trace: &'a mut Trace, requests: &[Request], tokens_max: usize) -> Self {
        let places = |request: &Request| Places {
            prefix: Vec::new(),
            completions: vec![Vec::new(); request.count],
        };
        Self {
            trace,
            tokens_max,
            places: requests.iter().map(places).collect(),
            taken: 0,
            free: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Finds rows for the tokens of the next pass; a prefix that is read once more has its own.
    pub(super) fn place(&mut self, mut tokens: Vec<Token>) {
        let read = |request: usize| {
            self.places
                .get(request)
                .is_some_and(|p| !p.prefix.is_empty())
        };
        tokens.retain(|token| token.completion.is_some() || !read(token.request));
        while self.taken - self.free.len() + self.kept_of(&tokens) > self.tokens_max {
            let last = self.places.pop().expect("tokens are those of requests");
            self.free.extend(last.prefix);
            self.free.extend(last.completions.into_iter().flatten());
        }
        self.pairs.clear();
        for token in tokens {
            let Some(places) = self.places.get_mut(token.request) else {
                continue;
            };
            let at = self.free.pop().unwrap_or(self.taken);
            self.taken = self.taken.max(at + 1);
            self.pairs.push((token.row, at));
            match token.completion {
                None => places.prefix.push(at),
                Some(index) => places.completions[index].push(at),
            }
        }
        self.trace.grow(self.taken);
    }

    fn kept_of(&self, tokens: &[Token]) -> usize {
        let kept = self.places.len();
        tokens.iter().filter(|token| token.request < kept).count()
    }

    /// Keeps what a layer saved of the tokens of the pass.
    pub(super) fn keep(&mut self, layer: usize, saved: &mut Activations) {
        self.trace.put_layer(layer, saved, &self.pairs);
    }

    /// Keeps what follows the last layer.
    pub(super) fn keep_ends(&mut self, pass: &mut Trace) {
        self.trace.put_ends(pass, &self.pairs);
    }

    /// What was kept, told the completions that were drawn.
    pub(super) fn finish(self, requests: &[Request], samples: &[Vec<Sample>]) -> Kept {
        let mut sequences = Vec::new();
        let drawn = requests.iter().zip(samples);
        for (places, (request, samples)) in self.places.into_iter().zip(drawn) {
            for (completion_rows, sample) in places.completions.into_iter().zip(samples) {
                sequences.push(Sequence {
                    prefix: request.prefix.clone(),
                    completion: sample.tokens_t.clone(),
                    prefix_rows: places.prefix.clone(),
                    completion_rows,
                });
            }
        }
        Kept { sequences }
    }
}

impl Kept {
    /// The rows of a batch's tokens as [`crate::decoder::Packing`] lays them out; `None` where a
    /// token was not kept.
    pub(crate) fn rows(&self, batch: &Batch) -> Option<Vec<u32>> {
        let mut rows_n: Vec<usize> = Vec::with_capacity(batch.computed_tokens());
        for (prefix, rows) in batch.prefixes.iter().zip(batch.rows_by_prefix()) {
            let under = || self.sequences.iter().filter(|s| &s.prefix == prefix);
            rows_n.extend(&under().next()?.prefix_rows);
            for row in rows {
                let tokens_t = &batch.rows[row].tokens_t;
                let found = under().find(|s| &s.completion == tokens_t)?;
                rows_n.extend(&found.completion_rows);
            }
        }
        Some(rows_n.into_iter().map(|row| row as u32).collect())
    }
}
