//! Answers merged into levels: those of equal reward share the mass of their level as the
//! reference does, in every variant.

use crate::question::{Answers, Question};

/// Levels in ascending order of their value.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    /// The value of each level: a reward, or for pairwise preferences the answer's number.
    pub(crate) values_l: Vec<f64>,
    /// The level of each answer; `None` for an answer that is left out.
    of_k: Vec<Option<usize>>,
}

impl Levels {
    /// The levels of the answers that `is_kept`.
    pub(crate) fn new(question: &Question, is_kept: impl Fn(usize) -> bool) -> Self {
        let value = |k: usize| match &question.answers {
            Answers::Rewards { mean_k, .. } | Answers::Bernoulli(mean_k) => mean_k[k],
            Answers::Pairwise(_) => k as f64,
        };
        let answers = 0..question.len();
        let mut values_l: Vec<f64> = answers.clone().filter(|&k| is_kept(k)).map(value).collect();
        values_l.sort_by(f64::total_cmp);
        values_l.dedup_by(|a, b| (*a - *b).abs() <= 0.0);
        let level = |k| values_l.iter().position(|&v| (v - value(k)).abs() <= 0.0);
        let of_k = answers
            .map(|k| if is_kept(k) { level(k) } else { None })
            .collect();
        Self { values_l, of_k }
    }

    /// Number of levels.
    pub(crate) fn len(&self) -> usize {
        self.values_l.len()
    }

    /// The masses of the levels under probabilities of the answers.
    pub(crate) fn masses(&self, policy_k: &[f64]) -> Vec<f64> {
        let mut masses_l = vec![0.0; self.len()];
        for (level, mass) in self.of_k.iter().zip(policy_k) {
            if let Some(level) = level {
                masses_l[*level] += mass;
            }
        }
        masses_l
    }

    /// Each answer's entry of a quantity that the answers of a level have in common; 0 for an
    /// answer left out.
    pub(crate) fn spread(&self, quantity_l: &[f64]) -> Vec<f64> {
        let entry = |level: &Option<usize>| level.map_or(0.0, |l| quantity_l[l]);
        self.of_k.iter().map(entry).collect()
    }

    /// Probabilities of the answers from masses of the levels, shared as the reference does.
    pub(crate) fn share(&self, masses_l: &[f64], reference_k: &[f64]) -> Vec<f64> {
        let reference_l = self.masses(reference_k);
        let ratios_l: Vec<f64> = masses_l
            .iter()
            .zip(&reference_l)
            .map(|(mass, reference)| mass / reference)
            .collect();
        let ratios_k = self.spread(&ratios_l);
        ratios_k
            .iter()
            .zip(reference_k)
            .map(|(ratio, reference)| ratio * reference)
            .collect()
    }
}
