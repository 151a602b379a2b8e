//! Entropic optimal transport between uniform point clouds, debiased into a divergence whose
//! gradient in the points is exact.
//!
//! Axes: `n` sources (points of x), `m` targets (points of y), `d` coordinates. Matrices are
//! row-major. Costs are squared Euclidean distances, weights are uniform, entropies are in nats.
//!
//! What a newcomer would not guess: plain Sinkhorn sweeps can need thousands of iterations at small
//! ε. Here each sweep is followed by a Newton step on the dual, so tens suffice; every result says
//! whether they did.
//!
//! Start at [`sinkhorn_divergence`]; [`entropic`] is one problem on a cost of one's own.

mod divergence;
mod entropic;
mod error;
mod newton;
mod options;
mod softmin;
mod symmetric;

pub use divergence::{Divergence, sinkhorn_divergence};
pub use entropic::{Transport, entropic};
pub use error::TransportError;
pub use options::{Epsilon, Options};
