//! A card that is asked for where none can be had.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::faults::assert_whole;
use crate::process::{entries, place, refusal, text};

#[test]
fn a_card_that_is_not_there_is_refused_in_one_line() {
    if Path::new("/dev/nvidiactl").exists() {
        eprintln!("left out: this machine has a card");
        return;
    }
    let folder = place("no-card");
    for arguments in [
        &["generate", "--model=nano", "--prompt=a", "--device=cuda"][..],
        &["verify", "--device=cuda"][..],
        &["train", "--device=cuda", "--out=run"][..],
    ] {
        let found = refusal(&folder, arguments);
        assert!(
            found.contains("--device is cuda, but no NVIDIA driver"),
            "{found}"
        );
        assert!(found.contains("; choose --device cpu"), "{found}");
        assert!(!folder.join("run").exists(), "{arguments:?}");
    }
}

/// The binary with a card that is emulated on the processor; `None` where there is no compiler of
/// C++ for it.
fn on_emulated_card(folder: &Path, variable: (&str, &str), arguments: &[&str]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/gpu/emulate");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated");
    if Command::new("g++").arg("--version").output().is_err() {
        return None;
    }
    let mut command = Command::new(script);
    command.arg(env!("CARGO_BIN_EXE_enigma")).args(arguments);
    command.arg("--device=cuda").current_dir(folder);
    command
        .env("CARGO_TARGET_DIR", target)
        .env(variable.0, variable.1);
    Some(command.output().expect("the script runs"))
}

/// Whatever computes by batches says what it takes before it begins.
#[test]
fn a_card_without_room_for_the_plan_is_refused_in_one_line_before_anything_is_written() {
    let folder = place("small-card");
    let row = r#"{"prompt": "a", "completion": " b"}"#;
    fs::write(folder.join("rows.jsonl"), row).expect("the test's own folder");
    let recipe = "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n[run]\nmax_steps = 1\n\
                  per_device_train_batch_size = 1\n";
    fs::write(folder.join("sft.toml"), recipe).expect("the test's own folder");
    let before = entries(&folder);
    for (arguments, lower) in [
        (&["train", "--out=run"][..], "lower run.micro_batch_tokens"),
        (
            &["sft", "sft.toml", "--out=run"],
            "lower run.micro_batch_tokens",
        ),
        (&["generate", "--model=nano", "--prompt=a"], "lower --num"),
        (
            &["score", "--model=nano", "--input=rows.jsonl"],
            "end what else holds its memory, or choose --device cpu",
        ),
        (&["bench", "decode"], "lower --prompts"),
        (&["bench", "grpo"], "lower --prompts"),
        (&["bench", "update"], "lower --prompts"),
    ] {
        let small = ("EMULATED_MEMORY_MIB", "40");
        let Some(output) = on_emulated_card(&folder, small, arguments) else {
            eprintln!("left out: no g++, which an emulated card takes");
            return;
        };
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
        assert_eq!(words.lines().count(), 1, "{words}");
        let figures = "MiB of the card are planned for; expected at most";
        assert!(words.contains(figures) && words.contains(lower), "{words}");
        assert_eq!(entries(&folder), before, "{arguments:?}");
    }
}

#[test]
fn a_card_that_breaks_during_a_run_ends_it_in_one_line_and_leaves_its_checkpoint() {
    let folder = place("broken-card");
    let short = ["--set=run.max_steps=3", "--set=run.save_steps=1"];
    let arguments = [&["train", "--out=run"][..], &crate::SHORT, &short].concat();
    // In the second step: each step updates the same number of matrices.
    let fault = ("EMULATED_FAULT", "700 adamw_update 60");
    let Some(output) = on_emulated_card(&folder, fault, &arguments) else {
        eprintln!("left out: no g++, which an emulated card takes");
        return;
    };
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    let last = words.lines().next_back().unwrap_or_default();
    for part in [
        "error: the card stopped, which showed at ",
        ": an illegal memory access was encountered: see whether the card is sound by `enigma",
        "; after step 1, last good checkpoint: run/checkpoint-1; go on with --resume run",
    ] {
        assert!(last.contains(part), "{words}");
    }
    assert!(!words.contains("panicked"), "{words}");
    assert_whole(&folder.join("run"));
}
