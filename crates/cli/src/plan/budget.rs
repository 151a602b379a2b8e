//! How much a run computes at most, known before it starts.

use model::{Trained, Workload};
use principle::Principle;

use crate::machine::Opened;
use crate::recipe::TrainRecipe;

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
    /// Bytes of weights, their copies, activations and caches.
    pub(crate) memory_bytes: usize,
    /// Bytes of an NVIDIA card that computes all this.
    pub(crate) card_bytes: usize,
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
        let trained = product(&[run.questions_per_step, most]);
        let evaluated = evaluation.questions.min(held_out) * all;
        let completions_per_step = product(&[trained, sampling.num_generations]);
        let evaluation_completions = product(&[evaluated, evaluation.samples]);
        let rollouts = run.max_steps.div_ceil(recipe.grpo.num_iterations);
        let length = sampling.max_completion_length;
        let workload = Workload {
            computed_tokens: computed_tokens(recipe, most, longest_prompt),
            completions: completions_per_step.max(evaluation_completions),
            max_completion_length: length,
            prompt_tokens: product(&[longest_prompt, trained.max(evaluated)]),
            gradient_checkpointing: recipe.model.gradient_checkpointing,
            sampling_dtype: super::dtype(sampling.dtype),
        };
        let kept = match &opened.lora {
            Some(lora) => Trained::Lora(lora),
            None => Trained::Full {
                keeps_reference: true,
            },
        };
        let memory_bytes = config.training_bytes(&workload, kept);
        Self {
            completions_per_step,
            sampled_tokens_max: product(&[rollouts, completions_per_step, length]),
            evaluation_tokens_max: product(&[2, evaluation_completions, length]),
            longest_prompt,
            parameters: config.parameters(),
            trainable_parameters: opened.trainable_parameters(),
            memory_bytes,
            card_bytes: memory_bytes + config.card_bytes(&workload, kept),
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
