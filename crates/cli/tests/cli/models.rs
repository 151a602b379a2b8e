//! `enigma models inspect`: what it says of models that open, of those that do not, and when it
//! refuses.

use std::fs;

use serde_json::{Value, json};

use crate::process::{enigma, place, refusal, success, text};

#[test]
fn the_built_in_model_is_described_with_what_it_takes_to_train() {
    let folder = place("inspect");
    let inspect = ["models", "inspect", "nano"];
    let stdout = success(&folder, &[&inspect[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!(found["family"], "llama");
    assert_eq!(found["stored"]["BF16"], found["parameters"]);
    assert_eq!(found["tokenizer"]["chat_template"]["takes_system"], true);
    assert_eq!(found["unsupported"], json!([]));
    let bytes = |object: &Value, what: &str| object["memory_bytes"][what].as_u64().expect("bytes");
    let weights = 4 * found["parameters"].as_u64().expect("a count");
    assert!(
        bytes(&found, "train_full") > bytes(&found, "train_lora"),
        "{stdout}"
    );
    assert!(bytes(&found, "sample") > weights, "{stdout}");
    let more = success(
        &folder,
        &[&inspect[..], &["--json", "--rows", "16"]].concat(),
    );
    let more: Value = serde_json::from_str(&more).expect("one JSON object");
    assert!(
        bytes(&more, "train_full") > bytes(&found, "train_full"),
        "{more}"
    );
    let shown = success(&folder, &inspect);
    for line in [
        "context       256 tokens",
        "chat template takes a system turn",
        "nothing",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn a_model_that_is_not_supported_is_named_and_no_error() {
    let folder = place("inspect-unsupported");
    let config = json!({
        "architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 64,
        "num_hidden_layers": 3, "vocab_size": 99,
    });
    fs::create_dir_all(folder.join("model")).expect("the test's own folder");
    fs::write(folder.join("model/config.json"), config.to_string()).expect("written");
    fs::write(folder.join("model/pytorch_model.bin"), "").expect("written");
    let stdout = success(&folder, &["models", "inspect", "model", "--json"]);
    let found: Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!(found["config"]["hidden_size"], 64);
    assert_eq!(found["memory_bytes"], Value::Null);
    let reasons = found["unsupported"].to_string();
    for reason in ["MambaForCausalLM", "pytorch_model.bin, which is not read"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    let shown = success(&folder, &["models", "inspect", "model"]);
    assert!(shown.contains("num_hidden_layers 3"), "{shown}");
}

#[test]
fn every_key_that_is_not_supported_is_named() {
    let folder = place("inspect-keys");
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 3, "vocab_size": 99, "intermediate_size": 64,
        "max_position_embeddings": 64, "quantization_config": {"bits": 4}, "mlp_bias": true,
        "hidden_act": "relu", "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    });
    fs::create_dir_all(folder.join("model")).expect("the test's own folder");
    fs::write(folder.join("model/config.json"), config.to_string()).expect("written");
    let stdout = success(&folder, &["models", "inspect", "model", "--json"]);
    let found: Value = serde_json::from_str(&stdout).expect("one JSON object");
    let reasons = found["unsupported"].to_string();
    for key in [
        "quantization_config",
        "mlp_bias",
        "hidden_act",
        "rope_scaling",
    ] {
        assert!(reasons.contains(key), "{key}: {reasons}");
    }
}

#[test]
fn a_damaged_model_and_a_batch_of_nothing_are_refused() {
    let folder = place("inspect-refused");
    fs::create_dir_all(folder.join("model")).expect("the test's own folder");
    fs::write(folder.join("model/config.json"), "{").expect("written");
    let found = refusal(&folder, &["models", "inspect", "model"]);
    assert!(found.contains("config.json is not valid"), "{found}");
    let found = refusal(&folder, &["models", "inspect", "absent"]);
    assert!(
        found.starts_with("MODEL is `absent`, which does not exist"),
        "{found}"
    );
    let found = refusal(&folder, &["models", "inspect", "nano", "--rows", "0"]);
    assert_eq!(found, "--rows is 0; expected 1 or more");
    let usage = enigma(&folder, &["models"]);
    assert!(
        text(&usage.stderr).contains("inspect"),
        "{}",
        text(&usage.stderr)
    );
}
