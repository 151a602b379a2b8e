//! The binary as scripts meet it: exit codes, one-line errors, and what is on standard output.

mod adapters;
mod bench;
mod card;
mod create;
mod data;
mod emulated;
mod explain;
mod faults;
mod graders;
mod hub;
mod limits;
mod models;
mod principles;
mod process;
mod ranks;
mod refusals;
mod resume;
mod stationary;

use std::fs;
use std::path::Path;

use serde_json::Value;

use process::{entries, place, refusal, success};

/// A run of one short step on the built-in model.
const SHORT: [&str; 6] = [
    "--set=run.max_steps=1",
    "--set=run.questions_per_step=1",
    "--set=sampling.max_completion_length=8",
    "--set=evaluation.questions=1",
    "--set=evaluation.bootstrap_resamples=10",
    "--set=sami.warmup_steps=0",
];

#[test]
fn a_value_out_of_range_is_one_line_and_exit_code_2() {
    let folder = place("ranges");
    for (assignment, expected) in [
        (
            "sampling.temperature=0",
            "sampling.temperature is 0; expected a number above 0",
        ),
        (
            "transport.epsilon=-1",
            "transport.epsilon is -1; expected a number above 0",
        ),
        (
            "grpo.betta=1",
            "recipe nano (built in): unknown key `grpo.betta` for `enigma train`; \
             the nearest is `grpo.beta`",
        ),
        (
            "run.questions_per_step=601",
            "run.questions_per_step is 601; expected at most 600, the rows to train on",
        ),
        (
            "sampling.max_completion_length=256",
            "sampling.max_completion_length is 256; expected less than 256, the model's context, \
             with room for the prompt",
        ),
    ] {
        assert_eq!(refusal(&folder, &["train", "--set", assignment]), expected);
    }
    let found = refusal(&folder, &["train", "--set", "sampling.num_generations=1"]);
    assert!(
        found.starts_with("sampling.num_generations is 1; expected 2 or more"),
        "{found}"
    );
}

#[test]
fn a_missing_file_is_named_with_the_places_it_was_looked_for() {
    let folder = place("missing");
    assert_eq!(
        refusal(&folder, &["train", "--set", "model.path=no-model"]),
        "model.path is `no-model`, which does not exist; looked for no-model"
    );
    assert_eq!(
        refusal(
            &folder,
            &["score", "--model", "no-model", "--input", "no-rows"]
        ),
        "no-rows: No such file or directory (os error 2)"
    );
    let found = refusal(&folder, &["train", "no-recipe.toml"]);
    assert!(
        found.starts_with("recipe no-recipe.toml: cannot be read: "),
        "{found}"
    );
}

#[test]
fn a_broken_row_is_named_by_its_line() {
    let folder = place("rows");
    let good = "{\"question\": \"1 + 1?\", \"answer\": \"2\"}\n";
    let long = format!("{{\"question\": \"{}\"}}", "why ".repeat(300));
    for (rows, expected) in [
        (String::new(), "q.jsonl has no rows; expected one or more"),
        (
            format!("{good}\n{{\"question\": "),
            "q.jsonl, line 3: expected a JSON object, not JSON at column 13",
        ),
        (
            format!("{good}[1]"),
            "q.jsonl, line 2: expected a JSON object, found another value",
        ),
        (
            format!("{good}{{\"query\": \"1\"}}"),
            "q.jsonl, line 2: expected the key `question`, found: query",
        ),
    ] {
        fs::write(folder.join("q.jsonl"), rows).expect("the test's own folder");
        let found = refusal(&folder, &["train", "--set", "data.questions=q.jsonl"]);
        let found = found.rsplit_once("/rows/").expect("an absolute path").1;
        assert_eq!(found, expected);
    }
    fs::write(folder.join("q.jsonl"), format!("{good}{long}")).expect("the test's own folder");
    let found = refusal(&folder, &["train", "--set", "data.questions=q.jsonl"]);
    assert!(found.contains("/q.jsonl, line 2: "), "{found}");
    let advice = " tokens, expected at most 128, for which the model's context has room; set \
                  data.max_prompt_length to leave long prompts out, or a smaller \
                  sampling.max_completion_length";
    assert!(found.ends_with(advice), "{found}");
}

#[test]
fn a_constitution_needs_a_negative() {
    let folder = place("constitution");
    let file = "[[principle]]\nid = \"calm\"\npositive = \"Be calm.\"\n";
    fs::write(folder.join("calm.toml"), file).expect("the test's own folder");
    let found = refusal(
        &folder,
        &["train", "--set", "principles.files=['calm.toml']"],
    );
    assert!(
        found.contains("principle \"calm\" has no negative, expected at least one"),
        "{found}"
    );
}

#[test]
fn a_folder_that_exists_or_cannot_be_made_is_refused() {
    let folder = place("out");
    fs::create_dir(folder.join("old")).expect("the test's own folder");
    assert_eq!(
        refusal(&folder, &["train", "--out", "old"]),
        "the run's folder old exists; expected a new one, choose another with --out"
    );
    fs::write(folder.join("file"), "").expect("the test's own folder");
    let found = refusal(&folder, &["train", "--out", "file/run"]);
    assert!(
        found.starts_with("the run's folder file/run cannot be written: "),
        "{found}"
    );
    assert!(found.ends_with("; choose another with --out"), "{found}");
}

#[test]
fn damaged_weights_are_refused_before_a_folder_is_made() {
    let folder = place("damaged");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/nano/model");
    fs::create_dir(folder.join("model")).expect("the test's own folder");
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(model.join(file), folder.join("model").join(file)).expect("the asset is there");
    }
    let weights = fs::read(model.join("model.safetensors")).expect("the asset is there");
    let damaged = folder.join("model/model.safetensors");
    fs::write(damaged, &weights[..weights.len() / 2]).expect("the test's own folder");
    let found = refusal(&folder, &["train", "--set", "model.path=model"]);
    assert!(found.contains("model.safetensors is damaged"), "{found}");
}

#[test]
fn a_dry_run_writes_nothing_and_prints_a_recipe_that_is_its_own_plan() {
    let folder = place("dry");
    let plan = success(&folder, &["train", "--dry-run", "--set", "grpo.beta=0.25"]);
    assert!(plan.contains("beta = 0.25"), "{plan}");
    assert_eq!(entries(&folder), Vec::<String>::new());
    fs::write(folder.join("plan.toml"), &plan).expect("the test's own folder");
    assert_eq!(success(&folder, &["train", "plan.toml", "--dry-run"]), plan);
    let json = success(&folder, &["train", "--dry-run", "--json"]);
    let object: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(object["plan"]["sampling"]["temperature"], 1.0);
    assert_eq!(object["run"], "runs/nano-1");
}

#[test]
fn a_training_run_ends_with_one_object_and_a_checkpoint_that_opens() {
    let folder = place("train");
    let arguments = [&["train", "--json"][..], &SHORT].concat();
    let stdout = success(&folder, &arguments);
    let summary: Value = serde_json::from_str(&stdout).expect("one JSON object");
    for moment in ["before", "after"] {
        let figures = summary[moment].as_object().expect("an object");
        for key in [
            "format_valid",
            "accuracy",
            "bound_constitutions_nats",
            "bound_completions_nats",
        ] {
            assert!(figures.contains_key(key), "{moment} has no {key}: {stdout}");
        }
    }
    assert!(
        summary["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0),
        "{stdout}"
    );
    for key in ["/after/s_epsilon", "/after/kl_reference", "/peak_mib"] {
        assert!(summary.pointer(key).is_some(), "no {key}: {stdout}");
    }
    assert_eq!(summary["run"], "runs/nano-1");
    let checkpoint = summary["checkpoint"].as_str().expect("a path");
    let run = folder.join("runs/nano-1");
    let expected = [
        ".lock",
        "checkpoint-1",
        "completions",
        "data.json",
        "evaluation-before.json",
        "inputs.json",
        "metrics.jsonl",
        "plan.toml",
        "summary.json",
    ];
    assert_eq!(entries(&run), expected);
    let generate = ["generate", "--model", checkpoint, "--prompt", "a", "--chat"];
    success(
        &folder,
        &[&generate[..], &["--max-completion-length", "2"]].concat(),
    );
    let dry = ["train", "--dry-run", "--json"];
    let next: Value = serde_json::from_str(&success(&folder, &dry)).expect("one JSON object");
    assert_eq!(next["run"], "runs/nano-2");
}

#[test]
fn the_same_recipe_and_seed_give_the_same_metrics_and_weights_to_the_bit() {
    let folder = place("twice");
    let run = |out: &str, seed: &str| -> (Vec<Value>, Vec<u8>) {
        let longer = [
            "--set=run.max_steps=2",
            "--set=optimizer.learning_rate=1e-3",
        ];
        let own = ["--out", out, "--set", seed, "--set=rewards.answer=1"];
        success(&folder, &[&["train"][..], &SHORT, &longer, &own].concat());
        let metrics = fs::read_to_string(folder.join(out).join("metrics.jsonl")).expect("metrics");
        let lines = metrics.lines().map(|line| {
            let mut step: Value = serde_json::from_str(line).expect("a step is JSON");
            let figures = step.as_object_mut().expect("a step is an object");
            figures.retain(|name, _| !name.ends_with("_time") && !name.ends_with("_per_second"));
            step
        });
        let weights = "checkpoint-2/model.safetensors";
        (
            lines.collect(),
            fs::read(folder.join(out).join(weights)).expect("a checkpoint"),
        )
    };
    let first = run("first", "run.seed=1");
    assert!(
        first == run("second", "run.seed=1"),
        "two runs of one seed differ"
    );
    assert_ne!(
        first.0,
        run("third", "run.seed=2").0,
        "the seed changes nothing"
    );
}

#[test]
fn supervised_steps_raise_the_likelihood_that_score_reports() {
    let folder = place("sft");
    let row = r#"{"prompt": "Say it. ", "completion": "Always 12 boxes."}"#;
    fs::write(folder.join("rows.jsonl"), format!("{row}\n{row}\n")).expect("the test's own folder");
    let recipe = "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n[optimizer]\n\
                  learning_rate = 1e-3\n[run]\nmax_steps = 4\nper_device_train_batch_size = 2\n";
    fs::write(folder.join("tiny.toml"), recipe).expect("the test's own folder");
    let stdout = success(&folder, &["sft", "tiny.toml", "--json"]);
    let summary: Value = serde_json::from_str(&stdout).expect("one JSON object");
    let nats = |model: &str| -> f64 {
        let stdout = success(
            &folder,
            &["score", "--model", model, "--input", "rows.jsonl", "--json"],
        );
        let lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2, "{stdout}");
        assert_eq!(lines[0], lines[1], "equal rows have equal scores");
        let logprobs = lines[0]["logprobs"].as_array().expect("a list");
        assert_eq!(
            logprobs.len(),
            lines[0]["completion_ids"].as_array().expect("a list").len()
        );
        logprobs
            .iter()
            .map(|value| value.as_f64().expect("a number"))
            .sum()
    };
    let (before, after) = (
        nats("nano"),
        nats(summary["checkpoint"].as_str().expect("a path")),
    );
    assert!(after > before + 0.5, "{before} to {after} nats");
}

#[test]
fn ids_and_the_text_they_spell_have_the_same_scores() {
    let folder = place("score");
    let score = |rows: &str| -> Vec<Value> {
        fs::write(folder.join("rows.jsonl"), rows).expect("the test's own folder");
        let arguments = [
            "score",
            "--model",
            "nano",
            "--input",
            "rows.jsonl",
            "--json",
        ];
        let stdout = success(&folder, &arguments);
        stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let prompt = &score(r#"{"prompt": "x", "completion": "Ned keeps 9 lamps."}"#)[0];
    let by_text = &score(r#"{"prompt": "Ned keeps 9 lamps.", "completion": " How many?"}"#)[0];
    let row = serde_json::json!({
        "prompt_ids": prompt["completion_ids"],
        "completion_ids": by_text["completion_ids"],
    });
    assert_eq!(&score(&row.to_string())[0], by_text);
    let wrong = r#"{"prompt_ids": [1], "completion_ids": [99999]}"#;
    fs::write(folder.join("rows.jsonl"), wrong).expect("the test's own folder");
    let found = refusal(
        &folder,
        &["score", "--model", "nano", "--input", "rows.jsonl"],
    );
    assert!(
        found.starts_with("rows.jsonl, line 1: token id 99999; expected ids below"),
        "{found}"
    );
}

#[test]
fn the_same_seed_writes_the_same_text_and_another_one_does_not() {
    let folder = place("generate");
    let generate = |seed: &str| {
        let arguments = [
            "--max-completion-length",
            "12",
            "--num",
            "2",
            "--json",
            "--seed",
            seed,
        ];
        let all = [
            &["generate", "--model", "nano", "--prompt", "Ned"][..],
            &arguments,
        ]
        .concat();
        success(&folder, &all)
    };
    let first = generate("1");
    assert_eq!(first.lines().count(), 2, "{first}");
    assert_eq!(first, generate("1"));
    assert_ne!(first, generate("2"));
    let wrong = [
        "generate",
        "--model",
        "nano",
        "--prompt",
        "Ned",
        "--temperature",
        "-1",
    ];
    assert_eq!(
        refusal(&folder, &wrong),
        "--temperature is -1; expected 0 or a number above"
    );
}
