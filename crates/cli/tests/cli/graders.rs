//! Graders that fail: the run goes on or stops with one line, and nothing is lost.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{enigma, entries, place, refusal, success, text};

/// A run of some short steps on the built-in model; one principle, so that an evaluation is one
/// batch and a step is another.
const SHORT: [&str; 10] = [
    "train",
    "--json",
    "--out=run",
    "--set=run.max_steps=6",
    "--set=run.questions_per_step=1",
    "--set=sampling.max_completion_length=8",
    "--set=evaluation.questions=1",
    "--set=evaluation.bootstrap_resamples=10",
    "--set=sami.warmup_steps=0",
    "--set=principles.files=['nano/patience']",
];

/// Answers with its id, if it is asked; `sh` and `sed` are the program.
const ECHO: &str = r#"sed -u -e 's/.*"id":\([0-9]*\).*/{"id": \1, "reward": \1}/'"#;

/// The assignment of a grader that is this script.
fn judge(script: &str, timeout_s: f64) -> String {
    // A text of JSON is one of TOML.
    let script = json!(script);
    let grader = format!("{{name='judge', program=['sh', '-c', {script}], timeout_s={timeout_s}}}");
    format!("--set=rewards.command=[{grader}]")
}

fn steps(folder: &Path) -> Vec<Value> {
    let metrics = fs::read_to_string(folder.join("run/metrics.jsonl")).expect("metrics");
    let step = |line: &str| serde_json::from_str(line).expect("a step is JSON");
    metrics.lines().map(step).collect()
}

/// The only line of a run that stops, and nothing of it on standard output.
fn stopped(folder: &Path, grader: &str) -> String {
    let output = enigma(folder, &[&SHORT[..], &[grader]].concat());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    let error = stderr.lines().filter(|line| line.contains("error: "));
    let error: Vec<&str> = error.collect();
    assert_eq!(error.len(), 1, "{stderr}");
    assert_eq!(stderr.lines().last(), Some(error[0]), "{stderr}");
    error[0].to_owned()
}

#[test]
fn a_grader_that_never_answers_stops_the_run_before_its_first_step() {
    let folder = place("hangs");
    for (script, expected) in [
        ("exec sleep 1000", "no answer within 0.3 s"),
        (
            "while read l; do echo well done; done",
            "its answer cannot be read: well done",
        ),
        (
            "echo no key >&2; exit 1",
            "it ended with exit status: 1; its last words: no key",
        ),
    ] {
        // Each batch is one completion, so that the evaluation has three of them.
        let grader = judge(script, 0.3).replace("timeout_s", "batch_size=1, timeout_s");
        let found = stopped(&folder, &grader);
        let start = "evaluation: grader judge: 3 batches in a row without a grade; ";
        assert!(found.contains(&format!("{start}{expected}")), "{found}");
        assert_eq!(entries(&folder), Vec::<String>::new(), "{found}");
    }
}

#[test]
fn a_grader_that_stops_to_answer_stops_the_run_and_the_weights_are_kept() {
    let folder = place("stops");
    let script = format!("test -e over || {ECHO} -e 12q; touch over; exec sleep 1000");
    let found = stopped(&folder, &judge(&script, 3.0));
    assert!(
        found.contains("grader judge: 3 batches in a row without a grade; no answer"),
        "{found}"
    );
    let checkpoint = found
        .rsplit_once("last good checkpoint: ")
        .expect("a path")
        .1;
    let weights = folder.join(checkpoint).join("model.safetensors");
    assert!(weights.is_file(), "{found}");
    assert!(entries(&folder.join("run")).contains(&"metrics.jsonl".to_owned()));
    let last = steps(&folder).pop().expect("a step");
    assert_eq!(last["ungraded/judge/late"], last["ungraded"], "{last}");
}

#[test]
fn a_grader_that_dies_every_third_call_leaves_a_run_that_ends() {
    let folder = place("dies");
    let batch = 8;
    let script = format!("{ECHO} -e {}q; echo oops >&2; exit 3", 2 * batch);
    let output = enigma(&folder, &[&SHORT[..], &[&judge(&script, 20.0)]].concat());
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let steps = steps(&folder);
    assert_eq!(steps.len(), 6);
    let crashed = |step: &&Value| !step["ungraded/judge/crashed"].is_null();
    let (dead, alive): (Vec<_>, Vec<_>) = steps.iter().partition(crashed);
    assert!(!dead.is_empty() && alive.len() > dead.len(), "{steps:?}");
    for step in dead {
        assert_eq!(step["ungraded/judge/crashed"], step["ungraded"], "{step}");
        assert!(step["rewards/format/mean"].is_number(), "{step}");
    }
    for step in alive {
        assert_eq!(step["ungraded"], 0.0, "{step}");
        assert!(step["rewards/judge/mean"].is_number(), "{step}");
    }
    assert!(stderr.contains("completions ungraded ("), "{stderr}");
    assert!(
        stderr.contains("at last: it ended with exit status: 3; its last words: oops"),
        "{stderr}"
    );
}

#[test]
fn nothing_of_a_grader_outlives_its_run() {
    let folder = place("orphans");
    let script = format!("echo $$ >> ids; exec {ECHO}");
    success(&folder, &[&SHORT[..], &[&judge(&script, 20.0)]].concat());
    let ids = fs::read_to_string(folder.join("ids")).expect("the grader was started");
    for id in ids.lines() {
        let alive = Command::new("kill")
            .args(["-0", id])
            .output()
            .expect("kill");
        assert!(!alive.status.success(), "{id} is alive");
    }
}

#[test]
fn a_reward_function_of_trl_is_served_by_the_shim() {
    let folder = place("shim");
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/graders");
    for file in ["trl_shim.py", "brevity.py"] {
        fs::copy(examples.join(file), folder.join(file)).expect("the example is there");
    }
    let own = "\ndef short(prompts, completions, completion_list, **kwargs):\n    \
               print('talks too much')\n    \
               assert all(p[-1]['role'] == 'user' for p in prompts)\n    \
               both = zip(completions, completion_list)\n    \
               return [float(len(c[0]['content']) < n) for c, n in both]\n";
    fs::write(folder.join("own.py"), own).expect("the test's own folder");
    let rows = json!({"prompt": "1 + 1?", "topic": "e", "completion_list": 1000}).to_string();
    fs::write(folder.join("q.jsonl"), format!("{rows}\n")).expect("the test's own folder");
    let grader = |name: &str, file: &str, rest: &str| {
        format!("{{name='{name}', program=['python3','trl_shim.py','{file}','{name}'{rest}]}}")
    };
    let graders = [
        grader("brevity", "brevity.py", ""),
        grader("short", "own.py", ", '--chat'"),
    ];
    let graders = format!("--set=rewards.command=[{}]", graders.join(","));
    let own = [
        &graders[..],
        "--set=data.questions=q.jsonl",
        "--set=data.held_out=q.jsonl",
    ];
    success(&folder, &[&SHORT[..], &own].concat());
    for step in steps(&folder) {
        assert_eq!(step["ungraded"], 0.0, "{step}");
        assert_eq!(step["rewards/short/mean"], 1.0, "{step}");
        let brevity = step["rewards/brevity/mean"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&brevity), "{step}");
    }
}

/// Rewards that are mistaken, and what is said of each.
fn mistaken_rewards() -> Vec<(String, &'static str)> {
    let command = |rest: &str| format!("rewards.command=[{{name='a', {rest}}}]");
    let regex = |rest: &str| format!("rewards.regex=[{{{rest}}}]");
    vec![
        (
            command("program=[]"),
            "rewards.command.program is empty; expected a program",
        ),
        (
            command("program=['']"),
            "rewards.command.program is empty; expected a program",
        ),
        (command("program='sh'"), "expected a list"),
        (
            command("program=['sh'], timeout=1"),
            "unknown field `timeout`, expected one of `name`",
        ),
        (
            command("program=['sh'], timeout_s=0"),
            "timeout_s is 0; expected a number above 0",
        ),
        (
            command("program=['sh'], batch_size=0"),
            "batch_size is 0; expected 1 or more",
        ),
        (
            command("program=['sh'], workers=0"),
            "workers is 0; expected 1 to 256",
        ),
        (
            command("program=['sh'], max_failures=0"),
            "max_failures is 0; expected 1 or more",
        ),
        (
            command("program=['sh'], weight=nan"),
            "rewards.command.weight is NaN; expected a number",
        ),
        (
            command("program=['no-such-grader']"),
            "rewards.command.program is `no-such-grader`, which does not exist; looked for the \
             PATH",
        ),
        (
            command("program=['./judge']"),
            "`./judge`, which does not exist; looked for ",
        ),
        (
            command("program=['sh'], working_directory='none'"),
            "rewards.command.working_directory is `none`, which does not exist",
        ),
        (
            command("program=['sh'], working_directory='file'"),
            "file: not a directory",
        ),
        (regex("name='a', pattern='('"), "grader a: unclosed group"),
        (
            regex("name='a b', pattern='a'"),
            "\"a b\"; expected letters, digits, `_` and `-`",
        ),
        (
            regex("name='format', pattern='a'"),
            "\"format\"; expected letters",
        ),
        (regex("name='a'"), "missing field `pattern`"),
    ]
}

#[test]
fn every_mistake_in_rewards_is_one_line() {
    let folder = place("rewards");
    fs::write(folder.join("file"), "").expect("the test's own folder");
    for (assignment, expected) in mistaken_rewards() {
        let found = refusal(&folder, &["train", "--set", &assignment]);
        assert!(found.contains(expected), "{assignment}: {found}");
        let dry = refusal(&folder, &["train", "--dry-run", "--set", &assignment]);
        assert_eq!(dry, found);
    }
}
