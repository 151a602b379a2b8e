//! Root-mean-square normalisation of rows.
//!
//! # Source
//! Zhang and Sennrich, arXiv 1910.07467, equation 4.

use crate::matrix::{Matrix, Mode};
use crate::rms;

/// `y = x · inverse_rms · weight` with `inverse_rms[n] = 1 / √(mean(x[n, :]²) + epsilon)`.
pub fn forward(
    x_nd: &Matrix,
    weight_1d: &Matrix,
    epsilon: f32,
    y_nd: &mut Matrix,
    inverse_rms_n1: &mut Matrix,
) {
    weight_1d.expect_shape("weight", 1, x_nd.columns());
    rms::forward(
        x_nd,
        &(0..x_nd.columns()),
        weight_1d,
        epsilon,
        y_nd,
        inverse_rms_n1,
    );
}

/// Adds the gradients in `x` and in the weight, from the forward's `inverse_rms`.
pub fn backward(
    x_nd: &Matrix,
    weight_1d: &Matrix,
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
        inverse_rms_n1,
        grad_y_nd,
        grad_x_nd,
        Mode::Add,
        grad_weight_1d,
    );
}
