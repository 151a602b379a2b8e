//! The metrics of a principle as they are kept.

use math::Interval;
use principle::{Principle, Sufficiency, Verdict};
use record::{ConvergencePoint, PrincipleScore};

/// The verdict on a principle that cannot be told from labels that mean nothing.
pub(super) const INDISTINGUISHABLE: &str = "not distinguishable from permuted labels";

/// A principle's metrics on record.
pub(super) fn record(
    principle: &Principle,
    metrics: &Sufficiency,
    prompt_ids: Vec<usize>,
    incomplete: usize,
) -> PrincipleScore {
    let Sufficiency {
        si,
        si_min,
        over_constitutions,
        over_completions,
        margin_z,
        retrieval,
        ..
    } = metrics;
    PrincipleScore {
        id: principle.id.clone(),
        name: (principle.name != principle.id).then(|| principle.name.clone()),
        source: principle.source.clone(),
        si: finite(si.interval.value),
        si_interval: si.interval.ends(),
        si_permuted: finite(si.permuted.value),
        si_permuted_interval: si.permuted.ends(),
        si_corrected: finite(metrics.si_corrected.value),
        si_corrected_interval: metrics.si_corrected.ends(),
        si_min: finite(si_min.interval.value),
        si_min_permuted: finite(si_min.permuted.value),
        bound_completions_nats: finite(over_completions.interval.value),
        bound_completions_nats_interval: over_completions.interval.ends(),
        bound_completions_nats_permuted: finite(over_completions.permuted.value),
        bound_constitutions_nats: finite(over_constitutions.interval.value),
        bound_constitutions_nats_interval: over_constitutions.interval.ends(),
        bound_constitutions_nats_permuted: finite(over_constitutions.permuted.value),
        information_nats: finite(metrics.information.value),
        information_nats_interval: metrics.information.ends(),
        upper_nats: metrics.upper.and_then(|upper| finite(upper.value)),
        upper_nats_interval: metrics.upper.and_then(|upper| upper.ends()),
        retrieval: finite(retrieval.interval.value),
        retrieval_interval: retrieval.interval.ends(),
        retrieval_permuted: finite(retrieval.permuted.value),
        margin_z: finite(margin_z.interval.value),
        margin_z_permuted: finite(margin_z.permuted.value),
        verdict: words(metrics.verdict).to_owned(),
        prompts: metrics.prompts,
        incomplete,
        convergence: metrics.convergence.iter().map(point).collect(),
        prompt_ids,
        margins: metrics.margins_q.clone(),
        positive: principle.positive.clone(),
        negatives: principle.negatives.clone(),
    }
}

/// Half the width of an interval.
pub(super) fn half_width([low, high]: [f64; 2]) -> f64 {
    0.5 * (high - low)
}

/// Prompts after which an interval that is known to `found` on `prompts` would be known to
/// `asked`: widths fall with the square root.
pub(super) fn prompts_for(prompts: usize, found: f64, asked: f64) -> usize {
    (prompts as f64 * (found / asked).powi(2)).ceil() as usize
}

fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Informative => "informative",
        Verdict::Weak => "weak",
        Verdict::Indistinguishable => INDISTINGUISHABLE,
    }
}

fn point((prompts, si): &(usize, Interval)) -> ConvergencePoint {
    ConvergencePoint {
        prompts: *prompts,
        si: finite(si.value),
        si_interval: si.ends(),
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
