//! The plan of a training run.

use std::path::{Path, PathBuf};

use model::Config;
use trainer::{EvaluationSettings, Settings, Task};

use super::{Budget, fit, principles, settings};
use crate::data::{self, Source, find};
use crate::error::InputError;
use crate::recipe::{RecipeText, TrainRecipe};
use crate::{machine, machine::Opened, nano};

/// A training run that can start.
#[derive(Debug)]
pub(crate) struct TrainPlan {
    /// Every default filled in, every path absolute.
    pub(crate) recipe: TrainRecipe,
    /// The run's folder, which does not exist yet.
    pub(crate) out: PathBuf,
    /// The model, but for its weights.
    pub(crate) opened: Opened,
    /// What is asked.
    pub(crate) task: Task,
    /// How the run goes.
    pub(crate) settings: Settings,
    /// What is measured before and after.
    pub(crate) evaluation: EvaluationSettings,
    /// How much is computed.
    pub(crate) budget: Budget,
    /// What a reader should know before it starts.
    pub(crate) notes: Vec<String>,
}

impl TrainPlan {
    /// Reads everything that a checked recipe names.
    ///
    /// # Errors
    /// At the first mistake.
    pub(crate) fn resolve(
        source: &RecipeText,
        mut recipe: TrainRecipe,
        out: PathBuf,
    ) -> Result<Self, InputError> {
        let folder = source.folder.as_deref();
        recipe.format = recipe.format.resolved();
        let format = settings::format(&recipe.format)?;
        let instruction = recipe
            .format
            .instruction
            .get_or_insert_with(|| format.instruction());
        let instruction = instruction.clone();
        recipe.grpo.epsilon_high.get_or_insert(recipe.grpo.epsilon);

        let (section, principles, mut notes) = principles::principles(&recipe.principles, folder)?;
        recipe.principles = section;
        let (training, held_out) = sources(&mut recipe, folder)?;
        let opened = machine::open_section(&mut recipe.model, folder)?;

        let texts = principles
            .iter()
            .flat_map(|p| p.negatives.iter().chain([&p.positive]));
        let texts: Vec<String> = texts.cloned().collect();
        let limit = limit(&recipe, &opened.config)?;
        let measured = |source: &Source, rows: Option<usize>| {
            let questions = data::questions(source, rows)?;
            fit::questions(
                questions,
                source,
                &opened.tokenizer,
                &texts,
                &instruction,
                limit,
            )
        };
        let fitting = measured(&training, recipe.data.limit)?;
        let evaluated = measured(&held_out, None)?;
        for (what, left_out) in [
            ("train", fitting.left_out),
            ("held out", evaluated.left_out),
        ] {
            if left_out > 0 {
                notes.push(format!(
                    "{left_out} questions to {what} exceed data.max_prompt_length"
                ));
            }
        }
        fit::enough(
            "run.questions_per_step",
            recipe.run.questions_per_step,
            &fitting.rows,
        )?;
        let longest = fitting.longest.max(evaluated.longest);
        let budget = Budget::new(
            &recipe,
            &opened.config,
            &principles,
            evaluated.rows.len(),
            longest,
        );
        Ok(Self {
            settings: run_settings(&recipe),
            evaluation: evaluation(&recipe),
            task: Task {
                questions: fitting.rows,
                held_out: evaluated.rows,
                principles,
                format,
                format_instruction: instruction,
            },
            recipe,
            out,
            opened,
            budget,
            notes,
        })
    }
}

/// Where the questions are; their paths in the recipe become absolute.
fn sources(
    recipe: &mut TrainRecipe,
    folder: Option<&Path>,
) -> Result<(Source, Source), InputError> {
    let data = &mut recipe.data;
    let source = |key, word: &mut String, built_in: fn() -> Source| {
        if word == nano::NANO {
            return Ok::<_, InputError>(built_in());
        }
        let path = find(key, word, folder)?;
        *word = path.display().to_string();
        Ok(Source::File(path))
    };
    Ok((
        source("data.questions", &mut data.questions, nano::questions)?,
        source("data.held_out", &mut data.held_out, nano::held_out)?,
    ))
}

/// What is left of the context for prompts.
fn limit(recipe: &TrainRecipe, config: &Config) -> Result<fit::Limit, InputError> {
    let (asked, context) = (
        recipe.sampling.max_completion_length,
        config.max_position_embeddings,
    );
    if asked >= context {
        return Err(InputError::NoRoom { asked, context });
    }
    Ok(fit::Limit {
        key: "data.max_prompt_length",
        length: recipe.data.max_prompt_length,
        context: context - asked,
        remedy: "data.max_prompt_length to leave long prompts out, or a smaller \
                 sampling.max_completion_length",
    })
}

fn run_settings(recipe: &TrainRecipe) -> Settings {
    let TrainRecipe {
        run,
        sampling,
        optimizer,
        grpo,
        ..
    } = recipe;
    Settings {
        seed: run.seed,
        steps: run.max_steps,
        questions_per_step: run.questions_per_step,
        num_generations: sampling.num_generations,
        sampling: settings::sampling(sampling),
        advantages: settings::advantages(grpo.scale_rewards),
        objective: settings::objective(recipe),
        learning_rate: optimizer.learning_rate,
        lr_scheduler_type: settings::schedule(optimizer.lr_scheduler_type),
        warmup_steps: optimizer.warmup_steps,
        num_iterations: grpo.num_iterations,
        micro_batch_tokens: run.micro_batch_tokens,
        log_completions_steps: run.log_completions_steps,
    }
}

/// The draws before and after a run are the same, so that it compares like with like.
fn evaluation(recipe: &TrainRecipe) -> EvaluationSettings {
    let TrainRecipe {
        run,
        sampling,
        evaluation,
        ..
    } = recipe;
    EvaluationSettings {
        seed: run.seed,
        questions: evaluation.questions,
        samples: evaluation.samples,
        sampling: settings::sampling(sampling),
        bootstrap_resamples: evaluation.bootstrap_resamples,
        drift: Some(settings::drift(&recipe.transport)),
        micro_batch_tokens: run.micro_batch_tokens,
    }
}
