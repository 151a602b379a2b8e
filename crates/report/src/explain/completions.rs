//! Completions that are cut, that nobody could grade, and how varied they are.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

pub(super) fn completions(course: &Course) -> Vec<Sentence> {
    [truncation(course), ungraded(course), entropy(course)]
        .into_iter()
        .flatten()
        .collect()
}

fn truncation(course: &Course) -> Option<Sentence> {
    let cut = course.now("completions/clipped_ratio")?;
    let length = course.now("completions/mean_length")?;
    let mut figures = vec![
        ("completions/clipped_ratio", cut),
        ("completions/mean_length", length),
    ];
    let limit = course.planned("sampling", "max_completion_length");
    let limit_said = limit.map_or_else(String::new, |limit| format!(" of {limit} tokens"));
    let span = course.span();
    let length = number(length);
    let text = if cut <= 0.0 {
        format!("No completion met the length limit{limit_said} {span}; their mean is {length}.")
    } else {
        let before = course.before("completions/clipped_ratio");
        let trend = before.map(|before| {
            figures.push(("completions/clipped_ratio, first quarter", before));
            format!(", {} in the first quarter", percent(before))
        });
        format!(
            "The length limit{limit_said} cut {} of the completions {span}{} (mean length \
             {length}); a completion that is cut before it closes its tags is not valid.",
            percent(cut),
            trend.unwrap_or_default()
        )
    };
    Some(Sentence::new("completions", text, &figures))
}

fn ungraded(course: &Course) -> Option<Sentence> {
    let count = course.sum("ungraded").filter(|count| *count > 0.0)?;
    let groups = course.mean("frac_groups_ungraded").unwrap_or(0.0);
    let text = format!(
        "{count} completions could not be graded, {} of the groups as a whole: they have no reward \
         and no advantage, and are in no mean; look at what their graders need.",
        percent(groups)
    );
    let figures = [("ungraded", count), ("frac_groups_ungraded", groups)];
    Some(Sentence::new("completions", text, &figures))
}

fn entropy(course: &Course) -> Option<Sentence> {
    let (now, before) = (course.now("entropy")?, course.before("entropy")?);
    let collapsed = now < 0.25 * before;
    let collapsed = if collapsed {
        ": completions of a group grow alike, and rewards in it with them"
    } else {
        ""
    };
    let text = format!(
        "The entropy of a token is {} nats {}, {} in the first quarter{collapsed}.",
        number(now),
        course.span(),
        number(before)
    );
    Some(Sentence::new(
        "completions",
        text,
        &[("entropy", now), ("entropy, first quarter", before)],
    ))
}
