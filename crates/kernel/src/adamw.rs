//! The fused AdamW update.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::vectorised;

/// The settings of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f32,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled decay: the weight shrinks by `learning_rate · weight_decay` of itself.
    pub weight_decay: f32,
}

/// Updates the weight and both moments from `grad · grad_scale`; `step` counts from 1.
///
/// # Source
/// Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, as `torch.optim.AdamW` computes it.
pub fn update(
    weight: &mut Matrix,
    grad: &Matrix,
    first: &mut Matrix,
    second: &mut Matrix,
    settings: &Settings,
    step: u64,
    grad_scale: f32,
) {
    let (rows, columns) = (weight.rows(), weight.columns());
    grad.expect_shape("grad", rows, columns);
    first.expect_shape("first", rows, columns);
    second.expect_shape("second", rows, columns);
    assert!(step > 0, "steps count from 1");
    let Settings {
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
    } = *settings;
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let factors = Factors {
        beta1,
        beta2,
        epsilon,
        grad_scale,
        keep: 1.0 - learning_rate * weight_decay,
        step_size: (f64::from(learning_rate) / correction(beta1)) as f32,
        root_correction: correction(beta2).sqrt() as f32,
    };
    let cpu = match weight.device().clone() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::elements::adamw(&card, weight, grad, [first, second], &factors);
        }
    };
    let part = cpu.threads().part_rows(rows * columns, 4);
    let inputs = weight
        .values_mut()
        .chunks_mut(part)
        .zip(grad.values().chunks(part));
    let moments = first
        .values_mut()
        .chunks_mut(part)
        .zip(second.values_mut().chunks_mut(part));
    cpu.threads()
        .for_each(inputs.zip(moments), |((weight, grad), (first, second))| {
            update_entries(weight, grad, first, second, &factors);
        });
}

/// An update's settings as the entries need them.
pub(crate) struct Factors {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    pub(crate) grad_scale: f32,
    pub(crate) keep: f32,
    pub(crate) step_size: f32,
    pub(crate) root_correction: f32,
}

vectorised! {
    fn update_entries(
        weight: &mut [f32],
        grad: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        factors: &Factors,
    ) {
        let Factors { beta1, beta2, epsilon, grad_scale, keep, step_size, root_correction } =
            *factors;
        let moments = first.iter_mut().zip(second);
        for ((weight, grad), (first, second)) in weight.iter_mut().zip(grad).zip(moments) {
            let grad = grad * grad_scale;
            *first += (1.0 - beta1) * (grad - *first);
            *second = beta2 * *second + (1.0 - beta2) * grad * grad;
            let root = second.sqrt() / root_correction + epsilon;
            *weight = *weight * keep - step_size * *first / root;
        }
    }
}
