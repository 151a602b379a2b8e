//! How far the policy has gone from its reference.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

pub(super) fn drift(course: &Course) -> Vec<Sentence> {
    [divergence(course), hidden_states(course), unsolved(course)]
        .into_iter()
        .flatten()
        .collect()
}

fn divergence(course: &Course) -> Option<Sentence> {
    let kl = course.now("kl")?;
    let text = format!(
        "On its own tokens the policy is {} nats a token from the reference {}.",
        number(kl),
        course.span()
    );
    Some(Sentence::new("drift", text, &[("kl", kl)]))
}

fn hidden_states(course: &Course) -> Option<Sentence> {
    let value = course.now("transport/s_epsilon")?;
    let before = course.before("transport/s_epsilon");
    let trend = before.map(|before| format!(", {} in the first quarter", number(before)));
    let text = format!(
        "The hidden states of reasoning have drifted by S_ε = {} {}{}.",
        number(value),
        course.span(),
        trend.unwrap_or_default()
    );
    Some(Sentence::new(
        "drift",
        text,
        &[("transport/s_epsilon", value)],
    ))
}

/// Steps in which the regulariser was silent, or not to be trusted.
fn unsolved(course: &Course) -> Option<Sentence> {
    let skipped = course.mean("transport/skipped")?;
    let failed = course
        .share("transport/converged", |converged| converged < 0.5)
        .unwrap_or(0.0);
    if skipped <= 0.0 && failed <= 0.0 {
        return None;
    }
    let text = format!(
        "Transport was left out of {} of the steps, for want of two valid completions, and did not \
         converge in {} of the others.",
        percent(skipped),
        percent(failed)
    );
    let figures = [
        ("transport/skipped", skipped),
        ("share not converged", failed),
    ];
    Some(Sentence::new("drift", text, &figures))
}
