//! What the clips hold back, of ratios and of gradients.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

pub(super) fn update(course: &Course) -> Vec<Sentence> {
    ratios(course).into_iter().chain(gradient(course)).collect()
}

fn ratios(course: &Course) -> Option<Sentence> {
    let region = course.now("clip_ratio/region_mean")?;
    let (low, high) = (
        course.now("clip_ratio/low_mean")?,
        course.now("clip_ratio/high_mean")?,
    );
    let iterations = course.planned("grpo", "num_iterations").unwrap_or(1.0);
    let span = course.span();
    let text = match (region > 0.0, iterations > 1.0) {
        (true, _) => format!(
            "The clip held {} of the ratios {span} ({} below, {} above): those completions have no \
             gradient.",
            percent(region),
            percent(low),
            percent(high)
        ),
        (false, false) => format!(
            "The clip held no ratio {span}, as it must be with one update a rollout: epsilon \
             has no effect."
        ),
        (false, true) => format!(
            "The clip held no ratio {span} in {iterations} updates a rollout: the policy moves \
             less than epsilon between rollouts."
        ),
    };
    Some(Sentence::new(
        "clipping",
        text,
        &[("clip_ratio/region_mean", region)],
    ))
}

fn gradient(course: &Course) -> Option<Sentence> {
    let norm = course.now("grad_norm")?;
    let limit = course
        .planned("optimizer", "max_grad_norm")
        .filter(|limit| *limit > 0.0)?;
    let share = course.share("grad_norm", |norm| norm > limit)?;
    let largest = course.largest("grad_norm")?;
    let figures = [
        ("grad_norm", norm),
        ("grad_norm, largest", largest),
        ("share of steps clipped", share),
        ("optimizer.max_grad_norm", limit),
    ];
    let effect = if share > 0.5 {
        "; most updates have that length before AdamW rescales them, whatever the terms' weights"
    } else {
        ""
    };
    let clipped = if share > 0.0 {
        let (limit, share) = (number(limit), percent(share));
        format!(
            "exceeded max_grad_norm {limit} and was scaled down in {share} of the steps{effect}"
        )
    } else {
        format!("never exceeded max_grad_norm {}", number(limit))
    };
    let text = format!(
        "The gradient's norm is {} {} and at most {}; it {clipped}.",
        number(norm),
        course.span(),
        number(largest)
    );
    Some(Sentence::new("clipping", text, &figures))
}
