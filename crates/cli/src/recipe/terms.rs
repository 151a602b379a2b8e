//! `[sampling]` and the terms of the loss: `[grpo]`, `[sami]`, `[transport]`.

use serde::{Deserialize, Serialize};

use super::FloatType;
use crate::range::{OutOfRange, not_negative, positive, require, some, temperature};

/// `[sampling]`: how completions are drawn.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SamplingSection {
    /// Completions for each question and constitution. Default 4, a third party's setting for
    /// ENIGMA (TRL: 8).
    pub(crate) num_generations: usize,
    /// The most tokens of a completion. Default 512 (TRL).
    pub(crate) max_completion_length: usize,
    /// Divides the logits. Default 1 (TRL).
    pub(crate) temperature: f64,
    /// Draw from the k likeliest tokens only; 0, the default, is off (TRL).
    pub(crate) top_k: usize,
    /// Draw from the smallest set of likeliest tokens that holds this probability; 1, the default,
    /// is off (TRL).
    pub(crate) top_p: f64,
    /// Weights and inputs of the products that draw completions: `float32` (default) or `bfloat16`,
    /// faster; training stays in `float32`, and token losses count by the truncated ratio of the
    /// two likelihoods.
    pub(crate) dtype: FloatType,
    /// That ratio is truncated at this. Default 3 (TRL's `vllm_importance_sampling_clip_max`).
    pub(crate) importance_sampling_clip_max: f64,
}

/// `[grpo]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GrpoSection {
    /// How token losses are added up: `grpo`, `bnpo`, `dr_grpo` or `dapo` (default, TRL).
    pub(crate) loss_type: LossType,
    /// Level of the importance ratio: `sequence` (default; arXiv 2510.11278, GSPO) or `token`
    /// (TRL's default).
    pub(crate) importance_sampling_level: ImportanceSamplingLevel,
    /// Advantages are divided by the standard deviation of the `group` (default, TRL), of the
    /// `batch`, or by nothing (`none`, Dr. GRPO).
    pub(crate) scale_rewards: ScaleRewards,
    /// The ratio is clipped below 1 − this. Default 0.1, a third party's setting for ENIGMA at the
    /// sequence level (TRL: 0.2).
    pub(crate) epsilon: f64,
    /// The ratio is clipped above 1 + this. By default `epsilon` (TRL).
    pub(crate) epsilon_high: Option<f64>,
    /// Weight of the KL divergence to the reference, by its k3 estimate. Default 0 (TRL).
    pub(crate) beta: f64,
    /// Updates for each rollout. Default 1, strictly on-policy (TRL).
    pub(crate) num_iterations: usize,
}

/// Aggregation of token losses, by TRL's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LossType {
    /// Mean over each completion, then over completions.
    Grpo,
    /// Mean over all tokens of the rollout's graded completions.
    Bnpo,
    /// Sum over a constant length.
    DrGrpo,
    /// Mean over all tokens of the batch of an update.
    #[default]
    Dapo,
}

/// Level of the importance ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImportanceSamplingLevel {
    /// One ratio a token.
    Token,
    /// One ratio a completion, of the mean log-probability.
    #[default]
    Sequence,
}

/// What advantages are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScaleRewards {
    /// The standard deviation of the group.
    #[default]
    Group,
    /// The standard deviation of the batch.
    Batch,
    /// Nothing.
    None,
}

/// `[sami]`: mutual information between constitutions and completions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SamiSection {
    /// Weight of the term; 0 turns it off. Default 0.05, a third party's setting.
    pub(crate) weight: f64,
    /// Steps over which the weight rises linearly. Default 50, a third party's setting.
    pub(crate) warmup_steps: usize,
}

/// `[transport]`: the debiased Sinkhorn divergence between hidden points and the reference's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TransportSection {
    /// Weight of the term; 0 turns it off. Default 0.01, a third party's setting.
    pub(crate) weight: f64,
    /// Entropic regularisation as a share of the mean cost. Default 0.1, a third party's setting.
    pub(crate) epsilon: f64,
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self {
            num_generations: 4,
            max_completion_length: 512,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            dtype: FloatType::Float32,
            importance_sampling_clip_max: 3.0,
        }
    }
}

impl Default for GrpoSection {
    fn default() -> Self {
        Self {
            loss_type: LossType::default(),
            importance_sampling_level: ImportanceSamplingLevel::default(),
            scale_rewards: ScaleRewards::default(),
            epsilon: 0.1,
            epsilon_high: None,
            beta: 0.0,
            num_iterations: 1,
        }
    }
}

impl Default for SamiSection {
    fn default() -> Self {
        Self {
            weight: 0.05,
            warmup_steps: 50,
        }
    }
}

impl Default for TransportSection {
    fn default() -> Self {
        Self {
            weight: 0.01,
            epsilon: 0.1,
        }
    }
}

impl SamplingSection {
    /// # Errors
    /// At the first number out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        require(
            self.num_generations >= 2,
            "sampling.num_generations",
            self.num_generations,
            "2 or more, because advantages compare the completions of a group",
        )?;
        some("sampling.max_completion_length", self.max_completion_length)?;
        temperature("sampling.temperature", self.temperature)?;
        let holds = self.top_p > 0.0 && self.top_p <= 1.0;
        require(holds, "sampling.top_p", self.top_p, "above 0, at most 1")?;
        let max = self.importance_sampling_clip_max;
        let name = "sampling.importance_sampling_clip_max";
        require(max >= 1.0, name, max, "1 or more")
    }
}

impl GrpoSection {
    /// # Errors
    /// At the first number out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        positive("grpo.epsilon", self.epsilon)?;
        require(self.epsilon < 1.0, "grpo.epsilon", self.epsilon, "below 1")?;
        positive(
            "grpo.epsilon_high",
            self.epsilon_high.unwrap_or(self.epsilon),
        )?;
        not_negative("grpo.beta", self.beta)?;
        some("grpo.num_iterations", self.num_iterations)
    }
}

impl SamiSection {
    /// # Errors
    /// At the first number out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        not_negative("sami.weight", self.weight)
    }
}

impl TransportSection {
    /// # Errors
    /// At the first number out of range.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        not_negative("transport.weight", self.weight)?;
        positive("transport.epsilon", self.epsilon)
    }
}
