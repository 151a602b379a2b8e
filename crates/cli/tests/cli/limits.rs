//! What does not fit, said before a run begins: the disk, and a context that ends in two places.

use std::fs;

use serde_json::{Value, json};

use crate::process::{place, refusal, success};
use crate::refusals::model;

#[test]
fn a_run_that_the_disk_cannot_hold_is_refused_with_what_it_takes() {
    let folder = place("no-space");
    let keep_all = [
        "train",
        "--set=run.save_total_limit=0",
        "--set=run.save_steps=1",
    ];
    let run = [
        &keep_all[..],
        &["--set=run.max_steps=100000000", "--out=run"],
    ]
    .concat();
    let found = refusal(&folder, &run);
    assert!(
        found.starts_with("the run in run takes about ")
            && found.contains(" MiB (100000000 checkpoints of ")
            && found.contains(" MiB free; keep fewer by run.save_steps and run.save_total_limit"),
        "{found}"
    );
    let dry = refusal(&folder, &[&run[..], &["--dry-run"]].concat());
    // What is free may change between the two.
    let takes = |found: &str| found.split(", found ").next().map(str::to_owned);
    assert_eq!(takes(&dry), takes(&found));
    let plan = success(
        &folder,
        &["train", "--dry-run", "--json", "--set=run.max_steps=400"],
    );
    let plan: Value = serde_json::from_str(&plan).expect("one JSON object");
    let figure = |key: &str| plan["disk"][key].as_u64().expect("a count");
    assert_eq!(figure("checkpoints"), 3);
    let parameters = plan["budget"]["parameters"].as_u64().expect("a count");
    assert!(figure("checkpoint_bytes") > 12 * parameters, "{plan}");
    assert!(figure("free_bytes") > figure("record_bytes"), "{plan}");
}

/// A model that turns texts of more than 64 tokens by factors of their own.
fn long_rope(folder: &std::path::Path) {
    let path = model(folder).join("config.json");
    let text = fs::read_to_string(&path).expect("the copy is there");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["architectures"] = json!(["Phi3ForCausalLM"]);
    config["model_type"] = json!("phi3");
    config["original_max_position_embeddings"] = json!(64);
    let factors = |factor: f64| vec![factor; 16];
    config["rope_scaling"] = json!({
        "type": "longrope", "short_factor": factors(1.0), "long_factor": factors(2.0),
    });
    fs::write(path, config.to_string()).expect("the test's own folder");
}

#[test]
fn a_text_that_would_cross_the_first_context_of_longrope_is_refused() {
    let folder = place("longrope");
    long_rope(&folder);
    let across = [
        "train",
        "--set=model.path=model",
        "--set=model.random_weights=true",
    ];
    let found = refusal(
        &folder,
        &[&across[..], &["--set=sampling.max_completion_length=64"]].concat(),
    );
    assert_eq!(
        found,
        "sampling.max_completion_length is 64; expected less than 64, the model's context, \
         with room for the prompt"
    );
    let found = refusal(
        &folder,
        &[&across[..], &["--set=sampling.max_completion_length=60"]].concat(),
    );
    assert!(
        found.contains(" tokens, expected at most 4, for which the model's context has room"),
        "{found}"
    );
    let prompt = ["generate", "--model=model", "--prompt=one two three"];
    let found = refusal(
        &folder,
        &[&prompt[..], &["--max-completion-length=63"]].concat(),
    );
    assert!(
        found.ends_with("expected at most 64 together, the model's context"),
        "{found}"
    );
}
