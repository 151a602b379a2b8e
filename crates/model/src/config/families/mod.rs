//! The families of decoders, one file a family: what it changes in a Llama's configuration.

mod gemma2;
mod gemma3;
mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use serde_json::Value;

use kernel::glu::Gate;

use super::read::Presumptions;
use super::rotation::Rotation;
use super::value::{Object, flag, mistaken, present, refuse_other, refused, required, size};
use super::{Config, LayerKind};
use crate::ModelError;

/// A family of decoders that this engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 2 and 3, `SmolLM2`, `TinyStories` and all that share their class.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: a norm over each head of query and key.
    Qwen3,
    /// Mistral: a sliding window in every layer.
    Mistral,
    /// `SmolLM3`: some layers without positions.
    SmolLm3,
    /// Phi-3, Phi-3.5 mini and Phi-4 mini: fused tensors, `LongRoPE`, heads that turn in part.
    Phi3,
    /// Gemma 2: caps, alternating windows, norms before and after.
    Gemma2,
    /// The text models of Gemma 3: norms of queries and keys, two rotations.
    Gemma3,
}

/// What a family's file says of it.
struct Facts {
    /// The name of its class in transformers.
    architecture: &'static str,
    model_type: &'static str,
    presumptions: Presumptions,
    /// Changes a Llama's configuration.
    differ: fn(&Object, &mut Config) -> Result<(), ModelError>,
    /// Adds what the configuration of a fresh model needs beside a Llama's keys.
    complete: fn(&mut Object),
}

impl Family {
    pub(super) const ALL: [Self; 8] = [
        Self::Llama,
        Self::Qwen2,
        Self::Qwen3,
        Self::Mistral,
        Self::SmolLm3,
        Self::Phi3,
        Self::Gemma2,
        Self::Gemma3,
    ];

    fn facts(self) -> &'static Facts {
        match self {
            Self::Llama => &llama::FACTS,
            Self::Qwen2 => &qwen2::FACTS,
            Self::Qwen3 => &qwen3::FACTS,
            Self::Mistral => &mistral::FACTS,
            Self::SmolLm3 => &smollm3::FACTS,
            Self::Phi3 => &phi3::FACTS,
            Self::Gemma2 => &gemma2::FACTS,
            Self::Gemma3 => &gemma3::FACTS,
        }
    }

    pub(super) fn architecture(self) -> &'static str {
        self.facts().architecture
    }

    pub(super) fn model_type(self) -> &'static str {
        self.facts().model_type
    }

    pub(super) fn presumptions(self) -> &'static Presumptions {
        &self.facts().presumptions
    }

    /// The rotations of a family whose layers turn differently.
    pub(super) fn rotations(
        self,
        json: &Object,
        head_size: usize,
    ) -> Option<Result<Vec<Rotation>, ModelError>> {
        (self == Self::Gemma3).then(|| gemma3::rotations(json, head_size))
    }

    pub(super) fn differ(self, json: &Object, config: &mut Config) -> Result<(), ModelError> {
        (self.facts().differ)(json, config)
    }

    pub(super) fn complete(self, json: &mut Object) {
        (self.facts().complete)(json);
    }
}

/// Sets the window of each layer that slides, by `layer_types` or else by the family's pattern.
fn slide(
    json: &Object,
    config: &mut Config,
    window: Option<usize>,
    pattern: impl Fn(usize) -> bool,
) -> Result<(), ModelError> {
    let layers = config.layers;
    let kinds = match present(json, "layer_types") {
        None => None,
        Some(Value::Array(kinds)) if kinds.len() == layers => Some(kinds),
        value => {
            let expected = format!("a list of {layers} kinds");
            return Err(mistaken("layer_types", value, &expected));
        }
    };
    for (index, kind) in config.layer_kinds.iter_mut().enumerate() {
        let slides = match kinds.map(|kinds| &kinds[index]) {
            None => pattern(index),
            Some(kind) if *kind == "sliding_attention" => true,
            Some(kind) if *kind == "full_attention" => false,
            kind => return Err(refused("layer_types", kind)),
        };
        if slides {
            let missing = || mistaken("sliding_window", None, "a positive integer");
            kind.window = Some(window.ok_or_else(missing)?);
        }
    }
    Ok(())
}

/// The window of a family that slides only where `use_sliding_window` says so.
fn window_in_use(json: &Object) -> Result<Option<usize>, ModelError> {
    if flag(json, "use_sliding_window", false)? {
        size(json, "sliding_window")
    } else {
        Ok(None)
    }
}

/// The window of a family that has one by default; null means none.
fn window_or(json: &Object, default: usize) -> Result<Option<usize>, ModelError> {
    if json.contains_key("sliding_window") {
        size(json, "sliding_window")
    } else {
        Ok(Some(default))
    }
}

/// The keys of a fresh model of a family whose default tokens may lie outside its vocabulary.
fn without_default_tokens(json: &mut Object) {
    for key in ["pad_token_id", "bos_token_id"] {
        json.insert(key.to_owned(), Value::Null);
    }
}

fn nothing_more(_: &mut Object) {}

fn silu(json: &Object) -> Result<(), ModelError> {
    refuse_other(json, "hidden_act", "silu")
}

/// The number of key heads of a family that has no default for it.
fn key_value_heads_required(json: &Object) -> Result<(), ModelError> {
    required(json, "num_key_value_heads").map(|_| ())
}

impl LayerKind {
    /// Sees all keys before it and turns by the first rotation.
    pub(super) const PLAIN: Self = Self {
        window: None,
        rotation: Some(0),
    };
}
