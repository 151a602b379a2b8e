//! How much a run computes at most, known before it starts.

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
}

impl Budget {
    /// The budget of a recipe whose prompts come with `constitutions` each.
    pub(super) fn new(
        recipe: &TrainRecipe,
        constitutions: usize,
        held_out: usize,
        longest_prompt: usize,
    ) -> Self {
        let TrainRecipe {
            run,
            sampling,
            evaluation,
            ..
        } = recipe;
        let completions_per_step =
            run.questions_per_step * constitutions * sampling.num_generations;
        let rollouts = run.max_steps.div_ceil(recipe.grpo.num_iterations);
        let evaluated = evaluation.questions.min(held_out) * constitutions * evaluation.samples;
        Self {
            completions_per_step,
            sampled_tokens_max: rollouts * completions_per_step * sampling.max_completion_length,
            evaluation_tokens_max: 2 * evaluated * sampling.max_completion_length,
            longest_prompt,
        }
    }
}
