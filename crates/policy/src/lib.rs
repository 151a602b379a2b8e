//! The contract between what is trained and what trains it, and the values that cross it.
//!
//! A policy turns a [`Batch`] of token ids into [`Signals`] (log-probabilities and pooled hidden
//! points) and takes gradients *in those signals* back. It never learns which objective made them;
//! no objective ever sees a policy. Token ids cross as sampled and are never encoded again.
//!
//! Axes: `p` prefixes, `n` rows (completions), `t` tokens of a row, `d` hidden width,
//! `v` vocabulary. Log-probabilities and entropies are in nats.
//!
//! Start at [`Batch`] and [`Signals`], then [`Policy`]. [`TabularPolicy`] is the smallest policy.

mod batch;
mod contract;
mod probe;
mod sampling;
mod signals;
mod tabular;
mod text;

pub use batch::{Batch, Row, Slice};
pub use contract::{Policy, PolicyError, Sampler, Scorer, UpdateReport};
pub use probe::Probe;
pub use sampling::{Finish, Request, Sample, SampleProgress, SamplingOptions};
pub use signals::Signals;
pub use tabular::TabularPolicy;
pub use text::{Message, Role, TextCodec, TextError};
