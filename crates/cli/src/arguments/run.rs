//! Arguments of the commands that run a recipe.

use std::path::PathBuf;

use clap::Args;

use super::MachineArguments;

/// `enigma train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// The recipe (TOML); without one, the built-in run on the built-in model
    pub(crate) recipe: Option<PathBuf>,
    /// Instead of one run, the runs of a study (TOML): sets of principles by their index, compared
    #[arg(long, value_name = "STUDY", conflicts_with_all = ["recipe", "overrides", "dry_run"])]
    pub(crate) study: Option<PathBuf>,
    /// How the recipe is run.
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// `enigma sft`.
#[derive(Debug, Args)]
pub(crate) struct SftArguments {
    /// The recipe (TOML)
    #[arg(required_unless_present = "resume")]
    pub(crate) recipe: Option<PathBuf>,
    /// How the recipe is run.
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// What the commands that run a recipe share.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Override a key of the recipe, as in `--set grpo.beta=0.04`; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Check everything, print the resolved plan and its budget, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The run's folder, which must not exist; by default `runs/NAME-N`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with a run that was broken off: its folder, or one of its checkpoints
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    pub(crate) resume: Option<PathBuf>,
    /// End with one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}
