//! Arguments of `enigma score`.

use std::path::PathBuf;

use clap::Args;

use super::{MachineArguments, ModelArguments};

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
