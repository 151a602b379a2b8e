//! `SmolLM3`: every so many layers one does not turn its heads by position.
//!
//! # Source
//! Yang et al., arXiv 2501.18795 (layers without positions); which they are: transformers,
//! `configuration_smollm3.py`.

use serde_json::Value;

use super::{Facts, key_value_heads_required, silu, slide, window_in_use, without_default_tokens};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::rotation::Presumed;
use crate::config::value::{Object, mistaken, present, size};

pub(super) static FACTS: Facts = Facts {
    architecture: "SmolLM3ForCausalLM",
    model_type: "smollm3",
    presumptions: Presumptions {
        rotation: Presumed {
            theta: 2_000_000.0,
            ..Presumptions::LLAMA.rotation
        },
        tied: true,
        ..Presumptions::LLAMA
    },
    differ,
    complete: without_default_tokens,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    silu(json)?;
    key_value_heads_required(json)?;
    let turns = turns(json, config.layers)?;
    let window = window_in_use(json)?;
    slide(json, config, window, |index| {
        window.is_some() && !turns[index]
    })?;
    for (kind, turns) in config.layer_kinds.iter_mut().zip(turns) {
        kind.rotation = turns.then_some(0);
    }
    Ok(())
}

/// Whether each layer turns: 1 in `no_rope_layers` says that it does.
fn turns(json: &Object, layers: usize) -> Result<Vec<bool>, ModelError> {
    let Some(value) = present(json, "no_rope_layers") else {
        let interval = size(json, "no_rope_layer_interval")?.unwrap_or(4);
        return Ok((1..=layers).map(|layer| layer % interval != 0).collect());
    };
    let turn = |entry: &Value| {
        entry
            .as_u64()
            .filter(|turn| *turn < 2)
            .map(|turn| turn == 1)
    };
    let turns: Option<Vec<bool>> = value
        .as_array()
        .and_then(|entries| entries.iter().take(layers).map(turn).collect());
    let expected = format!("a 0 or 1 for each of {layers} layers");
    turns
        .filter(|turns| turns.len() == layers)
        .ok_or_else(|| mistaken("no_rope_layers", Some(value), &expected))
}
