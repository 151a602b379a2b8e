//! A linear map of a layer: its weight, its bias, and the adapters beside it.

use kernel::{Matrix, Mode, linear, low_rank};

use super::adapter::{Adapter, AdapterPass};
use super::copied::{CopiedWeight, CopyKind};

/// The weight, stored `[in, out]`, the bias and the adapters of a linear map, or one value for each
/// entry of them.
///
/// Several modules of a Hugging Face folder may be one projection: the columns of queries, keys
/// and values stand side by side, as do those of gate and up. An adapter is one module's.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    pub(crate) weight_io: Matrix,
    pub(crate) bias_1o: Option<Matrix>,
    pub(crate) adapters: Vec<Adapter>,
    /// The adapters of the reference policy.
    pub(crate) reference: Vec<Adapter>,
    /// Stands for the weight, which then has no rows, and for the adapters.
    copied: Option<CopiedWeight>,
}

impl Projection {
    /// A map without adapters.
    pub(crate) fn new(weight_io: Matrix, bias_1o: Option<Matrix>) -> Self {
        Self {
            weight_io,
            bias_1o,
            adapters: Vec::new(),
            reference: Vec::new(),
            copied: None,
        }
    }

    /// `y = x W + b` and what the pass's adapters add, written or added.
    pub(crate) fn forward(
        &self,
        x_ni: &Matrix,
        y_no: &mut Matrix,
        mode: Mode,
        pass: &mut AdapterPass,
    ) {
        let bias = self.bias_1o.as_ref();
        if let Some(copied) = &self.copied {
            return copied.forward(x_ni, bias, y_no, mode);
        }
        linear::forward(x_ni, &self.weight_io, bias, y_no, mode);
        pass.forward(self, x_ni, y_no);
    }

    /// Overwrites the gradient in the input and adds those of what is trained to `total`.
    pub(crate) fn backward(
        &self,
        x_ni: &Matrix,
        grad_y_no: &Matrix,
        grad_x_ni: &mut Matrix,
        pass: &mut AdapterPass,
        total: &mut Projection,
    ) {
        linear::backward_input(grad_y_no, &self.weight_io, grad_x_ni, Mode::Write);
        if total.weight_io.rows() > 0 {
            let bias = total.bias_1o.as_mut();
            linear::backward_weight(x_ni, grad_y_no, &mut total.weight_io, bias);
        }
        pass.backward(self, x_ni, grad_y_no, grad_x_ni, &mut total.adapters);
    }

    /// Adds the adapters to the weight; none are left.
    pub(crate) fn merge(&mut self) {
        for adapter in self.adapters.drain(..) {
            low_rank::merge(&adapter.map(), &mut self.weight_io);
        }
    }

    /// A copy of the map with its adapters.
    pub(super) fn copied(&self, kind: CopyKind) -> Self {
        let copied = if self.adapters.is_empty() {
            CopiedWeight::new(&self.weight_io, kind)
        } else {
            let mut merged = self.clone();
            merged.merge();
            CopiedWeight::new(&merged.weight_io, kind)
        };
        let weight_io = self.weight_io.device().zeros(0, self.weight_io.columns());
        Self {
            copied: Some(copied),
            ..Self::new(weight_io, self.bias_1o.clone())
        }
    }

    /// Zeros for the gradient of what is trained; a frozen weight has no rows there.
    pub(super) fn gradient(&self, zeros: &impl Fn(&Matrix) -> Matrix) -> Self {
        Self {
            weight_io: zeros(&self.weight_io),
            bias_1o: self.bias_1o.as_ref().map(zeros),
            adapters: self.adapters.iter().map(Adapter::zeros).collect(),
            reference: Vec::new(),
            copied: None,
        }
    }
}
