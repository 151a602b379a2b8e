//! Stationary policies over a range of β or of group sizes, as curves.

use std::fmt::Write;
use std::path::Path;

use ::stationary::{Group, Stationary, divergence, solve};
use plot::{Chart, Curve, Spacing};
use record::write_atomic;
use serde_json::json;

use super::{Inquiry, refused, said};
use crate::arguments::StationaryArguments;
use crate::error::{Failure, InputError};
use crate::terminal::{Screen, output};

/// Points of a range of β, and at most of group sizes.
const POINTS: usize = 61;
/// Answers that have a curve: the likeliest anywhere.
const CURVES: usize = 7;
/// Plot cells on a terminal.
const WIDTH: usize = 64;
const HEIGHT: usize = 17;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Beta,
    Group,
}

/// A point of the sweep.
struct Point {
    x: f64,
    found: Stationary,
}

/// Solves at every point, prints curves and writes the files asked for.
///
/// # Errors
/// Where the range or a file's name is wrong, or a file cannot be written.
pub(super) fn sweep(
    inquiry: &Inquiry,
    range: &str,
    arguments: &StationaryArguments,
    screen: &Screen,
) -> Result<(), Failure> {
    let (name, values) = parse(range)?;
    if let Some(path) = arguments.out.iter().find(|path| kind(path).is_none()) {
        let path = path.display();
        return Err(said(format!(
            "--out is {path}; expected a name ending in .csv or .svg"
        ))
        .into());
    }
    let mut points = Vec::new();
    for x in values {
        let variant = match name {
            Name::Beta => inquiry.variant.with_beta(x),
            Name::Group => inquiry.variant.with_group(Group::Of(x as usize)),
        };
        let variant = variant.map_err(|error| refused(&error))?;
        let found = solve(&inquiry.question, &variant).map_err(|error| refused(&error))?;
        points.push(Point { x, found });
    }
    let chart = chart(inquiry, name, &points);
    for path in &arguments.out {
        let text = match kind(path) {
            Some("svg") => chart.svg(),
            _ => csv(inquiry, name, &points),
        };
        write_atomic(path, text.as_bytes()).map_err(|error| InputError::Unreadable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        screen.line(screen.dim(&format!("wrote {}", path.display())));
    }
    if arguments.json {
        let policies: Vec<&[f64]> = points.iter().map(|p| p.found.policy.as_slice()).collect();
        let object = json!({
            "sweep": name.word(),
            "values": points.iter().map(|point| point.x).collect::<Vec<_>>(),
            "answers": inquiry.names,
            "policies": policies,
            "unique": points.iter().map(|point| point.found.unique).collect::<Vec<_>>(),
        });
        output(&object.to_string())?;
        return Ok(());
    }
    let width = screen
        .columns()
        .map_or(WIDTH, |columns| columns.saturating_sub(24).min(WIDTH));
    for line in chart.lines(width, HEIGHT) {
        output(&line)?;
    }
    Ok(())
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Self::Beta => "beta",
            Self::Group => "group",
        }
    }
}

/// `beta=0.01..10` or `group=2..64` into values: β by equal ratios, all group sizes or, of many,
/// some by equal ratios.
fn parse(range: &str) -> Result<(Name, Vec<f64>), InputError> {
    let wrong = || {
        said(format!(
            "--sweep is {range}; expected beta=LOW..HIGH or group=LOW..HIGH with LOW below HIGH, \
             beta above 0 and group a whole number from 2"
        ))
    };
    let (name, bounds) = range.split_once('=').ok_or_else(wrong)?;
    let (low, high) = bounds.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    let (low, high) = (number(low)?, number(high)?);
    let ratios = || {
        let step = (high / low).ln() / (POINTS - 1) as f64;
        (0..POINTS).map(move |i| low * (step * i as f64).exp())
    };
    let is_range = low > 0.0 && low < high && high.is_finite();
    match name {
        "beta" if is_range => Ok((Name::Beta, ratios().collect())),
        "group" if is_range && low >= 2.0 && low.fract() + high.fract() <= 0.0 => {
            let mut sizes: Vec<f64> = if high - low < POINTS as f64 {
                (low as usize..=high as usize)
                    .map(|size| size as f64)
                    .collect()
            } else {
                ratios().map(f64::round).collect()
            };
            sizes.dedup();
            Ok((Name::Group, sizes))
        }
        _ => Err(wrong()),
    }
}

/// `csv` or `svg`.
fn kind(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?;
    ["csv", "svg"].into_iter().find(|kind| ending == *kind)
}

fn chart(inquiry: &Inquiry, name: Name, points: &[Point]) -> Chart {
    let highest = |k: usize| points.iter().map(|p| p.found.policy[k]).fold(0.0, f64::max);
    let mut shown: Vec<usize> = (0..inquiry.names.len()).collect();
    shown.sort_by(|a, b| highest(*b).total_cmp(&highest(*a)));
    shown.truncate(CURVES);
    shown.sort_unstable();
    let curve = |k: usize| Curve {
        name: match inquiry.question.rewards() {
            Some(rewards) => format!("{} (reward {})", inquiry.names[k], rewards[k]),
            None => inquiry.names[k].clone(),
        },
        points: points.iter().map(|p| (p.x, p.found.policy[k])).collect(),
    };
    let (x_label, fixed) = match name {
        Name::Beta => (
            "β",
            format!("groups of {}", {
                super::variant::group_name(inquiry.variant.group())
            }),
        ),
        Name::Group => (
            "completions of a group",
            format!("β = {}", inquiry.variant.beta()),
        ),
    };
    Chart {
        title: format!("Stationary policy of GRPO, {fixed}"),
        x_label: x_label.to_owned(),
        y_label: "probability".to_owned(),
        x_spacing: Spacing::Logarithmic,
        curves: shown.into_iter().map(curve).collect(),
        marks: Vec::new(),
        marks_name: String::new(),
    }
}

/// A row a point: its value, the policy, expected reward, both divergences in nats.
fn csv(inquiry: &Inquiry, name: Name, points: &[Point]) -> String {
    let mut text = name.word().to_owned();
    for k in 1..=inquiry.names.len() {
        let _ = write!(text, ",policy_{k}");
    }
    text += ",expected_reward,kl_policy_reference,kl_reference_policy,unique\n";
    let reference = inquiry.question.reference();
    for Point { x, found } in points {
        let _ = write!(text, "{x}");
        for probability in &found.policy {
            let _ = write!(text, ",{probability}");
        }
        let reward = inquiry.question.rewards();
        let reward = reward.map_or_else(String::new, |r| math::dot(r, &found.policy).to_string());
        let _ = writeln!(
            text,
            ",{reward},{},{},{}",
            divergence(&found.policy, reference),
            divergence(reference, &found.policy),
            found.unique
        );
    }
    text
}
