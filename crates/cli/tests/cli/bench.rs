//! `enigma bench`: the keys that its peer prints too, sums of its parts, and what it refuses.

use serde_json::Value;

use crate::process::{place, refusal, success};

/// A batch so small that the machine's own rates take longer.
const SMALL: [&str; 7] = [
    "--prompts=2",
    "--group=4",
    "--prompt-tokens=8",
    "--new-tokens=16",
    "--steps=2",
    "--threads=2",
    "--json",
];

fn bench(name: &str, arguments: &[&str]) -> Value {
    let out = success(&place(name), &[&["bench"], arguments, &SMALL].concat());
    serde_json::from_str(&out).expect("one JSON object")
}

fn number(found: &Value, path: &str) -> f64 {
    let value = found.pointer(path).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {path} in {found}"))
}

#[test]
fn a_step_is_the_sum_of_its_parts_and_has_the_keys_of_the_peer() {
    let found = bench("bench-grpo", &["grpo", "--beta=0.04", "--lora=2"]);
    for (key, expected) in [
        ("/beta", 0.04),
        ("/lora", 2.0),
        ("/sequences", 8.0),
        ("/mean_new_tokens", 16.0),
    ] {
        let off = number(&found, key) - expected;
        assert!(off.abs() < 1e-9, "{key} in {found}");
    }
    let least = |part: &str| number(&found, &format!("/{part}_s/min"));
    let parts = least("rollout") + least("scoring") + least("update");
    let most = number(&found, "/step_s/max");
    assert!(parts <= 1.0001 * most, "{parts} s of parts in {most} s");
    for key in [
        "/step_s/median",
        "/scoring_s/median",
        "/new_tokens_per_s",
        "/launch_to_first_token_s",
        "/launch_to_first_step_s",
        "/matrix_product_flops",
        "/memory_bandwidth",
        "/share_of_matrix_product/update",
        "/decode_share_of_memory_bandwidth",
    ] {
        assert!(number(&found, key) > 0.0, "{key} in {found}");
    }
}

#[test]
fn drawn_lengths_follow_their_law() {
    let arguments = ["decode", "--lengths=drawn", "--shape=3m"];
    let found = bench("bench-drawn", &arguments);
    let [mean, expected] =
        ["/mean_new_tokens", "/expected_new_tokens"].map(|key| number(&found, key));
    assert!(
        (expected / 16.0 - 0.4).abs() < 0.03,
        "{expected} of 16 tokens"
    );
    // 16 completions: the deviation of their mean is 1.4.
    assert!((mean - expected).abs() < 5.0, "{mean}, expected {expected}");
    let parts = number(&found, "/prefill_s/min") + number(&found, "/decode_s/min");
    let most = number(&found, "/step_s/max");
    assert!(parts <= 1.0001 * most, "{parts} s of parts in {most} s");
}

#[test]
fn a_prompt_apart_is_computed_once_for_each_of_its_completions() {
    let shared = bench("bench-shared", &["update"]);
    let apart = bench("bench-apart", &["update", "--separate-prompts"]);
    let tokens = |found: &Value| number(found, "/computed_tokens") as usize;
    assert_eq!(tokens(&shared), 2 * 8 + 8 * 15);
    assert_eq!(tokens(&apart), 8 * 8 + 8 * 15);
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let folder = place("bench-refusals");
    for (arguments, expected) in [
        (
            &["decode", "--prompts=0"][..],
            "--prompts is 0; expected 1 or more",
        ),
        (&["update", "--steps=0"], "--steps is 0; expected 1 or more"),
        (&["grpo", "--group=1"], "--group is 1; expected 2 or more"),
        (
            &["grpo", "--beta=-1"],
            "--beta is -1; expected 0 or a number above",
        ),
        (
            &["grpo", "--micro-batch-tokens=0"],
            "--micro-batch-tokens is 0; expected 1 or more",
        ),
        (
            &["decode", "--new-tokens=4001"],
            "--prompt-tokens and --new-tokens are 96 and 4001; expected at most 4096 together, \
             the context of this shape",
        ),
    ] {
        let arguments = [&["bench"], arguments].concat();
        assert_eq!(refusal(&folder, &arguments), expected);
    }
}
