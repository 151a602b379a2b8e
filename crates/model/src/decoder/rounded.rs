//! A copy of the weights rounded to `bf16`, with which completions may be drawn.

use kernel::bf16;

use super::parameters::Layer;
use super::{Parameters, Weights};

/// The layers and the head, rounded; adapters are added to the weights before. It does not follow
/// the parameters.
#[derive(Debug)]
pub(crate) struct Rounded {
    layers: Vec<Layer>,
    pub(super) head: bf16::Weight,
}

impl Rounded {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            layers: parameters.layers.iter().map(Layer::rounded).collect(),
            head: bf16::Weight::new(parameters.head()),
        }
    }

    /// Weights of which the layers are these.
    pub(crate) fn weights<'a>(&'a self, weights: Weights<'a>) -> Weights<'a> {
        Weights {
            layers: &self.layers,
            ..weights
        }
    }
}
