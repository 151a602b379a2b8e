//! How losses of tokens become the loss of a batch.

use crate::Evidence;

/// The mean that is taken over the tokens of the graded completions (TRL's `loss_type`).
///
/// Every choice gives the tokens of one row one weight: the loss is `Σ_i w_i Σ_t loss_it`. Below,
/// `n` rows of `|o_i|` tokens. GSPO is [`Aggregation::Grpo`] with the ratio of sequences.
///
/// # Source
/// TRL 1.16, `GRPOTrainer._compute_loss`, for the whole optimiser batch at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// `w_i = 1/(n·|o_i|)`: the mean over rows of each row's mean (arXiv 2402.03300).
    Grpo,
    /// `w_i = 1/Σ|o|`: the mean over the tokens of this batch.
    Bnpo,
    /// `w_i = 1/(n·max_completion_length)`: no length enters (arXiv 2503.20783).
    DrGrpo {
        /// The longest completion that sampling allows, in tokens; positive.
        max_completion_length: usize,
    },
    /// `w_i = 1/active_tokens`: the mean over the rollout's tokens (arXiv 2503.14476).
    Dapo,
}

impl Aggregation {
    /// The weight of each token of each graded row; in the order of [`Evidence::graded`].
    pub(crate) fn weights_n(self, evidence: &Evidence) -> Vec<f64> {
        let length = |row: usize| evidence.batch.rows[row].tokens_t.len();
        let lengths_n: Vec<usize> = evidence.graded.iter().map(|g| length(g.row)).collect();
        let n = lengths_n.len() as f64;
        let tokens: usize = lengths_n.iter().sum();
        let divisor = |length: usize| match self {
            Self::Grpo => n * length as f64,
            Self::Bnpo => tokens as f64,
            Self::DrGrpo {
                max_completion_length,
            } => n * max_completion_length as f64,
            Self::Dapo => evidence.active_tokens,
        };
        lengths_n
            .into_iter()
            .map(|length| 1.0 / divisor(length))
            .collect()
    }
}
