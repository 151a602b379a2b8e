//! Arguments of `enigma bench`.

use clap::{Args, Subcommand, ValueEnum};

use super::MachineArguments;
use crate::recipe::FloatType;

/// `enigma bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// What to time.
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What can be timed.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Whole steps of GRPO: rollout, scoring, update
    Grpo(BenchGrpoArguments),
    /// Sampling alone
    Decode(BenchDecodeArguments),
    /// Forward pass, backward pass and AdamW alone, on given completions
    Update(BenchUpdateArguments),
}

/// `enigma bench grpo`.
#[derive(Debug, Args)]
pub(crate) struct BenchGrpoArguments {
    /// Model and batch.
    #[command(flatten)]
    pub(crate) work: WorkArguments,
    /// Weight of the divergence from the reference; above 0 the reference scores each rollout
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) beta: f64,
    /// Cut batches of more tokens into slices, each of which is run once
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub(crate) micro_batch_tokens: usize,
    /// Weights and inputs of the products that draw completions
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sampling_dtype: FloatType,
    /// Compute each layer again in the backward pass, for less memory
    #[arg(long)]
    pub(crate) gradient_checkpointing: bool,
}

/// `enigma bench decode`.
#[derive(Debug, Args)]
pub(crate) struct BenchDecodeArguments {
    /// Model and batch.
    #[command(flatten)]
    pub(crate) work: WorkArguments,
    /// Weights and inputs of the products that draw completions
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sampling_dtype: FloatType,
}

/// `enigma bench update`.
#[derive(Debug, Args)]
pub(crate) struct BenchUpdateArguments {
    /// Model and batch.
    #[command(flatten)]
    pub(crate) work: WorkArguments,
    /// Compute every completion after a prompt of its own, as if no two had the same
    #[arg(long)]
    pub(crate) separate_prompts: bool,
    /// Compute each layer again in the backward pass, for less memory
    #[arg(long)]
    pub(crate) gradient_checkpointing: bool,
}

/// A model of random weights and what it computes.
#[derive(Debug, Args)]
pub(crate) struct WorkArguments {
    /// Shape of the model
    #[arg(long, value_enum, default_value_t = ShapeChoice::M3)]
    pub(crate) shape: ShapeChoice,
    /// Prompts of a step
    #[arg(long, value_name = "P", default_value_t = 4)]
    pub(crate) prompts: usize,
    /// Completions of each prompt
    #[arg(long, value_name = "G", default_value_t = 8)]
    pub(crate) group: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 96)]
    pub(crate) prompt_tokens: usize,
    /// Tokens of a completion at most
    #[arg(long, value_name = "M", default_value_t = 128)]
    pub(crate) new_tokens: usize,
    /// How long completions are
    #[arg(long, value_enum, default_value_t = LengthsChoice::Maximum)]
    pub(crate) lengths: LengthsChoice,
    /// Rank of adapters beside frozen weights; 0 trains all weights
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub(crate) lora: usize,
    /// Repetitions that are timed, after one that is not
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub(crate) steps: usize,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// The shape of a model by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeChoice {
    /// A Llama of 3 million weights
    #[value(name = "3m")]
    M3,
    /// A Llama of 25 million weights
    #[value(name = "25m")]
    M25,
    /// As SmolLM2-135M
    #[value(name = "135m")]
    M135,
    /// As Qwen3-0.6B
    #[value(name = "qwen3-0.6b")]
    Qwen3,
    /// As Llama-3.2-1B
    #[value(name = "llama-3.2-1b")]
    Llama32,
}

/// How long completions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LengthsChoice {
    /// All of the most tokens
    Maximum,
    /// Drawn from a geometric law whose mean is 40 % of the most
    Drawn,
}

impl BenchCommand {
    /// What all of them share.
    pub(crate) fn work(&self) -> &WorkArguments {
        match self {
            Self::Grpo(arguments) => &arguments.work,
            Self::Decode(arguments) => &arguments.work,
            Self::Update(arguments) => &arguments.work,
        }
    }
}
