//! From prompts to graded groups, used alike by training and evaluation.
//!
//! A group is what one question under one constitution gave: a shared prefix and its completions,
//! each with its text, its grades and the token span of its reasoning. Completions keep the token
//! ids that were sampled; text is only decoded for graders and readers. A grade that is missing
//! stays missing: it says why, is counted, and is never 0.
//!
//! Axes: `q` questions, `k` constitutions, `g` completions of a group, `t` tokens.
//!
//! Start at [`render`] and [`collect`], then [`Format`] and [`Grader`].

mod answer;
mod collect;
mod command;
mod format;
mod grade;
mod grader;
mod pattern;
mod prompt;
mod span;
mod statistics;

pub use answer::same_answer;
pub use collect::{Completion, Draw, Group, Rollout, RolloutError, collect};
pub use command::{Command, CommandGrader};
pub use format::{Format, Spans};
pub use grade::{Grade, GraderError, Ungraded, WeightedGrader, weighted_reward};
pub use grader::{AnswerGrader, FormatGrader, Grader, Item};
pub use pattern::RegexGrader;
pub use prompt::{Prompt, Question, render};
pub use span::{scored_span, token_span};
pub use statistics::statistics;
