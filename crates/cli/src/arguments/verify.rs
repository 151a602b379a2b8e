//! Arguments of `enigma verify`.

use clap::Args;

use super::MachineArguments;

/// `enigma verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// A Hugging Face folder, `org/name[@revision]` of the hub, or `nano` for the built-in model
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// For a model without a chat template: `plain`, or a file of Jinja
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) chat_template: Option<String>,
    /// One JSON object a finding on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}
