//! Where a run stands between two steps: what a checkpoint holds beside the policy.

use serde::{Deserialize, Serialize};

/// The position of a run after an update: with the policy and its optimiser's state, all that is
/// needed to go on. Draws are named by the number of their step, so none has a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Updates made (transformers' name).
    pub global_step: usize,
    /// Tokens learnt from: prompts and completions, a prompt counted for each of its completions.
    pub num_input_tokens_seen: u64,
    /// The groups of the latest rollout, where the next update still learns from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_rollout: Option<Vec<GroupRecord>>,
}

/// What one question under one constitution gave, graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Place of the question among those of its rollout.
    pub question: usize,
    /// Place of the constitution among those of its principle.
    pub constitution: usize,
    /// The rendered prompt.
    pub prompt_ids: Vec<u32>,
    /// The completions in the order of their numbers.
    pub completions: Vec<DrawnRecord>,
}

/// A completion as drawn, with its grades.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnRecord {
    /// The tokens.
    pub completion_ids: Vec<u32>,
    /// Log-probability of each when it was drawn, in nats.
    pub logprobs: Vec<f64>,
    /// Entropy of the distribution each was drawn from, in nats.
    pub entropies: Vec<f64>,
    /// Whether the length limit cut it.
    pub truncated: bool,
    /// The text, without special tokens.
    pub text: String,
    /// The grade of each grader, in the order of the graders.
    pub grades: Vec<GradeRecord>,
    /// The weighted sum of the grades; `None`: ungraded.
    pub reward: Option<f64>,
    /// Whether it has the format.
    pub format_valid: bool,
    /// The first token of its reasoning and the one after the last, where the format is valid.
    pub reasoning: Option<[usize; 2]>,
    /// Whether it gives the expected answer; `None` if none is expected.
    pub answer_right: Option<bool>,
}

/// A grade, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GradeRecord {
    /// The grade.
    Given(f64),
    /// Why there is none, by its name in metrics.
    Ungraded(String),
}

/// `trainer_state.json` of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Where the run stands.
    #[serde(flatten)]
    pub position: Position,
    /// Wall-clock time that led there, over all processes that worked on the run.
    pub seconds: f64,
    /// The best checkpoint so far, where a metric was named for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
}

/// The best checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its step.
    pub step: usize,
    /// The metric of that step.
    pub metric: f64,
}
