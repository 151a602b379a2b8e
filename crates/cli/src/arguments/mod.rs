//! What can be typed after `enigma`. Nothing here is interpreted: a command turns its arguments
//! into a checked plan once, and carries that. Each command's arguments have a file.

mod bench;
mod explain;
mod generate;
mod model;
mod models;
mod principles;
mod run;
mod score;
mod stationary;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use bench::{
    BenchArguments, BenchCommand, BenchDecodeArguments, BenchGrpoArguments, BenchUpdateArguments,
    LengthsChoice, ShapeChoice, WorkArguments,
};
pub(crate) use explain::ExplainArguments;
pub(crate) use generate::GenerateArguments;
pub(crate) use model::{DeviceChoice, MachineArguments, ModelArguments};
pub(crate) use models::{InspectArguments, MergeArguments, ModelsArguments, ModelsCommand};
pub(crate) use principles::{
    CreatePrinciplesArguments, PrinciplesArguments, PrinciplesCommand, ScorePrinciplesArguments,
    ScoringArguments, SelectPrinciplesArguments,
};
pub(crate) use run::{RunArguments, SftArguments, TrainArguments};
pub(crate) use score::ScoreArguments;
pub(crate) use stationary::{PenaltyChoice, ScaleChoice, StationaryArguments};
pub(crate) use verify::VerifyArguments;

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
    /// Say what GRPO converges to on one question, without training
    Stationary(StationaryArguments),
    /// Hold the model and its training step against independent computations
    Verify(VerifyArguments),
    /// Say in sentences what a run did and why, from its record
    Explain(ExplainArguments),
    /// Measure principles before training, and choose among them
    Principles(PrinciplesArguments),
    /// Look at a model before it is trained
    Models(ModelsArguments),
    /// Time the real step, or a part of it, on a model of random weights
    Bench(BenchArguments),
}

impl Command {
    /// The model that the command line names, and the argument that names it.
    pub(crate) fn model(&mut self) -> Option<(&'static str, &mut String)> {
        match self {
            Self::Train(_) | Self::Sft(_) | Self::Explain(_) | Self::Bench(_) => None,
            Self::Generate(arguments) => Some(("--model", &mut arguments.model.model)),
            Self::Score(arguments) => Some(("--model", &mut arguments.model.model)),
            Self::Verify(arguments) => Some(("--model", &mut arguments.model)),
            Self::Principles(arguments) => match &mut arguments.command {
                PrinciplesCommand::Score(arguments) => {
                    Some(("--model", &mut arguments.scoring.model))
                }
                PrinciplesCommand::Create(arguments) => {
                    let model = arguments.score_with.as_mut();
                    model.map(|model| ("--score-with", model))
                }
                PrinciplesCommand::Select(_) => None,
            },
            Self::Models(arguments) => match &mut arguments.command {
                ModelsCommand::Inspect(arguments) => Some(("MODEL", &mut arguments.model)),
                ModelsCommand::Merge(arguments) => Some(("ADAPTER", &mut arguments.adapter)),
            },
            Self::Stationary(arguments) => {
                let model = arguments.model.as_mut();
                model.map(|model| ("--model", model))
            }
        }
    }

    /// Whether bars and colours are unwanted.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Train(arguments) => arguments.run.machine.plain,
            Self::Sft(arguments) => arguments.run.machine.plain,
            Self::Generate(arguments) => arguments.machine.plain,
            Self::Score(arguments) => arguments.machine.plain,
            Self::Verify(arguments) => arguments.machine.plain,
            Self::Explain(arguments) => arguments.plain,
            Self::Principles(arguments) => arguments.command.is_plain(),
            Self::Models(arguments) => match &arguments.command {
                ModelsCommand::Inspect(arguments) => arguments.machine.plain,
                ModelsCommand::Merge(arguments) => arguments.machine.plain,
            },
            Self::Stationary(arguments) => arguments.machine.plain,
            Self::Bench(arguments) => arguments.command.work().machine.plain,
        }
    }
}
