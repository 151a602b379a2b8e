//! What became of the rows of the data.

use serde::{Deserialize, Serialize};

/// Counts of the rows that were read, and of those that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// What is trained on.
    pub questions: SplitRecord,
    /// What is evaluated on.
    pub held_out: SplitRecord,
    /// Questions to train on whose prompt is also held out; they are used where duplicates are
    /// kept.
    pub overlap: usize,
}

/// Counts of one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// Rows that were read; of a split that was drawn, those drawn.
    pub rows: usize,
    /// Rows left out because their prompt is over the limit. Where both splits are drawn from one
    /// file, all of them are counted with the questions.
    pub over_long: usize,
    /// Rows with the prompt of an earlier one; they are used where duplicates are kept.
    pub duplicates: usize,
    /// Used rows without an expected answer.
    pub without_answer: usize,
    /// Rows that are used.
    pub used: usize,
}
