//! What one matrix of scores says of its constitutions, and what it says with its labels permuted.

use math::Key;

use crate::contrast::assert_square;
use crate::contrast_losses;

/// The most labels whose permutations are all gone through.
const LABELS_MAX: usize = 6;

/// The permutations of as many labels, and how many are drawn for more.
const PERMUTATIONS_MAX: usize = 720;

/// The figures of one question, or the sums of them over several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Bound from the contrast over constitutions, nats.
    pub over_constitutions: f64,
    /// Bound from the contrast over completions, nats.
    pub over_completions: f64,
    /// Own score less the log of the mean of the exponentials of the others, averaged over the
    /// completions.
    pub margin: f64,
    /// Share of completions whose own constitution scores highest; one that ties for the highest
    /// counts for its part.
    pub retrieval: f64,
    /// Mean of the own scores less the mean of all: what no constant added to a row or a column
    /// changes. Its mean over all permutations is 0.
    pub contrast: f64,
}

/// Reads a matrix, constitutions × completions.
///
/// # Panics
/// If the matrix is not square, or of fewer than two constitutions.
pub fn reading(matrix_kk: &[Vec<f64>]) -> Reading {
    assert_square(matrix_kk);
    let k = matrix_kk.len();
    assert!(k > 1, "one constitution has nothing to be told from");
    let bounds = contrast_losses(matrix_kk).bounds(k);
    let (mut margin, mut retrieval) = (0.0, 0.0);
    for (j, own_row) in matrix_kk.iter().enumerate() {
        let own = own_row[j];
        let others = matrix_kk.iter().enumerate().filter(|&(i, _)| i != j);
        let others: Vec<f64> = others.map(|(_, row)| row[j]).collect();
        margin += own - (math::log_sum_exp(&others) - (others.len() as f64).ln());
        if others.iter().all(|&other| other <= own) {
            let tied = others.iter().filter(|&&other| other >= own).count();
            retrieval += 1.0 / (1 + tied) as f64;
        }
    }
    Reading {
        over_constitutions: bounds.over_constitutions,
        over_completions: bounds.over_completions,
        margin: margin / k as f64,
        retrieval: retrieval / k as f64,
        contrast: crate::club(matrix_kk),
    }
}

/// The reading of a matrix under each permutation of the labels of its completions, the given
/// labels first; all `k!` for up to six constitutions, else these and 719 that `key` draws.
///
/// A permutation says that completion `j` was written under another constitution than it was: what
/// is read then is what scores of this shape give to labels that mean nothing.
///
/// # Panics
/// As [`reading`].
pub fn permuted_readings(matrix_kk: &[Vec<f64>], key: Key) -> Vec<Reading> {
    let k = matrix_kk.len();
    let permutations = if k <= LABELS_MAX {
        all_permutations(k)
    } else {
        let drawn = (1..PERMUTATIONS_MAX).map(|n| key.child(n as u64).permutation(k));
        std::iter::once((0..k).collect()).chain(drawn).collect()
    };
    let permuted = |order: &Vec<usize>| {
        let row = |row: &Vec<f64>| order.iter().map(|&j| row[j]).collect();
        reading(&matrix_kk.iter().map(row).collect::<Vec<_>>())
    };
    permutations.iter().map(permuted).collect()
}

/// In lexical order, so the first is the identity.
fn all_permutations(k: usize) -> Vec<Vec<usize>> {
    if k == 0 {
        return vec![Vec::new()];
    }
    let shorter = all_permutations(k - 1);
    let with_first = |first: usize| {
        let rest = shorter.iter().map(move |order| {
            let others = order.iter().map(|&i| i + usize::from(i >= first));
            std::iter::once(first).chain(others).collect()
        });
        rest.collect::<Vec<Vec<usize>>>()
    };
    (0..k).flat_map(with_first).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_permutation_is_gone_through_once_and_the_given_labels_first() {
        let found = all_permutations(4);
        assert_eq!(found[0], [0, 1, 2, 3]);
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (24, 24));
    }

    #[test]
    fn of_seven_labels_a_part_of_the_permutations_is_drawn() {
        let matrix: Vec<Vec<f64>> = (0..7).map(|i| vec![-(i as f64); 7]).collect();
        let found = permuted_readings(&matrix, Key::new(1));
        assert_eq!((found.len(), found[0]), (720, reading(&matrix)));
    }
}
