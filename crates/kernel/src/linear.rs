//! The linear map `y = x W + b` with the weight stored `[in, out]`.

use crate::matrix::{Matrix, Mode};

/// `y = x W + b`, or `y += x W + b`.
pub fn forward(
    x_ni: &Matrix,
    weight_io: &Matrix,
    bias_1o: Option<&Matrix>,
    y_no: &mut Matrix,
    mode: Mode,
) {
    let (inputs, outputs) = (weight_io.rows(), weight_io.columns());
    x_ni.expect_shape("x", x_ni.rows(), inputs);
    y_no.expect_shape("y", x_ni.rows(), outputs);
    if mode == Mode::Write {
        y_no.fill(0.0);
    }
    let weight = weight_io.values();
    for (y, x) in y_no.values_mut().chunks_mut(outputs).zip(x_ni.values().chunks(inputs)) {
        for (x, weight) in x.iter().zip(weight.chunks(outputs)) {
            y.iter_mut().zip(weight).for_each(|(y, weight)| *y += x * weight);
        }
        if let Some(bias) = bias_1o {
            y.iter_mut().zip(bias.values()).for_each(|(y, bias)| *y += bias);
        }
    }
}

/// The gradient in the input: `grad_x = grad_y Wᵀ`, or `grad_x += grad_y Wᵀ`.
pub fn backward_input(grad_y_no: &Matrix, weight_io: &Matrix, grad_x_ni: &mut Matrix, mode: Mode) {
    let (inputs, outputs) = (weight_io.rows(), weight_io.columns());
    grad_y_no.expect_shape("grad_y", grad_y_no.rows(), outputs);
    grad_x_ni.expect_shape("grad_x", grad_y_no.rows(), inputs);
    if mode == Mode::Write {
        grad_x_ni.fill(0.0);
    }
    let weight = weight_io.values();
    let rows = grad_x_ni.values_mut().chunks_mut(inputs);
    for (grad_x, grad_y) in rows.zip(grad_y_no.values().chunks(outputs)) {
        for (grad_x, weight) in grad_x.iter_mut().zip(weight.chunks(outputs)) {
            *grad_x += grad_y.iter().zip(weight).map(|(g, w)| g * w).sum::<f32>();
        }
    }
}

/// The gradients in the weight and the bias: `grad_weight += xᵀ grad_y`,
/// `grad_bias += Σₙ grad_y[n, :]`.
pub fn backward_weight(
    x_ni: &Matrix,
    grad_y_no: &Matrix,
    grad_weight_io: &mut Matrix,
    grad_bias_1o: Option<&mut Matrix>,
) {
    let (inputs, outputs) = (x_ni.columns(), grad_y_no.columns());
    grad_y_no.expect_shape("grad_y", x_ni.rows(), outputs);
    grad_weight_io.expect_shape("grad_weight", inputs, outputs);
    let weight = grad_weight_io.values_mut();
    for (x, grad_y) in x_ni.values().chunks(inputs).zip(grad_y_no.values().chunks(outputs)) {
        for (x, weight) in x.iter().zip(weight.chunks_mut(outputs)) {
            weight.iter_mut().zip(grad_y).for_each(|(w, g)| *w += x * g);
        }
    }
    if let Some(grad_bias) = grad_bias_1o {
        grad_bias.expect_shape("grad_bias", 1, outputs);
        for grad_y in grad_y_no.values().chunks(outputs) {
            grad_bias.values_mut().iter_mut().zip(grad_y).for_each(|(b, g)| *b += g);
        }
    }
}
