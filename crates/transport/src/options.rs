//! How strongly to regularise and how far to solve.

use crate::TransportError;

/// How a transport problem is regularised and solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Strength of the entropy term.
    pub epsilon: Epsilon,
    /// Solved once the L1 distance of the plan's marginals from the uniform ones is at most this.
    /// Values are then right to about its square, gradients to about itself.
    pub tolerance: f64,
    /// Give up, with `converged` false, after this many iterations of one problem. An iteration is
    /// a Sinkhorn sweep with the Newton step that follows it; each stage of ε makes at least one.
    pub iterations_max: usize,
}

impl Default for Options {
    /// ε = 0.1 of the mean cost \[2nd: a third party's reading of ENIGMA\]; tolerance 1e-9 and
    /// 500 iterations \[ours\], of which clouds of 150 points needed 40 at ε = 1e-4 of the mean.
    fn default() -> Self {
        Self {
            epsilon: Epsilon::RelativeToMeanCost(0.1),
            tolerance: 1e-9,
            iterations_max: 500,
        }
    }
}

/// The weight ε of the entropy term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epsilon {
    /// In units of the cost.
    Absolute(f64),
    /// As a share of the mean of the cost matrix; a divergence uses the mean of its *cross* cost in
    /// all three problems. The result then scales with the square of the clouds \[ours\].
    RelativeToMeanCost(f64),
}

impl Epsilon {
    /// ε in units of the cost.
    ///
    /// A mean cost of 0 leaves one plan, the product, whatever ε is; the mean then counts as 1.
    pub(crate) fn resolve(self, mean_cost: f64) -> Result<f64, TransportError> {
        let (given, scale) = match self {
            Self::Absolute(epsilon) => (epsilon, 1.0),
            Self::RelativeToMeanCost(share) if mean_cost > 0.0 => (share, mean_cost),
            Self::RelativeToMeanCost(share) => (share, 1.0),
        };
        if given > 0.0 && given.is_finite() {
            Ok(given * scale)
        } else {
            Err(TransportError::Epsilon { found: given })
        }
    }

    /// dε/d(mean cost).
    pub(crate) fn slope(self) -> f64 {
        match self {
            Self::Absolute(_) => 0.0,
            Self::RelativeToMeanCost(share) => share,
        }
    }
}
