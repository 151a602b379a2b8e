//! `[optimizer]`: AdamW and the schedule of its learning rate.

use serde::{Deserialize, Serialize};

use crate::range::{OutOfRange, learning_rate, not_negative, positive, require};

/// `[optimizer]`. Names are those of transformers' `TrainingArguments`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OptimizerSection {
    /// Peak of the schedule. Default 2e-5, a third party's setting for ENIGMA (TRL's GRPO: 1e-6,
    /// its SFT: 2e-5).
    pub(crate) learning_rate: f64,
    /// Shape after the warm-up: `linear` (default, as transformers), `cosine` (both reach 0 at the
    /// last step), or `constant`.
    pub(crate) lr_scheduler_type: Scheduler,
    /// Steps over which the rate rises linearly from 0, whatever the shape. Default 0
    /// (transformers).
    pub(crate) warmup_steps: usize,
    /// The gradient's global norm is clipped to this; 0 never clips. Default 1 (transformers).
    pub(crate) max_grad_norm: f64,
    /// Decoupled weight decay of matrices. Default 0 (transformers).
    pub(crate) weight_decay: f64,
    /// Decay of the first moment. Default 0.9 (transformers).
    pub(crate) adam_beta1: f64,
    /// Decay of the second moment. Default 0.999 (transformers).
    pub(crate) adam_beta2: f64,
    /// Added to the root of the second moment. Default 1e-8 (transformers).
    pub(crate) adam_epsilon: f64,
}

/// Shape of the learning rate over the steps, by transformers' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheduler {
    /// Stays.
    Constant,
    /// Falls along a line.
    #[default]
    Linear,
    /// Falls along half a cosine.
    Cosine,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            learning_rate: 2e-5,
            lr_scheduler_type: Scheduler::Linear,
            warmup_steps: 0,
            max_grad_norm: 1.0,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
        }
    }
}

impl OptimizerSection {
    /// # Errors
    /// At the first number out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        learning_rate("optimizer.learning_rate", self.learning_rate)?;
        not_negative("optimizer.max_grad_norm", self.max_grad_norm)?;
        not_negative("optimizer.weight_decay", self.weight_decay)?;
        positive("optimizer.adam_epsilon", self.adam_epsilon)?;
        let decays = [
            ("optimizer.adam_beta1", self.adam_beta1),
            ("optimizer.adam_beta2", self.adam_beta2),
        ];
        for (key, decay) in decays {
            require(
                (0.0..1.0).contains(&decay),
                key,
                decay,
                "0 or above, below 1",
            )?;
        }
        Ok(())
    }
}
