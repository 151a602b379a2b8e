//! Scores as a person reads them: a chart of the index, the other figures, and whether the prompts
//! were enough.

use std::path::Path;
use std::time::Duration;

use console::measure_text_width;
use record::{PrincipleScore, Scores};

use super::metrics::{half_width, prompts_for};
use crate::terminal::{Screen, Table, duration, grouped};

/// Characters of a bar that stands for an index of 1.
const BAR: usize = 30;

/// How narrowly an index is known where nobody asks for more.
const NARROW: f64 = 0.01;

/// The chart, the table and the convergence.
pub(super) fn lines(scores: &Scores, screen: &Screen) -> Vec<String> {
    let mut lines = chart(scores, screen);
    lines.push(String::new());
    lines.push(screen.dim("bounds, information and what it is at most in nats"));
    lines.extend(figures(scores).lines(screen));
    lines.push(String::new());
    lines.extend(convergence(scores).lines(screen));
    lines
}

/// What it cost, and where it is kept.
pub(super) fn spent(scores: &Scores, path: &Path, screen: &Screen) {
    let cost = format!(
        "{} tokens · {} forward passes to score · {}",
        grouped(scores.tokens),
        grouped(scores.forward_passes),
        duration(Duration::from_secs_f64(scores.seconds))
    );
    screen.line("");
    for (name, value) in [
        ("spent", cost),
        ("scores", screen.accent(&path.display().to_string())),
    ] {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
}

/// A bar for each index: full up to the lower end of its interval, shaded up to the upper one, and
/// a mark where permuted labels end.
fn chart(scores: &Scores, screen: &Screen) -> Vec<String> {
    let names = scores.principles.iter().map(|p| measure_text_width(&p.id));
    let width = names.max().unwrap_or(0).max("Sufficiency Index".len());
    let head = format!(
        "{:<width$}   0{:>rest$}",
        "Sufficiency Index",
        1,
        rest = BAR - 1
    );
    let mut lines = vec![screen.dim(&head)];
    for score in &scores.principles {
        let space = " ".repeat(width - measure_text_width(&score.id));
        let (bar, value) = (bar(score), estimate(score.si, score.si_interval));
        let verdict = score.verdict.split(" from ").next().unwrap_or_default();
        let shown = format!(
            "{}{space}   {}   {value:<24}",
            score.id,
            screen.accent(&bar)
        );
        lines.push(format!("{shown}   {verdict}"));
    }
    lines
}

fn bar(score: &PrincipleScore) -> String {
    let at = |share: f64| (share * BAR as f64).round().clamp(0.0, BAR as f64) as usize;
    let [low, high] = score.si_interval.unwrap_or([score.si.unwrap_or(0.0); 2]);
    let permuted = score.si_permuted_interval.map(|[_, high]| at(high));
    let cell = |cell: usize| match cell {
        _ if permuted == Some(cell) && permuted > Some(0) => '┊',
        _ if cell < at(low) => '█',
        _ if cell < at(high) => '▒',
        _ => ' ',
    };
    (0..BAR).map(cell).collect()
}

fn figures(scores: &Scores) -> Table {
    let mut table = Table::new(&[
        "principle",
        "permuted SI",
        "over constitutions",
        "over completions",
        "information",
        "at most",
        "retrieval",
        "margin z",
    ]);
    for score in &scores.principles {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
        table.row(vec![
            score.id.clone(),
            number(score.si_permuted),
            number(score.bound_constitutions_nats),
            number(score.bound_completions_nats),
            number(score.information_nats),
            number(score.upper_nats),
            score
                .retrieval
                .map_or("–".to_owned(), |r| format!("{:.1} %", 100.0 * r)),
            score.margin_z.map_or("–".to_owned(), |z| format!("{z:.2}")),
        ]);
    }
    table
}

fn convergence(scores: &Scores) -> Table {
    let points = scores.principles.iter().map(|score| &score.convergence);
    let longest = points.max_by_key(|points| points.len());
    let prompts: Vec<usize> = longest.into_iter().flatten().map(|p| p.prompts).collect();
    let titles: Vec<String> = prompts.iter().map(|n| format!("{n} prompts")).collect();
    let wanted = format!("for ±{NARROW}");
    let head = ["SI after"]
        .into_iter()
        .chain(titles.iter().map(String::as_str));
    let mut table = Table::new(&head.chain([wanted.as_str()]).collect::<Vec<_>>());
    for score in &scores.principles {
        let at = |&prompts: &usize| {
            let point = score.convergence.iter().find(|p| p.prompts == prompts);
            point.map_or(String::new(), |point| match (point.si, point.si_interval) {
                (Some(si), Some(ends)) => format!("{si:.3} ±{:.3}", half_width(ends)),
                _ => "–".to_owned(),
            })
        };
        let width = score.si_interval.map(half_width);
        let needed = width.map(|width| grouped(prompts_for(score.prompts, width, NARROW)));
        let mut row = vec![score.id.clone()];
        row.extend(prompts.iter().map(at));
        row.push(needed.unwrap_or("–".to_owned()));
        table.row(row);
    }
    table
}

fn estimate(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    let value = value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    let ends = interval.map(|[low, high]| format!(" [{low:.3}, {high:.3}]"));
    value + &ends.unwrap_or_default()
}
