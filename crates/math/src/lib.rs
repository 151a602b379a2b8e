//! The numerical ground of the workspace: stable reductions, statistics that carry their
//! uncertainty, counter-based random draws, and the finite-difference gradient checker.
//!
//! Everything is `f64` and pure. There is no random *state* anywhere: a draw is a function of a
//! [`Key`] and a counter, so any part of a run can be recomputed alone, in any order.
//!
//! Start at [`Key`] for randomness, [`log_sum_exp`] for reductions, [`Interval`] for statistics.

mod draw;
mod gradient;
mod reduce;
mod statistics;

pub use draw::Key;
pub use gradient::{GradientCheck, check_gradient};
pub use reduce::{dot, log_softmax, log_sum_exp, mean, norm, softmax, sum, variance};
pub use statistics::{Interval, bootstrap, bootstrap_mean, central, spearman};
