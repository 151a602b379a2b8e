//! The mistakes a caller can make, each with the condition of the theory that it breaks.

/// Why a question or a variant was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StationaryError {
    /// Nothing to choose between.
    #[error("the question has {found} answers, expected 2 or more")]
    FewAnswers {
        /// Answers given.
        found: usize,
    },
    /// Answers and reference of different length.
    #[error("the reference has {found} probabilities, expected {expected}, one for each answer")]
    Length {
        /// Probabilities given.
        found: usize,
        /// Answers given.
        expected: usize,
    },
    /// A reference that is no distribution.
    #[error("reference probability {index} is {found}, expected a number from 0 to 1")]
    Probability {
        /// Number of the answer, from 1.
        index: usize,
        /// What stands there.
        found: f64,
    },
    /// A reference that does not sum to 1.
    #[error("the reference probabilities sum to {found}, expected 1 to within 1e-6")]
    Sum {
        /// Their sum.
        found: f64,
    },
    /// The best answer can never be sampled.
    #[error(
        "answer {index} is the best and has reference probability 0, expected more: a stationary \
         policy has no support outside the reference's (supp π ⊆ supp π_ref), so the answer would \
         never be met"
    )]
    Support {
        /// Number of the answer, from 1.
        index: usize,
    },
    /// A reward that is no number.
    #[error("reward {index} is {found}, expected a finite number")]
    Reward {
        /// Number of the answer, from 1.
        index: usize,
        /// What stands there.
        found: f64,
    },
    /// A Bernoulli probability outside its range.
    #[error("success probability {index} is {found}, expected a number from 0 to 1")]
    Success {
        /// Number of the answer, from 1.
        index: usize,
        /// What stands there.
        found: f64,
    },
    /// A standard deviation that is none.
    #[error("the noise is {found}, expected a standard deviation of 0 or more")]
    Noise {
        /// What was given.
        found: f64,
    },
    /// A matrix with a row of another length.
    #[error("row {row} of the preference matrix has {found} entries, expected {expected}")]
    Square {
        /// Number of the row, from 1.
        row: usize,
        /// Its entries.
        found: usize,
        /// Rows of the matrix.
        expected: usize,
    },
    /// A preference that is not one.
    #[error("preference ({row}, {column}) is {found}, expected {expected}")]
    Entry {
        /// Number of the row, from 1.
        row: usize,
        /// Number of the column, from 1.
        column: usize,
        /// What stands there.
        found: f64,
        /// What may stand there.
        expected: &'static str,
    },
    /// Preferences of a pair that contradict each other.
    #[error(
        "preferences ({row}, {column}) and ({column}, {row}) are {first} and {second}, expected \
         {expected}: P(a≻b) − P(b≻a) is antisymmetric"
    )]
    Antisymmetry {
        /// Number of the row, from 1.
        row: usize,
        /// Number of the column, from 1.
        column: usize,
        /// The entry.
        first: f64,
        /// Its mirror image.
        second: f64,
        /// What they must satisfy.
        expected: &'static str,
    },
    /// A penalty without strength.
    #[error(
        "beta is {found}, expected a number above 0: without a penalty no policy inside the \
         simplex is stationary"
    )]
    Beta {
        /// What was given.
        found: f64,
    },
    /// A group that has no spread.
    #[error(
        "group is {found}, expected 2 or more: the reward preference compares an answer with the \
         others of its group"
    )]
    Group {
        /// What was given.
        found: usize,
    },
    /// Preferences of pairs in larger groups.
    #[error(
        "group is {found} with pairwise preferences, expected 2: only for groups of two is the \
         reward preference one of pairs"
    )]
    PairwiseGroup {
        /// What was given.
        found: String,
    },
    /// Preferences of pairs without rewards to leave unscaled.
    #[error("no scale normalisation with pairwise preferences, expected rewards or std")]
    PairwiseScale,
    /// A policy of another length, or none.
    #[error("the policy has {found} probabilities summing to {sum}, expected {expected} and 1")]
    Policy {
        /// Its entries.
        found: usize,
        /// Their sum.
        sum: f64,
        /// Answers of the question.
        expected: usize,
    },
}
