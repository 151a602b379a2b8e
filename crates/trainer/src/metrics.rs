//! The figures of a step, under TRL's names where TRL has the figure.

use std::time::Duration;

use crate::step::Update;

/// The loss, what each term contributed, and the optimiser's own figures.
pub(crate) fn update_metrics(update: &Update) -> Vec<(String, f64)> {
    let mut metrics = named(&[
        ("loss", update.loss),
        ("grad_norm", update.grad_norm),
        ("learning_rate", update.learning_rate),
    ]);
    for term in &update.terms {
        let own = [
            ("loss", term.value),
            ("weight", term.weight),
            ("gradient_norm", term.gradient_norm),
        ];
        metrics.extend(own.map(|(name, value)| (format!("{}/{name}", term.name), value)));
        metrics.extend(named(&term.metrics));
    }
    metrics
}

/// How far scoring is from sampling before any update, in nats.
pub(crate) fn difference_metrics(
    differences: &[f64],
    importance_sampling_clip_max: Option<f64>,
) -> Vec<(String, f64)> {
    let sizes: Vec<f64> = differences.iter().map(|nats| nats.abs()).collect();
    let most = |numbers: &[f64]| numbers.iter().copied().fold(f64::NAN, f64::max);
    let mut metrics = named(&[
        ("sampling/sampling_logp_difference/mean", math::mean(&sizes)),
        ("sampling/sampling_logp_difference/max", most(&sizes)),
    ]);
    if let Some(max) = importance_sampling_clip_max {
        let ratio = |nats: &f64| nats.exp().min(max);
        let ratios: Vec<f64> = differences.iter().map(ratio).collect();
        let least = ratios.iter().copied().fold(f64::NAN, f64::min);
        metrics.extend(named(&[
            ("sampling/importance_sampling_ratio/min", least),
            (
                "sampling/importance_sampling_ratio/mean",
                math::mean(&ratios),
            ),
            ("sampling/importance_sampling_ratio/max", most(&ratios)),
        ]));
    }
    metrics
}

/// Seconds of a step, of the rollout in it and of making that ready, and tokens a second; a step
/// without a rollout of its own has no figures of one.
pub(crate) fn time_metrics(
    [step, rollout, scoring]: [Duration; 3],
    sampled: usize,
    computed: usize,
) -> Vec<(String, f64)> {
    let update = step.saturating_sub(rollout + scoring);
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
    let mut metrics = named(&[
        ("step_time", step.as_secs_f64()),
        ("update_time", update.as_secs_f64()),
        ("update_tokens_per_second", rate(computed, update)),
    ]);
    if !rollout.is_zero() {
        metrics.extend(named(&[
            ("rollout_time", rollout.as_secs_f64()),
            ("scoring_time", scoring.as_secs_f64()),
            ("rollout_tokens_per_second", rate(sampled, rollout)),
        ]));
    }
    metrics
}

pub(crate) fn named(metrics: &[(&str, f64)]) -> Vec<(String, f64)> {
    metrics
        .iter()
        .map(|&(name, value)| (name.to_owned(), value))
        .collect()
}
