//! What holding a policy against independent computations needs.

use crate::{Policy, PolicyError};

/// A policy whose parameters can be read and moved, and whose logits can be seen whole.
///
/// Training needs none of this. Parameters and gradients are flat and in one order, so that a
/// direction is a vector, and a slope an inner product.
pub trait Probe: Policy {
    /// The parameters that an update changes; writing them back changes nothing.
    fn parameters(&self) -> Vec<f64>;

    /// Overwrites those parameters, each rounded to what the policy holds. The optimiser forgets
    /// what it remembered, and a gradient gathered so far is lost; the reference stays.
    ///
    /// # Panics
    /// If there is not one value for each parameter.
    fn set_parameters(&mut self, values: &[f64]);

    /// The gradient gathered by backward passes since the last update, in the parameters' order.
    ///
    /// # Panics
    /// If no backward pass came before.
    fn gradient(&self) -> Vec<f64>;

    /// For each token of a completion, the logits of the whole vocabulary that it is drawn from,
    /// at temperature 1.
    ///
    /// # Errors
    /// As [`crate::Scorer::signals`].
    fn logits_tv(&self, prefix: &[u32], tokens_t: &[u32]) -> Result<Vec<Vec<f64>>, PolicyError>;
}
