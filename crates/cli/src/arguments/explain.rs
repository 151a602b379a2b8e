//! Arguments of `enigma explain`.

use std::path::PathBuf;

use clap::Args;

/// `enigma explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The run's folder
    pub(crate) run: PathBuf,
    /// Explain this step alone
    #[arg(long, value_name = "N")]
    pub(crate) step: Option<usize>,
    /// One JSON object a sentence on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// No colours
    #[arg(long)]
    pub(crate) plain: bool,
}
