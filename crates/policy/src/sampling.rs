//! What is asked of a sampler and what it returns.

use math::Key;

/// Some completions wanted under one prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids of the rendered prompt; not empty.
    pub prefix: Vec<u32>,
    /// How many completions to draw; the prefix is computed once for all of them.
    pub count: usize,
    /// Names the draws: sample `i` reads token `t` at `key.child(i)`, counter `t`.
    pub key: Key,
}

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only the `k` likeliest tokens are drawn from.
    pub top_k: Option<usize>,
    /// Only the smallest set of likeliest tokens that holds this probability is drawn from.
    pub top_p: Option<f64>,
    /// A completion of this length ends, without an end token.
    pub max_completion_length: usize,
}

/// One completion as drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Token ids, the end token included where one was drawn; not empty.
    pub tokens_t: Vec<u32>,
    /// Log-probability of each token at the sampling temperature, before any top-k or top-p, nats.
    pub logprobs_t: Vec<f64>,
    /// Entropy of the distribution that each token was drawn from, before any top-k or top-p, nats.
    pub entropies_t: Vec<f64>,
    /// Why the completion ended.
    pub finish: Finish,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token was drawn; it is the last token.
    Stop,
    /// The length limit was met.
    Length,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleProgress {
    /// Tokens drawn so far.
    pub tokens: usize,
    /// Completions finished so far.
    pub finished: usize,
    /// Completions asked for.
    pub total: usize,
}
