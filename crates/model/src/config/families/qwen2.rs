//! Qwen2: biases on query, key and value alone; upper layers may slide.

use super::{Facts, key_value_heads_required, nothing_more, silu, slide, window_in_use};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::value::{Object, size};

pub(super) static FACTS: Facts = Facts {
    architecture: "Qwen2ForCausalLM",
    model_type: "qwen2",
    presumptions: Presumptions::LLAMA,
    differ,
    complete: nothing_more,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    config.qkv_bias = true;
    config.output_bias = false;
    upper_layers_slide(json, config)
}

/// As in Qwen3: layers from `max_window_layers` on slide where `use_sliding_window` says so.
pub(super) fn upper_layers_slide(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    silu(json)?;
    key_value_heads_required(json)?;
    let window = window_in_use(json)?;
    let whole = match json.get("max_window_layers") {
        Some(zero) if *zero == 0 => 0,
        _ => size(json, "max_window_layers")?.unwrap_or(28),
    };
    slide(json, config, window, |index| {
        window.is_some() && index >= whole
    })
}
