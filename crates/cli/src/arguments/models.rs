//! Arguments of `enigma models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::MachineArguments;
use crate::recipe::FloatType;

/// `enigma models`.
#[derive(Debug, Args)]
pub(crate) struct ModelsArguments {
    /// What to do with a model.
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

/// What can be done with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Say what a model is, what memory it takes to train, and what of it is not supported
    Inspect(InspectArguments),
    /// Write the model that an adapter and its base are together
    Merge(MergeArguments),
}

/// `enigma models merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    /// The adapter's folder, in PEFT's layout
    pub(crate) adapter: String,
    /// The model that it stands beside, if not the one it names
    #[arg(long, value_name = "MODEL")]
    pub(crate) base: Option<String>,
    /// The model's folder, which must not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How the weights are stored
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dtype: FloatType,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// `enigma models inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// A Hugging Face folder, `org/name[@revision]` of the hub, or `nano` for the built-in model
    pub(crate) model: String,
    /// Completions computed at once, each with a prompt of its own
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) rows: usize,
    /// Tokens of a completion
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) tokens: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) prompt_tokens: usize,
    /// Rank of LoRA, on every linear map
    #[arg(long, value_name = "R", default_value_t = 16)]
    pub(crate) rank: usize,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}
