//! Root-mean-square normalisation of each head inside a column range of a fused matrix
//! (the query and key norms of Qwen3).

use std::ops::Range;

use crate::matrix::Matrix;

/// `y = x · inverse_rms · weight` for every head of the column range; the other columns of `y`
/// stay as they are. `inverse_rms` is `[n, heads]`, heads being the range cut by the weight's
/// width.
pub fn forward(
    x_nc: &Matrix,
    columns: Range<usize>,
    weight_1h: &Matrix,
    epsilon: f32,
    y_nc: &mut Matrix,
    inverse_rms: &mut Matrix,
) {
    let (rows, width, size) = (x_nc.rows(), x_nc.columns(), weight_1h.columns());
    let heads = columns.len() / size;
    y_nc.expect_shape("y", rows, width);
    inverse_rms.expect_shape("inverse_rms", rows, heads);
    let weight = weight_1h.values();
    for row in 0..rows {
        for head in 0..heads {
            let at = row * width + columns.start + head * size;
            let x = &x_nc.values()[at..][..size];
            let mean = x.iter().map(|x| x * x).sum::<f32>() / size as f32;
            let inverse = 1.0 / (mean + epsilon).sqrt();
            inverse_rms.values_mut()[row * heads + head] = inverse;
            for (i, y) in y_nc.values_mut()[at..][..size].iter_mut().enumerate() {
                *y = x[i] * inverse * weight[i];
            }
        }
    }
}

/// Overwrites the column range of `grad_x` by the gradient in `x` and adds the gradient in the
/// weight; only the column range of `grad_y` is read.
pub fn backward(
    x_nc: &Matrix,
    columns: Range<usize>,
    weight_1h: &Matrix,
    inverse_rms: &Matrix,
    grad_y_nc: &Matrix,
    grad_x_nc: &mut Matrix,
    grad_weight_1h: &mut Matrix,
) {
    let (rows, width, size) = (x_nc.rows(), x_nc.columns(), weight_1h.columns());
    let heads = columns.len() / size;
    inverse_rms.expect_shape("inverse_rms", rows, heads);
    grad_y_nc.expect_shape("grad_y", rows, width);
    grad_x_nc.expect_shape("grad_x", rows, width);
    grad_weight_1h.expect_shape("grad_weight", 1, size);
    let weight = weight_1h.values();
    for row in 0..rows {
        for head in 0..heads {
            let at = row * width + columns.start + head * size;
            let (x, grad_y) = (&x_nc.values()[at..][..size], &grad_y_nc.values()[at..][..size]);
            let inverse = inverse_rms.values()[row * heads + head];
            let mut inner = 0.0;
            for i in 0..size {
                inner += grad_y[i] * weight[i] * x[i];
                grad_weight_1h.values_mut()[i] += grad_y[i] * x[i] * inverse;
            }
            let slope = inner * inverse.powi(3) / size as f32;
            for (i, grad_x) in grad_x_nc.values_mut()[at..][..size].iter_mut().enumerate() {
                *grad_x = grad_y[i] * weight[i] * inverse - x[i] * slope;
            }
        }
    }
}
