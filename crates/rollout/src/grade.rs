//! A grade, or why there is none.

use crate::Grader;

/// A finite grade, or why a completion has none.
pub type Grade = Result<f64, Ungraded>;

/// Why a completion has no grade. It is then out of every mean, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ungraded {
    /// The grader has none to give, as where no answer is expected.
    Null,
    /// The grader did not answer in time.
    Late,
    /// The grader ended before it answered, or could not be started.
    Crashed,
    /// The grader's answer could not be read.
    Malformed,
    /// The grader gave NaN or an infinite number.
    NotFinite,
}

/// A grader that has stopped giving grades.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grader {name}: {reason}")]
pub struct GraderError {
    /// The grader's name.
    pub name: String,
    /// What happened, in one line.
    pub reason: String,
}

impl Ungraded {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Null,
        Self::Late,
        Self::Crashed,
        Self::Malformed,
        Self::NotFinite,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Late => "late",
            Self::Crashed => "crashed",
            Self::Malformed => "malformed",
            Self::NotFinite => "not_finite",
        }
    }
}

/// The grade, if it is a finite number.
pub(crate) fn finite(grade: Grade) -> Grade {
    grade.and_then(|grade| {
        if grade.is_finite() {
            Ok(grade)
        } else {
            Err(Ungraded::NotFinite)
        }
    })
}

/// A grader and its part in the reward.
pub struct WeightedGrader {
    /// The grader.
    pub grader: Box<dyn Grader>,
    /// Its grades are multiplied by this; at 0 they are recorded but are no part of the reward.
    pub weight: f64,
}

/// The weighted sum of a completion's grades; `None` if any grade that has a weight is missing.
///
/// # Panics
/// If there is not one weight for each grade.
pub fn weighted_reward(grades: &[Grade], weights: &[f64]) -> Option<f64> {
    assert_eq!(grades.len(), weights.len(), "one weight for each grade");
    grades
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(grade, weight)| grade.ok().map(|grade| grade * weight))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_grade_takes_the_reward_away_unless_it_has_no_weight() {
        let late = Err(Ungraded::Late);
        let reward = weighted_reward(&[Ok(1.0), Ok(0.5)], &[1.0, 2.0]);
        assert_eq!(reward, Some(2.0));
        assert_eq!(weighted_reward(&[Ok(1.0), late], &[1.0, 2.0]), None);
        assert_eq!(weighted_reward(&[Ok(1.0), late], &[1.0, 0.0]), Some(1.0));
    }

    #[test]
    fn only_a_finite_number_is_a_grade() {
        for found in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(finite(Ok(found)), Err(Ungraded::NotFinite));
        }
        assert_eq!(finite(Ok(-1.5)), Ok(-1.5));
        assert_eq!(finite(Err(Ungraded::Late)), Err(Ungraded::Late));
    }
}
