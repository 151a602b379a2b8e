//! What holds of every step.

use policy::{Batch, Row, Scorer, TabularPolicy};
use record::StepRecord;
use trainer::Settings;

use crate::task::{all_terms, principled, reasoner, run, separate_terms, task};

/// Name and bits of every metric that is not a time.
pub(crate) fn bits(records: &[StepRecord]) -> Vec<(&str, u64)> {
    let metrics = records.iter().flat_map(|record| &record.metrics);
    let is_time = |name: &str| name.ends_with("_time") || name.ends_with("_per_second");
    metrics
        .filter(|(name, _)| !is_time(name))
        .map(|(name, value)| (name.as_str(), value.to_bits()))
        .collect()
}

/// The log-probability of every token in every state under every context.
pub(crate) fn logprobs(policy: &TabularPolicy) -> Vec<f64> {
    let row = |index: u32| Row {
        prefix: index as usize / 12,
        tokens_t: match index % 12 {
            first @ 0..3 => vec![first],
            pair => vec![pair / 3 - 1, pair % 3],
        },
        reasoning: None,
    };
    let batch = Batch {
        prefixes: (0..4).map(|context| vec![context]).collect(),
        rows: (0..48).map(row).collect(),
        temperature: 1.0,
    };
    let signals = policy.signals(&batch).expect("known tokens");
    signals.logprobs_nt.into_iter().flatten().collect()
}

#[test]
fn before_any_update_the_ratio_is_one_and_nothing_has_drifted() {
    let settings = Settings {
        steps: 1,
        ..all_terms()
    };
    let records = run(&mut reasoner(), &principled(8), &settings);
    let metric = |name: &str| records[0].metrics[name];
    for name in [
        "sampling/sampling_logp_difference/max",
        "clip_ratio/region_mean",
        "kl",
        "kl/loss",
        "transport/s_epsilon",
    ] {
        assert!(metric(name).abs() < 1e-12, "{name} is {}", metric(name));
    }
    assert!(
        metric("grpo/loss").abs() < 1e-12,
        "advantages of a group add up to nothing"
    );
    assert!(metric("grpo/gradient_norm") > 1e-3 && metric("sami/gradient_norm") > 1e-3);
}

#[test]
fn one_seed_gives_one_run_to_the_bit_and_another_seed_another() {
    let trained = |seed| {
        let mut policy = reasoner();
        let settings = Settings {
            seed,
            ..all_terms()
        };
        let records = run(&mut policy, &principled(8), &settings);
        (
            records,
            logprobs(&policy)
                .into_iter()
                .map(f64::to_bits)
                .collect::<Vec<_>>(),
        )
    };
    let ((first, policy), (second, same), (third, other)) = (trained(5), trained(5), trained(6));
    assert_eq!(bits(&first), bits(&second));
    assert_eq!(policy, same);
    assert_ne!(bits(&first), bits(&third));
    assert_ne!(policy, other);
}

#[test]
fn a_run_in_slices_is_the_run_in_whole_batches() {
    let trained = |settings: &Settings, micro_batch_tokens| {
        let mut policy = reasoner();
        let settings = Settings {
            micro_batch_tokens,
            ..settings.clone()
        };
        let records = run(&mut policy, &principled(8), &settings);
        (logprobs(&policy), records)
    };
    let apart = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max)
    };
    for settings in [all_terms(), separate_terms()] {
        let (before, (whole, records)) = (logprobs(&reasoner()), trained(&settings, usize::MAX));
        assert!(
            apart(&before, &whole) > 0.1,
            "the run does not move the policy"
        );
        for micro_batch_tokens in [1, 20, 100] {
            let (found, found_records) = trained(&settings, micro_batch_tokens);
            let found = apart(&found, &whole);
            assert!(
                found < 1e-12,
                "slices of {micro_batch_tokens} tokens are {found} apart"
            );
            let loss = |records: &[StepRecord]| records.last().map(|r| r.metrics["loss"]);
            let losses = loss(&found_records).zip(loss(&records));
            let (found, whole) = losses.expect("a loss at every step");
            assert!((found - whole).abs() < 1e-12, "{found}, not {whole}");
        }
    }
}

/// Without a penalty the reference scores fewer rows, which must not show.
#[test]
fn a_penalty_of_vanishing_weight_changes_nothing() {
    let trained = |beta| {
        let mut settings = all_terms();
        settings.objective.beta = beta;
        let mut policy = reasoner();
        run(&mut policy, &principled(8), &settings);
        logprobs(&policy)
    };
    let pairs = trained(0.0).into_iter().zip(trained(1e-100));
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-12, "{worst}");
}

#[test]
fn a_rollout_serves_as_many_updates_as_asked_and_only_the_first_is_on_policy() {
    let settings = Settings {
        num_iterations: 2,
        ..all_terms()
    };
    let records = run(&mut reasoner(), &principled(8), &settings);
    let tokens = |record: &StepRecord| record.metrics["num_tokens"] as usize;
    let grown: Vec<bool> = records
        .windows(2)
        .map(|pair| tokens(&pair[1]) > tokens(&pair[0]))
        .collect();
    assert_eq!(grown, [false, true, false]);
    for (index, record) in records.iter().enumerate() {
        let loss = record.metrics["grpo/loss"].abs();
        assert_eq!(loss < 1e-12, index % 2 == 0, "step {}: {loss}", record.step);
    }
}

#[test]
fn without_principles_there_is_no_system_turn_and_no_contrast() {
    let mut settings = all_terms();
    settings.objective.sami_weight = 0.0;
    let records = run(&mut reasoner(), &task(8), &settings);
    let prompt_and_completions = records[0].metrics["num_tokens"];
    let completions = 6.0 * 12.0 * records[0].metrics["completions/mean_length"];
    // Prompts are two tokens, and one constitution gives one prompt a question.
    assert!((prompt_and_completions - completions - 6.0 * 12.0 * 2.0).abs() < 1e-9);
    assert!(!records[0].metrics.contains_key("sami/incomplete"));
}
