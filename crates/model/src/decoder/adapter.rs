//! Adapters of low rank beside the projections, and what a pass does with them.

use kernel::low_rank::{self, Map};
use kernel::{Device, Matrix, Mode, dropout};

use super::projection::Projection;

/// What stands beside the columns of one module: `scale · x A B`; or its gradient or moments.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// `A`, from the module's input to the rank.
    pub(crate) down_ik: Matrix,
    /// `B`, from the rank to the module's columns.
    pub(crate) up_ko: Matrix,
    pub(crate) scale: f32,
    /// The module's first column in its projection.
    pub(crate) column: usize,
    /// Names the module among all adapted ones.
    pub(crate) index: u64,
}

/// Which adapters a pass applies, and its buffers for them.
#[derive(Debug)]
pub(crate) struct AdapterPass {
    pub(crate) selection: Selection,
    /// Drops entries of the adapters' inputs; training alone does.
    pub(crate) dropout: Option<Dropout>,
    inner_nk: Matrix,
    grad_inner_nk: Matrix,
}

/// Whose adapters are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Those that are trained.
    Trained,
    /// Those that the reference has: none, where training began with fresh ones.
    Reference,
}

/// Names of the masks of a pass.
#[derive(Debug)]
pub(crate) struct Dropout {
    /// A name for each packed token.
    pub(crate) keys_n: Vec<u64>,
    pub(crate) probability: f32,
}

impl Adapter {
    pub(crate) fn map(&self) -> Map<'_> {
        Map {
            down_ik: &self.down_ik,
            up_ko: &self.up_ko,
            scale: self.scale,
            column: self.column,
        }
    }

    /// Zeros of this shape.
    pub(super) fn zeros(&self) -> Self {
        let zeros = |m: &Matrix| m.device().zeros(m.rows(), m.columns());
        Self {
            down_ik: zeros(&self.down_ik),
            up_ko: zeros(&self.up_ko),
            ..*self
        }
    }
}

impl Dropout {
    fn mask(&self, adapter: &Adapter) -> dropout::Mask<'_> {
        dropout::Mask {
            keys_n: &self.keys_n,
            stream: adapter.index,
            probability: self.probability,
        }
    }

    fn apply(&self, x_ni: &Matrix, adapter: &Adapter) -> Matrix {
        let mut dropped = x_ni.device().zeros(x_ni.rows(), x_ni.columns());
        dropout::apply(x_ni, &self.mask(adapter), &mut dropped, Mode::Write);
        dropped
    }
}

impl AdapterPass {
    /// A pass of the trained adapters, of this rank, without dropout.
    pub(super) fn new(device: &Device, rank: usize) -> Self {
        Self {
            selection: Selection::Trained,
            dropout: None,
            inner_nk: device.zeros(0, rank),
            grad_inner_nk: device.zeros(0, rank),
        }
    }

    /// Adds what the selected adapters of a projection give.
    pub(super) fn forward(&mut self, projection: &Projection, x_ni: &Matrix, y_no: &mut Matrix) {
        let adapters = match self.selection {
            Selection::Trained => &projection.adapters,
            Selection::Reference => &projection.reference,
        };
        for adapter in adapters {
            self.inner_nk.resize_rows(x_ni.rows());
            let dropped = self.dropout.as_ref().map(|d| d.apply(x_ni, adapter));
            let x_ni = dropped.as_ref().unwrap_or(x_ni);
            low_rank::forward(x_ni, &adapter.map(), &mut self.inner_nk, y_no);
        }
    }

    /// Adds the gradients in the input and in the trained adapters of a projection.
    pub(super) fn backward(
        &mut self,
        projection: &Projection,
        x_ni: &Matrix,
        grad_y_no: &Matrix,
        grad_x_ni: &mut Matrix,
        total: &mut [Adapter],
    ) {
        for (adapter, total) in projection.adapters.iter().zip(total) {
            let rows = x_ni.rows();
            self.inner_nk.resize_rows(rows);
            self.grad_inner_nk.resize_rows(rows);
            let inner = [&mut self.inner_nk, &mut self.grad_inner_nk];
            let (map, down, up) = (adapter.map(), &mut total.down_ik, &mut total.up_ko);
            let Some(dropout) = &self.dropout else {
                low_rank::backward(x_ni, &map, grad_y_no, inner, grad_x_ni, down, up);
                continue;
            };
            let dropped_ni = dropout.apply(x_ni, adapter);
            let mut grad_ni = x_ni.device().zeros(rows, x_ni.columns());
            low_rank::backward(&dropped_ni, &map, grad_y_no, inner, &mut grad_ni, down, up);
            dropout::apply(&grad_ni, &dropout.mask(adapter), grad_x_ni, Mode::Add);
        }
    }
}
