//! Which term moves the weights.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

/// The terms whose gradient is one in log-probabilities, and so comparable.
const ON_LOGPROBS: [&str; 3] = ["grpo", "kl", "sami"];

pub(super) fn terms(course: &Course) -> Vec<Sentence> {
    let span = course.span();
    let parts = ON_LOGPROBS.map(|term| (term, weighted(course, term)));
    let mut parts: Vec<(&str, f64)> = parts
        .into_iter()
        .filter_map(|(term, part)| Some((term, part?)))
        .collect();
    let total: f64 = parts.iter().map(|(_, part)| part).sum();
    let mut sentences = Vec::new();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    if let [(first, most), ..] = parts[..]
        && parts.len() > 1
        && total > 0.0
    {
        let list = parts
            .iter()
            .map(|(term, part)| format!("{term} {}", number(*part)));
        let list: Vec<String> = list.collect();
        let text = format!(
            "Of the terms on log-probabilities {first} pushes hardest {span}: {} of the sum of \
             their weighted gradient norms ({}; in the signals, before the model's own gradient).",
            percent(most / total),
            list.join(", ")
        );
        sentences.push(Sentence::new("terms", text, &parts));
    }
    if let Some(points) = weighted(course, "transport").filter(|norm| *norm > 0.0) {
        let before = course
            .steps()
            .first()
            .and_then(|_| course.before("transport/gradient_norm"));
        let rise = before
            .zip(course.now("transport/gradient_norm"))
            .filter(|(before, _)| *before > 0.0);
        let rise = rise.map(|(before, now)| {
            format!(", {} times that of the first quarter", number(now / before))
        });
        let text = format!(
            "Transport acts on hidden states instead: its weighted gradient norm is {} {span}{}; \
             the two kinds of norm are not to be compared.",
            number(points),
            rise.unwrap_or_default()
        );
        sentences.push(Sentence::new("terms", text, &[("transport", points)]));
    }
    sentences
}

/// Weight times gradient norm.
fn weighted(course: &Course, term: &str) -> Option<f64> {
    let norm = course.now(&format!("{term}/gradient_norm"))?;
    Some(norm * course.now(&format!("{term}/weight"))?.abs())
}
