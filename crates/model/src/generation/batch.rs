//! The completions that are drawn at one moment, and the cache they read.

use std::ops::Range;

use kernel::attention::{self, RowSpans};
use kernel::{Matrix, Repeated, sample};
use math::Key;
use policy::{Batch, Finish, PolicyError, Request, Sample, SampleProgress, SamplingOptions};

use super::kept::{Keeper, Kept, Token};
use super::slots::Slots;
use super::{Capacity, LOGITS_MAX, PREFILL_TOKENS_MAX};
use crate::Transformer;
use crate::decoder::{Activations, Attend, Copied, Input, Packing, Scratch, Trace, Weights};

/// Everything of one call of the sampler.
pub(super) struct Decoding<'a> {
    model: &'a Transformer,
    copied: Option<&'a Copied>,
    options: &'a SamplingOptions,
    requests: &'a [Request],
    /// Keys and values of each layer, `[slots, 2 · key-value columns]`.
    caches: Vec<Matrix>,
    slots: Slots,
    /// Request and number of the completions that wait, the next one last.
    waiting: Vec<(usize, usize)>,
    /// Of each request, from its first completion to its last.
    prefixes: Vec<Option<Prefix>>,
    /// Completions of each request that have not ended.
    left: Vec<usize>,
    active: Vec<Row>,
    rows_max: usize,
    samples: Vec<Vec<Option<Sample>>>,
    progress: SampleProgress,
    /// The steps, which differ in little but their numbers.
    steps: Repeated,
    trace: Trace,
    scratch: Scratch,
    /// Takes what training is to be spared.
    keeper: Option<Keeper<'a>>,
    /// Final hidden states of the completions that are to be drawn from next.
    hidden_rd: Matrix,
    logits_rv: Matrix,
}

/// How much is decoded together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Completions.
    pub(super) rows: usize,
    /// Tokens in the cache.
    pub(super) slots: usize,
}

/// A prefix in the cache.
struct Prefix {
    slots: Range<usize>,
    /// The final hidden state of its last token, which predicts every first token.
    last_1d: Matrix,
}

/// A completion being drawn.
struct Row {
    request: usize,
    index: usize,
    key: Key,
    shared: Range<usize>,
    own: Range<usize>,
    sample: Sample,
}

impl<'a> Decoding<'a> {
    pub(super) fn new(
        model: &'a Transformer,
        copied: Option<&'a Copied>,
        requests: &'a [Request],
        options: &'a SamplingOptions,
        limits: Limits,
        keeper: Option<Keeper<'a>>,
    ) -> Self {
        let numbered = |(request, asked): (usize, &Request)| {
            (0..asked.count).map(move |index| (request, index))
        };
        let mut waiting: Vec<_> = requests.iter().enumerate().flat_map(numbered).collect();
        waiting.reverse();
        let heads = model.decoder.heads;
        let (device, columns) = (model.device(), 2 * heads.key_value * heads.size);
        let width = model.config.hidden_size;
        let layers = 0..model.config.layers;
        Self {
            caches: layers
                .map(|_| device.zeros(limits.slots, columns))
                .collect(),
            slots: Slots::new(limits.slots),
            prefixes: requests.iter().map(|_| None).collect(),
            left: requests.iter().map(|r| r.count).collect(),
            active: Vec::new(),
            rows_max: limits.rows,
            samples: requests.iter().map(|r| vec![None; r.count]).collect(),
            progress: SampleProgress {
                tokens: 0,
                finished: 0,
                total: waiting.len(),
            },
            steps: Repeated::new(device),
            trace: model.decoder.trace(&model.parameters),
            scratch: Scratch::new(&model.parameters),
            keeper,
            hidden_rd: device.zeros(0, width),
            logits_rv: device.zeros(0, model.config.vocabulary),
            model,
            copied,
            options,
            requests,
            waiting,
        }
    }

    /// Draws a token of every active completion and takes up those that wait; false where none is
    /// left.
    pub(super) fn step(&mut self) -> Result<bool, PolicyError> {
        if !self.active.is_empty() {
            self.advance();
            self.hidden_rd.resize_rows(self.active.len());
            self.hidden_rd.copy_from(&self.trace.hidden_nd);
            self.draw(0)?;
        }
        while self.admit()? {}
        Ok(!self.active.is_empty())
    }

    /// Reads this copy of the weights from now on.
    pub(super) fn read_from(&mut self, copied: Option<&'a Copied>) {
        self.copied = copied;
    }

    pub(super) fn progress(&self) -> SampleProgress {
        self.progress
    }

    /// The completions of each request, once all have ended, and what was kept of them.
    pub(super) fn finish(self) -> (Vec<Vec<Sample>>, Option<Kept>) {
        let whole = |group: Vec<Option<Sample>>| group.into_iter().flatten().collect();
        let samples: Vec<Vec<Sample>> = self.samples.into_iter().map(whole).collect();
        let kept = self.keeper.map(|k| k.finish(self.requests, &samples));
        (samples, kept)
    }

    /// Takes up completions for which there is room, and draws their first tokens; false where
    /// there were none.
    fn admit(&mut self) -> Result<bool, PolicyError> {
        let first = self.active.len();
        let unread = self.place();
        if self.active.len() == first {
            return Ok(false);
        }
        self.read(&unread);
        self.hidden_rd.resize_rows(self.active.len() - first);
        for (row, active) in self.active[first..].iter().enumerate() {
            let prefix = self.prefixes[active.request].as_ref();
            let prefix = prefix.expect("the prefix of an active completion is in the cache");
            self.hidden_rd.copy_rows(row, &prefix.last_1d, 0..1);
        }
        self.draw(first)?;
        Ok(true)
    }

    /// Gives waiting completions their places in the cache while there are any, and names the
    /// requests whose prefix is still to be computed.
    fn place(&mut self) -> Vec<usize> {
        let (mut unread, mut tokens) = (Vec::new(), 0);
        while let Some(&(request, index)) = self.waiting.last()
            && self.active.len() < self.rows_max
        {
            let Request { prefix, key, .. } = &self.requests[request];
            let is_new = self.prefixes[request].is_none();
            let fits = unread.is_empty() || tokens + prefix.len() <= PREFILL_TOKENS_MAX;
            if is_new && !(fits && self.place_prefix(request)) {
                break;
            }
            let Some(own) = self.slots.take(self.options.max_completion_length) else {
                // A prefix that nobody reads may be what is in the way.
                if self.release_unread(request) && self.active.is_empty() {
                    continue;
                }
                break;
            };
            if is_new {
                unread.push(request);
                tokens += prefix.len();
            }
            let shared = self.prefixes[request].as_ref().map(|p| p.slots.clone());
            self.active.push(Row {
                request,
                index,
                key: key.child(index as u64),
                shared: shared.expect("placed above"),
                own,
                sample: empty_sample(),
            });
            self.waiting.pop();
        }
        unread
    }

    /// Whether there was room for the prefix of a request.
    fn place_prefix(&mut self, request: usize) -> bool {
        let slots = self.slots.take(self.requests[request].prefix.len());
        let last_1d = || self.model.device().zeros(1, self.model.config.hidden_size);
        self.prefixes[request] = slots.map(|slots| Prefix {
            slots,
            last_1d: last_1d(),
        });
        self.prefixes[request].is_some()
    }

    /// Gives up the prefix of a request of which no completion is active; it is read again later.
    fn release_unread(&mut self, request: usize) -> bool {
        let is_read = self.active.iter().any(|row| row.request == request);
        let unread = if is_read {
            None
        } else {
            self.prefixes[request].take()
        };
        let released = unread.is_some();
        if let Some(prefix) = unread {
            self.slots.give(prefix.slots);
        }
        released
    }

    /// Computes the prefixes of these requests into the cache.
    fn read(&mut self, requests: &[usize]) {
        if requests.is_empty() {
            return;
        }
        let prefix = |&request: &usize| self.requests[request].prefix.clone();
        let batch = Batch {
            prefixes: requests.iter().map(prefix).collect(),
            rows: Vec::new(),
            temperature: 1.0,
        };
        let packing = Packing::new(&batch, |prompt| self.model.config.first_position(prompt));
        let slots = |&request: &usize| self.prefixes[request].as_ref().map(|p| p.slots.clone());
        let at: Vec<u32> = requests
            .iter()
            .filter_map(slots)
            .flatten()
            .map(|at| at as u32)
            .collect();
        let mut read = Vec::with_capacity(packing.tokens_n.len());
        for &request in requests {
            let rows = read.len()..read.len() + self.requests[request].prefix.len();
            read.extend(rows.map(|row| Token {
                row,
                request,
                completion: None,
            }));
        }
        let (decoder, input) = (&self.model.decoder, packing.input());
        self.pass(false, input, read, &mut |cache, layer, saved| {
            attention::append(&decoder.heads, &saved.qkv_nc, cache, &at);
            saved.attend(&packing.layout, &decoder.heads, &decoder.layers[layer].rule);
        });
        let mut end = 0;
        for &request in requests {
            end += self.requests[request].prefix.len();
            let prefix = self.prefixes[request].as_mut().expect("placed before");
            prefix
                .last_1d
                .copy_rows(0, &self.trace.hidden_nd, end - 1..end);
        }
    }

    /// Draws the next token of the active completions from `first` on; those that end leave.
    fn draw(&mut self, first: usize) -> Result<(), PolicyError> {
        let options = sample::Options {
            temperature: self.options.temperature as f32,
            top_k: self.options.top_k,
            top_p: self.options.top_p.map(|p| p as f32),
        };
        let (rows, width) = (self.hidden_rd.rows(), self.hidden_rd.columns());
        let at_once = (LOGITS_MAX / self.model.config.vocabulary).max(1);
        let mut part_rd = self.model.device().zeros(0, width);
        for start in (0..rows).step_by(at_once) {
            let rows = start..rows.min(start + at_once);
            part_rd.resize_rows(rows.len());
            part_rd.copy_rows(0, &self.hidden_rd, rows.clone());
            self.logits_rv.resize_rows(rows.len());
            let decoder = &self.model.decoder;
            match self.copied {
                None => decoder.logits(&self.model.parameters, &part_rd, &mut self.logits_rv),
                Some(copied) => decoder.copied_logits(copied, &part_rd, &mut self.logits_rv),
            }
            let active = &mut self.active[first + rows.start..first + rows.end];
            let uniform = |row: &Row| row.key.uniform(row.sample.tokens_t.len() as u64);
            let uniforms: Vec<f64> = active.iter().map(uniform).collect();
            let draws = sample::draw(&self.logits_rv, &options, &uniforms);
            for (row, draw) in active.iter_mut().zip(draws) {
                if !draw.logprob.is_finite() {
                    return Err(PolicyError::NotFinite {
                        place: "the logits".to_owned(),
                    });
                }
                row.sample.tokens_t.push(draw.token);
                row.sample.logprobs_t.push(f64::from(draw.logprob));
                row.sample.entropies_t.push(f64::from(draw.entropy));
            }
        }
        self.progress.tokens += rows;
        self.retire();
        Ok(())
    }

    /// Completions that have ended leave, and with the last of a request its prefix.
    fn retire(&mut self) {
        for mut row in std::mem::take(&mut self.active) {
            let tokens_t = &row.sample.tokens_t;
            let ends = &self.model.config.eos_token_ids;
            let stopped = tokens_t.last().is_some_and(|token| ends.contains(token));
            if !stopped && tokens_t.len() < self.options.max_completion_length {
                self.active.push(row);
                continue;
            }
            if stopped {
                row.sample.finish = Finish::Stop;
            }
            self.slots.give(row.own);
            self.left[row.request] -= 1;
            if self.left[row.request] == 0
                && let Some(prefix) = self.prefixes[row.request].take()
            {
                self.slots.give(prefix.slots);
            }
            self.samples[row.request][row.index] = Some(row.sample);
            self.progress.finished += 1;
        }
    }

    /// Reads the token drawn last of every active completion.
    fn advance(&mut self) {
        let (config, decoder) = (&self.model.config, &self.model.decoder);
        let active = &self.active;
        let read = |row: &Row| row.sample.tokens_t.len() - 1;
        let last = |row: &Row| row.sample.tokens_t[read(row)];
        let tokens_r: Vec<u32> = active.iter().map(last).collect();
        let first = |row: &Row| config.first_position(row.shared.len());
        let position = |row: &Row| (first(row) + row.shared.len() + read(row)) as u32;
        let positions_r: Vec<u32> = active.iter().map(position).collect();
        let slot = |row: &Row| (row.own.start + read(row)) as u32;
        let at: Vec<u32> = active.iter().map(slot).collect();
        let seen = |row: &Row| RowSpans {
            shared: row.shared.clone(),
            own: row.own.start..row.own.start + read(row) + 1,
        };
        let spans: Vec<RowSpans> = active.iter().map(seen).collect();
        let token = |(row, active): (usize, &Row)| Token {
            row,
            request: active.request,
            completion: Some(active.index),
        };
        let tokens: Vec<Token> = active.iter().enumerate().map(token).collect();
        let input = Input {
            tokens_n: &tokens_r,
            positions_n: &positions_r,
        };
        self.pass(true, input, tokens, &mut |cache, layer, saved| {
            let Activations {
                qkv_nc,
                attended_nq,
                log_sum_exp_nh,
                ..
            } = saved;
            let (heads, rule) = (&decoder.heads, &decoder.layers[layer].rule);
            attention::append(heads, qkv_nc, cache, &at);
            attention::cached(
                heads,
                rule,
                qkv_nc,
                cache,
                &spans,
                attended_nq,
                log_sum_exp_nh,
            );
        });
    }

    /// Reads these tokens, as one step of many or once; `attend` is given a layer's cache, its
    /// index and its activations.
    fn pass(
        &mut self,
        is_step: bool,
        input: Input,
        tokens: Vec<Token>,
        attend: &mut dyn FnMut(&mut Matrix, usize, &mut Activations),
    ) {
        let Self {
            model,
            caches,
            trace,
            scratch,
            keeper,
            ..
        } = self;
        if let Some(keeper) = keeper {
            keeper.place(tokens);
        }
        let attend: &mut Attend = &mut |layer, saved| attend(&mut caches[layer], layer, saved);
        let keep = &mut |layer: usize, saved: &mut Activations| {
            if let Some(keeper) = keeper {
                keeper.keep(layer, saved);
            }
        };
        let weights = weights(model, self.copied, is_step);
        let mut forward = || {
            let decoder = &model.decoder;
            decoder.forward(weights, input, trace, scratch, attend, keep);
        };
        if is_step {
            self.steps.turn(forward);
        } else {
            forward();
        }
        if let Some(keeper) = keeper {
            keeper.keep_ends(trace);
        }
    }
}

impl Limits {
    /// Room for as many completions as are useful at once, and for their prefixes; at least for
    /// any one.
    pub(super) fn new(model: &Transformer, requests: &[Request], new_tokens: usize) -> Self {
        let total: usize = requests.iter().map(|request| request.count).sum();
        let capacity = Capacity::of(model.device());
        let rows = total.min(capacity.rows);
        let mut prefixes: Vec<usize> = requests.iter().map(|r| r.prefix.len()).collect();
        prefixes.sort_unstable_by(|a, b| b.cmp(a));
        let one = prefixes.first().map_or(0, |longest| longest + new_tokens);
        let all = prefixes.iter().take(rows).sum::<usize>() + rows * new_tokens;
        let config = &model.config;
        let values = 2 * config.key_value_heads * config.head_size * config.layers;
        Self {
            rows,
            slots: all.min(capacity.cache_values / values).max(one),
        }
    }
}

fn weights<'a>(model: &'a Transformer, copied: Option<&'a Copied>, is_step: bool) -> Weights<'a> {
    let own = model.parameters.weights();
    copied.map_or(own, |copied| copied.weights(own, is_step))
}

fn empty_sample() -> Sample {
    Sample {
        tokens_t: Vec::new(),
        logprobs_t: Vec::new(),
        entropies_t: Vec::new(),
        finish: Finish::Length,
    }
}
