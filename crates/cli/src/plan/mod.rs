//! From a recipe to a plan: every default filled in, every path absolute, every file read, every
//! prompt measured against the model's context. What a plan holds, a run can start with; nothing
//! has been written yet.

mod budget;
mod disk;
mod duplicates;
mod fit;
mod folder;
mod graders;
mod inputs;
mod principles;
mod questions;
mod scoring;
mod settings;
mod sft;
mod train;

pub(crate) use budget::{Budget, Memory};
pub(crate) use disk::Disk;
pub(crate) use folder::{new_file, run_folder};
pub(crate) use graders::graders;
pub(crate) use scoring::{ScoringPlan, Subject, matched_principles};
pub(crate) use settings::{dtype, optimizer};
pub(crate) use sft::SftPlan;
pub(crate) use train::TrainPlan;
