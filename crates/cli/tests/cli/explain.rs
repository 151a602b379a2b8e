//! `enigma explain` on records written by hand, and `enigma verify`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::{place, refusal, success};

/// A run of two steps, both of groups with equal rewards.
fn write_run(folder: &Path) {
    let plan = "[grpo]\nnum_iterations = 1\n[run]\nmax_steps = 2\n";
    let step = |step: usize| {
        format!(
            "{{\"step\":{step},\"loss\":0.1,\"grpo/loss\":0.0,\"grpo/gradient_norm\":0.0,\
             \"grad_norm\":0.5,\"reward\":1.0,\"reward_std\":0.0,\"frac_reward_zero_std\":1.0,\
             \"frac_reward_zero_std/valid\":1.0}}\n"
        )
    };
    let run = folder.join("run");
    fs::create_dir(&run).expect("the test's own folder");
    fs::write(run.join("plan.toml"), plan).expect("the test's own folder");
    fs::write(run.join("metrics.jsonl"), step(1) + &step(2)).expect("the test's own folder");
}

#[test]
fn a_run_is_explained_by_its_record_alone() {
    let folder = place("explain");
    write_run(&folder);
    let text = success(&folder, &["explain", "run"]);
    let reason = "100 % of the groups had equal rewards and gave GRPO no gradient (100 % every \
                  completion valid, nothing left to teach) in steps 1 to 2.";
    assert!(text.contains(reason), "{text}");
    let lines = success(&folder, &["explain", "run", "--step", "2", "--json"]);
    for line in lines.lines() {
        let sentence: Value = serde_json::from_str(line).expect("an object a line");
        let figures = sentence["figures"].as_object().expect("figures by name");
        assert!(
            !figures.is_empty() && sentence["text"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn what_is_no_run_or_has_not_the_step_is_refused() {
    let folder = place("explain-refused");
    write_run(&folder);
    assert_eq!(
        refusal(&folder, &["explain", "."]),
        "\".\" is not a run folder: it has no plan.toml"
    );
    assert_eq!(
        refusal(&folder, &["explain", "run", "--step", "3"]),
        "run: step 3 is not on record, expected 1 to 2"
    );
    fs::remove_file(folder.join("run/metrics.jsonl")).expect("written above");
    assert_eq!(
        refusal(&folder, &["explain", "run"]),
        "run: the run has no step on record yet, expected one or more"
    );
}

#[test]
fn a_model_that_is_not_there_cannot_be_verified() {
    let folder = place("verify-refused");
    assert_eq!(
        refusal(&folder, &["verify", "--model", "no-model"]),
        "--model is `no-model`, which does not exist; looked for no-model"
    );
}

#[test]
fn the_built_in_model_is_within_every_tolerance() {
    if std::env::var_os("SLOW_TESTS").is_none() {
        eprintln!("verifies only with SLOW_TESTS=1");
        return;
    }
    let folder = place("verify");
    let lines = success(&folder, &["verify", "--json"]);
    assert!(lines.lines().count() > 30, "{lines}");
}
