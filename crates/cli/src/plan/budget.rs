//! How much a run computes at most, known before it starts.

use model::{Config, Trained, Workload};
use principle::Principle;
use trainer::Example;

use crate::machine::Opened;
use crate::recipe::{SftRecipe, TrainRecipe};

/// Counts of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Budget {
    /// Completions of a step, at most.
    pub(crate) completions_per_step: usize,
    /// Tokens sampled in all steps, at most.
    pub(crate) sampled_tokens_max: usize,
    /// Tokens sampled by both evaluations, at most.
    pub(crate) evaluation_tokens_max: usize,
    /// Tokens of the longest prompt.
    pub(crate) longest_prompt: usize,
    /// Numbers of the model.
    pub(crate) parameters: usize,
    /// Numbers that training changes.
    pub(crate) trainable_parameters: usize,
    /// Memory.
    #[serde(flatten)]
    pub(crate) memory: Memory,
}

/// Memory that a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Bytes of weights, their copies, activations and caches.
    pub(crate) memory_bytes: usize,
    /// Bytes of an NVIDIA card that computes all this.
    pub(crate) card_bytes: usize,
}

impl Memory {
    /// Of training.
    pub(crate) fn training(config: &Config, workload: &Workload, trained: Trained) -> Self {
        Self {
            memory_bytes: config.training_bytes(workload, trained),
            card_bytes: config.card_training_bytes(workload, trained),
        }
    }

    /// Of a supervised run: its largest batch, cut into slices of whole examples.
    pub(super) fn of_examples(recipe: &SftRecipe, opened: &Opened, examples: &[Example]) -> Self {
        let length = |example: &Example| example.prefix.len() + example.tokens_t.len();
        let mut lengths: Vec<usize> = examples.iter().map(length).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let run = &recipe.run;
        let longest = lengths.first().copied().unwrap_or(0);
        let batch = lengths.iter().take(run.per_device_train_batch_size);
        let slice = batch.sum::<usize>().min(run.micro_batch_tokens);
        let workload = Workload {
            gradient_checkpointing: recipe.model.gradient_checkpointing,
            ..Workload::untrained([], 0, slice.max(longest))
        };
        Self::training(&opened.config, &workload, trained(opened, false))
    }
}

/// What a run trains of a model.
fn trained(opened: &Opened, keeps_reference: bool) -> Trained<'_> {
    match &opened.lora {
        Some(lora) => Trained::Lora(lora),
        None => Trained::Full { keeps_reference },
    }
}

impl Budget {
    /// The budget of a recipe: in training a question is asked under one principle, in evaluation
    /// under each.
    pub(super) fn new(
        recipe: &TrainRecipe,
        opened: &Opened,
        principles: &[Principle],
        held_out: usize,
        longest_prompt: usize,
    ) -> Self {
        let TrainRecipe {
            run,
            sampling,
            evaluation,
            ..
        } = recipe;
        let config = &opened.config;
        let texts = principles
            .iter()
            .map(|principle| 1 + principle.negatives.len());
        let (most, all) = (
            texts.clone().max().unwrap_or(1),
            texts.sum::<usize>().max(1),
        );
        // Counts of a recipe may be so large that their products are only told to be huge.
        let product = |counts: &[usize]| {
            counts
                .iter()
                .fold(1, |all: usize, &n| all.saturating_mul(n))
        };
        let asked = product(&[run.questions_per_step, most]);
        let evaluated = evaluation.questions.min(held_out) * all;
        let completions_per_step = product(&[asked, sampling.num_generations]);
        let evaluation_completions = product(&[evaluated, evaluation.samples]);
        let rollouts = run.max_steps.div_ceil(recipe.grpo.num_iterations);
        let length = sampling.max_completion_length;
        let workload = Workload {
            computed_tokens: computed_tokens(recipe, most, longest_prompt),
            completions: completions_per_step.max(evaluation_completions),
            max_completion_length: length,
            prompt_tokens: product(&[longest_prompt, asked.max(evaluated)]),
            gradient_checkpointing: recipe.model.gradient_checkpointing,
            sampling_dtype: super::dtype(sampling.dtype),
        };
        Self {
            completions_per_step,
            sampled_tokens_max: product(&[rollouts, completions_per_step, length]),
            evaluation_tokens_max: product(&[2, evaluation_completions, length]),
            longest_prompt,
            parameters: config.parameters(),
            trainable_parameters: opened.trainable_parameters(),
            memory: Memory::training(config, &workload, trained(opened, true)),
        }
    }
}

/// Tokens of a pass at most: every question's prompts and completions, and those that contrasts
/// add, cut into slices.
fn computed_tokens(recipe: &TrainRecipe, constitutions: usize, longest_prompt: usize) -> usize {
    let crossed = constitutions * (constitutions - 1);
    let rows = constitutions * recipe.sampling.num_generations + crossed;
    let completions = rows.saturating_mul(recipe.sampling.max_completion_length);
    let question = completions.saturating_add(constitutions * longest_prompt);
    let all = question.saturating_mul(recipe.run.questions_per_step);
    all.min(recipe.run.micro_batch_tokens)
}
