//! The recipe of `enigma train`.

use serde::{Deserialize, Serialize};

use super::keys::{Sections, fields};
use super::{
    FloatType, FormatSection, GrpoSection, LoraSection, ModelSection, OptimizerSection,
    RewardSection, SamiSection, SamplingSection, SaveOptions, TransportSection, save,
};
use crate::range::{OutOfRange, require, some};

/// Everything a training run is, as text. Written with every default filled in, it is the plan.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainRecipe {
    /// What is trained.
    pub(crate) model: ModelSection,
    /// On which questions.
    pub(crate) data: QuestionSection,
    /// To which principles.
    pub(crate) principles: PrincipleSection,
    /// The shape of completions.
    #[serde(default)]
    pub(crate) format: FormatSection,
    /// What completions are rewarded for.
    #[serde(default)]
    pub(crate) rewards: RewardSection,
    /// How they are drawn.
    #[serde(default)]
    pub(crate) sampling: SamplingSection,
    /// The policy gradient.
    #[serde(default)]
    pub(crate) grpo: GrpoSection,
    /// Mutual information with the principles.
    #[serde(default)]
    pub(crate) sami: SamiSection,
    /// The bound on drift.
    #[serde(default)]
    pub(crate) transport: TransportSection,
    /// Adapters instead of all weights; absent: all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lora: Option<LoraSection>,
    /// The optimiser.
    #[serde(default)]
    pub(crate) optimizer: OptimizerSection,
    /// How much, and in which order.
    #[serde(default)]
    pub(crate) run: TrainRunSection,
    /// What is measured before and after.
    #[serde(default)]
    pub(crate) evaluation: EvaluationSection,
}

/// `[data]` of `enigma train`. Sources are files (JSONL, JSON, CSV, Parquet), folders of them by
/// the layouts of Hugging Face, or `nano` for the built-in questions; rows are `{"question",
/// "answer"}` as in GSM8K or `{"prompt", "answer"}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuestionSection {
    /// Questions to train on. Required.
    pub(crate) questions: String,
    /// Questions to evaluate on, before and after. Required, unless `test_size` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_out: Option<String>,
    /// Instead of `held_out`: the share (below 1) or the number of the questions that are held out,
    /// drawn by `run.seed`. By default none (datasets' `train_test_split`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test_size: Option<f64>,
    /// The split of a folder that is trained on. Default `train` (TRL).
    #[serde(default = "train_split")]
    pub(crate) dataset_train_split: String,
    /// The split of a folder that is held out. Default `test` (TRL).
    #[serde(default = "test_split")]
    pub(crate) dataset_test_split: String,
    /// The column of prompts. By default `prompt`, or else `question`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_column: Option<String>,
    /// The column of expected answers. By default `answer`, or else `solution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer_column: Option<String>,
    /// What becomes of questions whose prompt an earlier one has, or a held-out one.
    #[serde(default)]
    pub(crate) duplicates: Duplicates,
    /// Only the first so many questions are trained on. By default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// Questions whose prompt has more tokens are left out, and counted. By default none is, and a
    /// prompt that does not fit the model's context is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_prompt_length: Option<usize>,
}

/// What becomes of rows that repeat another; they are counted either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Duplicates {
    /// They stay.
    #[default]
    Keep,
    /// The first stays; of a question that is held out too, the held-out one.
    Drop,
}

/// The split that is trained on.
pub(super) fn train_split() -> String {
    "train".to_owned()
}

fn test_split() -> String {
    "test".to_owned()
}

/// `[principles]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrincipleSection {
    /// Constitution files (TOML, or JSON such as SAMI's), in which each principle has a positive
    /// and its matched negatives; or built-in ones: `nano/verification`, `nano/citation`,
    /// `nano/patience`, `nano/goodness`. Required.
    pub(crate) files: Vec<String>,
}

/// `[run]` of `enigma train`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrainRunSection {
    /// Names every draw: the same recipe and seed give the same run. Default 42 (transformers).
    pub(crate) seed: u64,
    /// Updates; `grpo.num_iterations` of them share a rollout. Default 100 [ours].
    pub(crate) max_steps: usize,
    /// Questions of a step; each is asked under every constitution of its principle. Default 8
    /// [ours].
    pub(crate) questions_per_step: usize,
    /// Larger batches are cut into slices of so many tokens; the result is the same, the memory
    /// less. Default 8192 [ours].
    pub(crate) micro_batch_tokens: usize,
    /// Completions are recorded every so many steps; 0 records none. Default 10 [ours].
    pub(crate) log_completions_steps: usize,
    /// A checkpoint is kept every so many steps, and after the last; 0 keeps the last only. Default
    /// 50 [ours].
    pub(crate) save_steps: usize,
    /// The most checkpoints that are kept; the newest and the best are never removed. 0 keeps all.
    /// Default 2 [ours].
    pub(crate) save_total_limit: usize,
    /// The checkpoint whose step has the best such metric is kept too. By default none is the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_for_best_model: Option<String>,
    /// Whether more of that metric is better. By default it is, unless its name ends in `loss`
    /// (transformers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) greater_is_better: Option<bool>,
}

/// `[evaluation]`: on held-out questions, before and after.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EvaluationSection {
    /// The most questions. Default 64 [ours].
    pub(crate) questions: usize,
    /// Completions for each question and constitution. Default 2 [ours].
    pub(crate) samples: usize,
    /// Resamples behind each interval. Default 1000 (the usual choice for 95 % intervals).
    pub(crate) bootstrap_resamples: usize,
}

impl Default for TrainRunSection {
    fn default() -> Self {
        Self {
            seed: 42,
            max_steps: 100,
            questions_per_step: 8,
            micro_batch_tokens: 8192,
            log_completions_steps: 10,
            save_steps: 50,
            save_total_limit: 2,
            metric_for_best_model: None,
            greater_is_better: None,
        }
    }
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self {
            questions: 64,
            samples: 2,
            bootstrap_resamples: 1000,
        }
    }
}

impl QuestionSection {
    /// # Errors
    /// Two held-out parts or none, or one that is no share and no number.
    fn check(&self) -> Result<(), OutOfRange> {
        let held_out = [self.held_out.is_some(), self.test_size.is_some()];
        let found = if held_out[0] {
            "there beside data.test_size"
        } else {
            "missing, and data.test_size too"
        };
        require(
            held_out[0] != held_out[1],
            "data.held_out",
            found,
            "one of the two",
        )?;
        let size = self.test_size.unwrap_or(0.5);
        let is_size = size > 0.0 && size.is_finite() && (size < 1.0 || size.fract() == 0.0);
        require(
            is_size,
            "data.test_size",
            size,
            "a share between 0 and 1, or a number of questions",
        )
    }
}

impl TrainRunSection {
    /// How checkpoints are kept.
    pub(crate) fn saves(&self) -> SaveOptions {
        let metric = self.metric_for_best_model.as_ref();
        SaveOptions::new(self.save_total_limit, metric, self.greater_is_better)
    }
}

impl Sections for TrainRecipe {
    const COMMAND: &'static str = "train";

    fn sections() -> Vec<(&'static str, &'static [&'static str])> {
        vec![
            ("model", fields::<ModelSection>()),
            ("data", fields::<QuestionSection>()),
            ("principles", fields::<PrincipleSection>()),
            ("format", fields::<FormatSection>()),
            ("rewards", fields::<RewardSection>()),
            ("sampling", fields::<SamplingSection>()),
            ("grpo", fields::<GrpoSection>()),
            ("sami", fields::<SamiSection>()),
            ("transport", fields::<TransportSection>()),
            ("lora", fields::<LoraSection>()),
            ("optimizer", fields::<OptimizerSection>()),
            ("run", fields::<TrainRunSection>()),
            ("evaluation", fields::<EvaluationSection>()),
        ]
    }
}

impl TrainRecipe {
    /// # Errors
    /// At the first number out of range.
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        some("data.limit", self.data.limit.unwrap_or(1))?;
        some(
            "data.max_prompt_length",
            self.data.max_prompt_length.unwrap_or(1),
        )?;
        let files = self.principles.files.len();
        require(
            files > 0,
            "principles.files",
            "empty",
            "one constitution file or more",
        )?;
        self.data.check()?;
        self.model.check()?;
        self.format.check()?;
        self.rewards.check()?;
        self.sampling.check()?;
        self.grpo.check()?;
        require(
            self.grpo.num_iterations == 1 || self.sampling.dtype == FloatType::Float32,
            "sampling.dtype",
            "bfloat16",
            "float32 where grpo.num_iterations is above 1",
        )?;
        self.sami.check()?;
        self.transport.check()?;
        if let Some(lora) = &self.lora {
            lora.check(&self.model)?;
        }
        self.optimizer.check()?;
        some("run.max_steps", self.run.max_steps)?;
        some("run.questions_per_step", self.run.questions_per_step)?;
        some("run.micro_batch_tokens", self.run.micro_batch_tokens)?;
        save::check(
            self.run.metric_for_best_model.as_ref(),
            self.run.greater_is_better,
        )?;
        some("evaluation.questions", self.evaluation.questions)?;
        some("evaluation.samples", self.evaluation.samples)?;
        some(
            "evaluation.bootstrap_resamples",
            self.evaluation.bootstrap_resamples,
        )
    }
}
