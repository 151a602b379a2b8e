//! What is said of records made for the purpose.

use record::StepRecord;
use report::{ReportError, Sentence, explain};

const PLAN: &str = "[grpo]\nnum_iterations = 1\n[optimizer]\nmax_grad_norm = 1.0\n\
                    [sampling]\nmax_completion_length = 128\n[run]\nmax_steps = 40\n";

fn step(step: usize, metrics: &[(&str, f64)]) -> StepRecord {
    let metrics = metrics
        .iter()
        .map(|&(name, value)| (name.to_owned(), value));
    StepRecord {
        step,
        metrics: metrics.collect(),
    }
}

/// A run that learns the format by step 20, after which no group differs in its rewards.
fn learnt(steps: usize) -> Vec<StepRecord> {
    let at = |number: usize| {
        let done = (number as f64 / 20.0).min(1.0);
        step(
            number,
            &[
                ("loss", 0.35),
                ("grpo/loss", 1e-17),
                ("grpo/weight", 1.0),
                ("grpo/gradient_norm", 0.05 * (1.0 - done)),
                ("sami/loss", 0.5),
                ("sami/weight", 0.7),
                ("sami/gradient_norm", 0.1),
                ("grad_norm", 2.0),
                ("reward", 0.5 + 0.5 * done),
                ("reward_std", 0.5 * (1.0 - done)),
                ("frac_reward_zero_std", done),
                ("frac_reward_zero_std/valid", done),
                ("frac_reward_zero_std/invalid", 0.0),
                ("completions/clipped_ratio", 0.25),
                ("completions/mean_length", 90.0),
                ("ungraded", 0.0),
                ("clip_ratio/region_mean", 0.0),
                ("clip_ratio/low_mean", 0.0),
                ("clip_ratio/high_mean", 0.0),
                ("sampling/sampling_logp_difference/max", 2e-6),
            ],
        )
    };
    (1..=steps).map(at).collect()
}

#[track_caller]
fn says(sentences: &[Sentence], topic: &str, part: &str) {
    let found = sentences
        .iter()
        .any(|s| s.topic == topic && s.text.contains(part));
    let texts: Vec<&str> = sentences.iter().map(|s| s.text.as_str()).collect();
    assert!(found, "{topic} does not say {part:?}: {texts:#?}");
}

#[test]
fn a_run_that_has_learnt_the_format_is_told_why_its_reward_stands_still() {
    let found = explain(PLAN, &learnt(40), None).expect("a run");
    says(
        &found,
        "reward",
        "The mean reward rose to 1.00 in steps 31 to 40 from 0.637",
    );
    says(&found, "reward", "100 % of the groups had equal rewards");
    says(
        &found,
        "reward",
        "100 % every completion valid, nothing left to teach",
    );
    // Five steps from 8 to 12 are the first whose mean share is a half.
    says(&found, "reward", "at least half of them since step 8");
    says(
        &found,
        "terms",
        "sami pushes hardest in steps 31 to 40: 100 %",
    );
    says(&found, "clipping", "scaled down in 100 % of the steps");
    says(
        &found,
        "completions",
        "of 128 tokens cut 25 % of the completions",
    );
    says(&found, "engine", "2.0e-6 nats at most: rounding alone");
    assert!(
        !found.iter().any(|s| s.topic == "progress"),
        "the run is over"
    );
}

#[test]
fn the_value_of_the_policy_gradient_is_explained_by_the_number_of_updates() {
    let steps = learnt(10);
    let on_policy = explain(PLAN, &steps, None).expect("a run");
    says(
        &on_policy,
        "loss",
        "the value is minus the mean advantage over tokens",
    );
    says(&on_policy, "progress", "10 of 40 steps are on record");
    let twice = PLAN.replace("num_iterations = 1", "num_iterations = 2");
    let off_policy = explain(&twice, &steps, None).expect("a run");
    says(&off_policy, "loss", "each rollout serves 2 updates");
    let silent = explain(PLAN, &learnt(40), Some(40)).expect("a step");
    says(&silent, "loss", "no group had two different rewards");
}

#[test]
fn a_step_is_told_alone_and_one_that_was_not_made_is_named() {
    let steps = learnt(40);
    let found = explain(PLAN, &steps, Some(10)).expect("a step");
    says(&found, "reward", "The mean reward is 0.750 at step 10.");
    let missing = explain(PLAN, &steps, Some(41)).expect_err("no such step");
    let expected = "step 41 is not on record, expected 1 to 40";
    assert_eq!(missing.to_string(), expected);
    assert_eq!(explain(PLAN, &[], None), Err(ReportError::NoSteps));
}

#[test]
fn figures_that_are_not_on_record_are_not_spoken_of() {
    let sft = [step(1, &[("loss", 2.0)]), step(2, &[("loss", f64::NAN)])];
    let found = explain(PLAN, &sft, None).expect("a run");
    let topics: Vec<&str> = found.iter().map(|s| s.topic).collect();
    assert_eq!(topics, ["progress", "loss"]);
    says(&found, "loss", "2.00 nats in steps 1 to 2");
    let nothing = explain(PLAN, &[step(40, &[])], None).expect("a run");
    assert_eq!(nothing, []);
}

#[test]
fn every_figure_of_a_sentence_is_a_number() {
    for sentence in explain(PLAN, &learnt(40), None).expect("a run") {
        let finite = sentence.figures.values().all(|value| value.is_finite());
        assert!(finite && !sentence.figures.is_empty(), "{sentence:?}");
    }
}
