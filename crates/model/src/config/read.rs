//! From the keys of `config.json` to a checked configuration.
//!
//! Here every key means what it means to Llama; a file in `families` says what differs.

use serde_json::Value;

use super::rotation::{Presumed, Rotation};
use super::value::{
    Object, flag, ids, mistaken, positive, present, refuse_true, refused, required, shown, size,
};
use super::{Config, Family, LayerKind};
use crate::{ModelError, weights::Dtype};
use kernel::glu::Gate;

/// What a key that is absent stands for, where families differ.
pub(super) struct Presumptions {
    pub(super) rotation: Presumed,
    pub(super) tied: bool,
    pub(super) epsilon: f64,
}

impl Presumptions {
    /// Llama's.
    pub(super) const LLAMA: Self = Self {
        rotation: Presumed {
            theta: 10_000.0,
            partial: false,
            old_names: false,
            original: None,
        },
        tied: false,
        epsilon: 1e-6,
    };
}

pub(super) fn resolve(json: Object, generation: Option<Object>) -> Result<Config, ModelError> {
    let family = family(&json)?;
    let quantization = present(&json, "quantization_config");
    if quantization.is_some() {
        return Err(refused("quantization_config", quantization));
    }
    for key in ["mlp_bias", "attention_dropout", "resid_pdrop", "embd_pdrop"] {
        refuse_true(&json, key)?;
    }
    let mut config = base(&json, family, generation)?;
    family.differ(&json, &mut config)?;
    config.original = json;
    check(&config)?;
    Ok(config)
}

/// All that a configuration asks for and this engine does not compute: what is refused once the key
/// that was refused before is left out.
pub(super) fn refusals(mut json: Object) -> Vec<ModelError> {
    let mut refusals = Vec::new();
    while let Err(ModelError::Unsupported { what }) = resolve(json.clone(), None) {
        let key = what.split(' ').next().unwrap_or_default();
        let is_key = json.remove(key).is_some();
        refusals.push(ModelError::Unsupported { what });
        if !is_key {
            break;
        }
    }
    refusals
}

/// The configuration of a Llama with these keys.
fn base(json: &Object, family: Family, generation: Option<Object>) -> Result<Config, ModelError> {
    let presumed = family.presumptions();
    let hidden_size = required(json, "hidden_size")?;
    let query_heads = required(json, "num_attention_heads")?;
    let head_size = head_size(json, hidden_size, query_heads)?;
    let layers = layers(json)?;
    let bias = flag(json, "attention_bias", false)?;
    let rotations = match family.rotations(json, head_size) {
        Some(rotations) => rotations?,
        None => vec![Rotation::read(json, head_size, presumed.rotation)?],
    };
    Ok(Config {
        family,
        hidden_size,
        layers,
        query_heads,
        key_value_heads: size(json, "num_key_value_heads")?.unwrap_or(query_heads),
        head_size,
        intermediate_size: required(json, "intermediate_size")?,
        vocabulary: required(json, "vocab_size")?,
        rms_norm_epsilon: positive(json, "rms_norm_eps", presumed.epsilon)?,
        norm_offset: 0.0,
        rotations,
        layer_kinds: vec![LayerKind::PLAIN; layers],
        gate: Gate::Silu,
        attention_scale: f64::from((head_size as f32).sqrt().recip()),
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        max_position_embeddings: required(json, "max_position_embeddings")?,
        tie_word_embeddings: flag(json, "tie_word_embeddings", presumed.tied)?,
        qkv_bias: bias,
        output_bias: bias,
        qk_norm: false,
        post_norms: false,
        fused_projections: false,
        initializer_range: positive(json, "initializer_range", 0.02)?,
        bos_token_id: ids(json, "bos_token_id")?.first().copied(),
        eos_token_ids: end_tokens(json, generation.as_ref())?,
        dtype: dtype(json)?,
        original: Object::new(),
        generation,
    })
}

fn family(json: &Object) -> Result<Family, ModelError> {
    let architecture = json.get("architectures").and_then(|names| names.get(0));
    let found = if let Some(name) = architecture {
        Family::ALL
            .into_iter()
            .find(|family| name == family.architecture())
    } else {
        let name = json.get("model_type").and_then(Value::as_str);
        Family::ALL
            .into_iter()
            .find(|family| Some(family.model_type()) == name)
    };
    found.ok_or_else(|| {
        let name = shown(architecture.or_else(|| json.get("model_type")));
        let hint = match text_family(json) {
            Some(family) => {
                let class = family.architecture();
                format!("it reads more than text; save its text model alone, by {class}")
            }
            None => format!(
                "known: {}",
                Family::ALL.map(Family::architecture).join(", ")
            ),
        };
        let what = format!("architecture {name} ({hint})");
        ModelError::Unsupported { what }
    })
}

/// The family of the text model inside a model that reads more than text.
fn text_family(json: &Object) -> Option<Family> {
    let kind = json.get("text_config")?.get("model_type")?.as_str()?;
    let known = |family: &Family| family.model_type() == kind;
    Family::ALL.into_iter().find(known)
}

/// Each layer is listed with all its tensors, so that a number of them is more than a number.
fn layers(json: &Object) -> Result<usize, ModelError> {
    const MAX: usize = 4096;
    let key = "num_hidden_layers";
    match required(json, key)? {
        layers if layers <= MAX => Ok(layers),
        _ => Err(mistaken(key, json.get(key), &format!("at most {MAX}"))),
    }
}

fn head_size(json: &Object, hidden_size: usize, query_heads: usize) -> Result<usize, ModelError> {
    match size(json, "head_dim")? {
        Some(size) if size.is_multiple_of(2) => Ok(size),
        Some(_) => Err(mistaken("head_dim", json.get("head_dim"), "an even number")),
        None if hidden_size.is_multiple_of(query_heads) => Ok(hidden_size / query_heads),
        None => Err(ModelError::ConfigValue {
            key: "hidden_size",
            found: hidden_size.to_string(),
            expected: format!("a multiple of {query_heads} heads, or a head_dim"),
        }),
    }
}

fn end_tokens(json: &Object, generation: Option<&Object>) -> Result<Vec<u32>, ModelError> {
    let mut tokens = ids(json, "eos_token_id")?;
    if let Some(generation) = generation {
        for token in ids(generation, "eos_token_id")? {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
    }
    Ok(tokens)
}

fn dtype(json: &Object) -> Result<Dtype, ModelError> {
    let found = ["dtype", "torch_dtype"].into_iter().find_map(|key| {
        let value = json.get(key).filter(|value| !value.is_null())?;
        Some((key, value))
    });
    match found.map(|(key, value)| (key, value, value.as_str())) {
        None | Some((_, _, Some("float32" | "float16"))) => Ok(Dtype::F32),
        Some((_, _, Some("bfloat16"))) => Ok(Dtype::Bf16),
        Some((key, value, _)) => {
            let expected = "float32, bfloat16 or float16";
            Err(mistaken(key, Some(value), expected))
        }
    }
}

fn check(config: &Config) -> Result<(), ModelError> {
    const PARAMETERS_MAX: u128 = 1 << 40;
    if config.count() > PARAMETERS_MAX {
        let what = format!("a model of {} parameters", config.count());
        return Err(ModelError::Unsupported { what });
    }
    if !config.query_heads.is_multiple_of(config.key_value_heads) {
        return Err(ModelError::ConfigValue {
            key: "num_key_value_heads",
            found: config.key_value_heads.to_string(),
            expected: format!("a divisor of {} query heads", config.query_heads),
        });
    }
    let outside = |token: &&u32| **token as usize >= config.vocabulary;
    if let Some(token) = config.eos_token_ids.iter().find(outside) {
        return Err(ModelError::ConfigValue {
            key: "eos_token_id",
            found: token.to_string(),
            expected: format!("ids below the vocabulary of {}", config.vocabulary),
        });
    }
    Ok(())
}
