//! Gated activations: `silu(gate) · up` and `gelu(gate) · up`.
//!
//! # Source
//! Shazeer, arXiv 2002.05202, equation 6 without biases; the GELU is the approximation by a
//! hyperbolic tangent of Hendrycks and Gimpel, arXiv 1606.08415, section 2.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::{sigmoid, tanh, vectorised};

/// The function that a gate passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// `x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
}

/// `act = f(gate) · up`; the gate is the first half of the columns, up the second.
pub fn forward(gate: Gate, gate_up_n2m: &Matrix, act_nm: &mut Matrix) {
    let forward_rows = match gate {
        Gate::Silu => silu_forward,
        Gate::GeluTanh => gelu_forward,
    };
    let (rows, width) = (act_nm.rows(), act_nm.columns());
    gate_up_n2m.expect_shape("gate_up", rows, 2 * width);
    let cpu = match gate_up_n2m.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::elements::glu_forward(card, gate, gate_up_n2m, act_nm),
    };
    let part = cpu.threads().part_rows(rows, 4 * width);
    let inputs = gate_up_n2m.values().chunks(part * 2 * width);
    let outputs = act_nm.values_mut().chunks_mut(part * width);
    cpu.threads()
        .for_each(inputs.zip(outputs), |(gate_up, act)| {
            forward_rows(width, gate_up, act);
        });
}

/// Turns gate and up into the gradient in them.
pub fn backward(gate: Gate, gate_up_n2m: &mut Matrix, grad_act_nm: &Matrix) {
    let backward_rows = match gate {
        Gate::Silu => silu_backward,
        Gate::GeluTanh => gelu_backward,
    };
    let (rows, width) = (grad_act_nm.rows(), grad_act_nm.columns());
    gate_up_n2m.expect_shape("gate_up", rows, 2 * width);
    let cpu = match gate_up_n2m.device() {
        Device::Cpu(cpu) => cpu.clone(),
        Device::Cuda(card) => {
            let card = card.clone();
            return cuda::elements::glu_backward(&card, gate, gate_up_n2m, grad_act_nm);
        }
    };
    let part = cpu.threads().part_rows(rows, 6 * width);
    let gates = gate_up_n2m.values_mut().chunks_mut(part * 2 * width);
    let parts = gates.zip(grad_act_nm.values().chunks(part * width));
    cpu.threads().for_each(parts, |(gate_up, grad_act)| {
        backward_rows(width, gate_up, grad_act);
    });
}

vectorised! {
    fn silu_forward(width: usize, gate_up: &[f32], act: &mut [f32]) {
        for (gate_up, act) in gate_up.chunks(2 * width).zip(act.chunks_mut(width)) {
            let (gates, ups) = gate_up.split_at(width);
            for ((act, gate), up) in act.iter_mut().zip(gates).zip(ups) {
                *act = gate * sigmoid(*gate) * up;
            }
        }
    }

    fn silu_backward(width: usize, gate_up: &mut [f32], grad_act: &[f32]) {
        let rows = gate_up.chunks_mut(2 * width).zip(grad_act.chunks(width));
        for (gate_up, grad_act) in rows {
            let (gates, ups) = gate_up.split_at_mut(width);
            for ((gate, up), grad_act) in gates.iter_mut().zip(ups).zip(grad_act) {
                let slope = sigmoid(*gate);
                let grad_up = grad_act * *gate * slope;
                *gate = grad_act * *up * slope * (1.0 + *gate * (1.0 - slope));
                *up = grad_up;
            }
        }
    }

    fn gelu_forward(width: usize, gate_up: &[f32], act: &mut [f32]) {
        for (gate_up, act) in gate_up.chunks(2 * width).zip(act.chunks_mut(width)) {
            let (gates, ups) = gate_up.split_at(width);
            for ((act, gate), up) in act.iter_mut().zip(gates).zip(ups) {
                *act = 0.5 * gate * (1.0 + tanh(gelu_angle(*gate))) * up;
            }
        }
    }

    fn gelu_backward(width: usize, gate_up: &mut [f32], grad_act: &[f32]) {
        let rows = gate_up.chunks_mut(2 * width).zip(grad_act.chunks(width));
        for (gate_up, grad_act) in rows {
            let (gates, ups) = gate_up.split_at_mut(width);
            for ((gate, up), grad_act) in gates.iter_mut().zip(ups).zip(grad_act) {
                let bent = tanh(gelu_angle(*gate));
                let steep = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * *gate * *gate);
                let slope = 1.0 + bent + *gate * (1.0 - bent) * (1.0 + bent) * steep;
                let grad_up = grad_act * 0.5 * *gate * (1.0 + bent);
                *gate = grad_act * *up * 0.5 * slope;
                *up = grad_up;
            }
        }
    }
}

/// `√(2/π)`.
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

#[allow(clippy::inline_always)]
#[inline(always)]
fn gelu_angle(x: f32) -> f32 {
    GELU_SCALE * x * (1.0 + GELU_CUBIC * x * x)
}
