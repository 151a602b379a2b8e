//! What can be typed after `enigma`. Nothing here is interpreted: a command turns its arguments
//! into a checked plan once, and carries that.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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

/// `enigma train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// The recipe (TOML); without one, the built-in run on the built-in model
    pub(crate) recipe: Option<PathBuf>,
    /// How the recipe is run.
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// `enigma sft`.
#[derive(Debug, Args)]
pub(crate) struct SftArguments {
    /// The recipe (TOML)
    pub(crate) recipe: PathBuf,
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
    /// End with one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// What every command shares.
#[derive(Debug, Args)]
pub(crate) struct MachineArguments {
    /// Where the numbers are computed
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Threads to compute with; by default one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// No colours and no live bars
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Which model, and how it is prompted.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// A Hugging Face folder, or `nano` for the built-in model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Put the prompt into the user's turn of the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// For a model without a chat template: `plain`, or a file of Jinja; implies `--chat`
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) chat_template: Option<String>,
}

/// A device by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// The fastest that this machine has
    Auto,
    /// The processor
    Cpu,
}

/// `enigma generate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["prompt", "input"]))]
pub(crate) struct GenerateArguments {
    /// Which model, and how it is prompted.
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// The prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Prompts from JSONL: rows of `{"prompt": …}` or `{"question": …}`
    #[arg(long, value_name = "ROWS")]
    pub(crate) input: Option<PathBuf>,
    /// A constitution for the system turn; implies `--chat`
    #[arg(long, value_name = "TEXT")]
    pub(crate) constitution: Option<String>,
    /// Completions for each prompt
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) num: usize,
    /// Divides the logits; 0 takes the likeliest token
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Draw from the k likeliest tokens only; 0 is off
    #[arg(long, default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Draw from the smallest set of likeliest tokens that holds this probability only
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) top_p: f64,
    /// The most tokens of a completion; by default 256, or half the context where that is less
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_completion_length: Option<usize>,
    /// Names the draws: the same seed gives the same text
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// One JSON object a completion on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// `enigma score`.
#[derive(Debug, Args)]
pub(crate) struct ScoreArguments {
    /// Which model, and how it is prompted.
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// JSONL: rows of `{"prompt": …, "completion": …}` or `{"prompt_ids": […], "completion_ids":
    /// […]}`
    #[arg(long, value_name = "ROWS")]
    pub(crate) input: PathBuf,
    /// One JSON object a row on standard output, in the rows' order
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}
