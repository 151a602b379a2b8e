//! The step on what the policy samples itself, before any update.

use crate::play::Played;
use crate::{Bench, Finding, VerifyError};

/// Nats. A hundredth of the narrowest clip in use, 0.1; rounding in `f32` gives about 1e-5.
const LOGPROB: f64 = 1e-3;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let play = bench.play()?;
    bench.own.policy.set_parameters(&bench.start);
    let played = play.improvise(bench.own.policy)?;
    let (differences, ratios) = differences(&played);
    let mean = math::mean(&differences);
    let ratio = largest(&ratios);
    let longest = played
        .samples_g
        .iter()
        .flatten()
        .map(|s| s.tokens_t.len())
        .max();
    let sampled = format!(
        "nats, largest of {} tokens (longest completion {}); mean {mean:.1e}; f32, and 1 % of a \
         clip of 0.1",
        differences.len(),
        longest.unwrap_or(0)
    );
    let mut found = vec![
        Finding::new("sampled", largest(&differences), LOGPROB, sampled),
        Finding::new(
            "ratio",
            ratio,
            LOGPROB,
            "|ratio − 1| of whole completions, largest",
        ),
        Finding::new(
            "kl",
            played.metric("kl/loss").abs(),
            1e-12,
            "nats; policy and reference are the same numbers",
        ),
        Finding::new(
            "loss",
            loss(&played),
            LOGPROB,
            "|GRPO's value + mean advantage|",
        ),
    ];
    // Without two valid completions there is no cloud.
    if played.metric("transport/skipped") < 0.5 {
        let drift = played.metric("transport/loss").abs();
        found.push(Finding::new("drift", drift, 1e-9, "S_ε from the reference"));
    }
    Ok(found)
}

/// `|now − sampled|` of each token, and `|ratio − 1|` of each completion.
fn differences(played: &Played) -> (Vec<f64>, Vec<f64>) {
    let (mut tokens, mut ratios) = (Vec::new(), Vec::new());
    // The batch's first rows are the completions, in the order of the groups.
    let samples = played.samples_g.iter().flatten();
    for (sample, now_t) in samples.zip(&played.signals.logprobs_nt) {
        let pairs = now_t.iter().zip(&sample.logprobs_t);
        let drift_t: Vec<f64> = pairs.map(|(now, sampled)| now - sampled).collect();
        ratios.push((math::mean(&drift_t).exp() - 1.0).abs());
        tokens.extend(drift_t.into_iter().map(f64::abs));
    }
    (tokens, ratios)
}

/// With `dapo` the value is minus the mean advantage over tokens.
fn loss(played: &Played) -> f64 {
    let samples = played.samples_g.iter().flatten();
    let mut tokens = 0.0;
    let mut sum = 0.0;
    for (sample, completion) in samples.zip(&played.completions) {
        let length = sample.tokens_t.len() as f64;
        tokens += length;
        sum += length * completion.advantage.unwrap_or(0.0);
    }
    (played.metric("grpo/loss") + sum / tokens).abs()
}

fn largest(values: &[f64]) -> f64 {
    let worse = |a: f64, b: &f64| if *b > a || b.is_nan() { *b } else { a };
    values.iter().fold(0.0, worse)
}
