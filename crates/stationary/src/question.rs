//! A question: its answers, what they are worth, and how likely the reference gives each.

use crate::StationaryError;

/// What the answers are worth; one entry for each answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// Rewards, each with Gaussian noise of one standard deviation; 0: deterministic.
    Rewards {
        /// Mean reward of each answer.
        mean_k: Vec<f64>,
        /// Standard deviation of the noise, drawn anew for each completion.
        noise: f64,
    },
    /// Rewards of 1 with this probability, else 0, drawn anew for each completion.
    Bernoulli(Vec<f64>),
    /// How often an answer wins against another, for groups of two: either probabilities
    /// `P(a≻b)`, with ½ on the diagonal and pairs that sum to 1, or margins `P(a≻b) − P(b≻a)` in
    /// `[−1, 1]`, antisymmetric with 0 on the diagonal. The diagonal tells which.
    Pairwise(Vec<Vec<f64>>),
}

/// Answers with their reference probabilities, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub(crate) answers: Answers,
    pub(crate) reference_k: Vec<f64>,
}

/// How far a sum of probabilities may be from 1, as typed with few digits.
const SUM_TOLERANCE: f64 = 1e-6;
/// How far the two preferences of a pair may contradict each other by rounding.
const PAIR_TOLERANCE: f64 = 1e-9;

impl Question {
    /// Checks answers and reference probabilities, and makes the latter sum to 1 exactly.
    ///
    /// # Errors
    /// Where lengths differ, a number is outside its range, preferences contradict each other, or
    /// the best answer has reference probability 0 (a worse one may).
    pub fn new(answers: Answers, reference_k: &[f64]) -> Result<Self, StationaryError> {
        let answers = answers.checked()?;
        let expected = answers.count();
        if expected < 2 {
            return Err(StationaryError::FewAnswers { found: expected });
        }
        let found = reference_k.len();
        if found != expected {
            return Err(StationaryError::Length { found, expected });
        }
        for (index, &found) in (1..).zip(reference_k) {
            if !(0.0..=1.0).contains(&found) {
                return Err(StationaryError::Probability { index, found });
            }
        }
        let total = math::sum(reference_k);
        if (total - 1.0).abs() > SUM_TOLERANCE {
            return Err(StationaryError::Sum { found: total });
        }
        let reference_k: Vec<f64> = reference_k.iter().map(|p| p / total).collect();
        let best = answers.best();
        if let Some(&lost) = best.iter().find(|&&k| reference_k[k] <= 0.0) {
            return Err(StationaryError::Support { index: lost + 1 });
        }
        Ok(Self {
            answers,
            reference_k,
        })
    }

    /// The probabilities of the reference, in the order of the answers.
    pub fn reference(&self) -> &[f64] {
        &self.reference_k
    }

    /// Number of answers.
    pub fn len(&self) -> usize {
        self.reference_k.len()
    }

    /// Never: a question has two answers or more.
    pub fn is_empty(&self) -> bool {
        self.reference_k.is_empty()
    }

    /// Mean reward of each answer; `None` for pairwise preferences.
    pub fn rewards(&self) -> Option<&[f64]> {
        match &self.answers {
            Answers::Rewards { mean_k, .. } | Answers::Bernoulli(mean_k) => Some(mean_k),
            Answers::Pairwise(_) => None,
        }
    }
}

impl Answers {
    fn count(&self) -> usize {
        match self {
            Self::Rewards { mean_k, .. } | Self::Bernoulli(mean_k) => mean_k.len(),
            Self::Pairwise(margins_kk) => margins_kk.len(),
        }
    }

    /// The answers that no other beats; for preferences, those that beat or equal every other.
    fn best(&self) -> Vec<usize> {
        match self {
            Self::Rewards { mean_k, .. } | Self::Bernoulli(mean_k) => {
                let top = mean_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (0..mean_k.len()).filter(|&k| mean_k[k] >= top).collect()
            }
            Self::Pairwise(margins_kk) => {
                let wins =
                    |row: &Vec<f64>| row.iter().all(|&m| m >= 0.0) && row.iter().any(|&m| m > 0.0);
                (0..margins_kk.len())
                    .filter(|&k| wins(&margins_kk[k]))
                    .collect()
            }
        }
    }

    /// The same with every number in its range, preferences as margins.
    fn checked(self) -> Result<Self, StationaryError> {
        match self {
            Self::Rewards { mean_k, noise } => {
                if !(noise >= 0.0 && noise.is_finite()) {
                    return Err(StationaryError::Noise { found: noise });
                }
                match (1..).zip(&mean_k).find(|(_, r)| !r.is_finite()) {
                    Some((index, &found)) => Err(StationaryError::Reward { index, found }),
                    None => Ok(Self::Rewards { mean_k, noise }),
                }
            }
            Self::Bernoulli(success_k) => {
                let outside = |(_, p): &(usize, &f64)| !(0.0..=1.0).contains(*p);
                match (1..).zip(&success_k).find(outside) {
                    Some((index, &found)) => Err(StationaryError::Success { index, found }),
                    None => Ok(Self::Bernoulli(success_k)),
                }
            }
            Self::Pairwise(matrix) => margins(&matrix).map(Self::Pairwise),
        }
    }
}

/// A checked matrix of preferences as margins.
fn margins(matrix: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, StationaryError> {
    let expected = matrix.len();
    for (row, entries) in (1..).zip(matrix) {
        if entries.len() != expected {
            let found = entries.len();
            return Err(StationaryError::Square {
                row,
                found,
                expected,
            });
        }
    }
    let is_margins = matrix
        .iter()
        .enumerate()
        .all(|(k, row)| row[k].abs() <= 0.0);
    let (low, allowed, pair, total) = if is_margins {
        let pair = "a number and its negative (margins, as the diagonal is 0)";
        (-1.0, "a margin from -1 to 1", pair, 0.0)
    } else {
        let pair = "a sum of 1 (probabilities, as the diagonal is not 0)";
        (0.0, "a probability from 0 to 1", pair, 1.0)
    };
    for (row, entries) in matrix.iter().enumerate() {
        for (column, &found) in entries.iter().enumerate() {
            let (r, c) = (row + 1, column + 1);
            let expected = if row == column && !is_margins {
                "1/2 (an answer against itself), or 0 all along the diagonal for margins"
            } else {
                allowed
            };
            let is_half = row != column || is_margins || (found - 0.5).abs() <= PAIR_TOLERANCE;
            if !(low..=1.0).contains(&found) || !is_half {
                return Err(StationaryError::Entry {
                    row: r,
                    column: c,
                    found,
                    expected,
                });
            }
            let second = matrix[column][row];
            if (low..=1.0).contains(&second) && (found + second - total).abs() > PAIR_TOLERANCE {
                return Err(StationaryError::Antisymmetry {
                    row: r,
                    column: c,
                    first: found,
                    second,
                    expected: pair,
                });
            }
        }
    }
    // Exactly antisymmetric, whatever the rounding of what was typed.
    let margin = |row: usize, column: usize| matrix[row][column] - matrix[column][row];
    let scale = if is_margins { 0.5 } else { 1.0 };
    let row = |row| (0..expected).map(|c| scale * margin(row, c)).collect();
    Ok((0..expected).map(row).collect())
}
