//! Runs that are broken off and go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{enigma, entries, place, refusal, start, success, text};

/// A run of seconds on the built-in model, which keeps every step.
pub(crate) const TINY: [&str; 9] = [
    "--set=run.questions_per_step=1",
    "--set=sampling.max_completion_length=8",
    "--set=evaluation.questions=1",
    "--set=evaluation.bootstrap_resamples=10",
    "--set=sami.warmup_steps=0",
    "--set=rewards.answer=1",
    "--set=optimizer.learning_rate=1e-3",
    "--set=run.save_steps=1",
    "--set=run.log_completions_steps=3",
];

/// `enigma train` of that run, of so many steps, in the folder `out`.
fn train<'a>(steps: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["--set", steps, "--out", out];
    [&["train"][..], &TINY, &own, more].concat()
}

/// The steps of a run, without what a clock says.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let lines = metrics.lines().map(|line| {
        let mut step: Value = serde_json::from_str(line).expect("a step is JSON");
        let figures = step.as_object_mut().expect("a step is an object");
        figures.retain(|name, _| !name.ends_with("_time") && !name.ends_with("_per_second"));
        step
    });
    lines.collect()
}

/// Weights and moments of a checkpoint, to the bit.
pub(crate) fn tensors(run: &Path, step: usize) -> [Vec<u8>; 2] {
    let checkpoint = run.join(format!("checkpoint-{step}"));
    ["model.safetensors", "optimizer.safetensors"].map(|file| {
        let path = checkpoint.join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}

/// Everything a run left that another of its recipe and seed must leave too.
fn left(run: &Path, step: usize) -> (Vec<Value>, [Vec<u8>; 2], Vec<String>, Value) {
    let summary = fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let figures = serde_json::json!([summary["before"], summary["after"], summary["tokens"]]);
    let completions = entries(&run.join("completions"));
    let texts = completions.iter().map(|name| {
        let path = run.join("completions").join(name);
        name.clone() + &fs::read_to_string(path).expect("completions")
    });
    (metrics(run), tensors(run, step), texts.collect(), figures)
}

/// Waits until a file or folder is there.
pub(crate) fn wait_for(path: &Path, child: &mut Child) {
    let start = Instant::now();
    while !path.exists() {
        let ended = child.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "ended before {} was there", path.display());
        assert!(start.elapsed() < Duration::from_mins(2), "waited too long");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn twenty_steps_are_nine_a_kill_and_eleven_to_the_bit() {
    let folder = place("broken");
    for (name, more) in [
        ("plain", &["--set=run.save_total_limit=0"][..]),
        (
            "reused",
            &[
                "--set=run.save_total_limit=0",
                "--set=grpo.num_iterations=2",
                "--set=run.micro_batch_tokens=200",
                "--set=model.checkpoint_dtype=bfloat16",
            ],
        ),
    ] {
        let (whole, broken) = (format!("{name}-whole"), format!("{name}-broken"));
        let saved_last = [more, &["--set=run.save_steps=0"]].concat();
        success(&folder, &train("run.max_steps=20", &whole, &saved_last));
        let mut child = start(&folder, &train("run.max_steps=20", &broken, more));
        wait_for(&folder.join(&broken).join("checkpoint-10"), &mut child);
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let nine = format!("{broken}/checkpoint-9");
        let output = enigma(&folder, &["train", "--resume", &nine, "--json"]);
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(
            stderr.contains("goes on      after step 9, from "),
            "{stderr}"
        );
        let summary: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
        assert_eq!(summary["resumed_from"], 9);
        let [early, late] = [9, 20].map(|step| tensors(&folder.join(&broken), step));
        assert!(early[0] != late[0], "{name}: nothing was learnt");
        let [whole, broken] = [whole, broken].map(|run| left(&folder.join(run), 20));
        assert_eq!(broken.0, whole.0, "{name}: metrics");
        assert!(broken.1 == whole.1, "{name}: weights or moments");
        assert_eq!(broken.2, whole.2, "{name}: completions");
        assert_eq!(broken.3, whole.3, "{name}: evaluations");
    }
}

#[test]
fn a_signal_lets_the_step_finish_and_the_run_goes_on_later() {
    let folder = place("signals");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = start(&folder, &train("run.max_steps=500", signal, &[]));
        let run = folder.join(signal);
        wait_for(&run.join("checkpoint-2"), &mut child);
        kill(signal, &child);
        let output = child.wait_with_output().expect("it ends");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        let told = format!("SIG{signal}: finishing step ");
        assert!(stderr.contains(&told), "{stderr}");
        let steps = metrics(&run).len();
        let last = stderr.lines().last().expect("a line");
        let expected = format!(
            "stopped by SIG{signal} after step {steps} of 500; go on with --resume {signal}"
        );
        assert_eq!(last, expected);
        tensors(&run, steps);
        let more = format!("run.max_steps={}", steps + 1);
        let dry = ["train", "--resume", signal, "--set", &more, "--dry-run"];
        assert!(success(&folder, &dry).contains(&format!("max_steps = {}", steps + 1)));
        success(&folder, &["train", "--resume", signal, "--set", &more]);
        assert_eq!(metrics(&run).len(), steps + 1);
    }
}

#[test]
fn a_second_signal_ends_the_run_at_once_and_the_last_checkpoint_is_whole() {
    let folder = place("twice-signalled");
    let long = [
        "--set=sampling.max_completion_length=128",
        "--set=run.questions_per_step=12",
    ];
    let mut child = start(&folder, &train("run.max_steps=500", "run", &long));
    let run = folder.join("run");
    wait_for(&run.join("checkpoint-1"), &mut child);
    kill("INT", &child);
    sleep(Duration::from_millis(30));
    kill("INT", &child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(
        !text(&output.stderr).contains("stopped by"),
        "it did not wait"
    );
    let steps = metrics(&run).len();
    success(&folder, &["train", "--resume", "run", "--dry-run"]);
    tensors(&run, steps.min(newest(&run)));
}

/// The newest checkpoint's step.
pub(crate) fn newest(run: &Path) -> usize {
    let names = entries(run).into_iter();
    let steps = names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok());
    steps.max().unwrap_or(0)
}

pub(crate) fn kill(signal: &str, child: &Child) {
    let id = child.id().to_string();
    let status = std::process::Command::new("kill")
        .args(["-s", signal, &id])
        .status();
    assert!(status.expect("kill is there").success());
}

/// A finished run of two steps, and rows of its own to train on.
fn finished(folder: &Path, course: &str) -> PathBuf {
    let row = |n| format!("{{\"question\": \"{n} + 1?\", \"answer\": \"2\"}}\n");
    let rows: String = (1..5).map(row).collect();
    fs::write(folder.join("rows.jsonl"), rows).expect("the test's own folder");
    let more = [
        "--set=data.questions=rows.jsonl",
        "--set=run.save_total_limit=0",
        "--set",
        course,
    ];
    success(folder, &train("run.max_steps=2", "run", &more));
    folder.join("run")
}

#[test]
fn a_run_goes_on_only_as_it_began() {
    let folder = place("as-it-began");
    let run = finished(&folder, "optimizer.lr_scheduler_type=constant");
    let resume = |more: &[&str]| refusal(&folder, &[&["train", "--resume", "run"], more].concat());
    let mut refused = vec![
        resume(&["--set=grpo.beta=0.5"]),
        resume(&["--set=run.seed=7"]),
        resume(&["--set=run.max_steps=1"]),
    ];
    fs::rename(folder.join("rows.jsonl"), folder.join("moved.jsonl")).expect("there");
    refused.push(resume(&[
        "--set=data.questions=moved.jsonl",
        "--set=model.random_weights=true",
    ]));
    let moved = [
        "train",
        "--resume",
        "run",
        "--set=data.questions=moved.jsonl",
        "--dry-run",
    ];
    success(&folder, &moved);
    let row = "{\"question\": \"1 + 2?\", \"answer\": \"3\"}\n";
    fs::write(folder.join("rows.jsonl"), row.repeat(4)).expect("the test's own folder");
    refused.push(resume(&[]));
    let expected = [
        "grpo.beta is 0.5; expected 0.02, with which the run run began",
        "run.seed is 7; expected 42, with which the run run began",
        "run.max_steps is 1; expected 2 or more, the step of run/checkpoint-2",
        "model.random_weights is true; expected false, with which the run run began",
        "data.questions has changed since the run run began (by SHA-256); put it back, or \
         start anew",
    ];
    assert_eq!(refused, expected);
    assert_eq!(newest(&run), 2);
}

#[test]
fn a_finished_run_says_so_and_can_be_made_longer() {
    let folder = place("finished");
    let run = finished(&folder, "optimizer.lr_scheduler_type=linear");
    let output = enigma(&folder, &["train", "--resume", "run", "--json"]);
    assert!(output.status.success());
    let expected = "run is finished, after 2 steps; --set run.max_steps=N makes it longer\n";
    assert_eq!(text(&output.stderr), expected);
    let summary: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    assert_eq!(summary["checkpoint"], "run/checkpoint-2");
    let output = enigma(
        &folder,
        &["train", "--resume", "run", "--set=run.max_steps=3"],
    );
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let note = "note: the learning rate falls to 0 at run.max_steps (linear): from step 3 on it \
                follows the new course";
    assert!(stderr.contains(note), "{stderr}");
    assert_eq!(metrics(&run).len(), 3);
    let plan = fs::read_to_string(run.join("plan.toml")).expect("a plan");
    assert!(plan.contains("max_steps = 3"), "{plan}");
}

#[test]
fn what_cannot_be_gone_on_with_is_named_and_left_as_it_is() {
    let folder = place("damaged-run");
    let run = finished(&folder, "optimizer.lr_scheduler_type=constant");
    let resume = |path: &str| refusal(&folder, &["train", "--resume", path]);
    assert_eq!(
        resume("none"),
        "--resume is `none`, which does not exist; looked for none"
    );
    let found = resume(".");
    assert!(
        found.ends_with("is not a run folder: it has no plan.toml"),
        "{found}"
    );
    let file = run.join("checkpoint-2/optimizer.safetensors");
    let whole = fs::read(&file).expect("moments");
    fs::write(&file, &whole[..whole.len() / 2]).expect("the test's own folder");
    let found = refusal(
        &folder,
        &["train", "--resume", "run", "--set=run.max_steps=3"],
    );
    assert!(
        found.starts_with("run/checkpoint-2 is damaged: optimizer.safetensors is damaged: "),
        "{found}"
    );
    let hint = "; an earlier checkpoint can be named instead, as in --resume run/checkpoint-N";
    assert!(found.ends_with(hint), "{found}");
    fs::write(run.join("checkpoint-2/trainer_state.json"), "{").expect("the test's own folder");
    let found = resume("run");
    assert!(found.contains("trainer_state.json"), "{found}");
    success(&folder, &["train", "--resume", "run/checkpoint-1"]);
    assert_eq!(
        fs::read(&file).expect("moments"),
        whole,
        "made again, to the bit"
    );
    assert!(run.join("checkpoint-2.old").is_dir());
    for step in 1..3 {
        fs::remove_dir_all(run.join(format!("checkpoint-{step}"))).expect("there");
    }
    assert_eq!(
        resume("run"),
        "the run run has no checkpoint, expected one to go on from; start anew with run/plan.toml \
         as the recipe"
    );
}

#[test]
fn a_run_that_still_goes_on_is_not_taken_up() {
    let folder = place("busy");
    let mut child = start(&folder, &train("run.max_steps=500", "run", &[]));
    wait_for(&folder.join("run/checkpoint-1"), &mut child);
    let output = enigma(&folder, &["train", "--resume", "run"]);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(
        stderr,
        "error: --resume: \"run\" is a run that is still going on; stop it first\n"
    );
}

#[test]
fn supervised_steps_go_on_too_and_the_best_checkpoint_stays() {
    let folder = place("sft-resume");
    let rows = ["a b", "c d", "e f"]
        .map(|words| format!("{{\"prompt\": \"{words}\", \"completion\": \"{words} again.\"}}\n"));
    fs::write(folder.join("rows.jsonl"), rows.concat()).expect("the test's own folder");
    let recipe = "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n[optimizer]\n\
                  learning_rate = 1e-3\n[run]\nmax_steps = 12\nper_device_train_batch_size = 1\n\
                  save_steps = 4\nsave_total_limit = 1\nmetric_for_best_model = 'loss'\n";
    fs::write(folder.join("tiny.toml"), recipe).expect("the test's own folder");
    success(&folder, &["sft", "tiny.toml", "--out", "whole"]);
    let whole = folder.join("whole");
    let losses: Vec<f64> = metrics(&whole)
        .iter()
        .filter_map(|step| step["loss"].as_f64())
        .collect();
    let best = [4, 8, 12]
        .into_iter()
        .min_by(|a, b| losses[a - 1].total_cmp(&losses[b - 1]));
    let mut kept = vec![best.expect("three"), 12];
    kept.dedup();
    let checkpoints = entries(&whole)
        .into_iter()
        .filter(|name| name.starts_with("checkpoint-"));
    let mut expected: Vec<String> = kept
        .iter()
        .map(|step| format!("checkpoint-{step}"))
        .collect();
    expected.sort();
    assert_eq!(checkpoints.collect::<Vec<_>>(), expected, "{losses:?}");
    success(
        &folder,
        &[
            "sft",
            "tiny.toml",
            "--out",
            "broken",
            "--set=run.max_steps=5",
        ],
    );
    let more = [
        "sft",
        "--resume",
        "broken",
        "--set=run.max_steps=12",
        "--json",
    ];
    let summary: Value = serde_json::from_str(&success(&folder, &more)).expect("JSON");
    assert_eq!(
        (&summary["steps"], &summary["resumed_from"]),
        (&12.into(), &5.into())
    );
    // The schedule of the first five steps had another end.
    assert_eq!(metrics(&folder.join("broken")).len(), 12);
    let constant = "--set=optimizer.lr_scheduler_type=constant";
    for (out, steps) in [
        ("constant", "run.max_steps=12"),
        ("extended", "run.max_steps=5"),
    ] {
        success(
            &folder,
            &["sft", "tiny.toml", constant, "--out", out, "--set", steps],
        );
    }
    success(
        &folder,
        &["sft", "--resume", "extended", "--set=run.max_steps=12"],
    );
    let [constant, extended] = ["constant", "extended"].map(|run| folder.join(run));
    assert_eq!(metrics(&extended), metrics(&constant));
    assert!(tensors(&extended, 12) == tensors(&constant, 12));
}
