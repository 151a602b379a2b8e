//! What a run is told: its task and its settings, already resolved.

use std::fmt::Display;

use policy::SamplingOptions;
use principle::Principle;
use rollout::{Format, Question};

use crate::{Schedule, TrainError};

/// What is asked, under which principles, and in which form.
#[derive(Clone, Debug)]
pub struct Task {
    /// Questions to train on; their ids are distinct.
    pub questions: Vec<Question>,
    /// Questions to evaluate on; their ids are distinct.
    pub held_out: Vec<Question>,
    /// The principles, each with its matched negatives. With none, prompts have no constitution.
    pub principles: Vec<Principle>,
    /// The form a valid completion has.
    pub format: Format,
    /// Closes every user turn, and asks for that form; may be empty.
    pub format_instruction: String,
}

/// How a training run goes. TRL's names where TRL has the option.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Names every draw of the run.
    pub seed: u64,
    /// Updates in all (TRL's `max_steps`).
    pub steps: usize,
    /// Questions of a rollout; each is asked under every constitution of one principle.
    pub questions_per_step: usize,
    /// Completions of each question under each constitution.
    pub num_generations: usize,
    /// How completions are drawn; the temperature is positive.
    pub sampling: SamplingOptions,
    /// Completions are drawn by other log-probabilities than are trained: each token's loss counts
    /// by the ratio of the two, at most this (TRL's `vllm_importance_sampling_clip_max`). `None`:
    /// sampling and training differ by rounding, and nothing is corrected.
    pub importance_sampling_clip_max: Option<f64>,
    /// How rewards become advantages.
    pub advantages: objective::AdvantageOptions,
    /// The terms and their weights.
    pub objective: objective::Settings,
    /// The top of the schedule.
    pub learning_rate: f64,
    /// The course of the learning rate.
    pub lr_scheduler_type: Schedule,
    /// Updates over which the learning rate rises from 0.
    pub warmup_steps: usize,
    /// Updates with each rollout (TRL's `num_iterations`); 1 is strictly on-policy.
    pub num_iterations: usize,
    /// A batch of more computed tokens is cut into slices; the gradient is the same.
    pub micro_batch_tokens: usize,
    /// The policy is kept every so many steps, and after the last; 0 keeps the last only.
    pub save_steps: usize,
    /// Completions are recorded every so many steps; 0 records none.
    pub log_completions_steps: usize,
}

impl Settings {
    /// What a run could not start with.
    pub(crate) fn check(&self, task: &Task) -> Result<(), TrainError> {
        let (per_step, questions) = (self.questions_per_step, task.questions.len());
        require(
            (1..=questions).contains(&per_step),
            "questions_per_step",
            per_step,
            format!("1 to {questions}, the questions of the task"),
        )?;
        require_temperature(&self.sampling)?;
        require(
            self.num_iterations > 0,
            "num_iterations",
            self.num_iterations,
            "at least 1",
        )?;
        require(
            self.importance_sampling_clip_max.is_none() || self.num_iterations == 1,
            "num_iterations",
            self.num_iterations,
            "1 where completions are drawn in another precision than is trained",
        )?;
        require(
            self.objective.sami_weight <= 0.0 || !task.principles.is_empty(),
            "sami_weight",
            self.objective.sami_weight,
            "0, as the task has no principles",
        )
    }
}

/// A setting outside its range is an error that names it.
pub(crate) fn require(
    holds: bool,
    name: &'static str,
    found: impl Display,
    expected: impl Into<String>,
) -> Result<(), TrainError> {
    if holds {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        found: found.to_string(),
        expected: expected.into(),
    })
}

/// Greedy completions would all be one; batches are scored at the temperature of sampling.
pub(crate) fn require_temperature(sampling: &SamplingOptions) -> Result<(), TrainError> {
    let temperature = sampling.temperature;
    let holds = temperature > 0.0 && temperature.is_finite();
    require(holds, "temperature", temperature, "a positive one")
}
