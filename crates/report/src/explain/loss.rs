//! Why the loss is what it is.

use super::Sentence;
use crate::course::Course;
use crate::number::number;

pub(super) fn loss(course: &Course) -> Vec<Sentence> {
    let Some(loss) = course.now("loss") else {
        return Vec::new();
    };
    let (Some(grpo), Some(grad_norm)) = (course.now("grpo/loss"), course.now("grad_norm")) else {
        return supervised(course, loss);
    };
    let span = course.span();
    let mut sentences = vec![policy_gradient(course, grpo, grad_norm)];
    let other = ["kl", "sami", "transport"].map(|term| {
        let value = course.now(&format!("{term}/loss"));
        let weight = course.now(&format!("{term}/weight"));
        (
            term,
            value.zip(weight).map(|(value, weight)| value * weight),
        )
    });
    let parts: Vec<(&str, f64)> = other
        .into_iter()
        .filter_map(|(term, part)| Some((term, part?)))
        .collect();
    if !parts.is_empty() {
        let list = parts
            .iter()
            .map(|(term, part)| format!("{term} {}", number(*part)));
        let list: Vec<String> = list.collect();
        let text = format!(
            "The loss is {} {span}: grpo {}, and weighted {}.",
            number(loss),
            number(grpo),
            list.join(", ")
        );
        let mut figures = vec![("loss", loss), ("grpo/loss", grpo)];
        figures.extend(parts);
        sentences.push(Sentence::new("loss", text, &figures));
    }
    sentences
}

/// The value of GRPO alone, which surprises most.
fn policy_gradient(course: &Course, grpo: f64, grad_norm: f64) -> Sentence {
    let iterations = course.planned("grpo", "num_iterations").unwrap_or(1.0);
    let figures = [("grpo/loss", grpo), ("grad_norm", grad_norm)];
    let value = number(grpo);
    if iterations > 1.0 {
        let text = format!(
            "GRPO's value is {value} {}: each rollout serves {iterations} updates, so the ratio \
             leaves 1 after the first of them and the value is no longer minus the mean advantage.",
            course.span()
        );
        return Sentence::new("loss", text, &figures);
    }
    let norm = course.now("grpo/gradient_norm").unwrap_or(f64::NAN);
    if norm <= 0.0 {
        let text = format!(
            "GRPO's value is {value} and so is its gradient {}: no group had two different \
             rewards.",
            course.span()
        );
        return Sentence::new("loss", text, &figures);
    }
    let text = format!(
        "GRPO's value is {value} {}, and need not fall: with one update a rollout the ratio is 1, \
         so the value is minus the mean advantage over tokens, near 0 whatever the rewards; its \
         gradient is not 0 ({} in the signals).",
        course.span(),
        number(norm)
    );
    Sentence::new(
        "loss",
        text,
        &[figures[0], figures[1], ("grpo/gradient_norm", norm)],
    )
}

/// Of a warm start: the loss is a negative log-likelihood.
fn supervised(course: &Course, loss: f64) -> Vec<Sentence> {
    let span = course.span();
    let text = match course.before("loss") {
        Some(before) => format!(
            "The loss is the mean negative log-probability of a completion's token: {} nats at \
             first, {} {span}; the model is as unsure as among {} equal tokens, after {}.",
            number(before),
            number(loss),
            number(loss.exp()),
            number(before.exp())
        ),
        None => format!(
            "The loss is the mean negative log-probability of a completion's token: {} nats \
             {span}.",
            number(loss)
        ),
    };
    vec![Sentence::new("loss", text, &[("loss", loss)])]
}
