//! Which configurations open, and how those that do not are refused.

use std::path::PathBuf;

use serde_json::{Value, json};

use kernel::Device;

use super::*;
use crate::Transformer;

fn resolve(json: Value) -> Result<Config, ModelError> {
    let Value::Object(json) = json else {
        panic!("an object")
    };
    read::resolve(json, None)
}

/// A small model of each family, with some keys changed; null takes a key away.
fn changed(family: Family, changes: &Value) -> Result<Config, ModelError> {
    let mut json = Config::fresh(&shape(family))
        .expect("a valid shape")
        .original;
    for (key, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            json.remove(key);
        } else {
            json.insert(key.clone(), value.clone());
        }
    }
    resolve(Value::Object(json))
}

fn shape(family: Family) -> Shape {
    Shape {
        family,
        hidden_size: 48,
        layers: 3,
        query_heads: 6,
        key_value_heads: 2,
        intermediate_size: 80,
        vocabulary: 100,
        max_position_embeddings: 64,
        eos_token_ids: vec![2, 5],
    }
}

fn open_shared(folder: &str) -> Option<Result<Config, ModelError>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = root.join(folder);
    if !folder.exists() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(Config::open(&Source::Folder(folder)))
}

#[test]
fn published_configurations_resolve_to_their_published_sizes() {
    let cases = [
        (
            "models/tinystories-656k-bf16",
            Family::Llama,
            656_000,
            16,
            1e4,
            512,
            vec![2],
        ),
        (
            "tokenizers/smollm2-135m-instruct",
            Family::Llama,
            134_515_008,
            64,
            1e5,
            8192,
            vec![2],
        ),
        (
            "tokenizers/qwen2.5-0.5b-instruct",
            Family::Qwen2,
            494_032_768,
            64,
            1e6,
            32768,
            vec![151_645, 151_643],
        ),
        (
            "configs/Qwen2.5-1.5B-Instruct",
            Family::Qwen2,
            1_543_714_304,
            128,
            1e6,
            32768,
            vec![151_645],
        ),
        (
            "configs/Qwen3-0.6B",
            Family::Qwen3,
            596_049_920,
            128,
            1e6,
            40960,
            vec![151_645],
        ),
    ];
    for (folder, family, parameters, head_size, theta, positions, end) in cases {
        let Some(config) = open_shared(folder) else {
            return;
        };
        let config = config.expect(folder);
        assert_eq!(config.family, family, "{folder}");
        assert_eq!(config.parameters(), parameters, "{folder}");
        assert_eq!(config.head_size, head_size, "{folder}");
        let found = config.rotations[0].theta;
        assert!((found - theta).abs() < 1e-9, "{folder}: {found}");
        assert_eq!(config.max_position_embeddings, positions, "{folder}");
        assert_eq!(config.eos_token_ids, end, "{folder}");
        assert!(config.tie_word_embeddings, "{folder}");
        let qwen2 = family == Family::Qwen2;
        let flags = (config.qkv_bias, config.output_bias, config.qk_norm);
        assert_eq!(flags, (qwen2, false, family == Family::Qwen3), "{folder}");
    }
}

#[test]
fn the_stretched_rotation_of_llama_3_2_is_read() {
    let Some(config) = open_shared("configs/Llama-3.2-1B") else {
        return;
    };
    let config = config.expect("llama3 scaling");
    assert_eq!(config.parameters(), 1_235_814_400);
    let rotation = &config.rotations[0];
    let expected = Scaling::Llama3 {
        factor: 32.0,
        low: 1.0,
        high: 4.0,
        original: 8192,
    };
    assert_eq!((rotation.entries, &rotation.scaling), (64, &expected));
    let frequencies = rotation.inverse_frequencies(false);
    let plain = |i: i32| 5e5_f64.powf(-f64::from(i) / 32.0);
    for (i, factor) in [(0, 1.0), (10, 1.0), (20, 32.0), (31, 32.0)] {
        let found = f64::from(frequencies[i as usize]) * factor / plain(i);
        assert!(
            (found - 1.0).abs() < 1e-5,
            "frequency {i} is {found} of its own"
        );
    }
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let cases = [
        (
            json!({"architectures": ["GemmaForCausalLM"]}),
            "architecture GemmaForCausalLM (known: ",
        ),
        (
            json!({"architectures": null, "model_type": "gpt2"}),
            "architecture gpt2 (known: ",
        ),
        (json!({"hidden_act": "gelu"}), "hidden_act gelu is"),
        (json!({"mlp_bias": true}), "mlp_bias true is"),
        (
            json!({"layer_types": ["full_attention", "chunked_attention", "full_attention"]}),
            "layer_types chunked_attention is",
        ),
        (
            json!({"architectures": ["Gemma3ForConditionalGeneration"],
                "text_config": {"model_type": "gemma3_text"}}),
            "architecture Gemma3ForConditionalGeneration (it reads more than text; save its",
        ),
        (
            json!({"attention_dropout": 0.1}),
            "attention_dropout 0.1 is",
        ),
        (
            json!({"quantization_config": {"bits": 4}}),
            "quantization_config {\"bits\":4} is",
        ),
        (
            json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
            "rope_scaling of type dynamic is",
        ),
        (
            json!({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}}),
            "mscale 1.0 is",
        ),
        (
            json!({"rope_parameters": {"full": {}}}),
            "rope_parameters of its own for full is",
        ),
        (
            json!({"partial_rotary_factor": 0.5}),
            "partial_rotary_factor 0.5 is",
        ),
        (
            json!({"vocab_size": 1 << 24, "hidden_size": 1 << 22, "num_hidden_layers": 1 << 12}),
            "a model of ",
        ),
    ];
    for (changes, message) in cases {
        let error = changed(Family::Qwen3, &changes)
            .expect_err(message)
            .to_string();
        let expected = format!("config.json: {message}");
        assert!(
            error.starts_with(&expected) && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn a_mistaken_value_is_named_with_what_was_expected() {
    let cases = [
        (
            json!({"hidden_size": null}),
            "hidden_size is missing, expected a positive integer",
        ),
        (
            json!({"head_dim": null}),
            "head_dim is missing, expected a positive integer",
        ),
        (
            json!({"num_hidden_layers": 1 << 24}),
            "num_hidden_layers is 16777216, expected at most 4096",
        ),
        (
            json!({"num_hidden_layers": 0}),
            "num_hidden_layers is 0, expected an integer from 1",
        ),
        (
            json!({"vocab_size": -3}),
            "vocab_size is -3, expected an integer from 1",
        ),
        (
            json!({"hidden_size": 1.5}),
            "hidden_size is 1.5, expected an integer from 1",
        ),
        (
            json!({"num_key_value_heads": 4}),
            "num_key_value_heads is 4, expected a divisor of 6",
        ),
        (
            json!({"head_dim": 7}),
            "head_dim is 7, expected an even number",
        ),
        (
            json!({"rms_norm_eps": "x"}),
            "rms_norm_eps is x, expected a positive number",
        ),
        (
            json!({"tie_word_embeddings": 1}),
            "tie_word_embeddings is 1, expected true or false",
        ),
        (
            json!({"eos_token_id": [1, 100]}),
            "eos_token_id is 100, expected ids below",
        ),
        (
            json!({"eos_token_id": "</s>"}),
            "eos_token_id is </s>, expected a token id or a list",
        ),
        (
            json!({"torch_dtype": "int8"}),
            "torch_dtype is int8, expected float32, bfloat16",
        ),
    ];
    assert_mistaken(&cases);
}

#[test]
fn a_mistaken_layer_or_rotation_is_named_with_what_was_expected() {
    let cases = [
        (
            json!({"num_key_value_heads": null}),
            "num_key_value_heads is missing, expected a positive integer",
        ),
        (
            json!({"layer_types": ["full_attention"]}),
            "layer_types is [\"full_attention\"], expected a list of 3 kinds",
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
            "sliding_window is missing, expected a positive integer",
        ),
        (
            json!({"rope_scaling": {"rope_type": "llama3"}}),
            "factor is missing, expected a positive number",
        ),
        (
            json!({"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0],
                "long_factor": [1.0]}}),
            "short_factor is a list of 1, expected a list of 4 positive numbers",
        ),
    ];
    assert_mistaken(&cases);
}

#[track_caller]
fn assert_mistaken(cases: &[(Value, &str)]) {
    for (changes, message) in cases {
        let error = changed(Family::Qwen3, changes)
            .expect_err(message)
            .to_string();
        let expected = format!("config.json: {message}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn either_spelling_of_the_rotation_gives_the_same_base() {
    let theta = |changes| changed(Family::Llama, &changes).expect("valid").rotations[0].theta;
    let new = json!({"rope_theta": null,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}});
    let bases = [theta(json!({"rope_theta": 500_000})), theta(new)];
    assert!(
        bases.iter().all(|base| (base - 5e5).abs() < 1e-9),
        "{bases:?}"
    );
    assert!((theta(json!({"rope_theta": null})) - 1e4).abs() < 1e-9);
}

#[test]
fn attention_bias_of_llama_is_on_the_output_too_and_of_qwen2_is_not() {
    let biased = json!({"attention_bias": true});
    let flags = |family, changes: &Value| {
        let config = changed(family, changes).expect("valid");
        (config.qkv_bias, config.output_bias)
    };
    assert_eq!(flags(Family::Llama, &biased), (true, true));
    assert_eq!(flags(Family::Llama, &json!({})), (false, false));
    assert_eq!(flags(Family::Qwen2, &biased), (true, false));
    assert_eq!(flags(Family::Qwen2, &json!({})), (true, false));
}

#[test]
fn a_shape_that_does_not_fit_itself_is_an_error() {
    for shape in [
        Shape {
            query_heads: 0,
            ..shape(Family::Llama)
        },
        Shape {
            key_value_heads: 4,
            ..shape(Family::Llama)
        },
        Shape {
            query_heads: 48,
            ..shape(Family::Llama)
        },
        Shape {
            eos_token_ids: vec![100],
            ..shape(Family::Llama)
        },
    ] {
        Config::fresh(&shape).expect_err("a shape that contradicts itself");
    }
}

#[test]
fn saving_keeps_unknown_keys_and_says_how_the_weights_are_stored() {
    let folder: PathBuf =
        std::env::temp_dir().join(format!("enigma-config-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let original = json!({"_name_or_path": "x/y", "dtype": "float16"});
    let mut config = changed(Family::Qwen2, &original).expect("valid");
    let generation = json!({"eos_token_id": [5, 7], "top_p": 0.8});
    config.generation = generation.as_object().cloned();
    config.save(&folder, Dtype::Bf16).expect("written");
    let reopened = Config::open(&Source::Folder(folder.clone())).expect("valid");
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(reopened.dtype, Dtype::Bf16);
    assert_eq!(reopened.eos_token_ids, [2, 5, 7]);
    assert_eq!(reopened.original["_name_or_path"], "x/y");
    assert_eq!(reopened.original["dtype"], "bfloat16");
    assert_eq!(reopened.generation, config.generation);
}

#[test]
fn a_fresh_model_of_every_family_is_a_valid_one() {
    for family in Family::ALL {
        let config = Config::fresh(&shape(family)).expect("a valid shape");
        assert_eq!((config.family, config.layer_kinds.len()), (family, 3));
        assert_eq!(config.context(1), 64, "{family:?}");
        let model = Transformer::random(config, &Device::cpu(Some(1)), math::Key::new(1));
        let logits = model.logits(&[1, 2, 3]).expect("finite logits");
        assert_eq!(logits.len(), 300, "{family:?}");
    }
}

/// The window and the rotation of each layer.
fn kinds(family: Family, changes: &Value) -> Vec<(Option<usize>, Option<usize>)> {
    let config = changed(family, changes).expect("valid");
    let kinds = config.layer_kinds.iter();
    kinds.map(|kind| (kind.window, kind.rotation)).collect()
}

#[test]
fn layers_slide_and_turn_as_published_configurations_say() {
    let whole = (None, Some(0));
    let near = |window| (Some(window), Some(0));
    let cases = [
        (Family::Mistral, json!({"sliding_window": 7}), [near(7); 3]),
        // `changed` takes a key away where it is null.
        (
            Family::Mistral,
            json!({"sliding_window": null}),
            [near(4096); 3],
        ),
        (
            Family::Phi3,
            json!({"sliding_window": 2047}),
            [near(2047); 3],
        ),
        (Family::Phi3, json!({}), [whole; 3]),
        (
            Family::Qwen2,
            json!({"sliding_window": 7, "max_window_layers": 1}),
            [whole; 3],
        ),
        (
            Family::Qwen2,
            json!({"use_sliding_window": true, "sliding_window": 7, "max_window_layers": 1}),
            [whole, near(7), near(7)],
        ),
        (
            Family::SmolLm3,
            json!({"no_rope_layers": [1, 0, 1]}),
            [whole, (None, None), whole],
        ),
        (
            Family::SmolLm3,
            json!({"no_rope_layer_interval": 3}),
            [whole, whole, (None, None)],
        ),
        (
            Family::Gemma2,
            json!({"sliding_window": 9}),
            [near(9), whole, near(9)],
        ),
        (
            Family::Gemma3,
            json!({"sliding_window": 9, "sliding_window_pattern": 2}),
            [(Some(9), Some(1)), whole, (Some(9), Some(1))],
        ),
    ];
    for (family, changes, expected) in cases {
        assert_eq!(kinds(family, &changes), expected, "{family:?}: {changes}");
    }
}

#[test]
fn keys_that_gemma_leaves_out_have_the_values_of_its_class() {
    let absent = json!({"query_pre_attn_scalar": null, "tie_word_embeddings": null});
    let config = changed(Family::Gemma2, &absent).expect("valid");
    assert_eq!(config.attention_softcap, Some(50.0));
    assert_eq!(config.logit_softcap, Some(30.0));
    assert!((config.attention_scale - 1.0 / 16.0).abs() < 1e-12);
    assert!(config.tie_word_embeddings);
    let older = json!({"rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}});
    let rotations = changed(Family::Gemma3, &older).expect("valid").rotations;
    let thetas: Vec<f64> = rotations.iter().map(|rotation| rotation.theta).collect();
    assert_eq!(thetas, [1e6, 1e4]);
    assert_eq!(rotations[0].scaling, Scaling::Linear { factor: 8.0 });
    assert_eq!(rotations[1].scaling, Scaling::None);
}

#[test]
fn a_text_ends_on_the_side_of_the_limit_on_which_its_prompt_ends() {
    let factors = json!({"type": "su", "short_factor": [1, 1, 1, 1], "long_factor": [2, 3, 4, 5]});
    let changes = json!({"rope_scaling": factors, "original_max_position_embeddings": 16});
    let config = changed(Family::Phi3, &changes).expect("valid");
    let found =
        [1, 16, 17, 60].map(|prompt| (config.context(prompt), config.first_position(prompt)));
    assert_eq!(found, [(16, 0), (16, 0), (64, 16), (64, 16)]);
    let model = Transformer::random(config, &Device::cpu(Some(1)), math::Key::new(1));
    assert!(model.check_length(10, 6).is_ok() && model.check_length(17, 47).is_ok());
    assert!(model.check_length(10, 7).is_err() && model.check_length(16, 1).is_err());
}
