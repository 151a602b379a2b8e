//! The gated activation `silu(gate) · up`.

use crate::matrix::Matrix;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `act = silu(gate) · up`; the gate is the first half of the columns, up the second.
pub fn forward(gate_up_n2m: &Matrix, act_nm: &mut Matrix) {
    let width = act_nm.columns();
    gate_up_n2m.expect_shape("gate_up", act_nm.rows(), 2 * width);
    let rows = gate_up_n2m.values().chunks(2 * width);
    for (act, gate_up) in act_nm.values_mut().chunks_mut(width).zip(rows) {
        for i in 0..width {
            act[i] = gate_up[i] * sigmoid(gate_up[i]) * gate_up[width + i];
        }
    }
}

/// Overwrites the gradient in gate and up.
pub fn backward(gate_up_n2m: &Matrix, grad_act_nm: &Matrix, grad_gate_up_n2m: &mut Matrix) {
    let (rows, width) = (grad_act_nm.rows(), grad_act_nm.columns());
    gate_up_n2m.expect_shape("gate_up", rows, 2 * width);
    grad_gate_up_n2m.expect_shape("grad_gate_up", rows, 2 * width);
    let inputs = gate_up_n2m.values().chunks(2 * width).zip(grad_act_nm.values().chunks(width));
    let outputs = grad_gate_up_n2m.values_mut().chunks_mut(2 * width);
    for (grad, (gate_up, grad_act)) in outputs.zip(inputs) {
        for i in 0..width {
            let (gate, up, slope) = (gate_up[i], gate_up[width + i], sigmoid(gate_up[i]));
            grad[i] = grad_act[i] * up * slope * (1.0 + gate * (1.0 - slope));
            grad[width + i] = grad_act[i] * gate * slope;
        }
    }
}
