//! Root-mean-square normalisation of rows.

use crate::matrix::Matrix;

/// `y = x · inverse_rms · weight` with `inverse_rms[n] = 1 / √(mean(x[n, :]²) + epsilon)`.
pub fn forward(
    x_nd: &Matrix,
    weight_1d: &Matrix,
    epsilon: f32,
    y_nd: &mut Matrix,
    inverse_rms_n1: &mut Matrix,
) {
    let (rows, width) = (x_nd.rows(), x_nd.columns());
    weight_1d.expect_shape("weight", 1, width);
    y_nd.expect_shape("y", rows, width);
    inverse_rms_n1.expect_shape("inverse_rms", rows, 1);
    let weight = weight_1d.values();
    for row in 0..rows {
        let x = &x_nd.values()[row * width..][..width];
        let mean = x.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let inverse = 1.0 / (mean + epsilon).sqrt();
        inverse_rms_n1.values_mut()[row] = inverse;
        for (i, y) in y_nd.values_mut()[row * width..][..width].iter_mut().enumerate() {
            *y = x[i] * inverse * weight[i];
        }
    }
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
    let (rows, width) = (x_nd.rows(), x_nd.columns());
    weight_1d.expect_shape("weight", 1, width);
    inverse_rms_n1.expect_shape("inverse_rms", rows, 1);
    grad_y_nd.expect_shape("grad_y", rows, width);
    grad_x_nd.expect_shape("grad_x", rows, width);
    grad_weight_1d.expect_shape("grad_weight", 1, width);
    let weight = weight_1d.values();
    for row in 0..rows {
        let at = row * width..(row + 1) * width;
        let (x, grad_y) = (&x_nd.values()[at.clone()], &grad_y_nd.values()[at.clone()]);
        let inverse = inverse_rms_n1.values()[row];
        let mut inner = 0.0;
        for i in 0..width {
            inner += grad_y[i] * weight[i] * x[i];
            grad_weight_1d.values_mut()[i] += grad_y[i] * x[i] * inverse;
        }
        let slope = inner * inverse.powi(3) / width as f32;
        for (i, grad_x) in grad_x_nd.values_mut()[at].iter_mut().enumerate() {
            *grad_x += grad_y[i] * weight[i] * inverse - x[i] * slope;
        }
    }
}
