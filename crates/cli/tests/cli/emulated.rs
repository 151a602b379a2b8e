//! Ranks on cards that are emulated on the processor, with an emulated NCCL between them
//! (`scripts/gpu/emulate`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{entries, place, text};
use crate::ranks::{port, weights};
use crate::resume::tensors;

const ROWS: usize = 6;
const RECIPE: &str = "[model]\npath = 'nano'\n[data]\nexamples = 'rows.jsonl'\n[optimizer]\n\
                      learning_rate = 1e-3\n[run]\nmax_steps = 2\nsave_steps = 1\n\
                      save_total_limit = 0\nper_device_train_batch_size = 6\n";

/// A folder with a recipe of two supervised steps; none where there is no compiler of C++.
fn recipe(name: &str) -> Option<PathBuf> {
    Command::new("g++").arg("--version").output().ok()?;
    let folder = place(name);
    let row = |i| format!("{{\"prompt\": \"Say {i}. \", \"completion\": \"Always {i} boxes.\"}}\n");
    let rows: String = (0..ROWS).map(row).collect();
    fs::write(folder.join("rows.jsonl"), rows).expect("the test's own folder");
    fs::write(folder.join("tiny.toml"), RECIPE).expect("the test's own folder");
    Some(folder)
}

/// So many ranks that learn on emulated cards; `variables` gives each its own.
fn ranks<'a>(
    folder: &Path,
    size: usize,
    variables: impl Fn(usize) -> Vec<(&'a str, &'a str)>,
    more: &[&str],
) -> Vec<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/gpu/emulate");
    let port = port();
    let start = |rank: usize| {
        let mut command = Command::new(&script);
        command.arg(env!("CARGO_BIN_EXE_enigma")).args(more);
        command.args(["--device=cuda", "--threads=1"]);
        command.current_dir(folder);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated");
        command.env("CARGO_TARGET_DIR", target);
        command.env("RANK", rank.to_string());
        command.env("WORLD_SIZE", size.to_string());
        command.envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port)]);
        command.envs(variables(rank));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the script runs")
    };
    let children: Vec<Child> = (0..size).map(start).collect();
    children.into_iter().map(end).collect()
}

/// What a process said, which has to end within minutes.
fn end(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        if start.elapsed() > Duration::from_mins(5) {
            child.kill().expect("it runs");
            let output = child.wait_with_output().expect("it ends");
            panic!("a rank hangs: {}", text(&output.stderr));
        }
        sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("it ended")
}

/// Standard error of rank 0, where all ranks succeeded.
fn said(outputs: &[Output]) -> String {
    for output in outputs {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    text(&outputs[0].stderr)
}

/// Whether the same is also tried with another number of ranks.
fn is_slow() -> bool {
    std::env::var_os("SLOW_TESTS").is_some()
}

fn norm(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

/// The emulated NCCL adds up from the last rank to the first, TCP from the first to the last.
#[test]
fn cards_that_add_up_by_nccl_learn_what_they_learn_over_tcp_within_rounding() {
    let Some(folder) = recipe("emulated-sums") else {
        return eprintln!("left out: no g++, which emulated cards take");
    };
    for (size, cards) in [(3, "3"), (2, "2")] {
        if size == 2 && !is_slow() {
            continue;
        }
        let sums = format!("sums-{cards}");
        let on_cards = [("EMULATED_CARDS", cards), ("EMULATED_SUMS", &sums)];
        let [by_nccl, by_tcp] = [format!("nccl-{size}"), format!("tcp-{size}")];
        let arguments = ["sft", "tiny.toml", "--out", &by_nccl];
        let words = said(&ranks(&folder, size, |_| on_cards.to_vec(), &arguments));
        let expected = "note: gradients are summed by NCCL 2.18.0; this has been tested with a \
                        library in its place and emulated cards alone, never on cards\n";
        assert!(words.contains(expected), "{words}");
        let arguments = ["sft", "tiny.toml", "--out", &by_tcp];
        let one_card = |_| vec![("EMULATED_CARDS", "1")];
        let words = said(&ranks(&folder, size, one_card, &arguments));
        let expected = "note: gradients are summed over TCP, through the memory of the hosts; NCCL \
                        is not used: ranks 0 and 1 share a card, which NCCL refuses\n";
        assert!(words.contains(expected), "{words}");

        let [by_nccl, by_tcp] = [by_nccl, by_tcp].map(|run| folder.join(run));
        let [found, expected] = [&by_nccl, &by_tcp].map(|run| weights(run, 2));
        let groups = fs::read_to_string(folder.join(&sums)).expect("sums were made");
        let mut groups: Vec<&str> = groups.lines().collect();
        groups.sort_unstable();
        let group = |rank| format!("{} {rank}", found.len());
        let all: Vec<String> = (0..size)
            .flat_map(|rank| std::iter::repeat_n(group(rank), 2))
            .collect();
        assert_eq!(groups, all, "each step sums every weight once");
        let learnt = norm(&weights(&by_tcp, 1), &expected);
        let apart = norm(&found, &expected);
        assert!(apart < 1e-4 * learnt, "{apart} apart, of {learnt} learnt");
        // A sum of two has one order alone.
        assert!(
            (size == 2) == (apart == 0.0),
            "{size} ranks: {apart} apart, of {learnt} learnt"
        );
    }
}

#[test]
fn a_rank_that_is_killed_inside_a_sum_ends_the_others_which_keep_what_was_learnt() {
    let Some(folder) = recipe("emulated-death") else {
        return eprintln!("left out: no g++, which emulated cards take");
    };
    for (size, victim) in [(2, 1), (3, 0)] {
        if victim == 0 && !is_slow() {
            continue;
        }
        let name = format!("run-{victim}");
        let arguments = ["sft", "tiny.toml", "--out", &name];
        let variables = |rank| {
            let both = [("EMULATED_CARDS", "3"), ("EMULATED_DEATH", "2")];
            both[..=usize::from(rank == victim)].to_vec()
        };
        let outputs = ranks(&folder, size, variables, &arguments);
        for (rank, output) in outputs
            .iter()
            .enumerate()
            .filter(|(rank, _)| *rank != victim)
        {
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            let last = stderr.lines().last().expect("a line");
            let word = format!(
                "step 2: rank {victim} ended without a word: killed, or its machine or network is \
                 gone; "
            );
            assert!(last.contains(&word), "rank {rank}: {last}");
            let hint = format!("; go on from the last checkpoint with --resume {name}");
            assert!(last.ends_with(&hint), "rank {rank}: {last}");
        }
        tensors(&folder.join(&name), 1);
    }
}

#[test]
fn a_rank_that_is_killed_before_nccl_has_met_ends_the_others_before_a_run_is_written() {
    let Some(folder) = recipe("emulated-early-death") else {
        return eprintln!("left out: no g++, which emulated cards take");
    };
    let variables = |rank| {
        let both = [("EMULATED_CARDS", "2"), ("EMULATED_DEATH", "0")];
        both[..=rank].to_vec()
    };
    let outputs = ranks(&folder, 2, variables, &["sft", "tiny.toml", "--out=run"]);
    let stderr = text(&outputs[0].stderr);
    assert_eq!(outputs[0].status.code(), Some(1), "{stderr}");
    let expected = "error: rank 1 ended without a word: killed, or its machine or network is gone";
    assert_eq!(stderr.lines().last(), Some(expected));
    assert_eq!(entries(&folder), ["rows.jsonl", "tiny.toml"]);
}

#[test]
fn an_nccl_that_is_missing_is_said_and_one_that_fails_ends_all_before_a_run_is_written() {
    let Some(folder) = recipe("emulated-absence") else {
        return eprintln!("left out: no g++, which emulated cards take");
    };
    let arguments = ["sft", "tiny.toml", "--out=run", "--set=run.max_steps=1"];
    let variables = |rank| match rank {
        1 => vec![("EMULATED_CARDS", "2"), ("EMULATED_NCCL_FAILURE", "1")],
        _ => vec![("EMULATED_CARDS", "2")],
    };
    let outputs = ranks(&folder, 2, variables, &arguments);
    for (output, expected) in outputs.iter().zip([
        "error: rank 1 failed: NCCL failed: unhandled system error",
        "error: rank 1: NCCL failed: unhandled system error",
    ]) {
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().last(), Some(expected));
    }
    assert_eq!(entries(&folder), ["rows.jsonl", "tiny.toml"]);
    let variables = |rank| match rank {
        1 => vec![("EMULATED_CARDS", "2"), ("WITHOUT_NCCL", "1")],
        _ => vec![("EMULATED_CARDS", "2")],
    };
    let words = said(&ranks(&folder, 2, variables, &arguments));
    let expected = "note: gradients are summed over TCP, through the memory of the hosts; NCCL is \
                    not used: rank 1: libnccl.so.2: ";
    assert!(words.contains(expected), "{words}");
}
