//! Root-mean-square normalisation of each head inside a column range of a fused matrix.
//!
//! # Source
//! The query and key norms of Qwen3 (arXiv 2505.09388, section 2).

use std::ops::Range;

use crate::matrix::{Matrix, Mode};
use crate::rms::{self, Norm};

/// `y = x · inverse_rms · (offset + weight)` for every head of the column range; the other columns
/// of `y`
/// stay as they are. `inverse_rms` is `[n, heads]`, heads being the range cut by the weight's
/// width.
pub fn forward(
    x_nc: &Matrix,
    columns: Range<usize>,
    weight_1h: &Matrix,
    norm: Norm,
    y_nc: &mut Matrix,
    inverse_rms: &mut Matrix,
) {
    rms::forward(x_nc, &columns, weight_1h, norm, y_nc, inverse_rms);
}

/// Overwrites the column range of `grad_x` by the gradient in `x` and adds the gradient in the
/// weight; only the column range of `grad_y` is read.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    x_nc: &Matrix,
    columns: Range<usize>,
    weight_1h: &Matrix,
    norm: Norm,
    inverse_rms: &Matrix,
    grad_y_nc: &Matrix,
    grad_x_nc: &mut Matrix,
    grad_weight_1h: &mut Matrix,
) {
    rms::backward(
        x_nc,
        &columns,
        weight_1h,
        norm,
        inverse_rms,
        grad_y_nc,
        grad_x_nc,
        Mode::Write,
        grad_weight_1h,
    );
}
