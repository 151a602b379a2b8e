//! The run folder on disk, and the only types that are written to it.
//!
//! ```text
//! plan.toml                     the resolved plan, before the first step
//! data.json                     what became of the rows of the data, likewise
//! metrics.jsonl                 one object a step
//! completions/step-000010.jsonl one object a completion
//! checkpoints/step-000010/      a model folder
//! summary.json                  the result, after the last step
//! ```
//!
//! Whatever has its final name is whole: files and folders are built under another name and
//! renamed, and of `metrics.jsonl`, which grows, only lines that end count. A number that is not
//! finite is written as `null`, since JSON has no other word for it.
//!
//! Start at [`RunFolder`].

mod atomic;
mod data;
mod error;
mod folder;
#[cfg(test)]
mod scratch;
mod step;
mod summary;

pub use atomic::{atomic_folder, write_atomic};
pub use data::{DataRecord, SplitRecord};
pub use error::RecordError;
pub use folder::RunFolder;
pub use step::{CompletionRecord, StepRecord};
pub use summary::{Evaluation, Summary};
