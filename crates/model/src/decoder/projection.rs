//! A linear map of a layer: its weight and its bias.

use kernel::{Matrix, Mode, linear};

/// The weight, stored `[in, out]`, and the bias of a linear map, or one value for each of both.
///
/// Several modules of a Hugging Face folder may be one projection: the columns of queries, keys
/// and values stand side by side, as do those of gate and up.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    pub(crate) weight_io: Matrix,
    pub(crate) bias_1o: Option<Matrix>,
}

impl Projection {
    /// `y = x W + b`, written or added.
    pub(crate) fn forward(&self, x_ni: &Matrix, y_no: &mut Matrix, mode: Mode) {
        linear::forward(x_ni, &self.weight_io, self.bias_1o.as_ref(), y_no, mode);
    }

    /// Overwrites the gradient in the input and adds those in weight and bias to `total`.
    pub(crate) fn backward(
        &self,
        x_ni: &Matrix,
        grad_y_no: &Matrix,
        grad_x_ni: &mut Matrix,
        total: &mut Projection,
    ) {
        linear::backward_input(grad_y_no, &self.weight_io, grad_x_ni, Mode::Write);
        let bias = total.bias_1o.as_mut();
        linear::backward_weight(x_ni, grad_y_no, &mut total.weight_io, bias);
    }
}
