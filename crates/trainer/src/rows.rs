//! From groups of completions to the rows of a batch.

use math::Key;
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

/// The most points of a cloud: what its transport costs grows with their cube \[ours\].
const POINTS_MAX: usize = 1024;

/// The rows whose completions are gated, and so have a point; of more than 1024, that many drawn
/// evenly without replacement.
pub(crate) fn cloud(batch: &Batch, key: Key) -> Vec<usize> {
    let is_gated = |&row: &usize| batch.rows[row].reasoning.is_some();
    let gated: Vec<usize> = (0..batch.rows.len()).filter(is_gated).collect();
    if gated.len() <= POINTS_MAX {
        return gated;
    }
    let drawn = key.permutation(gated.len()).into_iter().take(POINTS_MAX);
    let mut rows: Vec<usize> = drawn.map(|index| gated[index]).collect();
    rows.sort_unstable();
    rows
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of these rows, every other is gated.
    fn batch(rows: usize) -> Batch {
        let row = |row: usize| Row {
            prefix: 0,
            tokens_t: vec![0],
            reasoning: row.is_multiple_of(2).then_some(0..1),
        };
        Batch {
            prefixes: vec![vec![0]],
            rows: (0..rows).map(row).collect(),
            temperature: 1.0,
        }
    }

    #[test]
    fn a_cloud_holds_every_gated_row_up_to_its_limit_and_beyond_it_a_draw_of_them() {
        let key = Key::new(1);
        let all: Vec<usize> = (0..2048).step_by(2).collect();
        assert_eq!(cloud(&batch(2048), key), all);
        let many = batch(8192);
        let drawn = cloud(&many, key);
        assert_eq!(drawn.len(), 1024);
        assert!(drawn.iter().all(|row| row.is_multiple_of(2)) && drawn.is_sorted_by(|a, b| a < b));
        // A quarter of the gated rows, so about 512 of the first half: the deviation is 14.
        let first_half = drawn.iter().filter(|&&row| row < 4096).count();
        assert!((442..582).contains(&first_half), "{first_half}");
        assert_eq!(drawn, cloud(&many, key));
        assert_ne!(drawn, cloud(&many, Key::new(2)));
    }
}
