//! The training loop, which executes gradients and never asks which algorithm made them.
//!
//! A step rolls out graded groups, turns them into one batch, asks the policy for its signals, the
//! objective for a gradient in them, and hands that back to the policy. Every draw is named by the
//! run's seed, the rollout, the question, the constitution and the sample: a run is a function of
//! its settings. Supervised warm start and evaluation go through the same parts.
//!
//! Axes: `q` questions, `k` constitutions, `g` completions of a group, `n` rows of a batch,
//! `t` tokens, `d` hidden width.
//!
//! Start at [`Training::step`].

mod accumulate;
mod completions;
mod draws;
mod error;
mod evaluate;
mod experience;
mod failure;
mod keep;
mod metrics;
mod observe;
mod order;
mod pending;
mod prompts;
mod rows;
mod schedule;
mod settings;
mod sft;
mod share;
mod step;
mod train;

pub use error::{LastGood, TrainError};
pub use evaluate::{Evaluated, EvaluationSettings, evaluate};
pub use keep::{Keeper, NotKept};
pub use observe::Observer;
pub use schedule::Schedule;
pub use settings::{Settings, Task};
pub use sft::{Example, SftSettings, sft};
pub use step::Training;
pub use train::{Trained, train};
