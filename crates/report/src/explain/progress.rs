//! How far the run is.

use super::Sentence;
use crate::course::Course;
use crate::number::number;

pub(super) fn progress(course: &Course) -> Vec<Sentence> {
    let steps = course.steps();
    let last = &steps[steps.len() - 1];
    let planned = course.planned("run", "max_steps");
    let Some(planned) = planned.filter(|planned| (last.step as f64) < *planned) else {
        return Vec::new();
    };
    if steps.len() == 1 {
        return Vec::new();
    }
    let text = format!(
        "{} of {planned} steps are on record: the run goes on or was broken off, and trends are \
         those of the steps so far.",
        last.step
    );
    let rate = course
        .mean("step_time")
        .map(|seconds| (planned - last.step as f64) * seconds);
    let left = rate.map(|seconds| format!(" What is left takes about {} s.", number(seconds)));
    let figures = [("step", last.step as f64), ("run.max_steps", planned)];
    vec![Sentence::new(
        "progress",
        text + &left.unwrap_or_default(),
        &figures,
    )]
}
