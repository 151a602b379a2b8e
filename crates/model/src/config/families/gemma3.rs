//! The text models of Gemma 3: norms of queries and keys; layers that slide turn by a rotation of
//! their own, and every sixth layer sees everything.

use serde_json::Value;

use super::gemma2::{complete_gemma, gemma};
use super::{Facts, slide, window_or};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::rotation::Rotation;
use crate::config::value::{Object, number, positive, present, refused, size};

pub(super) static FACTS: Facts = Facts {
    architecture: "Gemma3ForCausalLM",
    model_type: "gemma3_text",
    presumptions: Presumptions {
        tied: true,
        ..Presumptions::LLAMA
    },
    differ,
    complete: complete_gemma,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    gemma(json, config, [None, None])?;
    config.qk_norm = true;
    let window = window_or(json, 4096)?;
    let interval = size(json, "sliding_window_pattern")?.unwrap_or(6);
    slide(json, config, window, |index| {
        !(index + 1).is_multiple_of(interval)
    })?;
    for kind in &mut config.layer_kinds {
        kind.rotation = Some(usize::from(kind.window.is_some()));
    }
    Ok(())
}

/// The rotation of layers that see everything, then that of layers that slide: an object for each
/// in `rope_parameters`, which transformers 5 writes, or two bases and one `rope_scaling`, which
/// stretches the first.
pub(super) fn rotations(json: &Object, head_size: usize) -> Result<Vec<Rotation>, ModelError> {
    let presumed = FACTS.presumptions.rotation;
    let nested = present(json, "rope_parameters").and_then(Value::as_object);
    let scaling = present(json, "rope_scaling").and_then(Value::as_object);
    if nested.is_some() && scaling.is_some() {
        let what = "rope_scaling beside rope_parameters".to_owned();
        return Err(ModelError::Unsupported { what });
    }
    let flat = nested.and_then(|rope| rope.iter().find(|(_, value)| !value.is_object()));
    if let Some((key, value)) = flat {
        return Err(refused(&format!("rope_parameters with {key}"), Some(value)));
    }
    let nothing = Object::new();
    let mut rotations = Vec::new();
    for (layers, base, default) in [
        ("full_attention", "rope_theta", 1_000_000.0),
        ("sliding_attention", "rope_local_base_freq", 10_000.0),
    ] {
        let own = nested.and_then(|nested| nested.get(layers)?.as_object());
        let scaling = scaling.filter(|_| layers == "full_attention");
        let rope = own.or(scaling).unwrap_or(&nothing);
        let theta = match number(rope, "rope_theta")? {
            Some(theta) => theta,
            None => positive(json, base, default)?,
        };
        let rotation = Rotation::with_theta(json, (layers, rope), head_size, theta, presumed)?;
        if rotation.changes_at().is_some() {
            return Err(refused("longrope of", Some(&layers.into())));
        }
        rotations.push(rotation);
    }
    Ok(rotations)
}
