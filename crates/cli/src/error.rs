//! What stops a command, and the exit code it leaves: 2 where the input is to blame, 1 otherwise.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model::CudaFault;

use crate::plan::Disk;
use crate::range::OutOfRange;
use crate::recipe::RecipeError;
use crate::signals::Signal;

/// Why a command stopped. Each message is one line: expected, found, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The input is wrong; nothing was written.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A step or the last evaluation failed: the input led there, but the run had begun.
    #[error("{reason}; last good checkpoint: {}", checkpoint.display())]
    Stopped {
        /// Where, and why.
        reason: String,
        /// The weights of before.
        checkpoint: PathBuf,
    },
    /// The run could not go on.
    #[error("{0}")]
    Run(String),
    /// The card could not go on.
    #[error("{fault}: {}{}", remedy(fault), left.as_ref().map_or_else(String::new, Left::words))]
    Card {
        /// What it refused.
        fault: CudaFault,
        /// What is left of the run.
        left: Option<Left>,
    },
    /// A signal ended the run; it can go on.
    #[error(
        "stopped by {signal} after step {step} of {steps}; go on with --resume {}",
        run.display()
    )]
    Interrupted {
        /// The signal.
        signal: Signal,
        /// The step that is kept.
        step: usize,
        /// The steps of the run.
        steps: usize,
        /// Its folder.
        run: PathBuf,
    },
    /// A rank is gone, and the others cannot go on without it.
    #[error("{reason}; go on from the last checkpoint with --resume {}", run.display())]
    RankLost {
        /// Where it was noticed, which rank, and what became of it.
        reason: String,
        /// The run's folder.
        run: PathBuf,
    },
    /// What stopped a rank other than 0.
    #[error("rank {rank}: {failure}")]
    OfRank {
        /// The rank.
        rank: usize,
        /// What stopped it.
        failure: Box<Failure>,
    },
    /// Standard output was closed by its reader.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// What a run that broke off has kept.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    /// The last step that was made.
    pub(crate) step: usize,
    /// The last checkpoint.
    pub(crate) checkpoint: Option<PathBuf>,
    /// The run's folder.
    pub(crate) run: PathBuf,
}

impl Left {
    fn words(&self) -> String {
        let (step, run) = (self.step, self.run.display());
        match &self.checkpoint {
            Some(path) => format!(
                "; after step {step}, last good checkpoint: {}; go on with --resume {run}",
                path.display()
            ),
            None => format!("; after step {step}, no checkpoint was kept in {run}"),
        }
    }
}

/// What is wrong with what was given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The recipe does not read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A number of the recipe.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A path in the recipe that leads nowhere.
    #[error("{key} is `{found}`, which does not exist; looked for {}", tried.join(" and "))]
    Missing {
        /// The recipe's key or the argument.
        key: &'static str,
        /// As given.
        found: String,
        /// The places.
        tried: Vec<String>,
    },
    /// A model of the hub that cannot be had.
    #[error("{key} is `{found}`, which is no folder; as a model of the hub: {reason}")]
    Hub {
        /// The recipe's key or the argument.
        key: &'static str,
        /// As given.
        found: String,
        /// Why not.
        reason: String,
    },
    /// A card that cannot be used.
    #[error("--device is cuda, but {reason}; choose --device cpu")]
    NoCard {
        /// Why not.
        reason: String,
    },
    /// More than the card's free memory.
    #[error(
        "{planned} MiB of the card are planned for; expected at most {free}, which are free: \
         {lower}, or choose --device cpu"
    )]
    NoRoomOnCard {
        /// MiB of the plan.
        planned: usize,
        /// MiB that are free.
        free: usize,
        /// What to do.
        lower: &'static str,
    },
    /// A path of no characters.
    #[error("{key} is empty; expected a path")]
    NoPath {
        /// The recipe's key or the argument.
        key: &'static str,
    },
    /// An adapter that names no model.
    #[error("base_model_name_or_path is not said; expected a model, give it as {key}")]
    NoBase {
        /// The key or argument that names it.
        key: &'static str,
    },
    /// A file that cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A row that is not what it should be.
    #[error("{}, {unit} {number}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// `line` or `row`.
        unit: &'static str,
        /// Counted from 1.
        number: usize,
        /// Expected and found.
        reason: String,
    },
    /// A file of rows without rows.
    #[error("{} has no rows; expected one or more", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// A folder without the files of a split.
    #[error(
        "{} has no file of the split `{split}`, as `{split}.jsonl` or \
         `data/{split}-00000-of-00001.parquet`; found: {found}",
        path.display()
    )]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// The split.
        split: String,
        /// The files there are.
        found: String,
    },
    /// No row is short enough.
    #[error(
        "{key} is {limit}; expected at least {shortest}, the tokens of the shortest row of {}",
        path.display()
    )]
    AllTooLong {
        /// The file.
        path: PathBuf,
        /// Tokens of the shortest row.
        shortest: usize,
        /// The limit's key.
        key: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A held-out part that leaves nothing, or is nothing.
    #[error(
        "data.test_size holds {held_out} of {rows} questions out; expected one or more, and one \
         or more to train on"
    )]
    NoSplitOff {
        /// Questions held out.
        held_out: usize,
        /// Questions there are.
        rows: usize,
    },
    /// A reward for right answers to questions without any.
    #[error(
        "rewards.answer is {weight}, but no row of {} has an answer; name its column in \
         data.answer_column",
        path.display()
    )]
    NoAnswers {
        /// The weight.
        weight: f64,
        /// The questions.
        path: PathBuf,
    },
    /// Too few prompts for an interval.
    #[error(
        "principle {id:?} has {found} prompts to be scored on; expected {needed} or more, for an \
         interval of 95 %"
    )]
    FewPrompts {
        /// The principle.
        id: String,
        /// Prompts there are.
        found: usize,
        /// Prompts it takes.
        needed: usize,
    },
    /// An interval wider than was asked for.
    #[error(
        "the index of {id:?} on {prompts} prompts is known to ±{found:.3}; expected \
         --half-width {asked} or less, which takes about {needed} prompts"
    )]
    WideInterval {
        /// The principle.
        id: String,
        /// Prompts it was read on.
        prompts: usize,
        /// Half the width of its interval.
        found: f64,
        /// The most that was asked for.
        asked: f64,
        /// Prompts that it would take.
        needed: usize,
    },
    /// More rows a step than there are.
    #[error("{key} is {found}; expected at most {rows}, the rows to train on")]
    FewRows {
        /// The setting's key.
        key: &'static str,
        /// The setting.
        found: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A folder that a run would overwrite.
    #[error(
        "the run's folder {} exists; expected a new one, choose another with --out",
        path.display()
    )]
    OutExists {
        /// The folder.
        path: PathBuf,
    },
    /// A file that a result would overwrite.
    #[error("{} exists; expected a new file, choose another with --out", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be made.
    #[error("{} cannot be written: {reason}; choose another with --out", path.display())]
    FileNotWritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A folder that cannot be made.
    #[error(
        "the run's folder {} cannot be written: {reason}; choose another with --out",
        path.display()
    )]
    OutNotWritable {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A run that the file system cannot hold.
    #[error(
        "the run in {} takes about {} MiB ({} checkpoints of {} MiB at once, and its records), \
         found {} MiB free; keep fewer by run.save_steps and run.save_total_limit, or choose \
         another place with --out",
        path.display(),
        disk.needed() >> 20,
        disk.checkpoints,
        disk.checkpoint_bytes >> 20,
        free >> 20
    )]
    NoSpace {
        /// The run's folder.
        path: PathBuf,
        /// What it takes.
        disk: Disk,
        /// Bytes that are free.
        free: u64,
    },
    /// A run that kept nothing.
    #[error(
        "the run {} has no checkpoint, expected one to go on from; start anew with {} as the \
         recipe",
        run.display(),
        run.join("plan.toml").display()
    )]
    NoCheckpoint {
        /// The run's folder.
        run: PathBuf,
    },
    /// A checkpoint that does not read.
    #[error(
        "{} is damaged: {reason}; an earlier checkpoint can be named instead, as in \
         --resume {}/checkpoint-N",
        checkpoint.display(),
        checkpoint.parent().unwrap_or(Path::new(".")).display()
    )]
    DamagedCheckpoint {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Why it does not read.
        reason: String,
    },
    /// A run cannot go on otherwise than it began.
    #[error(
        "{key} is {found}; expected {expected}, with which the run {} began",
        run.display()
    )]
    OtherPlan {
        /// The recipe's key.
        key: String,
        /// Its value now.
        found: String,
        /// Its value then.
        expected: String,
        /// The run's folder.
        run: PathBuf,
    },
    /// Ranks that are not about to make the same run.
    #[error(
        "{key} is {found} on rank {rank}; expected {expected}, as on rank 0: all ranks are given \
         the same recipe and inputs"
    )]
    OtherRank {
        /// The rank.
        rank: usize,
        /// The recipe's key, or the input.
        key: String,
        /// What the rank has.
        found: String,
        /// What rank 0 has.
        expected: String,
    },
    /// A command of one process, given several.
    #[error("{what} is made by one process; expected no launcher, found {size} ranks")]
    Alone {
        /// The command.
        what: &'static str,
        /// The ranks.
        size: usize,
    },
    /// A run cannot go on with other data or weights.
    #[error(
        "{name} has changed since the run {} began (by SHA-256); put it back, or start anew",
        run.display()
    )]
    OtherInput {
        /// The recipe's key, or the file of the model.
        name: String,
        /// The run's folder.
        run: PathBuf,
    },
    /// A run that is already longer.
    #[error(
        "run.max_steps is {found}; expected {expected} or more, the step of {}",
        checkpoint.display()
    )]
    FewSteps {
        /// The setting.
        found: usize,
        /// The step of the checkpoint.
        expected: usize,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// Completions as long as the context.
    #[error(
        "{key} is {asked}; expected less than {context}, the model's context, with room for the \
         prompt"
    )]
    NoRoom {
        /// The setting's key.
        key: &'static str,
        /// The setting.
        asked: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// What a crate below says of the input, which it names.
    #[error("{0}")]
    Said(String),
    /// What a crate below says of the input.
    #[error("{context}: {reason}")]
    Refused {
        /// What was being read.
        context: String,
        /// Its words.
        reason: String,
    },
}

impl Failure {
    /// Whether it is what a signal asked for.
    pub(crate) fn is_asked_for(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::OfRank { failure, .. } => failure.is_asked_for(),
            _ => false,
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) | Self::Stopped { .. } => ExitCode::from(2),
            Self::Interrupted { signal, .. } => ExitCode::from(signal.exit_code()),
            Self::OfRank { failure, .. } => failure.exit_code(),
            Self::RankLost { .. } | Self::Card { .. } | Self::Run(_) | Self::Output(_) => {
                ExitCode::FAILURE
            }
        }
    }
}

/// What can be done about a card that could not go on.
fn remedy(fault: &CudaFault) -> &'static str {
    match fault {
        CudaFault::NoRoom { .. } => {
            "end what else holds its memory, or compute less at once (in a recipe: \
             run.micro_batch_tokens, sampling.max_completion_length, [lora])"
        }
        CudaFault::Stopped { .. } => {
            "see whether the card is sound by `enigma verify --device cuda`, or choose --device cpu"
        }
    }
}

impl InputError {
    /// What a crate below says of `context`, on one line; `context` is not said twice.
    pub(crate) fn refused(context: impl Display, error: &dyn std::error::Error) -> Self {
        let context = context.to_string();
        let reason = error.to_string();
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if reason.contains(&context) {
            return Self::Said(reason);
        }
        Self::Refused { context, reason }
    }
}
