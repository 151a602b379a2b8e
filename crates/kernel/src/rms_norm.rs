//! Root-mean-square normalisation of rows.
//!
//! # Source
//! Zhang and Sennrich, arXiv 1910.07467, equation 4; weights that add to 1: Gemma,
//! arXiv 2403.08295, as transformers.

use crate::matrix::{Matrix, Mode};
use crate::rms::{self, Norm};

/// `y = x · inverse_rms · (offset + weight)` with `inverse_rms[n] = 1 / √(mean(x[n, :]²) +
/// epsilon)`.
pub fn forward(
    x_nd: &Matrix,
    weight_1d: &Matrix,
    norm: Norm,
    y_nd: &mut Matrix,
    inverse_rms_n1: &mut Matrix,
) {
    weight_1d.expect_shape("weight", 1, x_nd.columns());
    rms::forward(
        x_nd,
        &(0..x_nd.columns()),
        weight_1d,
        norm,
        y_nd,
        inverse_rms_n1,
    );
}

/// Adds the gradients in `x` and in the weight, from the forward's `inverse_rms`.
pub fn backward(
    x_nd: &Matrix,
    weight_1d: &Matrix,
    norm: Norm,
    inverse_rms_n1: &Matrix,
    grad_y_nd: &Matrix,
    grad_x_nd: &mut Matrix,
    grad_weight_1d: &mut Matrix,
) {
    let columns = 0..x_nd.columns();
    weight_1d.expect_shape("weight", 1, columns.len());
    rms::backward(
        x_nd,
        &columns,
        weight_1d,
        norm,
        inverse_rms_n1,
        grad_y_nd,
        grad_x_nd,
        Mode::Add,
        grad_weight_1d,
    );
}
