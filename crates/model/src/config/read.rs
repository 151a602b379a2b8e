//! From the keys of `config.json` to a checked configuration.

use serde_json::{Map, Value};

use super::{Config, Family};
use crate::{ModelError, weights::Dtype};

type Object = Map<String, Value>;

pub(super) fn resolve(json: Object, generation: Option<Object>) -> Result<Config, ModelError> {
    let family = family(&json)?;
    refuse_unsupported(&json, family)?;
    let hidden_size = required(&json, "hidden_size")?;
    let query_heads = required(&json, "num_attention_heads")?;
    let key_value_heads = match (family, size(&json, "num_key_value_heads")?) {
        (_, Some(heads)) => heads,
        (Family::Llama, None) => query_heads,
        (_, None) => required(&json, "num_key_value_heads")?,
    };
    let bias = flag(&json, "attention_bias")? && family != Family::Qwen2;
    let config = Config {
        family,
        hidden_size,
        layers: required(&json, "num_hidden_layers")?,
        query_heads,
        key_value_heads,
        head_size: head_size(&json, family, hidden_size, query_heads)?,
        intermediate_size: required(&json, "intermediate_size")?,
        vocabulary: required(&json, "vocab_size")?,
        rms_norm_epsilon: positive(&json, "rms_norm_eps", 1e-6)?,
        rope_theta: rope_theta(&json)?,
        max_position_embeddings: required(&json, "max_position_embeddings")?,
        tie_word_embeddings: flag(&json, "tie_word_embeddings")?,
        qkv_bias: bias || family == Family::Qwen2,
        output_bias: bias,
        qk_norm: family == Family::Qwen3,
        initializer_range: positive(&json, "initializer_range", 0.02)?,
        bos_token_id: ids(&json, "bos_token_id")?.first().copied(),
        eos_token_ids: end_tokens(&json, generation.as_ref())?,
        dtype: dtype(&json)?,
        original: json,
        generation,
    };
    check(&config)?;
    Ok(config)
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
        let known = Family::ALL.map(Family::architecture).join(", ");
        let name = shown(architecture.or_else(|| json.get("model_type")));
        ModelError::Unsupported {
            what: format!("architecture {name} (known: {known})"),
        }
    })
}

/// Names whatever would change the computation and is not computed here.
fn refuse_unsupported(json: &Object, family: Family) -> Result<(), ModelError> {
    let quantization = json
        .get("quantization_config")
        .filter(|value| !value.is_null());
    let layer_types = json.get("layer_types").filter(|_| family != Family::Llama);
    let sliding = layer_types
        .and_then(Value::as_array)
        .and_then(|kinds| kinds.iter().find(|kind| *kind != "full_attention"));
    let refused = [
        (
            "hidden_act",
            json.get("hidden_act").filter(|name| *name != "silu"),
        ),
        ("mlp_bias", json.get("mlp_bias").filter(|flag| truthy(flag))),
        (
            "use_sliding_window",
            json.get("use_sliding_window").filter(|flag| truthy(flag)),
        ),
        (
            "attention_dropout",
            json.get("attention_dropout").filter(|rate| truthy(rate)),
        ),
        ("quantization_config", quantization),
        ("layer_types", sliding),
        ("partial_rotary_factor", partial(json)),
    ];
    if let Some((key, Some(value))) = refused.into_iter().find(|(_, value)| value.is_some()) {
        let what = format!("{key} {}", shown(Some(value)));
        return Err(ModelError::Unsupported { what });
    }
    ["rope_scaling", "rope_parameters"]
        .into_iter()
        .try_for_each(|key| match json.get(key) {
            Some(Value::Object(rope)) => refuse_rotation(key, rope),
            _ => Ok(()),
        })
}

/// Only the plain rotation, the same in every layer, is computed.
fn refuse_rotation(key: &str, rope: &Object) -> Result<(), ModelError> {
    let kind = rope.get("rope_type").or_else(|| rope.get("type"));
    let layers = rope.iter().find(|(_, value)| value.is_object());
    let what = match (
        kind.filter(|kind| *kind != "default"),
        layers,
        partial(rope),
    ) {
        (Some(kind), ..) => format!("{key} of type {}", shown(Some(kind))),
        (_, Some((layers, _)), _) => format!("{key} of its own for {layers}"),
        (.., Some(factor)) => format!("{key} with partial_rotary_factor {factor}"),
        (None, None, None) => return Ok(()),
    };
    Err(ModelError::Unsupported { what })
}

/// A share of each head that is rotated, where that is not the whole head.
fn partial(holder: &Object) -> Option<&Value> {
    let whole = |factor: &&Value| factor.is_null() || **factor == 1.0 || **factor == 1;
    holder
        .get("partial_rotary_factor")
        .filter(|factor| !whole(factor))
}

/// Whether Python takes a value for true.
fn truthy(value: &Value) -> bool {
    !(value.is_null() || *value == false || *value == 0 || *value == 0.0)
}

fn head_size(
    json: &Object,
    family: Family,
    hidden_size: usize,
    query_heads: usize,
) -> Result<usize, ModelError> {
    match size(json, "head_dim")? {
        Some(size) => Ok(size),
        None if family == Family::Qwen3 => required(json, "head_dim"),
        None if hidden_size.is_multiple_of(query_heads) => Ok(hidden_size / query_heads),
        None => Err(ModelError::ConfigValue {
            key: "hidden_size",
            found: hidden_size.to_string(),
            expected: format!("a multiple of {query_heads} heads, or a head_dim"),
        }),
    }
}

/// The base of the angles: in `rope_parameters` since transformers 5, at the top before.
fn rope_theta(json: &Object) -> Result<f64, ModelError> {
    let nested = json.get("rope_parameters").and_then(Value::as_object);
    let holder = nested
        .filter(|nested| nested.contains_key("rope_theta"))
        .unwrap_or(json);
    positive(holder, "rope_theta", 10_000.0)
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
        Some((key, value, _)) => Err(ModelError::ConfigValue {
            key,
            found: shown(Some(value)),
            expected: "float32, bfloat16 or float16".to_owned(),
        }),
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
    if !config.head_size.is_multiple_of(2) {
        return Err(ModelError::ConfigValue {
            key: "head_dim",
            found: config.head_size.to_string(),
            expected: "an even number".to_owned(),
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

/// A size, in a range that keeps products of a few sizes countable; nothing where the key is
/// absent or null.
fn size(json: &Object, key: &'static str) -> Result<Option<usize>, ModelError> {
    const MAX: u64 = 1 << 24;
    match json.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(size @ 1..=MAX) => Ok(Some(size as usize)),
            _ => Err(mistaken(
                key,
                Some(value),
                &format!("an integer from 1 to {MAX}"),
            )),
        },
    }
}

fn required(json: &Object, key: &'static str) -> Result<usize, ModelError> {
    size(json, key)?.ok_or_else(|| mistaken(key, None, "a positive integer"))
}

fn positive(json: &Object, key: &'static str, default: f64) -> Result<f64, ModelError> {
    match json.get(key).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => match value.as_f64() {
            Some(number) if number > 0.0 => Ok(number),
            _ => Err(mistaken(key, Some(value), "a positive number")),
        },
    }
}

fn flag(json: &Object, key: &'static str) -> Result<bool, ModelError> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        value => Err(mistaken(key, value, "true or false")),
    }
}

/// Token ids, given as a number, a list or not at all.
fn ids(json: &Object, key: &'static str) -> Result<Vec<u32>, ModelError> {
    let value = json.get(key);
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(value) => id(value).map(|id| vec![id]),
    };
    ids.ok_or_else(|| mistaken(key, value, "a token id or a list of them"))
}

fn mistaken(key: &'static str, value: Option<&Value>, expected: &str) -> ModelError {
    ModelError::ConfigValue {
        key,
        found: shown(value),
        expected: expected.to_owned(),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
