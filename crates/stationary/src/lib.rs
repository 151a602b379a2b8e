//! What GRPO converges to for one question with K answers: the policies at which the expected
//! gradient of its objective vanishes, without training anything.
//!
//! Axes: `k` answers, `l` distinct rewards among them (levels), `g` completions of a group.
//! Probabilities are of whole answers, so the theory is that of one-token answers or of ratios and
//! penalties of whole outputs; clipping has no part in it, since no ratio leaves 1 at a stationary
//! policy.
//!
//! What a newcomer would not guess: GRPO pools reference and preference as `π_ref/(1 − x)`, where
//! RLHF and NLHF pool as `π_ref·eˣ`, because its k3 penalty pulls along the gradient of
//! `KL(π_ref ‖ π)`. And with rewards scaled by the deviation of their group, the size of a
//! difference in reward may not matter at all.
//!
//! Source: Vojnović and Yun, "What is the Alignment Objective of GRPO?", arXiv 2502.18548v3. Marks
//! \[D\] stand where a formula is derived here and not in the paper. Start at [`solve`].

mod error;
mod question;
mod variant;

mod solve;

mod affine;
pub mod binary;
mod fixed_point;
mod interior;
mod pool;
mod roots;

mod compositions;
mod pairwise;
mod preference;
mod sampled;

mod pooling;

pub use error::StationaryError;
pub use pooling::{divergence, nlhf, rlhf, win_rate};
pub use preference::{Preference, reward_preference};
pub use question::{Answers, Question};
pub use solve::{Method, Other, Stationary, solve};
pub use variant::{Group, Penalty, Scale, Variant};
