//! `[lora]`: adapters of low rank instead of all weights.

use model::{LoraOptions, TargetModules};
use serde::{Deserialize, Serialize};

use super::ModelSection;
use crate::range::{OutOfRange, positive, require, some};

/// The word for every linear module of every layer.
const ALL_LINEAR: &str = "all-linear";

/// `[lora]`. Names are those of PEFT's `LoraConfig`. Where the section is absent, all weights are
/// trained; where it is there, even empty, adapters alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoraSection {
    /// The rank. Default 16 (TRL's `lora_r`).
    pub(crate) r: usize,
    /// Adapters are scaled by `lora_alpha / r`. Default 32 (TRL).
    pub(crate) lora_alpha: f64,
    /// Share of an adapter's inputs that training drops. Default 0 (PEFT; TRL's own is 0.05): with
    /// dropout, the log-probabilities of training are not those of sampling.
    pub(crate) lora_dropout: f64,
    /// Names of modules, or `all-linear`. Default `all-linear` (verl; "LoRA Without Regret").
    pub(crate) target_modules: Targets,
    /// Scales by `lora_alpha / √r` instead. Default false (TRL, PEFT).
    pub(crate) use_rslora: bool,
}

/// A list of names, or one word.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "expected \"all-linear\" or a list of names in `lora.target_modules`"
)]
pub(crate) enum Targets {
    /// `all-linear`.
    Word(String),
    /// Names of modules.
    Names(Vec<String>),
}

impl Default for LoraSection {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            target_modules: Targets::Word(ALL_LINEAR.to_owned()),
            use_rslora: false,
        }
    }
}

impl LoraSection {
    /// # Errors
    /// At the first number out of range; where the model gets what an adapter cannot carry.
    pub(super) fn check(&self, model: &ModelSection) -> Result<(), OutOfRange> {
        some("lora.r", self.r)?;
        positive("lora.lora_alpha", self.lora_alpha)?;
        let dropout = self.lora_dropout;
        let below_one = (0.0..1.0).contains(&dropout);
        require(
            below_one,
            "lora.lora_dropout",
            dropout,
            "0 or above, below 1",
        )?;
        let (found, is_known) = match &self.target_modules {
            Targets::Word(word) => (format!("`{word}`"), word == ALL_LINEAR),
            Targets::Names(names) => ("empty".to_owned(), !names.is_empty()),
        };
        let expected = "`all-linear` or a list of one name or more";
        require(is_known, "lora.target_modules", found, expected)?;
        require(
            model.add_tokens.is_empty(),
            "model.add_tokens",
            "a list beside [lora]",
            "none, for an adapter has no embedding: add them by a run without [lora] first",
        )?;
        require(
            !model.random_weights,
            "model.random_weights",
            "true beside [lora]",
            "false, for an adapter needs the weights that it stands beside",
        )
    }

    /// As the model crate takes it.
    pub(crate) fn options(&self) -> LoraOptions {
        LoraOptions {
            r: self.r,
            lora_alpha: self.lora_alpha,
            lora_dropout: self.lora_dropout,
            target_modules: match &self.target_modules {
                Targets::Word(_) => TargetModules::AllLinear,
                Targets::Names(names) => TargetModules::Named(names.clone()),
            },
            use_rslora: self.use_rslora,
        }
    }
}
