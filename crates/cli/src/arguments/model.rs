//! What commands share: the machine to compute on, the model to compute with.

use clap::{Args, ValueEnum};

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

/// A device by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// The fastest that this machine has
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA card, by libraries of CUDA 13; its kernels have run on no card yet
    Cuda,
}

/// Which model, and how it is prompted.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// A Hugging Face folder, `org/name[@revision]` of the hub, or `nano` for the built-in model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Where the model is an adapter: the model that it stands beside, if not the one it names
    #[arg(long, value_name = "MODEL")]
    pub(crate) base: Option<String>,
    /// Put the prompt into the user's turn of the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// For a model without a chat template: `plain`, or a file of Jinja; implies `--chat`
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) chat_template: Option<String>,
}
