//! Advantages and losses against TRL's own code, on the same arrays.
//!
//! `fixtures/trl_grpo.json` is written by `scripts/reference/trl_grpo.py` (trl 1.16.0, torch
//! 2.13.0, in float64; the shares of clipped tokens are float32 in TRL).

use std::collections::BTreeMap;

use objective::{
    AdvantageOptions, Aggregation, Evidence, Graded, Grpo, Kl, RatioLevel, ScaleRewards, WarmUp,
    Weighted, advantages, total,
};
use policy::{Batch, Row, Signals};

#[derive(serde::Deserialize)]
struct Fixture {
    epsilon: f64,
    epsilon_high: f64,
    max_completion_length: usize,
    active_tokens: f64,
    logprobs_nt: Vec<Vec<f64>>,
    old_logprobs_nt: Vec<Vec<f64>>,
    reference_logprobs_nt: Vec<Vec<f64>>,
    importance_nt: Vec<Vec<f64>>,
    advantages_n: Vec<f64>,
    losses: Vec<LossCase>,
    advantages: Vec<AdvantageCase>,
}

#[derive(serde::Deserialize)]
struct LossCase {
    loss_type: String,
    importance_sampling_level: String,
    beta: f64,
    corrected: bool,
    value: f64,
    gradient_nt: Vec<Vec<f64>>,
    metrics: BTreeMap<String, f64>,
}

#[derive(serde::Deserialize)]
struct AdvantageCase {
    scale_rewards: String,
    rewards: Vec<Vec<Option<f64>>>,
    advantages: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/trl_grpo.json")).expect("a fixture of this shape")
}

fn signals(logprobs_nt: &[Vec<f64>]) -> Signals {
    Signals {
        logprobs_nt: logprobs_nt.to_vec(),
        points_nd: vec![Vec::new(); logprobs_nt.len()],
    }
}

fn batch(logprobs_nt: &[Vec<f64>]) -> Batch {
    let row = |logprobs_t: &Vec<f64>| Row {
        prefix: 0,
        tokens_t: vec![1; logprobs_t.len()],
        reasoning: None,
    };
    Batch {
        prefixes: vec![vec![1]],
        rows: logprobs_nt.iter().map(row).collect(),
        temperature: 1.0,
    }
}

/// Every row with its advantage, the log-probabilities of its sampling and, where they are
/// corrected for, its weights.
fn graded(fixture: &Fixture, corrected: bool) -> Vec<Graded> {
    let rows = fixture.old_logprobs_nt.iter().zip(&fixture.advantages_n);
    let graded = |(row, (old_logprobs_t, &advantage)): (usize, (&Vec<f64>, &f64))| Graded {
        row,
        advantage,
        old_logprobs_t: old_logprobs_t.clone(),
        importance_t: corrected.then(|| fixture.importance_nt[row].clone()),
    };
    rows.enumerate().map(graded).collect()
}

/// GRPO and, where it has weight, the KL, as TRL's options name them.
fn terms(fixture: &Fixture, case: &LossCase) -> Vec<Weighted> {
    let aggregation = match case.loss_type.as_str() {
        "grpo" => Aggregation::Grpo,
        "bnpo" => Aggregation::Bnpo,
        "dr_grpo" => Aggregation::DrGrpo {
            max_completion_length: fixture.max_completion_length,
        },
        "dapo" => Aggregation::Dapo,
        unknown => panic!("the fixture has a loss type {unknown}"),
    };
    let grpo = Grpo {
        level: match case.importance_sampling_level.as_str() {
            "token" => RatioLevel::Token,
            "sequence" => RatioLevel::Sequence,
            unknown => panic!("the fixture has a level {unknown}"),
        },
        epsilon: fixture.epsilon,
        epsilon_high: fixture.epsilon_high,
        aggregation,
    };
    let mut terms = vec![Weighted::new(grpo, 1.0, WarmUp::default())];
    if case.beta > 0.0 {
        let kl = Kl { aggregation };
        terms.push(Weighted::new(kl, case.beta, WarmUp::default()));
    }
    terms
}

#[test]
fn losses_gradients_and_metrics_equal_those_of_trl() {
    let fixture = fixture();
    let now = signals(&fixture.logprobs_nt);
    let (batch, reference) = (
        batch(&fixture.logprobs_nt),
        signals(&fixture.reference_logprobs_nt),
    );
    let evidence = |corrected| Evidence {
        batch: &batch,
        graded: graded(&fixture, corrected),
        contrasts: Vec::new(),
        cloud: Vec::new(),
        reference: Some(&reference),
        active_tokens: fixture.active_tokens,
    };
    assert_eq!(
        fixture.losses.len(),
        32,
        "four aggregations, two levels, two betas, corrected or not"
    );
    for case in &fixture.losses {
        let name = format!("{} {}", case.loss_type, case.importance_sampling_level);
        let evidence = evidence(case.corrected);
        let found = total(&terms(&fixture, case), 0, &evidence, &now).unwrap();
        let error = (found.value - case.value).abs();
        assert!(
            error < 1e-12,
            "{name}, beta {}: value is off by {error}",
            case.beta
        );
        let mut difference = found.gradient;
        difference.add_scaled(-1.0, &signals(&case.gradient_nt));
        let error = difference.norm();
        assert!(
            error < 1e-12,
            "{name}, beta {}: gradient is off by {error}",
            case.beta
        );
        let metrics: Vec<_> = found.terms.iter().flat_map(|term| &term.metrics).collect();
        assert_eq!(metrics.len(), case.metrics.len(), "{name}: {metrics:?}");
        for (metric, value) in metrics {
            let error = (value - case.metrics[*metric]).abs();
            assert!(error < 1e-7, "{name}: {metric} is off by {error}");
        }
    }
}

#[test]
fn advantages_equal_those_of_trl_where_a_completion_was_graded() {
    let fixture = fixture();
    assert_eq!(fixture.advantages.len(), 3, "three scales");
    for case in &fixture.advantages {
        let scale = match case.scale_rewards.as_str() {
            "group" => ScaleRewards::Group,
            "batch" => ScaleRewards::Batch,
            "none" => ScaleRewards::None,
            unknown => panic!("the fixture has a scale {unknown}"),
        };
        let options = AdvantageOptions {
            scale,
            ..AdvantageOptions::default()
        };
        let found = advantages(&case.rewards, &options);
        for (found, expected) in found.iter().flatten().zip(case.advantages.iter().flatten()) {
            // TRL gives the one ungraded completion the advantage 0; here it has none.
            let error = (found.unwrap_or(0.0) - expected).abs();
            assert!(error < 1e-12, "{scale:?}: {found:?}, expected {expected}");
        }
        assert_eq!(found[2][1], None);
    }
}
