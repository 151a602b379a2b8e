//! A copy of the weights as decoding reads them best.

use kernel::{Matrix, Mode, bf16, panels};

use super::parameters::Layer;
use super::{Parameters, Weights};

/// The layers and the head; adapters are added to the weights before. It does not follow the
/// parameters.
#[derive(Debug)]
pub(crate) struct Copied {
    layers: Vec<Layer>,
    head: CopiedWeight,
    kind: CopyKind,
}

/// What a copy is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyKind {
    /// Rounded to `bf16`: drawing computes with these.
    Rounded,
    /// The same numbers in the order in which a step reads them, on a processor.
    Panels,
}

/// The copy of one weight.
#[derive(Clone, Debug)]
pub(super) enum CopiedWeight {
    Rounded(bf16::Weight),
    Panels(panels::Weight),
}

impl Copied {
    pub(crate) fn new(parameters: &Parameters, kind: CopyKind) -> Self {
        let layers = parameters.layers.iter();
        Self {
            layers: layers.map(|layer| layer.copied(kind)).collect(),
            head: CopiedWeight::new(parameters.head(), kind),
            kind,
        }
    }

    /// Weights of which the layers are these; but with panels a prefix is read by `weights`, since
    /// its rows are many.
    pub(crate) fn weights<'a>(&'a self, weights: Weights<'a>, is_step: bool) -> Weights<'a> {
        if self.kind == CopyKind::Panels && !is_step {
            return weights;
        }
        Weights {
            layers: &self.layers,
            ..weights
        }
    }

    /// The head's output, not capped.
    pub(super) fn logits(&self, hidden_rd: &Matrix, logits_rv: &mut Matrix) {
        self.head.forward(hidden_rd, None, logits_rv, Mode::Write);
    }
}

impl CopiedWeight {
    pub(super) fn new(weight_io: &Matrix, kind: CopyKind) -> Self {
        match kind {
            CopyKind::Rounded => Self::Rounded(bf16::Weight::new(weight_io)),
            CopyKind::Panels => Self::Panels(panels::Weight::new(weight_io)),
        }
    }

    pub(super) fn forward(
        &self,
        x_ni: &Matrix,
        bias_1o: Option<&Matrix>,
        y_no: &mut Matrix,
        mode: Mode,
    ) {
        match self {
            Self::Rounded(weight) => bf16::forward(x_ni, weight, bias_1o, y_no, mode),
            Self::Panels(weight) => panels::forward(x_ni, weight, bias_1o, y_no, mode),
        }
    }
}
