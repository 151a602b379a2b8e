//! Whether sampling and training compute the same policy.

use super::Sentence;
use crate::course::Course;
use crate::number::number;

/// Nats; a tenth of the default clip of 0.1.
const WORRYING: f64 = 1e-2;

pub(super) fn engine(course: &Course) -> Vec<Sentence> {
    let Some(largest) = course.largest("sampling/sampling_logp_difference/max") else {
        return Vec::new();
    };
    let corrected = course
        .largest("sampling/importance_sampling_ratio/max")
        .is_some();
    let verdict = if corrected {
        "they were drawn in bfloat16, and each token's loss counts by the truncated ratio"
    } else if largest > WORRYING {
        "more than rounding: the gradient is that of another policy than the one that sampled"
    } else {
        "rounding alone"
    };
    let text = format!(
        "Sampled and recomputed log-probabilities of a token differ by {} nats at most: {verdict}.",
        number(largest)
    );
    let figures = [("sampling/sampling_logp_difference/max", largest)];
    vec![Sentence::new("engine", text, &figures)]
}
