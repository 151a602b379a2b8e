//! Whether the reward moves, and what holds it.

use super::Sentence;
use crate::course::Course;
use crate::number::{number, percent};

/// Groups with equal rewards by cause: metric, and what it means.
const CAUSES: [(&str, &str); 4] = [
    (
        "frac_reward_zero_std/valid",
        "every completion valid, nothing left to teach",
    ),
    (
        "frac_reward_zero_std/truncated",
        "every completion cut by the length limit",
    ),
    (
        "frac_reward_zero_std/invalid",
        "no completion valid, nothing to imitate",
    ),
    (
        "frac_reward_zero_std/mixed",
        "valid and invalid alike rewarded",
    ),
];

/// From this share of groups on, the policy gradient is most of the time silent.
const STALLED: f64 = 0.5;

pub(super) fn reward(course: &Course) -> Vec<Sentence> {
    let Some(now) = course.now("reward") else {
        return Vec::new();
    };
    let span = course.span();
    let deviation = course.now("reward_std").unwrap_or(f64::NAN);
    let mut figures = vec![("reward", now), ("reward_std", deviation)];
    let text = match course.before("reward") {
        Some(before) => {
            figures.push(("reward, first quarter", before));
            // Twice the spread of the difference of two quarters' means, were rewards independent.
            let (verb, moved) = if (now - before).abs() < 0.01 {
                ("stayed at", String::new())
            } else if now > before {
                ("rose to", format!(" from {}", number(before)))
            } else {
                ("fell to", format!(" from {}", number(before)))
            };
            format!("The mean reward {verb} {} {span}{moved}.", number(now))
        }
        None => format!("The mean reward is {} {span}.", number(now)),
    };
    let mut sentences = vec![Sentence::new("reward", text, &figures)];
    sentences.extend(equal(course));
    sentences
}

/// The share of groups that teach nothing, by cause.
fn equal(course: &Course) -> Option<Sentence> {
    let share = course.now("frac_reward_zero_std")?;
    let span = course.span();
    let mut figures = vec![("frac_reward_zero_std", share)];
    let mut causes: Vec<(&str, &str, f64)> = CAUSES
        .into_iter()
        .filter_map(|(metric, meaning)| Some((metric, meaning, course.now(metric)?)))
        .filter(|(_, _, share)| *share > 0.0)
        .collect();
    causes.sort_by(|a, b| b.2.total_cmp(&a.2));
    let list = causes
        .iter()
        .map(|(_, meaning, share)| format!("{} {meaning}", percent(*share)));
    let list: Vec<String> = list.collect();
    figures.extend(causes.iter().map(|&(metric, _, share)| (metric, share)));
    let causes_said = if list.is_empty() {
        String::new()
    } else {
        format!(" ({})", list.join("; "))
    };
    let silent = match share {
        _ if share <= 0.0 => "every group told GRPO something".to_owned(),
        _ => format!(
            "{} of the groups had equal rewards and gave GRPO no gradient{causes_said}",
            percent(share)
        ),
    };
    let since = course
        .since("frac_reward_zero_std", STALLED)
        .filter(|_| course.is_run);
    let since = since.map(|step| {
        figures.push(("at least half equal since step", step as f64));
        format!(
            " It is at least half of them since step {step}: from there on the reward can \
                 hardly move, and other terms drive the update."
        )
    });
    let text = format!(
        "{}{} {span}.{}",
        silent[..1].to_uppercase(),
        &silent[1..],
        since.unwrap_or_default()
    );
    Some(Sentence::new("reward", text, &figures))
}
