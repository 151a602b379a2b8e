//! The linear map `y = x W + b` with the weight stored `[in, out]`.

use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::product::{Target, multiply_shared};
use crate::vector::vectorised;

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
    if let Some(bias) = bias_1o {
        bias.expect_shape("bias", 1, outputs);
    }
    let cpu = match x_ni.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::rows::linear(card, x_ni, weight_io, bias_1o, y_no, mode);
        }
    };
    let (x, weight) = (x_ni.view(), weight_io.view());
    let Some(bias) = bias_1o else {
        return multiply_shared(cpu.threads(), x, weight, y_no.target(), mode, |_, _| {});
    };
    multiply_shared(
        cpu.threads(),
        x,
        weight,
        y_no.target(),
        Mode::Add,
        |y, columns| {
            begin(y, &bias.values()[columns], mode);
        },
    );
}

/// Puts the bias where the product is to be added.
pub(crate) fn begin(y: &mut Target, bias: &[f32], mode: Mode) -> Mode {
    for row in 0..y.rows() {
        match mode {
            Mode::Write => y.row(row).copy_from_slice(bias),
            Mode::Add => add(y.row(row), bias),
        }
    }
    Mode::Add
}

/// The gradient in the input: `grad_x = grad_y Wᵀ`, or `grad_x += grad_y Wᵀ`.
pub fn backward_input(grad_y_no: &Matrix, weight_io: &Matrix, grad_x_ni: &mut Matrix, mode: Mode) {
    let (inputs, outputs) = (weight_io.rows(), weight_io.columns());
    grad_y_no.expect_shape("grad_y", grad_y_no.rows(), outputs);
    grad_x_ni.expect_shape("grad_x", grad_y_no.rows(), inputs);
    let cpu = match grad_y_no.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::rows::linear_input(card, grad_y_no, weight_io, grad_x_ni, mode);
        }
    };
    let (grad_y, weight) = (grad_y_no.view(), weight_io.view().transposed());
    multiply_shared(
        cpu.threads(),
        grad_y,
        weight,
        grad_x_ni.target(),
        mode,
        |_, _| {},
    );
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
    let cpu = match x_ni.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            let (weight, bias) = (grad_weight_io, grad_bias_1o);
            return cuda::rows::linear_weight(card, x_ni, grad_y_no, weight, bias);
        }
    };
    let (x, grad_y) = (x_ni.view().transposed(), grad_y_no.view());
    multiply_shared(
        cpu.threads(),
        x,
        grad_y,
        grad_weight_io.target(),
        Mode::Add,
        |_, _| {},
    );
    if let Some(grad_bias) = grad_bias_1o {
        grad_bias.expect_shape("grad_bias", 1, outputs);
        for row in 0..grad_y.rows() {
            add(grad_bias.values_mut(), grad_y.row(row));
        }
    }
}

vectorised! {
    fn add(y: &mut [f32], x: &[f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
}
