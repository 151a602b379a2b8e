//! From groups of completions to the rows of a batch.

use policy::{Batch, Row};
use rollout::{Completion, Group};

/// A row for each completion that `is_scored`, under its own constitution and in the order of the
/// groups, whose prefixes are the batch's; and where each row is among the groups, as the numbers
/// of its group and of its completion.
///
/// `temperature` is that of sampling.
pub(crate) fn own_rows(
    groups: &[Group],
    temperature: f64,
    is_scored: impl Fn(&Completion) -> bool,
) -> (Batch, Vec<(usize, usize)>) {
    let mut batch = Batch {
        prefixes: groups.iter().map(|group| group.prefix.clone()).collect(),
        rows: Vec::new(),
        temperature,
    };
    let mut places_n = Vec::new();
    for (prefix, group) in groups.iter().enumerate() {
        for (number, completion) in group.completions.iter().enumerate() {
            if !is_scored(completion) {
                continue;
            }
            batch.rows.push(Row {
                prefix,
                tokens_t: completion.sample.tokens_t.clone(),
                reasoning: completion.reasoning.clone(),
            });
            places_n.push((prefix, number));
        }
    }
    (batch, places_n)
}

/// The rows whose completions are gated, and so have a point.
pub(crate) fn gated(batch: &Batch) -> Vec<usize> {
    let is_gated = |&row: &usize| batch.rows[row].reasoning.is_some();
    (0..batch.rows.len()).filter(is_gated).collect()
}

/// For each question asked under more than one constitution, the prefixes of its constitutions in
/// their order.
pub(crate) fn contrasted_qk(groups: &[Group]) -> Vec<Vec<usize>> {
    let same = |a: &Group, b: &Group| a.question == b.question;
    let mut first = 0;
    let mut prefixes_qk = Vec::new();
    for groups_k in groups.chunk_by(same) {
        if groups_k.len() > 1 {
            prefixes_qk.push((first..first + groups_k.len()).collect());
        }
        first += groups_k.len();
    }
    prefixes_qk
}
