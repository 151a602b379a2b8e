//! The run folder on disk, and the only types that are written to it.
//!
//! ```text
//! plan.toml                     the resolved plan, before the first step
//! data.json                     what became of the rows of the data, likewise
//! inputs.json                   digests of the data and weights that the plan names
//! evaluation-before.json        the figures of before the first step
//! metrics.jsonl                 one object a step
//! completions/step-000010.jsonl one object a completion
//! checkpoint-10/                a model folder, and all that is needed to go on from it
//! summary.json                  the result, after the last step
//! .lock                         held by the process that writes the run
//! ```
//!
//! What principles are scored before a run is a file of its own, [`Scores`].
//!
//! Whatever has its final name is whole: files and folders are built under another name and
//! renamed, and of `metrics.jsonl`, which grows, only lines that end count. A number that is not
//! finite is written as `null`, since JSON has no other word for it.
//!
//! Start at [`RunFolder`].

mod atomic;
mod checkpoint;
mod data;
mod error;
mod folder;
mod position;
mod scores;
#[cfg(test)]
mod scratch;
mod step;
mod summary;

pub use atomic::{atomic_folder, write_atomic};
pub use checkpoint::{Checkpoint, RunLock};
pub use data::{DataRecord, SplitRecord};
pub use error::RecordError;
pub use folder::RunFolder;
pub use position::{Best, DrawnRecord, GradeRecord, GroupRecord, Position, TrainerState};
pub use scores::{ConvergencePoint, PrincipleScore, Scores};
pub use step::{CompletionRecord, StepRecord};
pub use summary::{Before, Evaluation, Summary};
