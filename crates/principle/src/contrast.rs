//! The rows that set each constitution's completion under every constitution, and the matrix that
//! scoring them gives.
//!
//! In a matrix `M`, row `i` is a constitution and column `j` the completion drawn under
//! constitution `j`: `M[i][j]` is the mean log-probability of the reasoning of `j` under `i`.

use math::mean;
use policy::{Batch, Row, Signals};

/// The contrasts of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contrasts {
    /// For each question with a gated completion under every constitution, in the order given:
    /// entry `[i][j]` is the row of the batch that has completion `j` under constitution `i`.
    pub rows_qkk: Vec<Vec<Vec<usize>>>,
    /// Questions left out, because some constitution has no gated completion.
    pub incomplete: usize,
}

/// Adds to a batch the rows that the contrasts of some questions need.
///
/// `prefixes_qk` gives, for each question, the batch's prefix of each of its `k` constitutions.
/// Completions are gated if their row has reasoning; of the gated rows under a prefix the first is
/// taken, which is a fair draw, since completions of a group are exchangeable. Its row serves as
/// the entry `[j][j]`; the others, `k² − k` a question, are new and keep its tokens and reasoning.
/// Call it once on a batch: rows it has added would pass for completions of their new prefix.
///
/// # Panics
/// If a question has fewer than two constitutions, or two with one prefix.
pub fn rows(batch: &mut Batch, prefixes_qk: &[Vec<usize>]) -> Contrasts {
    let mut gated_p = vec![None; batch.prefixes.len()];
    for (index, row) in batch.rows.iter().enumerate() {
        if row.reasoning.is_some() {
            gated_p[row.prefix].get_or_insert(index);
        }
    }
    let mut rows_qkk = Vec::with_capacity(prefixes_qk.len());
    for prefixes_k in prefixes_qk {
        assert!(prefixes_k.len() >= 2, "a contrast needs two constitutions");
        let repeated = (1..prefixes_k.len()).any(|i| prefixes_k[..i].contains(&prefixes_k[i]));
        assert!(
            !repeated,
            "two constitutions of a question share a prefix: {prefixes_k:?}"
        );
        let chosen_k: Option<Vec<usize>> =
            prefixes_k.iter().map(|&prefix| gated_p[prefix]).collect();
        if let Some(chosen_k) = chosen_k {
            rows_qkk.push(rows_kk(batch, prefixes_k, &chosen_k));
        }
    }
    let incomplete = prefixes_qk.len() - rows_qkk.len();
    Contrasts {
        rows_qkk,
        incomplete,
    }
}

fn rows_kk(batch: &mut Batch, prefixes_k: &[usize], chosen_k: &[usize]) -> Vec<Vec<usize>> {
    let mut entry = |i: usize, j: usize| {
        if i == j {
            return chosen_k[j];
        }
        batch.rows.push(Row {
            prefix: prefixes_k[i],
            ..batch.rows[chosen_k[j]].clone()
        });
        batch.rows.len() - 1
    };
    let k = chosen_k.len();
    (0..k)
        .map(|i| (0..k).map(|j| entry(i, j)).collect())
        .collect()
}

/// The matrix `M` of one question, in nats a token, from the signals of the batch.
///
/// # Panics
/// If a row has no reasoning, or the signals are of another batch.
pub fn matrix(rows_kk: &[Vec<usize>], batch: &Batch, signals: &Signals) -> Vec<Vec<f64>> {
    let entry = |&row: &usize| {
        let reasoning = batch.rows[row].reasoning.clone();
        let reasoning = reasoning.expect("a row of a contrast has reasoning");
        mean(&signals.logprobs_nt[row][reasoning])
    };
    rows_kk
        .iter()
        .map(|rows_k| rows_k.iter().map(entry).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use math::log_softmax;
    use policy::{Scorer, TabularPolicy};

    use super::*;

    /// Two questions under three constitutions; `gated[p]` completions of prefix `p` are gated.
    fn batch(gated: [usize; 6]) -> Batch {
        let rows = (0..6).flat_map(|prefix| {
            let row = move |sample: usize| Row {
                prefix,
                tokens_t: vec![prefix as u32 % 4, sample as u32, 3],
                reasoning: (sample >= 3 - gated[prefix]).then_some(0..1),
            };
            (0..3).map(row)
        });
        Batch {
            prefixes: (0..6).map(|prefix| vec![9, prefix]).collect(),
            rows: rows.collect(),
            temperature: 1.0,
        }
    }

    const PREFIXES_QK: [[usize; 3]; 2] = [[0, 1, 2], [3, 4, 5]];

    fn extend(batch: &mut Batch) -> Contrasts {
        rows(batch, &PREFIXES_QK.map(|prefixes_k| prefixes_k.to_vec()))
    }

    #[test]
    fn entry_i_j_is_the_first_gated_completion_of_j_under_the_prefix_of_i() {
        let before = batch([1, 2, 3, 3, 2, 1]);
        let mut after = before.clone();
        let contrasts = extend(&mut after);
        assert_eq!((contrasts.rows_qkk.len(), contrasts.incomplete), (2, 0));
        for (prefixes_k, rows_kk) in PREFIXES_QK.iter().zip(&contrasts.rows_qkk) {
            for (j, &own_prefix) in prefixes_k.iter().enumerate() {
                let is_gated = |row: &Row| row.prefix == own_prefix && row.reasoning.is_some();
                let own = before.rows.iter().position(is_gated).expect("gated");
                assert_eq!(rows_kk[j][j], own);
                for (i, &prefix) in prefixes_k.iter().enumerate() {
                    let expected = Row {
                        prefix,
                        ..before.rows[own].clone()
                    };
                    assert_eq!(after.rows[rows_kk[i][j]], expected, "[{i}][{j}]");
                }
            }
        }
    }

    #[test]
    fn own_completions_are_reused_and_each_new_row_is_used_once() {
        let before = batch([3; 6]);
        let mut after = before.clone();
        let contrasts = extend(&mut after);
        assert_eq!(after.rows[..before.rows.len()], before.rows[..]);
        assert_eq!(after.prefixes, before.prefixes);
        let entries = contrasts.rows_qkk.iter().flatten().flatten();
        let mut new: Vec<usize> = entries
            .copied()
            .filter(|&r| r >= before.rows.len())
            .collect();
        new.sort_unstable();
        assert_eq!(
            new,
            (before.rows.len()..before.rows.len() + 2 * 6).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_question_with_an_ungated_constitution_is_counted_and_adds_nothing() {
        let before = batch([1, 0, 3, 1, 1, 1]);
        let mut after = before.clone();
        let contrasts = extend(&mut after);
        assert_eq!((contrasts.rows_qkk.len(), contrasts.incomplete), (1, 1));
        assert_eq!(after.rows.len(), before.rows.len() + 6);
        assert!(
            contrasts.rows_qkk[0]
                .iter()
                .flatten()
                .all(|&row| after.rows[row].prefix >= 3)
        );
    }

    #[test]
    fn a_table_of_one_token_reasonings_has_its_own_logits_as_its_matrix() {
        let logits_cv = [
            [1.0, 0.2, -0.5, 0.0],
            [0.1, 0.9, 0.3, 0.0],
            [-0.4, 0.0, 1.2, 0.0],
        ];
        let policy = TabularPolicy::new(4, &logits_cv.map(|row| row.to_vec()), &[3]);
        let row = |prefix| Row {
            prefix,
            tokens_t: vec![prefix as u32, 3],
            reasoning: Some(0..1),
        };
        let mut batch = Batch {
            prefixes: vec![vec![0], vec![1], vec![2]],
            rows: (0..3).map(row).collect(),
            temperature: 1.0,
        };
        let contrasts = rows(&mut batch, &[vec![0, 1, 2]]);
        let signals = policy.signals(&batch).expect("known tokens");
        let found_kk = matrix(&contrasts.rows_qkk[0], &batch, &signals);
        for (i, logits_v) in logits_cv.iter().enumerate() {
            let logprobs_v = log_softmax(logits_v);
            for (j, found) in found_kk[i].iter().enumerate() {
                assert!((found - logprobs_v[j]).abs() < 1e-14, "[{i}][{j}]: {found}");
            }
        }
    }
}
