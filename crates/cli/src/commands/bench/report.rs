//! What was timed, as a table or as one JSON object with the keys of the peer's script.

use model::MachineRates;
use serde_json::{Map, Value, json};

use crate::arguments::{LengthsChoice, WorkArguments};
use crate::error::Failure;
use crate::terminal::{Screen, Table, percent, short};

/// One part of what is repeated: its seconds, and the operations in each repetition, if counted.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) seconds: Vec<f64>,
    pub(super) flops: Vec<f64>,
}

/// A figure beside the times, by its key and in words with its unit.
#[derive(Clone, Copy)]
pub(super) struct Fact {
    key: &'static str,
    words: &'static str,
    value: Option<f64>,
}

/// All that a bench found.
pub(super) struct Report<'a> {
    pub(super) work: &'a WorkArguments,
    /// What only this bench is told, and its name.
    pub(super) settings: Value,
    pub(super) threads: usize,
    pub(super) parts: Vec<Part>,
    pub(super) facts: Vec<Fact>,
    pub(super) machine: MachineRates,
}

impl Part {
    /// Operations a second, in the median repetition.
    fn flops_per_second(&self) -> Option<f64> {
        let rates = self.flops.iter().zip(&self.seconds);
        let rates: Vec<f64> = rates.map(|(flops, seconds)| flops / seconds).collect();
        (!rates.is_empty()).then(|| median(&rates))
    }
}

impl Fact {
    /// A figure that is known.
    pub(super) fn new(key: &'static str, words: &'static str, value: f64) -> Self {
        Self::optional(key, words, Some(value))
    }

    /// A figure that may not be known here.
    pub(super) fn optional(key: &'static str, words: &'static str, value: Option<f64>) -> Self {
        Self { key, words, value }
    }
}

impl Report<'_> {
    /// Prints it.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn print(&self, screen: &Screen) -> Result<(), Failure> {
        if self.work.json {
            crate::terminal::output(&Value::Object(self.json()).to_string())?;
            return Ok(());
        }
        for line in self.lines(screen) {
            crate::terminal::output(&line)?;
        }
        Ok(())
    }

    fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let work = self.work;
        let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
        insert("peer", json!("enigma"));
        insert("size", json!(work.shape.name()));
        insert("lengths", json!(lengths_name(work.lengths)));
        for (key, count) in [
            ("lora", work.lora),
            ("sequences", work.prompts * work.group),
            ("prompts", work.prompts),
            ("group", work.group),
            ("prompt_tokens", work.prompt_tokens),
            ("new_tokens", work.new_tokens),
            ("steps", work.steps),
            ("threads", self.threads),
        ] {
            insert(key, json!(count));
        }
        for (key, value) in self.settings.as_object().into_iter().flatten() {
            insert(key, value.clone());
        }
        for part in &self.parts {
            insert(&format!("{}_s", part.name), spread(&part.seconds));
        }
        for fact in &self.facts {
            insert(fact.key, json!(fact.value));
        }
        let rates = self.parts.iter().filter_map(|part| {
            let rate = part.flops_per_second()?;
            Some((part.name, rate))
        });
        let shared = |rate: f64| rate / self.machine.matrix_product_flops;
        let of = |value: &dyn Fn(f64) -> f64| -> Value {
            let named = rates.clone().map(|(name, rate)| (name, value(rate)));
            json!(named.collect::<std::collections::BTreeMap<_, _>>())
        };
        insert("model_flops_per_s", of(&|rate| rate));
        insert("share_of_matrix_product", of(&shared));
        let MachineRates {
            matrix_product_flops,
            memory_bandwidth,
        } = self.machine;
        insert("matrix_product_flops", json!(matrix_product_flops));
        insert("memory_bandwidth", json!(memory_bandwidth));
        object
    }

    fn lines(&self, screen: &Screen) -> Vec<String> {
        let work = self.work;
        let mut lines = vec![screen.bold(&format!(
            "{}: {} prompts × {} completions, {} + {} tokens, {} threads",
            work.shape.name(),
            work.prompts,
            work.group,
            work.prompt_tokens,
            work.new_tokens,
            self.threads
        ))];
        let head = ["", "median, s", "min", "max", "GFLOP/s", "of products"];
        let mut table = Table::new(&head);
        for part in &self.parts {
            let [low, middle, high] = order(&part.seconds);
            let rate = part.flops_per_second();
            let share = rate.map(|rate| rate / self.machine.matrix_product_flops);
            let giga = rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1}", rate / 1e9));
            let seconds = [middle, low, high].map(|seconds| short(Some(seconds)));
            let cells = [part.name.to_owned()].into_iter().chain(seconds);
            table.row(cells.chain([giga, percent(share)]).collect());
        }
        lines.extend(table.lines(screen));
        let MachineRates {
            matrix_product_flops,
            memory_bandwidth,
        } = self.machine;
        let (giga_flops, giga_bytes) = (matrix_product_flops / 1e9, memory_bandwidth / 1e9);
        let machine = [
            ("matrix products of this machine, GFLOP/s", Some(giga_flops)),
            ("read from memory, GB/s", Some(giga_bytes)),
        ];
        let facts = self.facts.iter().map(|fact| (fact.words, fact.value));
        let mut table = Table::new(&["", "figure"]);
        for (words, value) in facts.chain(machine) {
            table.row(vec![words.to_owned(), short(value)]);
        }
        lines.push(String::new());
        lines.extend(table.lines(screen));
        lines
    }
}

fn lengths_name(lengths: LengthsChoice) -> &'static str {
    match lengths {
        LengthsChoice::Maximum => "maximum",
        LengthsChoice::Drawn => "drawn",
    }
}

fn spread(values: &[f64]) -> Value {
    let [min, median, max] = order(values);
    json!({ "median": median, "min": min, "max": max })
}

/// The middle value, or the mean of the two middle ones.
pub(super) fn median(values: &[f64]) -> f64 {
    order(values)[1]
}

/// The least value, the median, the greatest.
fn order(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    [sorted[0], median, sorted[sorted.len() - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(order(&[3.0, 1.0, 2.0]).to_vec(), [1.0, 2.0, 3.0]);
        assert_eq!(order(&[4.0, 1.0, 2.0, 3.0]).to_vec(), [1.0, 2.5, 4.0]);
        assert_eq!(order(&[7.0]).to_vec(), [7.0; 3]);
    }
}
