//! What the contrast between constitutions found.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

pub(super) fn contrast(course: &Course) -> Vec<Sentence> {
    let Some(complete) = course.now("sami/prompts") else {
        return Vec::new();
    };
    let incomplete = course.now("sami/incomplete").unwrap_or(0.0);
    let span = course.span();
    let share = incomplete / (complete + incomplete);
    let counted = [("sami/prompts", complete), ("sami/incomplete", incomplete)];
    let mut sentences = Vec::new();
    if incomplete > 0.0 {
        let text = format!(
            "{} of the questions gave SAMI nothing {span}: under one of their constitutions no \
             completion was valid.",
            percent(share)
        );
        sentences.push(Sentence::new("contrast", text, &counted));
    }
    if let Some(bound) = course.now("sami/bound_constitutions") {
        let before = course.before("sami/bound_constitutions");
        let trend = before.map(|before| format!(", {} in the first quarter", number(before)));
        let text = format!(
            "A completion tells at least {} nats about its constitution {span}{}; ln 2 = 0.693 \
             would tell two of them apart for certain.",
            number(bound),
            trend.unwrap_or_default()
        );
        sentences.push(Sentence::new(
            "contrast",
            text,
            &[("sami/bound_constitutions", bound)],
        ));
    }
    sentences
}
