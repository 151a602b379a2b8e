//! Recipes: TOML text, and overrides from the command line, into typed sections with every default
//! filled in. An unknown key is an error that names the nearest known one, a value out of range one
//! that says what was expected. Files are looked for later, by the plan.
//!
//! Option names are TRL's where TRL has the option; sections group them. Start at [`read`], then
//! [`TrainRecipe`].

mod keys;
mod lora;
mod model;
mod optimizer;
mod read;
mod rewards;
mod save;
mod sft;
mod terms;
mod train;

pub(crate) use keys::Sections;
pub(crate) use lora::LoraSection;
pub(crate) use model::{FloatType, FormatPreset, FormatSection, ModelSection};
pub(crate) use optimizer::{OptimizerSection, Scheduler};
pub(crate) use read::{RecipeError, RecipeText, read};
pub(crate) use rewards::{CommandSection, RewardSection};
pub(crate) use save::SaveOptions;
pub(crate) use sft::SftRecipe;
pub(crate) use terms::{
    GrpoSection, ImportanceSamplingLevel, LossType, SamiSection, SamplingSection, ScaleRewards,
    TransportSection,
};
pub(crate) use train::{Duplicates, PrincipleSection, QuestionSection, TrainRecipe};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
