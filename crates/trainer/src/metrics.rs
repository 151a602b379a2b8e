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
pub(crate) fn difference_metrics(differences: &[f64]) -> Vec<(String, f64)> {
    let largest = differences.iter().copied().fold(f64::NAN, f64::max);
    named(&[
        (
            "sampling/sampling_logp_difference/mean",
            math::mean(differences),
        ),
        ("sampling/sampling_logp_difference/max", largest),
    ])
}

/// Seconds of a step and of the rollout in it, and tokens a second; a step without a rollout of its
/// own has no figures of one.
pub(crate) fn time_metrics(
    [step, rollout]: [Duration; 2],
    sampled: usize,
    computed: usize,
) -> Vec<(String, f64)> {
    let update = step.saturating_sub(rollout);
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
    let mut metrics = named(&[
        ("step_time", step.as_secs_f64()),
        ("update_time", update.as_secs_f64()),
        ("update_tokens_per_second", rate(computed, update)),
    ]);
    if !rollout.is_zero() {
        metrics.extend(named(&[
            ("rollout_time", rollout.as_secs_f64()),
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
