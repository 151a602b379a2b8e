//! What a step minimises: advantages, and loss terms over signals.
//!
//! A [`Term`] takes the [`Evidence`] of a batch and the policy's `Signals`, and gives a value with
//! its gradient *in those signals*. No term sees a model, and none knows of another: they meet as a
//! weighted sum in [`total`]. Everything is `f64` and pure.
//!
//! Axes: `n` rows (completions), `t` tokens of a row, `d` hidden width, `k` constitutions. In a
//! contrast `i` is the constitution and `j` the completion. Log-probabilities, divergences and
//! bounds are in nats.
//!
//! A newcomer would not guess: strictly on-policy the ratio is 1, so GRPO's value is about 0
//! while its gradient is not, and neither the clip nor the ratio's level has any effect.
//!
//! Start at [`advantages`], then [`Evidence`], then the list of terms in [`Settings::terms`].

mod advantages;
mod aggregation;
mod error;
mod evidence;
mod grpo;
mod kl;
mod sami;
mod settings;
mod sinkhorn;
mod term;
mod total;

#[cfg(test)]
mod trial;

pub use advantages::{AdvantageOptions, Deviation, ScaleRewards, advantages};
pub use aggregation::Aggregation;
pub use error::ObjectiveError;
pub use evidence::{Contrast, Evidence, Graded};
pub use grpo::{Grpo, RatioLevel};
pub use kl::Kl;
pub use sami::Sami;
pub use settings::Settings;
pub use sinkhorn::SinkhornDrift;
pub use term::{Loss, Needs, Outcome, Term};
pub use total::{TermReport, Total, WarmUp, Weighted, total};
