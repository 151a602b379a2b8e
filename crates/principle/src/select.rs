//! A set of principles out of many: informative ones that do not say the same.
//!
//! Two principles say the same where the same prompts show them: draws are named by prompt and
//! constitution alone, so two wordings of one rule get nearly the same completions, and their
//! margins rise and fall together from prompt to prompt.

use math::{dot, mean, norm};

use crate::INFORMATIVE;

/// A principle that can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its Sufficiency Index; below 0 counts as 0.
    pub si: f64,
    /// Its margins on prompts that all candidates share.
    pub margins_q: Vec<f64>,
}

/// A choice, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// The candidate.
    pub candidate: usize,
    /// What it adds to the coverage of those before it.
    pub gain: f64,
    /// What it would add to an empty set.
    pub alone: f64,
    /// Of those before it, the one whose margins correlate with its own the most, and by how much.
    pub nearest: Option<(usize, f64)>,
}

/// How well a set covers: `ln det(1 + S·C·S/λ)` of its members' indices on the diagonal of `S` and
/// the correlations of their margins in `C`, with λ the square of [`INFORMATIVE`].
///
/// It is 0 for no members, grows with each, and a member adds the less the more it correlates with
/// others: monotone and submodular. \[ours\]
///
/// # Panics
/// If candidates have margins on different numbers of prompts.
///
/// # Source
/// The form is that of a determinantal point process with qualities: Kulesza and Taskar, arXiv
/// 1207.6083, section 3.1; the index as the quality is ours.
pub fn coverage(candidates: &[Candidate], members: &[usize]) -> f64 {
    let entry = |&p: &usize, &q: &usize| {
        let quality = |at: usize| candidates[at].si.max(0.0) / INFORMATIVE;
        let shared = quality(p) * quality(q) * correlation(candidates, p, q);
        shared + f64::from(p == q)
    };
    let row = |p: &usize| members.iter().map(|q| entry(p, q)).collect();
    log_determinant(members.iter().map(row).collect())
}

/// Those in `included`, in their order, then greedily whatever covers most, up to `size`.
///
/// The greedy set covers at least `1 − 1/e` of the best of its size, where nothing is included.
///
/// # Panics
/// If there are fewer candidates than `size`, or more included.
///
/// # Source
/// Nemhauser, Wolsey and Fisher, "An analysis of approximations for maximizing submodular set
/// functions" (1978), section 4.
pub fn select(candidates: &[Candidate], included: &[usize], size: usize) -> Vec<Pick> {
    assert!(
        included.len() <= size && size <= candidates.len(),
        "a set of {size}"
    );
    let mut members = Vec::with_capacity(size);
    let mut picks = Vec::with_capacity(size);
    for number in 0..size {
        let covered = coverage(candidates, &members);
        let gain = |candidate: usize| {
            let grown = [&members[..], &[candidate]].concat();
            coverage(candidates, &grown) - covered
        };
        let open = (0..candidates.len()).filter(|c| !members.contains(c) && !included.contains(c));
        let best = || open.max_by(|&a, &b| gain(a).total_cmp(&gain(b)).then(b.cmp(&a)));
        let candidate = included.get(number).copied().or_else(best);
        let candidate = candidate.expect("as many candidates as picks");
        picks.push(Pick {
            candidate,
            gain: gain(candidate),
            alone: coverage(candidates, &[candidate]),
            nearest: nearest(candidates, &members, candidate),
        });
        members.push(candidate);
    }
    picks
}

/// Of `members`, the one whose margins correlate with the candidate's the most.
pub fn nearest(
    candidates: &[Candidate],
    members: &[usize],
    candidate: usize,
) -> Option<(usize, f64)> {
    let pairs = members
        .iter()
        .map(|&member| (member, correlation(candidates, member, candidate)));
    pairs.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Pearson's, over prompts; 1 with itself, and 0 where one of the two does not vary.
fn correlation(candidates: &[Candidate], p: usize, q: usize) -> f64 {
    if p == q {
        return 1.0;
    }
    let centred = |at: usize| {
        let margins_q = &candidates[at].margins_q;
        let mean = mean(margins_q);
        margins_q.iter().map(|m| m - mean).collect::<Vec<f64>>()
    };
    let (one, other) = (centred(p), centred(q));
    let scale = norm(&one) * norm(&other);
    if scale > 0.0 {
        dot(&one, &other) / scale
    } else {
        0.0
    }
}

/// By Cholesky's factor; the matrix is symmetric with eigenvalues of 1 or more.
fn log_determinant(mut matrix: Vec<Vec<f64>>) -> f64 {
    let mut total = 0.0;
    for pivot in 0..matrix.len() {
        let (done, rest) = matrix.split_at_mut(pivot + 1);
        let pivot_row = &done[pivot];
        total += pivot_row[pivot].ln();
        for row in rest {
            let share = row[pivot] / pivot_row[pivot];
            for (entry, above) in row.iter_mut().zip(pivot_row).skip(pivot) {
                *entry -= share * above;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use math::Key;

    use super::*;

    /// Candidates whose margins are mixtures of three causes.
    fn drawn(seed: u64) -> Vec<Candidate> {
        let key = Key::new(seed);
        let candidate = |c: u64| Candidate {
            si: 0.6 * key.child(c).uniform(0),
            margins_q: (0..30)
                .map(|q| {
                    let cause = key.child(100 + c % 3).normal(q);
                    cause + 0.5 * key.child(c).normal(q)
                })
                .collect(),
        };
        (0..7).map(candidate).collect()
    }

    fn subsets(of: usize) -> impl Iterator<Item = Vec<usize>> {
        (0..1_usize << of).map(move |bits| (0..of).filter(|c| bits >> c & 1 == 1).collect())
    }

    #[test]
    fn a_candidate_adds_something_and_the_less_the_larger_the_set() {
        let candidates = drawn(1);
        let gain = |members: &[usize], candidate: usize| {
            let grown = [members, &[candidate]].concat();
            coverage(&candidates, &grown) - coverage(&candidates, members)
        };
        for members in subsets(5) {
            let (to_part, to_all) = (gain(&members[..members.len() / 2], 6), gain(&members, 6));
            assert!(to_all > -1e-12 && to_all <= to_part + 1e-12, "{members:?}");
        }
    }

    #[test]
    fn the_greedy_set_covers_nearly_as_much_as_the_best() {
        for seed in 1..6 {
            let candidates = drawn(seed);
            let picks = select(&candidates, &[], 3);
            let members: Vec<usize> = picks.iter().map(|pick| pick.candidate).collect();
            let of_three = subsets(7).filter(|members| members.len() == 3);
            let best = of_three.map(|members| coverage(&candidates, &members));
            let best = best.fold(0.0, f64::max);
            let found = coverage(&candidates, &members);
            let sum: f64 = picks.iter().map(|pick| pick.gain).sum();
            assert!((found - sum).abs() < 1e-12);
            assert!(
                found >= (1.0 - (-1.0_f64).exp()) * best,
                "{found} of {best}"
            );
        }
    }

    #[test]
    fn a_second_wording_of_a_rule_is_passed_over_for_a_weaker_rule_of_its_own() {
        let cause = |c: u64| -> Vec<f64> { (0..50).map(|q| Key::new(c).normal(q)).collect() };
        let candidate = |si, margins_q| Candidate { si, margins_q };
        let candidates = [
            candidate(0.40, cause(1)),
            candidate(0.39, cause(1)),
            candidate(0.20, cause(2)),
            candidate(-0.1, cause(3)),
        ];
        let order = |picks: Vec<Pick>| picks.iter().map(|p| p.candidate).collect::<Vec<_>>();
        assert_eq!(order(select(&candidates, &[], 2)), [0, 2]);
        assert_eq!(order(select(&candidates, &[1], 2)), [1, 2]);
        let last = select(&candidates, &[3, 0], 3)[0];
        assert!(
            last.gain.abs() < 1e-12,
            "a candidate of no index adds {}",
            last.gain
        );
        let second = select(&candidates, &[0, 1], 2)[1];
        assert!(second.gain < 0.3 * second.alone, "{second:?}");
        assert_eq!(second.nearest.map(|(member, _)| member), Some(0));
    }
}
