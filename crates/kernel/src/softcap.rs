//! Soft-capping: `c · tanh(x / c)`, which keeps logits and scores inside `(−c, c)`.
//!
//! # Source
//! Gemma 2, arXiv 2408.00118, section 2; as transformers, capped before the mask and before the
//! temperature.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::{tanh, vectorised};

/// Caps every logit in place; `cap` is positive.
pub fn apply(logits_rv: &mut Matrix, cap: f32) {
    let cpu = match logits_rv.device().clone() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::elements::softcap(&card, logits_rv, cap),
    };
    let part = cpu.threads().part_rows(logits_rv.values().len(), 8);
    let parts = logits_rv.values_mut().chunks_mut(part);
    cpu.threads().for_each(parts, |logits| bend(logits, cap));
}

vectorised! {
    /// Caps values in place.
    pub(crate) fn bend(values: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for x in values {
            *x = cap * tanh(*x * inverse);
        }
    }

    /// Caps values in place and says how steep the cap is at each.
    pub(crate) fn bend_with_slopes(values: &mut [f32], slopes: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for (x, slope) in values.iter_mut().zip(slopes) {
            let bent = tanh(*x * inverse);
            *x = cap * bent;
            *slope = (1.0 - bent) * (1.0 + bent);
        }
    }

    /// Turns gradients after the cap into those before it.
    pub(crate) fn multiply(gradients: &mut [f32], slopes: &[f32]) {
        for (gradient, slope) in gradients.iter_mut().zip(slopes) {
            *gradient *= slope;
        }
    }
}
