//! What can be typed after `enigma`. Nothing here is interpreted: a command turns its arguments
//! into a checked plan once, and carries that. Each command's arguments have a file.

mod generate;
mod model;
mod run;
mod score;

use clap::{Parser, Subcommand};

pub(crate) use generate::GenerateArguments;
pub(crate) use model::{DeviceChoice, MachineArguments, ModelArguments};
pub(crate) use run::{SftArguments, TrainArguments};
pub(crate) use score::ScoreArguments;

/// Align a language model to an organisation's principles.
#[derive(Debug, Parser)]
#[command(name = "enigma", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train with format rewards, the principles' mutual information and transport on hidden states
    Train(TrainArguments),
    /// Teach a model from given completions, as a warm start
    Sft(SftArguments),
    /// Write completions
    Generate(GenerateArguments),
    /// Give the log-probability of every token of given completions
    Score(ScoreArguments),
}

impl Command {
    /// What every command shares.
    pub(crate) fn machine(&self) -> &MachineArguments {
        match self {
            Self::Train(arguments) => &arguments.run.machine,
            Self::Sft(arguments) => &arguments.run.machine,
            Self::Generate(arguments) => &arguments.machine,
            Self::Score(arguments) => &arguments.machine,
        }
    }
}
