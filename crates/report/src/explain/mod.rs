//! Sentences on a run, each with the figures it rests on.

mod completions;
mod contrast;
mod drift;
mod engine;
mod loss;
mod progress;
mod reward;
mod terms;
mod update;

use std::collections::BTreeMap;

use record::StepRecord;

use crate::ReportError;
use crate::course::Course;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// What it is about, in a word.
    pub topic: &'static str,
    /// The statement, with its figures.
    pub text: String,
    /// The figures, by the metrics' names or after them.
    pub figures: BTreeMap<String, f64>,
}

/// Says a topic's sentences; none where the record does not hold their figures.
type Topic = fn(&Course) -> Vec<Sentence>;

/// The topics, in the order in which they are told.
const TOPICS: [Topic; 9] = [
    progress::progress,
    loss::loss,
    reward::reward,
    terms::terms,
    update::update,
    completions::completions,
    contrast::contrast,
    drift::drift,
    engine::engine,
];

/// What a run did and why, from its plan (TOML) and its steps alone; of one step where it is named.
///
/// Of a run of eight steps or more the last quarter is told, beside the first where they differ.
///
/// # Errors
/// Where no step is on record or not the one asked for, or the plan is not TOML.
pub fn explain(
    plan: &str,
    steps: &[StepRecord],
    step: Option<usize>,
) -> Result<Vec<Sentence>, ReportError> {
    let course = Course::new(plan, steps, step)?;
    Ok(TOPICS.iter().flat_map(|topic| topic(&course)).collect())
}

impl Sentence {
    fn new(topic: &'static str, text: impl Into<String>, figures: &[(&str, f64)]) -> Self {
        let figures = figures
            .iter()
            .map(|&(name, value)| (name.to_owned(), value));
        Self {
            topic,
            text: text.into(),
            figures: figures.collect(),
        }
    }
}
