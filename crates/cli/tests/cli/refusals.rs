//! Bad input, case by case: one line that says what was expected and found, exit code 2, nothing
//! on standard output, and nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::process::{enigma, place, refusal, text};

/// A run so short that one which is not refused is soon over.
const SHORT: [&str; 5] = [
    "--set=run.max_steps=1",
    "--set=run.questions_per_step=1",
    "--set=sampling.max_completion_length=4",
    "--set=evaluation.questions=1",
    "--set=evaluation.bootstrap_resamples=10",
];

/// Refused both by the run and by the dry run.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let arguments = [&["train"][..], arguments, &SHORT].concat();
    let found = refusal(folder, &arguments);
    assert_eq!(
        refusal(folder, &[&arguments[..], &["--dry-run"]].concat()),
        found
    );
    found
}

pub(crate) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("the test's own folder");
}

/// An assignment, and what its refusal says.
const VALUES: &[(&str, &str)] = &[
    ("beta=1", "expected SECTION.KEY=VALUE"),
    ("grpo.beta", "expected SECTION.KEY=VALUE"),
    ("samplin.top_p=1", "unknown section [samplin]"),
    ("samplin.top_p=1", "the nearest is [sampling]"),
    ("grpo.beta.x=1", "the nearest is `grpo.beta`"),
    ("grpo.beta=abc", "expected a number in `grpo.beta`"),
    (
        "grpo.beta=nan",
        "grpo.beta is NaN; expected 0 or a number above",
    ),
    (
        "grpo.epsilon=0",
        "grpo.epsilon is 0; expected a number above 0",
    ),
    ("grpo.epsilon=1.5", "grpo.epsilon is 1.5; expected below 1"),
    (
        "grpo.loss_type=x",
        "expected one of `grpo`, `bnpo`, `dr_grpo`, `dapo`",
    ),
    (
        "transport.epsilon=0",
        "transport.epsilon is 0; expected a number above 0",
    ),
    (
        "transport.epsilon=nan",
        "transport.epsilon is NaN; expected a number above 0",
    ),
    (
        "sampling.temperature=-1",
        "sampling.temperature is -1; expected a number above 0",
    ),
    ("sampling.temperature=1e-40", "; expected 1e-6 or more"),
    (
        "sampling.temperature=inf",
        "sampling.temperature is inf; expected a number above 0",
    ),
    ("sampling.num_generations=0", "is 0; expected 2 or more"),
    (
        "sampling.num_generations=-1",
        "expected a whole number from 0",
    ),
    (
        "sampling.top_p=0",
        "sampling.top_p is 0; expected above 0, at most 1",
    ),
    (
        "sampling.importance_sampling_clip_max=0.5",
        "sampling.importance_sampling_clip_max is 0.5; expected 1 or more",
    ),
    ("sampling.dtype=float16", "expected `float32` or `bfloat16`"),
    (
        "optimizer.learning_rate=0",
        "optimizer.learning_rate is 0; expected a number above 0",
    ),
    ("optimizer.learning_rate=1e39", "; expected at most 1e30"),
    ("run.max_steps=0", "run.max_steps is 0; expected 1 or more"),
    (
        "run.max_steps=9223372036854775807",
        "expected below 4294967296",
    ),
    (
        "principles.files=[]",
        "principles.files is empty; expected one constitution file",
    ),
    (
        "data.questions=",
        "data.questions is empty; expected a path",
    ),
    (
        "data.max_prompt_length=1",
        "data.max_prompt_length is 1; expected at least ",
    ),
];

#[test]
fn every_key_and_value_of_a_recipe_is_checked() {
    let folder = place("recipe-values");
    for (assignment, expected) in VALUES {
        // The last assignment wins.
        let arguments = [&["train"][..], &SHORT, &["--set", assignment]].concat();
        let found = refusal(&folder, &arguments);
        assert!(found.contains(expected), "{assignment}: {found}");
    }
}

#[test]
fn every_file_of_a_constitution_is_checked() {
    let folder = place("constitutions");
    let toml = |rest: &str| format!("[[principle]]\nid = \"calm\"\n{rest}");
    for (name, content, expected) in [
        (
            "c.toml",
            String::new(),
            "has no principle, expected at least one [[principle]]",
        ),
        (
            "c.toml",
            toml("positive = \"a\"\nnegatives = []"),
            "has no negative, expected at least one text in `negatives`",
        ),
        (
            "c.toml",
            toml("positive = \"a\"\nnegatives = [\" \"]"),
            "has an empty negative, expected text",
        ),
        (
            "c.toml",
            toml("positive = \"a\"\nnegatives = [\"a\"]"),
            "negative 1 of principle \"calm\" repeats its positive or another negative",
        ),
        (
            "c.toml",
            toml("positiv = \"a\""),
            "c.toml: line 3: unknown field `positiv`, expected one of `id`",
        ),
        (
            "c.toml",
            "[[principle".to_owned(),
            "c.toml: line 1: unclosed array table, expected `]]`",
        ),
        (
            "c.json",
            "{\"positive\": \"a\"}".to_owned(),
            "c.json: missing field `negative`",
        ),
        (
            "c.json",
            "{".to_owned(),
            "c.json: EOF while parsing an object at line 1 column 1",
        ),
    ] {
        write(&folder, name, &content);
        let files = format!("--set=principles.files=['{name}']");
        let found = refused(&folder, &[&files]);
        assert!(found.contains(expected), "{content:?}: {found}");
    }
}

#[test]
fn every_row_is_checked() {
    let folder = place("all-rows");
    write(
        &folder,
        "sft.toml",
        "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n",
    );
    let train = &["train", "--set=data.held_out=rows.jsonl"][..];
    let sft = &["sft", "sft.toml"][..];
    let generate = &["generate", "--model=nano", "--input=rows.jsonl", "--json"][..];
    let score = &["score", "--model=nano", "--input=rows.jsonl", "--json"][..];
    for arguments in [train, sft, generate, score] {
        for (rows, expected) in [
            ("", "rows.jsonl has no rows; expected one or more"),
            (
                "\n{\"prompt\": ",
                "rows.jsonl, line 2: expected a JSON object, not JSON at column",
            ),
            (
                "[]",
                "rows.jsonl, line 1: expected a JSON object, found another value",
            ),
            ("{}", "rows.jsonl, line 1: "),
            (
                "{\"prompt\": \"\", \"completion\": \"a\"}",
                "rows.jsonl, line 1: expected ",
            ),
        ] {
            write(&folder, "rows.jsonl", rows);
            let found = refusal(&folder, arguments);
            assert!(found.contains(expected), "{arguments:?}, {rows:?}: {found}");
        }
        let long = json!({"prompt": "why ".repeat(300), "completion": "a"});
        write(&folder, "rows.jsonl", long.to_string());
        let found = refusal(&folder, arguments);
        assert!(found.contains("rows.jsonl, line 1: "), "{found}");
        assert!(found.contains("expected at most "), "{found}");
    }
    for (row, expected) in [
        ("{\"prompt\": \"a\"}", "no `completion` beside `prompt`"),
        (
            "{\"prompt_ids\": [-1], \"completion_ids\": [1]}",
            "`prompt_ids`: expected a list of ids",
        ),
        (
            "{\"prompt_ids\": [1], \"completion_ids\": []}",
            "expected one token or more",
        ),
    ] {
        write(&folder, "rows.jsonl", row);
        let found = refusal(&folder, score);
        assert!(
            found.ends_with(expected) || found.contains(expected),
            "{row}: {found}"
        );
    }
}

#[test]
fn a_folder_below_what_is_no_folder_is_refused_before_the_run() {
    let folder = place("below");
    write(&folder, "file", "");
    fs::create_dir(folder.join("old")).expect("the test's own folder");
    for (out, expected) in [
        ("old", "the run's folder old exists; expected a new one"),
        ("file", "the run's folder file exists; expected a new one"),
        (
            "file/run",
            "the run's folder file/run cannot be written: file is no folder; choose",
        ),
        (
            "file/a/b",
            "the run's folder file/a/b cannot be written: file is no folder; choose",
        ),
    ] {
        let found = refused(&folder, &["--out", out]);
        assert!(found.starts_with(expected), "{out}: {found}");
    }
    let deep = format!("new/{}", "n".repeat(300));
    let found = refusal(&folder, &[&["train", "--out", &deep][..], &SHORT].concat());
    assert!(found.contains(" cannot be written: "), "{found}");
    write(&folder, "runs", "");
    let found = refused(&folder, &[]);
    assert!(
        found.starts_with("the run's folder runs/nano-1 cannot be written: runs is"),
        "{found}"
    );
}

/// The built-in model as a folder.
pub(crate) fn model(folder: &Path) -> PathBuf {
    let asset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/nano/model");
    let copy = folder.join("model");
    fs::create_dir(&copy).expect("the test's own folder");
    for entry in fs::read_dir(asset).expect("the asset is there") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), copy.join(entry.file_name())).expect("the test's own folder");
    }
    copy
}

fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}

const QUERY: &str = "model.layers.0.self_attn.q_proj.weight";

/// The header of a model's weights, and where the numbers start.
fn header(weights: &[u8]) -> (Value, usize) {
    let length = u64::from_le_bytes(weights[..8].try_into().expect("eight bytes"));
    let start = 8 + usize::try_from(length).expect("a short header");
    let header = serde_json::from_slice(&weights[8..start]).expect("JSON");
    (header, start)
}

/// Refused while one file of the model in the folder `model` holds something else.
fn refused_with(folder: &Path, file: &str, content: &[u8], expected: &str) {
    let path = folder.join("model").join(file);
    let whole = fs::read(&path).expect("the copy is there");
    fs::write(&path, content).expect("the test's own folder");
    let found = refused(folder, &["--set=model.path=model"]);
    assert!(found.contains(expected), "{file}: {found}");
    fs::write(path, whole).expect("the test's own folder");
}

#[test]
fn every_tensor_of_a_model_is_checked() {
    let folder = place("tensors");
    let weights = fs::read(model(&folder).join("model.safetensors")).expect("the copy is there");
    let (header, start) = header(&weights);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        safetensors(&header, &weights[start..])
    };
    let misshaped = changed(&|header| header[QUERY]["shape"] = json!([1, 1]));
    let renamed = changed(&|header| {
        let tensors = header.as_object_mut().expect("an object");
        let tensor = tensors.remove(QUERY).expect("the tensor is there");
        tensors.insert("other".to_owned(), tensor);
    });
    for (content, expected) in [
        (
            &weights[..0],
            "is damaged: it has 0 bytes, expected at least 8",
        ),
        (
            &weights[..weights.len() / 2],
            " bytes of numbers, expected ",
        ),
        (&misshaped, "q_proj.weight has shape [1, 1], expected ["),
        (
            &renamed,
            "the weights have no model.layers.0.self_attn.q_proj.weight, expected of",
        ),
    ] {
        refused_with(&folder, "model.safetensors", content, expected);
    }
}

#[test]
fn every_file_of_a_model_is_checked() {
    let folder = place("models");
    let model = model(&folder);
    let json = |name: &str| -> Value {
        let content = fs::read(model.join(name)).expect("the copy is there");
        serde_json::from_slice(&content).expect("JSON")
    };
    let rows = json("config.json")["vocab_size"]
        .as_u64()
        .expect("a number");
    let config = |key: &str, value: u64| {
        let mut config = json("config.json");
        config[key] = json!(value);
        config.to_string()
    };
    let tokenizer = |id: u64| {
        let mut tokenizer = json("tokenizer.json");
        tokenizer["model"]["vocab"]["zzzz"] = json!(id);
        tokenizer.to_string()
    };
    for (file, content, expected) in [
        (
            "config.json",
            config("vocab_size", rows - 1),
            " ids, the embedding ",
        ),
        (
            "config.json",
            config("vocab_size", rows + 1),
            " has shape [",
        ),
        (
            "config.json",
            config("hidden_size", 0),
            "hidden_size is 0, expected an integer from 1",
        ),
        ("config.json", "{".to_owned(), "config.json is not valid: "),
        ("tokenizer.json", tokenizer(rows), " ids, the embedding "),
        (
            "tokenizer.json",
            tokenizer(rows + 7),
            " ids, the embedding ",
        ),
        ("tokenizer.json", "{}".to_owned(), "tokenizer.json: "),
    ] {
        refused_with(&folder, file, content.as_bytes(), expected);
    }
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::rename(model.join(file), folder.join("away")).expect("the test's own folder");
        let found = refused(&folder, &["--set=model.path=model"]);
        assert!(found.ends_with(&format!("/model has no {file}")), "{found}");
        fs::rename(folder.join("away"), model.join(file)).expect("the test's own folder");
    }
}

/// The weights with one tensor all of one number, by its bits in bfloat16.
pub(crate) fn filled(weights: &[u8], name: &str, number: u16) -> Vec<u8> {
    let (header, start) = header(weights);
    let offset = |end: usize| {
        let offset = header[name]["data_offsets"][end].as_u64();
        usize::try_from(offset.expect("an offset")).expect("a short file")
    };
    let mut weights = weights.to_vec();
    for bytes in weights[start + offset(0)..start + offset(1)].chunks_exact_mut(2) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    weights
}

#[test]
fn weights_that_are_not_finite_or_overflow_are_refused_and_leave_no_run() {
    let folder = place("not-finite");
    let path = model(&folder).join("model.safetensors");
    let weights = fs::read(&path).expect("the copy is there");
    let write_all = |name: &str, number: u16| {
        fs::write(&path, filled(&weights, name, number)).expect("the test's own folder");
    };
    let set = "--set=model.path=model";
    // bfloat16: NaN, and the largest number.
    write_all(QUERY, 0x7fc0);
    let found = refusal(&folder, &[&["train", set][..], &SHORT].concat());
    assert!(
        found.contains("q_proj.weight holds NaN at position 0, expected finite"),
        "{found}"
    );
    write_all("model.norm.weight", 0x7f7f);
    write(
        &folder,
        "rows.jsonl",
        "{\"prompt\": \"a\", \"completion\": \"b\"}",
    );
    for arguments in [
        &["generate", "--model=model", "--prompt=a"][..],
        &["score", "--model=model", "--input=rows.jsonl"][..],
    ] {
        let found = refusal(&folder, arguments);
        assert!(
            found.contains("the model gives non-finite numbers in "),
            "{found}"
        );
    }
    let arguments = [&["train", set, "--out=run"][..], &SHORT].concat();
    let output = enigma(&folder, &arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("evaluation: the model gives non-finite numbers in "),
        "{stderr}"
    );
    assert!(
        !folder.join("run").exists(),
        "a run that never started left its folder"
    );
}

#[test]
fn a_loss_that_stops_being_finite_names_step_term_and_checkpoint() {
    let folder = place("diverged");
    let row = "{\"prompt\": \"a b\", \"completion\": \"c d\"}\n";
    write(&folder, "rows.jsonl", row);
    let recipe = "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n[optimizer]\n\
                  learning_rate = 1e30\n[run]\nmax_steps = 9\nper_device_train_batch_size = 1\n";
    write(&folder, "wild.toml", recipe);
    let output = enigma(&folder, &["sft", "wild.toml", "--out", "run", "--json"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    let last = stderr.lines().last().expect("an error");
    assert!(last.starts_with("error: step 2: the "), "{last}");
    let checkpoint = last
        .rsplit_once("last good checkpoint: ")
        .expect("a path")
        .1;
    assert_eq!(checkpoint, "run/checkpoint-1");
    assert!(folder.join(checkpoint).join("model.safetensors").is_file());
}

#[test]
fn a_constitution_on_the_command_line_needs_a_template() {
    let folder = place("template");
    let model = model(&folder);
    fs::remove_file(model.join("tokenizer_config.json")).expect("the copy is there");
    let arguments = [
        "generate",
        "--model=model",
        "--prompt=a",
        "--constitution=b",
    ];
    let found = refusal(&folder, &arguments);
    assert!(
        found.contains("model has no chat template; choose one by name"),
        "{found}"
    );
}
