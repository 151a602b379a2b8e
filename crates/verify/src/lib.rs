//! Holds a policy and the step that trains it against computations that share no code with them.
//!
//! A [`Check`] runs the real thing (the sampler, the step, the terms, the update) and compares what
//! it gives with a formula written out here, with a law it must obey, or with differences through
//! the whole model. A [`Finding`] is a figure beside its tolerance. Checks run on the user's own
//! policy; those that need exact numbers run on a *tiny* one too, whose forward pass is computed
//! here in `f64`.
//!
//! Axes: `g` groups, `n` rows (completions), `t` tokens, `d` hidden width, `v` vocabulary, `k`
//! constitutions. Log-probabilities are in nats.
//!
//! Start at [`checks`], the only list, then [`Subject`].

mod advantages;
mod bandit;
mod bench;
mod check;
mod decoder;
mod determinism;
mod difference;
mod error;
mod head;
mod length_grader;
mod letters;
mod mask;
mod micro_batch;
mod on_policy;
mod optimizer;
mod play;
mod points;
mod prefix;
mod sinkhorn;
mod stage;
mod task;
mod terms;
mod tiny;

pub use bench::{AdamW, Bench, Subject};
pub use check::{Check, Finding, Run, checks};
pub use decoder::{Decoder, DecoderShape};
pub use error::VerifyError;
pub use letters::Letters;
pub use tiny::TINY;
