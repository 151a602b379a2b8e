//! Mistral: every layer slides, and nothing has a bias.

use super::{Facts, key_value_heads_required, silu, window_or};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::value::{Object, present, refused};

pub(super) static FACTS: Facts = Facts {
    architecture: "MistralForCausalLM",
    model_type: "mistral",
    presumptions: Presumptions::LLAMA,
    differ,
    complete: |json| {
        json.insert("sliding_window".to_owned(), serde_json::Value::Null);
    },
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    silu(json)?;
    key_value_heads_required(json)?;
    // transformers passes over the key: such a model is one of its class Ministral.
    if let value @ Some(_) = present(json, "layer_types") {
        return Err(refused("layer_types", value));
    }
    (config.qkv_bias, config.output_bias) = (false, false);
    let window = window_or(json, 4096)?;
    for kind in &mut config.layer_kinds {
        kind.window = window;
    }
    Ok(())
}
