//! Sampling with a cache of keys and values.
//!
//! Each prefix is computed once for all its completions, completions that end leave the batch, and
//! nothing is padded. A wave holds as many completions as its cache allows.

use std::ops::Range;

use kernel::attention::{self, RowSpans};
use kernel::{Matrix, sample};
use math::Key;
use policy::{
    Batch, Finish, PolicyError, Request, Sample, SampleProgress, Sampler, SamplingOptions,
};

use crate::Transformer;
use crate::decoder::{Activations, Packing, Scratch, Trace};

/// Completions decoded together at most; beyond it a processor gains nothing.
pub(crate) const WAVE_ROWS_MAX: usize = 512;
/// Cached tokens of a wave at most, over all layers together: 2 GiB of keys and values.
pub(crate) const WAVE_CACHE_VALUES_MAX: usize = 1 << 29;
/// Logits held at once at most: 64 MiB.
pub(crate) const LOGITS_MAX: usize = 1 << 24;

/// Prefix tokens computed at once, so that a wave of long prompts does not hold their activations
/// all together; a longer prefix is computed alone.
pub(crate) const PREFILL_TOKENS_MAX: usize = 8192;

/// A completion being drawn.
struct Row {
    request: usize,
    index: usize,
    key: Key,
    shared: Range<usize>,
    /// Cache rows of its own tokens.
    start: usize,
    sample: Sample,
}

/// What one wave decodes with.
struct Wave<'a> {
    model: &'a Transformer,
    options: &'a SamplingOptions,
    end_tokens: &'a [u32],
    /// Keys and values of each layer, `[slots, 2 · key-value columns]`: prefixes, then rows.
    caches: Vec<Matrix>,
    active: Vec<Row>,
    finished: Vec<Row>,
}

impl Sampler for Transformer {
    /// Ends at the model's end tokens.
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        for request in requests {
            self.check_length(request.prefix.len(), options.max_completion_length)?;
        }
        let total = requests.iter().map(|request| request.count).sum();
        let mut groups: Vec<Vec<Option<Sample>>> = requests
            .iter()
            .map(|request| vec![None; request.count])
            .collect();
        let mut so_far = SampleProgress {
            tokens: 0,
            finished: 0,
            total,
        };
        for wave in self.waves(requests, options.max_completion_length) {
            for row in self.decode_wave(requests, &wave, options, &mut so_far, progress)? {
                groups[row.request][row.index] = Some(row.sample);
            }
        }
        let whole = |group: Vec<Option<Sample>>| group.into_iter().flatten().collect();
        Ok(groups.into_iter().map(whole).collect())
    }
}

/// Completions `indices` of a request.
type Share = (usize, Range<usize>);

impl Transformer {
    /// Cuts requests into waves that fit the cache; a prefix is computed once in each wave.
    fn waves(&self, requests: &[Request], new_tokens: usize) -> Vec<Vec<Share>> {
        let per_slot = 2 * self.config.key_value_heads * self.config.head_size * self.config.layers;
        let slots_max = WAVE_CACHE_VALUES_MAX / per_slot;
        let mut waves: Vec<Vec<Share>> = Vec::new();
        let (mut slots, mut rows) = (0, 0);
        for (index, request) in requests.iter().enumerate() {
            let mut next = 0;
            while next < request.count {
                let needed = request.prefix.len() + new_tokens;
                if waves.is_empty() || rows == WAVE_ROWS_MAX || slots + needed > slots_max {
                    waves.push(Vec::new());
                    (slots, rows) = (0, 0);
                }
                let room = slots_max.saturating_sub(slots + request.prefix.len()) / new_tokens;
                let taken = room
                    .min(WAVE_ROWS_MAX - rows)
                    .clamp(1, request.count - next);
                let wave = waves.last_mut().expect("a wave was opened above");
                wave.push((index, next..next + taken));
                slots += request.prefix.len() + taken * new_tokens;
                rows += taken;
                next += taken;
            }
        }
        waves
    }

    fn decode_wave(
        &self,
        requests: &[Request],
        shares: &[Share],
        options: &SamplingOptions,
        so_far: &mut SampleProgress,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Row>, PolicyError> {
        let mut wave = Wave {
            model: self,
            options,
            end_tokens: &self.config.eos_token_ids,
            caches: Vec::new(),
            active: Vec::new(),
            finished: Vec::new(),
        };
        let mut hidden_rd = wave.prefill(requests, shares);
        let mut trace = self.decoder.trace(&self.parameters, 1);
        let mut scratch = Scratch::new(&self.parameters);
        loop {
            so_far.tokens += wave.active.len();
            wave.draw(&hidden_rd)?;
            progress(SampleProgress {
                finished: so_far.finished + wave.finished.len(),
                ..*so_far
            });
            if wave.active.is_empty() {
                so_far.finished += wave.finished.len();
                return Ok(wave.finished);
            }
            wave.advance(&mut trace, &mut scratch);
            hidden_rd.resize_rows(wave.active.len());
            hidden_rd.copy_from(&trace.hidden_nd);
        }
    }
}

impl Wave<'_> {
    /// Computes the prefixes, fills their part of the caches, and gives for each completion the
    /// hidden state that predicts its first token.
    fn prefill(&mut self, requests: &[Request], shares: &[Share]) -> Matrix {
        let model = self.model;
        self.place(requests, shares);
        let mut trace = model.decoder.trace(&model.parameters, 1);
        let mut scratch = Scratch::new(&model.parameters);
        let width = trace.hidden_nd.columns();
        let mut hidden_rd = model.device().zeros(self.active.len(), width);
        let (mut slot, mut row) = (0, 0);
        for part in parts(requests, shares) {
            let prefixes = part
                .iter()
                .map(|(request, _)| requests[*request].prefix.clone());
            let batch = Batch {
                prefixes: prefixes.collect(),
                rows: Vec::new(),
                temperature: 1.0,
            };
            let packing = Packing::new(&batch, |prompt| model.config.first_position(prompt));
            self.read_prefixes(&packing, slot, &mut trace, &mut scratch);
            slot += packing.tokens_n.len();
            let mut end = 0;
            for ((_, indices), prefix) in part.iter().zip(&batch.prefixes) {
                end += prefix.len();
                for _ in indices.clone() {
                    hidden_rd.copy_rows(row, &trace.hidden_nd, end - 1..end);
                    row += 1;
                }
            }
        }
        hidden_rd
    }

    /// Gives every completion its places in the caches: all prefixes first, then rows.
    fn place(&mut self, requests: &[Request], shares: &[Share]) {
        let prefix_tokens: usize = shares.iter().map(|(r, _)| requests[*r].prefix.len()).sum();
        let new_tokens = self.options.max_completion_length;
        let mut end = 0;
        for (request, indices) in shares {
            let Request { prefix, key, .. } = &requests[*request];
            let shared = end..end + prefix.len();
            end = shared.end;
            for index in indices.clone() {
                self.active.push(Row {
                    request: *request,
                    index,
                    key: key.child(index as u64),
                    shared: shared.clone(),
                    start: prefix_tokens + self.active.len() * new_tokens,
                    sample: empty_sample(),
                });
            }
        }
        let slots = prefix_tokens + self.active.len() * new_tokens;
        let heads = self.model.decoder.heads;
        let columns = 2 * heads.key_value * heads.size;
        let device = self.model.device();
        let layers = 0..self.model.config.layers;
        self.caches = layers.map(|_| device.zeros(slots, columns)).collect();
    }

    /// Computes packed prefixes into the caches from `slot` on.
    fn read_prefixes(
        &mut self,
        packing: &Packing,
        slot: usize,
        trace: &mut Trace,
        scratch: &mut Scratch,
    ) {
        let (heads, layers) = (self.model.decoder.heads, &self.model.decoder.layers);
        let (tokens_n, positions_n) = (&packing.tokens_n, &packing.positions_n);
        let at: Vec<u32> = (slot..slot + tokens_n.len())
            .map(|slot| slot as u32)
            .collect();
        let caches = &mut self.caches;
        let mut attend = |layer: usize, saved: &mut Activations| {
            attention::append(&heads, &saved.qkv_nc, &mut caches[layer], &at);
            saved.attend(&packing.layout, &heads, &layers[layer].rule);
        };
        let (decoder, parameters) = (&self.model.decoder, &self.model.parameters);
        decoder.forward(
            parameters,
            tokens_n,
            positions_n,
            trace,
            scratch,
            &mut attend,
        );
    }

    /// Draws the next token of every active completion; those that end leave.
    fn draw(&mut self, hidden_rd: &Matrix) -> Result<(), PolicyError> {
        let vocabulary = self.model.config.vocabulary;
        let width = hidden_rd.columns();
        let options = sample::Options {
            temperature: self.options.temperature as f32,
            top_k: self.options.top_k,
            top_p: self.options.top_p.map(|p| p as f32),
        };
        let at_once = (LOGITS_MAX / vocabulary).max(1);
        let device = self.model.device();
        for start in (0..self.active.len()).step_by(at_once) {
            let rows = start..self.active.len().min(start + at_once);
            let mut part_rd = device.zeros(rows.len(), width);
            part_rd.copy_rows(0, hidden_rd, rows.clone());
            let logits_rv = self.model.decoder.logits(&self.model.parameters, &part_rd);
            let uniform = |row: &Row| row.key.uniform(row.sample.tokens_t.len() as u64);
            let uniforms: Vec<f64> = self.active[rows.clone()].iter().map(uniform).collect();
            let draws = sample::draw(&logits_rv, &options, &uniforms);
            for (row, draw) in self.active[rows].iter_mut().zip(draws) {
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
        self.retire();
        Ok(())
    }

    fn retire(&mut self) {
        let length_max = self.options.max_completion_length;
        for mut row in std::mem::take(&mut self.active) {
            let tokens_t = &row.sample.tokens_t;
            let stopped = tokens_t
                .last()
                .is_some_and(|token| self.end_tokens.contains(token));
            if stopped {
                row.sample.finish = Finish::Stop;
            }
            let ended = stopped || tokens_t.len() >= length_max;
            if ended {
                &mut self.finished
            } else {
                &mut self.active
            }
            .push(row);
        }
    }

    /// Reads the token drawn last of every active completion.
    fn advance(&mut self, trace: &mut Trace, scratch: &mut Scratch) {
        let (heads, layers) = (self.model.decoder.heads, &self.model.decoder.layers);
        let read = |row: &Row| row.sample.tokens_t.len() - 1;
        let last = |row: &Row| row.sample.tokens_t[read(row)];
        let tokens_r: Vec<u32> = self.active.iter().map(last).collect();
        let first = |row: &Row| self.model.config.first_position(row.shared.len());
        let position = |row: &Row| (first(row) + row.shared.len() + read(row)) as u32;
        let positions_r: Vec<u32> = self.active.iter().map(position).collect();
        let slot = |row: &Row| (row.start + read(row)) as u32;
        let at: Vec<u32> = self.active.iter().map(slot).collect();
        let seen = |row: &Row| RowSpans {
            shared: row.shared.clone(),
            own: row.start..row.start + read(row) + 1,
        };
        let spans: Vec<RowSpans> = self.active.iter().map(seen).collect();
        let caches = &mut self.caches;
        let mut attend = |layer: usize, saved: &mut Activations| {
            let Activations {
                qkv_nc,
                attended_nq,
                ..
            } = saved;
            attention::append(&heads, qkv_nc, &mut caches[layer], &at);
            let rule = &layers[layer].rule;
            attention::cached(&heads, rule, qkv_nc, &caches[layer], &spans, attended_nq);
        };
        let (decoder, parameters) = (&self.model.decoder, &self.model.parameters);
        decoder.forward(
            parameters,
            &tokens_r,
            &positions_r,
            trace,
            scratch,
            &mut attend,
        );
    }
}

/// Cuts a wave's shares between prefixes into parts that are prefilled at once.
fn parts<'a>(requests: &[Request], mut shares: &'a [Share]) -> Vec<&'a [Share]> {
    let mut parts = Vec::new();
    while !shares.is_empty() {
        let mut tokens = 0;
        let fits = shares.iter().take_while(|(request, _)| {
            tokens += requests[*request].prefix.len();
            tokens <= PREFILL_TOKENS_MAX
        });
        let (part, rest) = shares.split_at(fits.count().max(1));
        parts.push(part);
        shares = rest;
    }
    parts
}

fn empty_sample() -> Sample {
    Sample {
        tokens_t: Vec::new(),
        logprobs_t: Vec::new(),
        entropies_t: Vec::new(),
        finish: Finish::Length,
    }
}
