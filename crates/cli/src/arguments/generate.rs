//! Arguments of `enigma generate`.

use std::path::PathBuf;

use clap::Args;

use super::{MachineArguments, ModelArguments};

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
