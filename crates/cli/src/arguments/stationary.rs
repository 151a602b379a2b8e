//! Arguments of `enigma stationary`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::MachineArguments;

/// `enigma stationary`.
#[derive(Debug, Args)]
pub(crate) struct StationaryArguments {
    /// The reward of each answer, as in `0,.2,.7,1`
    #[arg(long, value_name = "R,R,…", allow_hyphen_values = true)]
    pub(crate) rewards: Option<String>,
    /// Standard deviation of Gaussian noise on the rewards
    #[arg(
        long,
        value_name = "SIGMA",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub(crate) noise: f64,
    /// Rewards of 1 with this probability for each answer, else 0
    #[arg(long, value_name = "P,P,…", allow_hyphen_values = true)]
    pub(crate) success: Option<String>,
    /// A matrix of pairwise preferences, JSON or lines of numbers: `P(a≻b)`, or margins with 0 on
    /// the diagonal
    #[arg(long, value_name = "FILE")]
    pub(crate) preference: Option<PathBuf>,
    /// A run's folder, from whose completions reference and rewards are estimated
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<PathBuf>,
    /// With `--run`: the id of a question
    #[arg(long, value_name = "N")]
    pub(crate) prompt: Option<usize>,
    /// With `--run`: the constitution that it was asked under, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) constitution: usize,
    /// The reference probability of each answer; they sum to 1
    #[arg(long, value_name = "P,P,…", allow_hyphen_values = true)]
    pub(crate) reference: Option<String>,
    /// A model whose probabilities of the answers are the reference
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// With `--model`: the question
    #[arg(long, value_name = "TEXT")]
    pub(crate) question: Option<String>,
    /// Texts of the answers, separated by commas; without `--model` only their names
    #[arg(long, value_name = "TEXT,TEXT,…", allow_hyphen_values = true)]
    pub(crate) answers: Option<String>,
    /// Put the question into the user's turn of the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// Weight of the penalty; with `--run` by default the run's
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) beta: Option<f64>,
    /// Completions of a group, or `inf`; with `--run` by default the run's
    #[arg(long, value_name = "G", allow_hyphen_values = true)]
    pub(crate) group: Option<String>,
    /// What holds the policy to the reference
    #[arg(long, value_enum, default_value_t = PenaltyChoice::K3)]
    pub(crate) penalty: PenaltyChoice,
    /// What centred rewards are divided by; with `--run` by default the run's
    #[arg(long, value_enum)]
    pub(crate) scale: Option<ScaleChoice>,
    /// Divisor of the deviation, G − ddof: 0 is the paper's, 1 TRL's and the default with `--run`
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) ddof: Option<u8>,
    /// Draw policies over a range, as in `beta=0.01..10` or `group=2..64`
    #[arg(long, value_name = "NAME=LOW..HIGH")]
    pub(crate) sweep: Option<String>,
    /// With `--sweep`: also write the curves, to `.csv` or `.svg`; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Vec<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// A penalty by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PenaltyChoice {
    /// GRPO's estimate, which pulls along the gradient of KL(reference ‖ policy)
    K3,
    /// KL(policy ‖ reference) itself
    Kl,
}

/// A normalisation by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScaleChoice {
    /// The standard deviation of the group
    Std,
    /// Nothing, as in Dr. GRPO
    None,
}
