//! Arguments of `enigma models`.

use clap::{Args, Subcommand};

use super::MachineArguments;

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
