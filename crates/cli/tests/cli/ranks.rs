//! Several processes that make one run, met over the loopback interface.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::process::{entries, place, success, text};
use crate::resume::{TINY, kill, metrics, newest, tensors, wait_for};

/// A port of this machine that nobody listens at.
pub(crate) fn port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    address.port().to_string()
}

/// The arguments of a run on one thread a process, which keeps every step.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let own = ["--threads=1", "--set=run.questions_per_step=4"];
    [&["train"][..], &TINY, &own, more].concat()
}

/// The binary with these variables; all it says is kept.
fn with(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enigma"));
    command.current_dir(folder).args(arguments);
    command.envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

/// Each of two ranks with arguments of its own, as they run.
fn two(folder: &Path, arguments: [&[&str]; 2]) -> [Child; 2] {
    let port = port();
    ["0", "1"].map(|rank| {
        let variables = [
            ("RANK", rank),
            ("WORLD_SIZE", "2"),
            ("MASTER_ADDR", "127.0.0.1"),
            ("MASTER_PORT", &port),
        ];
        with(folder, &variables, arguments[usize::from(rank == "1")])
    })
}

fn ends(children: [Child; 2]) -> [Output; 2] {
    children.map(|child| child.wait_with_output().expect("it ends"))
}

/// The largest difference of two figures below the same keys, against the larger.
fn apart(a: &Value, b: &Value) -> f64 {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().expect("a number"));
            (a - b).abs() / a.abs().max(b.abs()).max(1.0)
        }
        (Value::Object(a), Value::Object(b)) => {
            let keys = |object: &serde_json::Map<String, Value>| -> Vec<String> {
                object.keys().cloned().collect()
            };
            assert_eq!(keys(a), keys(b));
            let pairs = a.iter().map(|(key, value)| apart(value, &b[key]));
            pairs.fold(0.0, f64::max)
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            let pairs = a.iter().zip(b).map(|(a, b)| apart(a, b));
            pairs.fold(0.0, f64::max)
        }
        _ => {
            assert_eq!(a, b);
            0.0
        }
    }
}

/// The weights of a checkpoint.
pub(crate) fn weights(run: &Path, step: usize) -> Vec<f32> {
    let [bytes, _] = tensors(run, step);
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let values = bytes[8 + header..].chunks_exact(4);
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    values.map(value).collect()
}

/// In float32 another number of ranks is another order of the rows in a product and of the parts
/// in a sum: 2e-6 of a figure were found, and in the norm 3e-5 of what the weights learnt.
#[test]
fn two_ranks_make_the_run_of_one_within_rounding_and_only_the_first_writes_it() {
    let folder = place("ranks");
    let own = [
        "--set=run.max_steps=3",
        "--set=evaluation.questions=3",
        "--set=run.micro_batch_tokens=1500",
        "--set=sampling.max_completion_length=60",
        "--set=run.save_total_limit=0",
        "--json",
    ];
    success(&folder, &[&train(&own)[..], &["--out=one"]].concat());
    let arguments = [&train(&own)[..], &["--out=two"]].concat();
    let [first, second] = ends(two(&folder, [&arguments, &arguments]));
    let stderr = text(&first.stderr);
    assert!(
        first.status.success() && second.status.success(),
        "{stderr}"
    );
    assert!(stderr.contains("ranks        2"), "{stderr}");
    assert_eq!(text(&second.stdout) + &text(&second.stderr), "");
    let summary: Value = serde_json::from_str(&text(&first.stdout)).expect("one JSON object");
    assert_eq!(summary["checkpoint"], "two/checkpoint-3");
    let [one, two] = ["one", "two"].map(|run| folder.join(run));
    assert_eq!(entries(&one), entries(&two));
    let [a, b] = [metrics(&one), metrics(&two)];
    assert_eq!(a.len(), 3);
    for (step, (a, b)) in a.iter().zip(&b).enumerate() {
        let found = apart(a, b);
        assert!(found < 1e-4, "step {}: figures are {found} apart", step + 1);
    }
    let read = |run: &Path| -> Value {
        let summary = fs::read_to_string(run.join("summary.json")).expect("a summary");
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        serde_json::json!([summary["before"], summary["after"], summary["tokens"]])
    };
    let found = apart(&read(&one), &read(&two));
    assert!(found < 1e-4, "evaluations are {found} apart");
    let moved = |a: &[f32], b: &[f32]| -> f32 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    let [a, b] = [weights(&one, 3), weights(&two, 3)];
    let (learnt, found) = (moved(&weights(&one, 1), &a), moved(&a, &b));
    assert!(
        found < 1e-3 * learnt,
        "weights are {found} apart, of {learnt} learnt"
    );
}

#[test]
fn a_rank_that_is_killed_ends_the_other_and_the_run_goes_on_with_any_number() {
    let folder = place("ranks-killed");
    for victim in [1, 0] {
        let name = format!("run-{victim}");
        let out = ["--set=run.max_steps=500", "--out", &name];
        let arguments = train(&out);
        let mut children = two(&folder, [&arguments, &arguments]);
        let run = folder.join(&name);
        wait_for(&run.join("checkpoint-2"), &mut children[0]);
        children[victim].kill().expect("it runs");
        let outputs = ends(children);
        let left = &outputs[1 - victim];
        let stderr = text(&left.stderr);
        assert_eq!(left.status.code(), Some(1), "{stderr}");
        let last = stderr.lines().last().expect("a line");
        let word = format!(": rank {victim} ended without a word: killed, or its machine or ");
        assert!(last.contains(&word), "{last}");
        let hint = format!("; go on from the last checkpoint with --resume {name}");
        assert!(last.ends_with(&hint), "{last}");
        assert_eq!(
            last.starts_with("error: rank 1: step "),
            victim == 0,
            "{last}"
        );
        let kept = newest(&run);
        tensors(&run, kept);
        let more = format!("run.max_steps={}", kept + 1);
        let resume = ["train", "--threads=1", "--resume", &name, "--set", &more];
        success(&folder, &resume);
        let more = format!("run.max_steps={}", kept + 2);
        let resume = ["train", "--threads=1", "--resume", &name, "--set", &more];
        let [first, second] = ends(two(&folder, [&resume, &resume]));
        assert!(second.status.success(), "{}", text(&second.stderr));
        assert!(first.status.success(), "{}", text(&first.stderr));
        assert_eq!(metrics(&run).len(), kept + 2);
    }
}

#[test]
fn a_signal_at_any_rank_ends_all_after_the_same_step() {
    let folder = place("ranks-signalled");
    for (rank, signal, code) in [(1, "INT", 130), (0, "TERM", 143)] {
        let arguments = train(&["--set=run.max_steps=500", "--out", signal]);
        let mut children = two(&folder, [&arguments, &arguments]);
        let run = folder.join(signal);
        wait_for(&run.join("checkpoint-1"), &mut children[0]);
        kill(signal, &children[rank]);
        let [first, second] = ends(children);
        let steps = metrics(&run).len();
        let told = format!("stopped by SIG{signal} after step {steps} of 500; go on with --resume");
        for (output, name) in [(first, ""), (second, "rank 1: ")] {
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{stderr}");
            let last = stderr.lines().last().expect("a line");
            assert_eq!(last, format!("{name}{told} {signal}"));
        }
        tensors(&run, steps);
    }
}

#[test]
fn ranks_with_different_recipes_are_refused_before_anything_is_written() {
    let folder = place("ranks-differ");
    let common = train(&["--set=run.max_steps=2"]);
    let other = [&common[..], &["--set=run.seed=7"]].concat();
    let outputs = ends(two(&folder, [&common, &other]));
    let expected = "run.seed is 7 on rank 1; expected 42, as on rank 0: all ranks are given the \
                    same recipe and inputs";
    for output in outputs {
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert_eq!(stderr, format!("error: {expected}\n"));
    }
    assert_eq!(entries(&folder), Vec::<String>::new());
}

#[test]
fn a_place_that_is_half_said_is_refused_by_name() {
    let folder = place("ranks-half");
    let whole = [("RANK", "1"), ("WORLD_SIZE", "2")];
    for (variables, arguments, expected) in [
        (
            &whole[..1],
            &["train"][..],
            "RANK is set but WORLD_SIZE is not; expected both, as a launcher sets them, or neither \
             for one process",
        ),
        (
            &whole,
            &["train", "--dry-run"],
            "MASTER_ADDR is not set; expected it with WORLD_SIZE = 2: MASTER_ADDR and MASTER_PORT \
             say where rank 0 listens",
        ),
        (
            &[("OMPI_COMM_WORLD_RANK", "x"), ("OMPI_COMM_WORLD_SIZE", "2")],
            &["sft", "none.toml"],
            "OMPI_COMM_WORLD_RANK is `x`; expected a whole number from 0 to 1",
        ),
        (
            &[
                whole[0],
                whole[1],
                ("MASTER_ADDR", "::1"),
                ("MASTER_PORT", "1"),
            ],
            &["train", "--study", "none.toml"],
            "--study is made by one process; expected no launcher, found 2 ranks",
        ),
    ] {
        let output = with(&folder, variables, arguments).wait_with_output();
        let output = output.expect("it ends");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert_eq!(stderr, format!("error: {expected}\n"));
        assert_eq!(text(&output.stdout), "");
    }
    assert_eq!(entries(&folder), Vec::<String>::new());
}
