//! A study's table: the figures of each set and arm, and how they go with the index.

use math::{Interval, Key, bootstrap, spearman};
use serde_json::{Value, json};

use super::outcome::{FIGURES, Outcome};
use super::plan::StudyPlan;
use crate::terminal::{Screen, Table};

/// Resamples of the runs behind each correlation.
const RESAMPLES: usize = 2000;

/// Names the resamples.
const SEED: u64 = 42;

/// The figures of every set and arm, then the rank correlations of each arm.
pub(super) fn lines(plan: &StudyPlan, outcomes: &[Outcome], screen: &Screen) -> Vec<String> {
    let titles = FIGURES.map(|(title, _)| title);
    let mut table = Table::new(&[&["set, arm", "SI"][..], &titles].concat());
    for arm in plan.arms() {
        for set in StudyPlan::sets() {
            let of = |o: &&Outcome| o.set == set && o.arm == arm;
            let found: Vec<&Outcome> = outcomes.iter().filter(of).collect();
            let column = |value: &dyn Fn(&Outcome) -> f64| {
                spread(&found.iter().map(|o| value(o)).collect::<Vec<_>>())
            };
            let mut row = vec![format!("{set}, {arm}"), column(&|o| o.si)];
            row.extend((0..FIGURES.len()).map(|figure| column(&|o| o.figures[figure])));
            table.row(row);
        }
    }
    let mut lines = table.lines(screen);
    lines.push(String::new());
    let mut table = Table::new(&[&["rank correlation with SI"][..], &titles].concat());
    for arm in plan.arms() {
        let mut row = vec![arm.to_owned()];
        row.extend((0..FIGURES.len()).map(|figure| {
            let found = correlation(outcomes, arm, figure);
            found.ends().map_or("–".to_owned(), |[low, high]| {
                format!("{:.2} [{low:.2}, {high:.2}]", found.value)
            })
        }));
        table.row(row);
    }
    lines.extend(table.lines(screen));
    lines
}

/// Spearman's correlation of a set's index with a figure over the runs of an arm, with the
/// bootstrap interval over runs.
fn correlation(outcomes: &[Outcome], arm: &str, figure: usize) -> Interval {
    let of_arm = outcomes.iter().filter(|outcome| outcome.arm == arm);
    let pairs = of_arm.map(|outcome| (outcome.si, outcome.figures[figure]));
    let pairs: Vec<(f64, f64)> = pairs.filter(|(_, figure)| figure.is_finite()).collect();
    bootstrap(pairs.len(), RESAMPLES, Key::new(SEED), |drawn| {
        spearman(&drawn.iter().map(|&run| pairs[run]).collect::<Vec<_>>())
    })
}

/// The runs and the correlations.
pub(super) fn result(plan: &StudyPlan, outcomes: &[Outcome]) -> Value {
    let run = |outcome: &Outcome| {
        let figures = FIGURES.iter().zip(outcome.figures);
        let figures = figures.map(|((_, key), value)| ((*key).to_owned(), json!(value)));
        let mut object: serde_json::Map<String, Value> = figures.collect();
        object.insert("set".to_owned(), json!(outcome.set));
        object.insert("arm".to_owned(), json!(outcome.arm));
        object.insert("seed".to_owned(), json!(outcome.seed));
        object.insert("si".to_owned(), json!(outcome.si));
        Value::Object(object)
    };
    let arm = |arm: &str| {
        let figure = |(number, (_, key)): (usize, &(&str, &str))| {
            let found = correlation(outcomes, arm, number);
            (
                (*key).to_owned(),
                json!({"rho": found.value, "interval": found.ends()}),
            )
        };
        let figures = FIGURES.iter().enumerate().map(figure);
        let figures: serde_json::Map<String, Value> = figures.collect();
        (arm.to_owned(), Value::Object(figures))
    };
    let arms: serde_json::Map<String, Value> = plan.arms().map(arm).collect();
    let runs: Vec<Value> = outcomes.iter().map(run).collect();
    json!({"runs": runs, "rank_correlations_with_si": arms})
}

/// Mean ± sample standard deviation over the seeds.
fn spread(values: &[f64]) -> String {
    let (mean, deviation) = (math::mean(values), math::variance(values, 1).sqrt());
    if deviation.is_finite() {
        format!("{mean:.3} ± {deviation:.3}")
    } else if mean.is_finite() {
        format!("{mean:.3}")
    } else {
        "–".to_owned()
    }
}
