//! Phi-3: query, key and value are one tensor, and so are gate and up; every layer may slide.

use super::{Facts, silu, without_default_tokens};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::rotation::Presumed;
use crate::config::value::{Object, size};

pub(super) static FACTS: Facts = Facts {
    architecture: "Phi3ForCausalLM",
    model_type: "phi3",
    presumptions: Presumptions {
        rotation: Presumed {
            partial: true,
            old_names: true,
            original: Some(4096),
            ..Presumptions::LLAMA.rotation
        },
        epsilon: 1e-5,
        ..Presumptions::LLAMA
    },
    differ,
    complete: without_default_tokens,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    silu(json)?;
    config.fused_projections = true;
    (config.qkv_bias, config.output_bias) = (false, false);
    let window = size(json, "sliding_window")?;
    for kind in &mut config.layer_kinds {
        kind.window = window;
    }
    Ok(())
}
