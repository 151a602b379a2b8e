//! Adapters from the command line: trained, written in PEFT's layout, opened, trained on.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::SHORT;
use crate::process::{entries, place, refusal, success};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/nano/model");

/// Trains adapters beside the built-in model and gives the checkpoint.
fn train(folder: &Path, out: &str, arguments: &[&str]) -> PathBuf {
    // Completions too short to be of the format still differ in something, or nothing is learnt.
    let rate = [
        "--set=optimizer.learning_rate=0.1",
        "--set=rewards.regex=[{name='letter', pattern='u'}]",
        "--out",
        out,
    ];
    success(folder, &[&["train"][..], &SHORT, &rate, arguments].concat());
    folder.join(out).join("checkpoint-1")
}

fn config(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("adapter_config.json")).expect("an adapter");
    serde_json::from_str(&text).expect("JSON")
}

/// The log-probabilities of one row under a model.
fn scores(folder: &Path, model: &[&str]) -> Vec<f64> {
    let row = "{\"prompt_ids\": [5, 6, 7], \"completion_ids\": [8, 9, 10, 11]}";
    fs::write(folder.join("rows.jsonl"), row).expect("the test's own folder");
    let score = ["score", "--input", "rows.jsonl", "--json", "--model"];
    let line = success(folder, &[&score, model].concat());
    let object: Value = serde_json::from_str(&line).expect("one JSON object");
    let logprobs = object["logprobs"].as_array().expect("a list");
    logprobs
        .iter()
        .map(|value| value.as_f64().expect("a number"))
        .collect()
}

#[test]
fn a_trained_adapter_is_a_folder_of_pefts_layout_that_every_command_opens() {
    let folder = place("adapters");
    let checkpoint = train(
        &folder,
        "first",
        &["--set=lora.r=2", "--set=lora.lora_dropout=0.1"],
    );
    let files = entries(&checkpoint);
    for file in [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
    ] {
        assert!(files.contains(&file.to_owned()), "{files:?}");
    }
    assert!(
        !files.contains(&"model.safetensors".to_owned()),
        "{files:?}"
    );
    let written = config(&checkpoint);
    assert_eq!(written["base_model_name_or_path"], "nano");
    assert_eq!(
        (&written["r"], &written["lora_alpha"]),
        (&2.into(), &32.into())
    );
    let path = checkpoint.display().to_string();
    let generate = ["generate", "--model", &path, "--prompt", "a", "--chat"];
    success(
        &folder,
        &[&generate[..], &["--max-completion-length=2"]].concat(),
    );
    let (base, adapted) = (scores(&folder, &["nano"]), scores(&folder, &[&path]));
    assert_ne!(base, adapted, "the adapter does nothing");
    assert_eq!(scores(&folder, &[&path, "--base", BASE]), adapted);
    success(&folder, &["models", "merge", &path, "--out", "whole/model"]);
    let merged = scores(&folder, &["whole/model"]);
    let pairs = merged.iter().zip(&adapted);
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(difference < 1e-4, "merged: {difference}");
    let twice = refusal(
        &folder,
        &["models", "merge", "whole/model", "--out", "again"],
    );
    assert!(
        twice.starts_with("ADAPTER is a model of whole weights"),
        "{twice}"
    );
    // Trained on: the same rank beside the same base, without a section that says so.
    let model = format!("--set=model.path={path}");
    let second = train(&folder, "second", &[&model]);
    assert_eq!(config(&second)["r"], 2);
    assert_ne!(scores(&folder, &[&second.display().to_string()]), adapted);
    let both = refusal(&folder, &["train", &model, "--set=lora.r=2"]);
    let expected = "model.path is an adapter beside [lora]; expected no [lora]";
    assert!(both.starts_with(expected), "{both}");
}

#[test]
fn the_plan_of_an_adapter_says_what_is_trained() {
    let folder = place("adapter-plan");
    let dry = |set: &str| -> Value {
        let stdout = success(&folder, &["train", "--dry-run", "--json", "--set", set]);
        serde_json::from_str(&stdout).expect("one JSON object")
    };
    let plan = dry("lora.target_modules=['q_proj']");
    assert_eq!(plan["plan"]["lora"]["r"], 16);
    assert_eq!(plan["plan"]["lora"]["lora_dropout"], 0.0);
    let budget = |plan: &Value, key: &str| plan["budget"][key].as_u64().expect("a count");
    let text = fs::read_to_string(Path::new(BASE).join("config.json")).expect("the asset");
    let shape: Value = serde_json::from_str(&text).expect("JSON");
    let [layers, width] = ["num_hidden_layers", "hidden_size"].map(|key| shape[key].as_u64());
    let expected = layers
        .zip(width)
        .map(|(layers, width)| 16 * layers * 2 * width);
    assert_eq!(Some(budget(&plan, "trainable_parameters")), expected);
    let whole = dry("run.seed=1");
    let trained = budget(&whole, "trainable_parameters");
    assert_eq!(trained, budget(&whole, "parameters"));
    assert!(whole["plan"].get("lora").is_none());
}

#[test]
fn what_adapters_cannot_be_is_refused_by_key() {
    let folder = place("adapter-refusals");
    for (assignment, expected) in [
        ("lora.r=0", "lora.r is 0; expected 1 or more"),
        (
            "lora.lora_dropout=1",
            "lora.lora_dropout is 1; expected 0 or above, below 1",
        ),
        (
            "lora.lora_alpha=0",
            "lora.lora_alpha is 0; expected a number above 0",
        ),
        (
            "lora.target_modules=.*proj",
            "lora.target_modules is `.*proj`; expected `all-linear` or a list of one name or more",
        ),
        (
            "lora.target_modules=['qkv_proj']",
            "[lora]: target_modules names qkv_proj; the model's modules are o_proj, gate_proj, \
             up_proj, down_proj, q_proj, k_proj, v_proj",
        ),
        (
            "lora.rank=4",
            "recipe nano (built in): unknown key `lora.rank` for `enigma train`; the nearest is \
             `lora.r`",
        ),
    ] {
        assert_eq!(refusal(&folder, &["train", "--set", assignment]), expected);
    }
    let tokens = ["train", "--set=lora.r=1", "--set=model.add_tokens=['<a>']"];
    let found = refusal(&folder, &tokens);
    assert!(
        found.starts_with("model.add_tokens is a list beside [lora]; expected none"),
        "{found}"
    );

    let adapter = folder.join("adapter");
    fs::create_dir(&adapter).expect("the test's own folder");
    for (config, expected) in [
        (
            "{\"use_dora\": true}",
            "adapter_config.json: use_dora is true, expected false",
        ),
        (
            "{\"r\": 2}",
            "base_model_name_or_path is not said; expected a model, give it as --base",
        ),
        (
            "{\"r\": 2, \"base_model_name_or_path\": \"nowhere/at-all\"}",
            "base_model_name_or_path is `nowhere/at-all`, which does not exist",
        ),
        (
            "{\"r\": 2, \"base_model_name_or_path\": \"nano\"}",
            "adapter_model.safetensors: No such file or directory (os error 2)",
        ),
    ] {
        fs::write(adapter.join("adapter_config.json"), config).expect("the test's own folder");
        let generate = ["generate", "--model", "adapter", "--prompt", "a"];
        let found = refusal(&folder, &generate);
        assert!(found.contains(expected), "{found}");
    }
}
