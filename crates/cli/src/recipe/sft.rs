//! The recipe of `enigma sft`.

use serde::{Deserialize, Serialize};

use super::keys::{Sections, fields};
use super::train::train_split;
use super::{
    Duplicates, FormatSection, LoraSection, ModelSection, OptimizerSection, PrincipleSection,
    SaveOptions, save,
};
use crate::range::{OutOfRange, positive, require, some};

/// Everything a supervised run is, as text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SftRecipe {
    /// What is trained.
    pub(crate) model: ModelSection,
    /// On which examples.
    pub(crate) data: ExampleSection,
    /// Constitutions for the system turn of GSM8K's questions, each in turn; absent: no system
    /// turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) principles: Option<PrincipleSection>,
    /// The shape given to GSM8K's rationales.
    #[serde(default)]
    pub(crate) format: FormatSection,
    /// Adapters instead of all weights; absent: all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lora: Option<LoraSection>,
    /// The optimiser.
    #[serde(default)]
    pub(crate) optimizer: OptimizerSection,
    /// How much, and in which order.
    #[serde(default)]
    pub(crate) run: SftRunSection,
}

/// `[data]` of `enigma sft`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExampleSection {
    /// A file or folder, as in `enigma train`. Rows `{"prompt", "completion"}` (text or messages,
    /// as TRL's) are taken as they are;
    /// GSM8K's rows `{"question", "answer"}` become the format: the text before `####` without
    /// `<<…>>` is the reasoning, what follows it the answer. Required.
    pub(crate) examples: String,
    /// The split of a folder that is imitated. Default `train` (TRL).
    #[serde(default = "train_split")]
    pub(crate) dataset_train_split: String,
    /// What becomes of examples that repeat another, prompt and completion.
    #[serde(default)]
    pub(crate) duplicates: Duplicates,
    /// Only the first so many rows. By default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// Examples of more tokens, prompt and completion together, are left out, and counted. By
    /// default none is, and one that does not fit the model's context is an error. (TRL's
    /// `max_length` cuts instead; a cut completion would teach a broken format.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_length: Option<usize>,
}

/// `[run]` of `enigma sft`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SftRunSection {
    /// Names the order of the examples. Default 42 (transformers).
    pub(crate) seed: u64,
    /// Passes over the examples. Default 3 (transformers).
    pub(crate) num_train_epochs: f64,
    /// Steps; where given, it decides instead of `num_train_epochs` (transformers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_steps: Option<usize>,
    /// Examples of a step. Default 8 (transformers).
    pub(crate) per_device_train_batch_size: usize,
    /// Larger batches are cut into slices of so many tokens; the result is the same, the memory
    /// less. Default 8192 [ours].
    pub(crate) micro_batch_tokens: usize,
    /// A checkpoint is kept every so many steps, and after the last; 0 keeps the last only. Default
    /// 50 [ours].
    pub(crate) save_steps: usize,
    /// The most checkpoints that are kept; the newest and the best are never removed. 0 keeps all.
    /// Default 2 [ours].
    pub(crate) save_total_limit: usize,
    /// The checkpoint whose step has the best such metric is kept too. By default none is the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_for_best_model: Option<String>,
    /// Whether more of that metric is better. By default it is, unless its name ends in `loss`
    /// (transformers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) greater_is_better: Option<bool>,
}

impl Default for SftRunSection {
    fn default() -> Self {
        Self {
            seed: 42,
            num_train_epochs: 3.0,
            max_steps: None,
            per_device_train_batch_size: 8,
            micro_batch_tokens: 8192,
            save_steps: 50,
            save_total_limit: 2,
            metric_for_best_model: None,
            greater_is_better: None,
        }
    }
}

impl SftRunSection {
    /// How checkpoints are kept.
    pub(crate) fn saves(&self) -> SaveOptions {
        let metric = self.metric_for_best_model.as_ref();
        SaveOptions::new(self.save_total_limit, metric, self.greater_is_better)
    }
}

impl Sections for SftRecipe {
    const COMMAND: &'static str = "sft";

    fn sections() -> Vec<(&'static str, &'static [&'static str])> {
        vec![
            ("model", fields::<ModelSection>()),
            ("data", fields::<ExampleSection>()),
            ("principles", fields::<PrincipleSection>()),
            ("format", fields::<FormatSection>()),
            ("lora", fields::<LoraSection>()),
            ("optimizer", fields::<OptimizerSection>()),
            ("run", fields::<SftRunSection>()),
        ]
    }
}

impl SftRecipe {
    /// # Errors
    /// At the first number out of range.
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        some("data.limit", self.data.limit.unwrap_or(1))?;
        some("data.max_length", self.data.max_length.unwrap_or(1))?;
        if let Some(principles) = &self.principles {
            let files = principles.files.len();
            require(
                files > 0,
                "principles.files",
                "empty",
                "one constitution file or more",
            )?;
        }
        self.model.check()?;
        self.format.check()?;
        if let Some(lora) = &self.lora {
            lora.check(&self.model)?;
        }
        self.optimizer.check()?;
        positive("run.num_train_epochs", self.run.num_train_epochs)?;
        some("run.max_steps", self.run.max_steps.unwrap_or(1))?;
        some(
            "run.per_device_train_batch_size",
            self.run.per_device_train_batch_size,
        )?;
        save::check(
            self.run.metric_for_best_model.as_ref(),
            self.run.greater_is_better,
        )?;
        some("run.micro_batch_tokens", self.run.micro_batch_tokens)
    }
}
