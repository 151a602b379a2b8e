//! Arguments of `enigma principles`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::MachineArguments;
use crate::recipe::FormatPreset;

/// `enigma principles`.
#[derive(Debug, Args)]
pub(crate) struct PrinciplesArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: PrinciplesCommand,
}

/// The commands about principles.
#[derive(Debug, Subcommand)]
pub(crate) enum PrinciplesCommand {
    /// Measure how strongly a model's reasoning tells each principle from its negatives
    Score(ScorePrinciplesArguments),
    /// Choose informative principles that do not say the same, out of scored ones
    Select(SelectPrinciplesArguments),
    /// Find the rules of a policy and make matched negatives for them
    Create(CreatePrinciplesArguments),
}

impl PrinciplesCommand {
    /// Whether bars and colours are unwanted.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Score(arguments) => arguments.machine.plain,
            Self::Select(arguments) => arguments.plain,
            Self::Create(arguments) => arguments.machine.plain,
        }
    }
}

/// How principles are scored.
#[derive(Debug, Args)]
pub(crate) struct ScoringArguments {
    /// A Hugging Face folder, or `nano` for the built-in model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Prompts from JSONL: rows of `{"question": …}` or `{"prompt": …}`; or `nano`
    #[arg(long, value_name = "ROWS")]
    pub(crate) prompts: String,
    /// The most prompts, drawn from those given
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) prompts_max: usize,
    /// The form whose reasoning counts; of a completion in another form all tokens do
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatPreset,
    /// What each question is followed by; by default a sentence that asks for the form, and
    /// nothing for `nano`, which was taught it
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruction: Option<String>,
    /// The most tokens of a completion; by default 256, or half the context where that is less
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_completion_length: Option<usize>,
    /// For a model without a chat template: `plain`, or a file of Jinja
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) chat_template: Option<String>,
    /// Names the draws: the same seed gives the same table
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
}

/// `enigma principles score`.
#[derive(Debug, Args)]
pub(crate) struct ScorePrinciplesArguments {
    /// A constitution file (TOML or JSON), or a built-in one such as `nano/verification`; may be
    /// repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) principles: Vec<String>,
    /// How they are scored.
    #[command(flatten)]
    pub(crate) scoring: ScoringArguments,
    /// Score these completions instead of drawing some: rows of `{"question": …, "principle": …,
    /// "constitution": 0, "completion": …}`, where constitution 0 is the positive one, 1 the first
    /// negative
    #[arg(long, value_name = "ROWS")]
    pub(crate) completions: Option<PathBuf>,
    /// Refuse a result whose index has a wider 95 % interval than plus or minus this
    #[arg(long, value_name = "WIDTH", allow_negative_numbers = true)]
    pub(crate) half_width: Option<f64>,
    /// Score principles whose negatives differ from them in length by more than 20 % all the same
    #[arg(long)]
    pub(crate) allow_unmatched: bool,
    /// The file of the scores, which must not exist; by default `runs/scores-N.json`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// End with one JSON object on standard output, the same that the file holds
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// `enigma principles select`.
#[derive(Debug, Args)]
pub(crate) struct SelectPrinciplesArguments {
    /// The file that `enigma principles score` wrote
    pub(crate) scores: PathBuf,
    /// How many principles
    #[arg(long, value_name = "N")]
    pub(crate) size: usize,
    /// A principle that is in the set whatever it adds; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) include: Vec<String>,
    /// A principle that is not in the set; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) exclude: Vec<String>,
    /// The constitution file, which must not exist; by default `runs/selected-N.toml`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// No colours
    #[arg(long)]
    pub(crate) plain: bool,
}

/// `enigma principles create`.
#[derive(Debug, Args)]
pub(crate) struct CreatePrinciplesArguments {
    /// A policy in Markdown or plain text
    #[arg(long, value_name = "POLICY")]
    pub(crate) from: PathBuf,
    /// The constitution file (TOML), which must not exist; by default `runs/principles-N.toml`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The most principles, in the policy's order; of those that score, the best
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<usize>,
    /// Let a language model propose, through an OpenAI-compatible server such as
    /// `http://localhost:8000/v1`; a key is read from `OPENAI_API_KEY` alone
    #[arg(long, value_name = "URL", requires = "model")]
    pub(crate) endpoint: Option<String>,
    /// The server's name of the model that proposes
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub(crate) model: Option<String>,
    /// Score every candidate on this model, and keep what scores: a Hugging Face folder, or `nano`
    #[arg(long, value_name = "MODEL", requires = "prompts")]
    pub(crate) score_with: Option<String>,
    /// Prompts to score on, as of `principles score`
    #[arg(long, value_name = "ROWS", requires = "score_with")]
    pub(crate) prompts: Option<String>,
    /// The most prompts to score on
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) prompts_max: usize,
    /// Names the draws: the same seed gives the same file
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// End with one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// The machine.
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}
