//! How much completions tell about the constitution they were written under, and how far a policy
//! has moved from its reference. Everything is in nats.
//!
//! Axes: `k` constitutions and their `k` completions. `M[i][j]` scores completion `j` under
//! constitution `i`, and completion `i` was written under constitution `i`.
//!
//! What a newcomer would not guess: the two directions of the contrast bound the same information
//! but trust different things. Over constitutions, any offset of a completion (its length, its
//! fluency) cancels; over completions it does not, and the bound holds only for matched ones.
//!
//! Start at [`contrast_losses`] for one question, [`bounds`] for many.

mod bound;
mod club;
mod contrast;
mod kl;
mod reading;

pub use bound::{BoundEstimate, bounds};
pub use club::{channel_information, club};
pub use contrast::{Bounds, Losses, contrast_gradient, contrast_losses};
pub use kl::k3;
pub use reading::{Reading, permuted_readings, reading};
