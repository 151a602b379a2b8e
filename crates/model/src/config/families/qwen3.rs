//! Qwen3: a norm over each head of query and key; upper layers may slide.

use super::qwen2::upper_layers_slide;
use super::{Facts, nothing_more};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::value::{Object, required};

pub(super) static FACTS: Facts = Facts {
    architecture: "Qwen3ForCausalLM",
    model_type: "qwen3",
    presumptions: Presumptions::LLAMA,
    differ,
    complete: nothing_more,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    required(json, "head_dim")?;
    config.qk_norm = true;
    upper_layers_slide(json, config)
}
