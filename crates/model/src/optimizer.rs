//! AdamW over what is trained, with the gradient clipped by its global norm.

use kernel::{adamw, norm};
use policy::UpdateReport;

use crate::decoder::Parameters;

/// How parameters follow their gradient; PyTorch's `AdamW` and TRL's names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerOptions {
    /// Decay of the first moment, in `[0, 1)`.
    pub adam_beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub adam_beta2: f64,
    /// Added to the root of the second moment; positive.
    pub adam_epsilon: f64,
    /// Decoupled decay of matrices; norms and biases never decay, as in transformers' trainer.
    pub weight_decay: f64,
    /// The gradient is scaled down to this global norm; 0 never scales.
    pub max_grad_norm: f64,
}

impl Default for OptimizerOptions {
    /// transformers' `TrainingArguments`, which TRL inherits.
    fn default() -> Self {
        Self {
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }
}

/// The state of AdamW.
#[derive(Debug)]
pub(crate) struct Optimizer {
    options: OptimizerOptions,
    first: Parameters,
    second: Parameters,
    step: u64,
}

impl Optimizer {
    pub(crate) fn new(options: OptimizerOptions, parameters: &Parameters) -> Self {
        let zeros = parameters.gradient();
        Self {
            options,
            first: zeros.clone(),
            second: zeros,
            step: 0,
        }
    }

    /// The state after so many steps, as it was kept.
    pub(crate) fn kept(
        options: OptimizerOptions,
        first: Parameters,
        second: Parameters,
        step: u64,
    ) -> Self {
        Self {
            options,
            first,
            second,
            step,
        }
    }

    /// First and second moments.
    pub(crate) fn moments(&self) -> [&Parameters; 2] {
        [&self.first, &self.second]
    }

    /// Updates made.
    pub(crate) fn steps(&self) -> u64 {
        self.step
    }

    /// One update, which uses the gradient up. Refused, and said so by the report, where the
    /// gradient is not finite.
    pub(crate) fn update(
        &mut self,
        parameters: &mut Parameters,
        mut gradient: Parameters,
        learning_rate: f64,
    ) -> UpdateReport {
        let squares = gradient
            .trained_mut()
            .into_iter()
            .map(|matrix| norm::squared(matrix));
        let grad_norm = squares.sum::<f64>().sqrt();
        if grad_norm.is_finite() {
            self.step += 1;
            let scale = self.scale(grad_norm);
            self.apply(parameters, &mut gradient, learning_rate, scale);
        }
        UpdateReport { grad_norm }
    }

    /// PyTorch's `clip_grad_norm_`.
    fn scale(&self, grad_norm: f64) -> f64 {
        let limit = self.options.max_grad_norm;
        if limit > 0.0 {
            (limit / (grad_norm + 1e-6)).min(1.0)
        } else {
            1.0
        }
    }

    fn apply(
        &mut self,
        parameters: &mut Parameters,
        gradient: &mut Parameters,
        learning_rate: f64,
        scale: f64,
    ) {
        // The factors of an adapter are matrices even at rank 1.
        let rows_min = if parameters.is_adapted() { 1 } else { 2 };
        let matrices = parameters
            .trained_mut()
            .into_iter()
            .zip(gradient.trained_mut());
        let moments = self
            .first
            .trained_mut()
            .into_iter()
            .zip(self.second.trained_mut());
        for ((weight, grad), (first, second)) in matrices.zip(moments) {
            let decay = if weight.rows() >= rows_min {
                self.options.weight_decay
            } else {
                0.0
            };
            let settings = adamw::Settings {
                learning_rate: learning_rate as f32,
                beta1: self.options.adam_beta1 as f32,
                beta2: self.options.adam_beta2 as f32,
                epsilon: self.options.adam_epsilon as f32,
                weight_decay: decay as f32,
            };
            adamw::update(
                weight,
                grad,
                first,
                second,
                &settings,
                self.step,
                scale as f32,
            );
        }
    }
}
