//! The plan of a training run.

use std::path::PathBuf;

use record::DataRecord;
use trainer::{EvaluationSettings, Settings, Task};

use super::disk::Written;
use super::inputs::inputs;
use super::{Budget, Disk, fit, graders, principles, questions, settings};
use crate::data::Source;
use crate::error::InputError;
use crate::machine::{self, Opened};
use crate::recipe::{RecipeText, TrainRecipe};

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
    /// What became of the rows of the data.
    pub(crate) data: DataRecord,
    /// How much is computed.
    pub(crate) budget: Budget,
    /// How much is kept.
    pub(crate) disk: Disk,
    /// The texts it is made from.
    pub(crate) inputs: Vec<(String, Source)>,
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
        graders::resolve(&mut recipe.rewards, folder)?;
        let sources = questions::sources(&mut recipe.data, folder)?;
        let opened = machine::open_section(&mut recipe.model, recipe.lora.as_ref(), folder)?;

        let texts = principles
            .iter()
            .flat_map(|p| p.negatives.iter().chain([&p.positive]));
        let texts: Vec<String> = texts.cloned().collect();
        let questions = questions::questions(&recipe, &sources, &opened.config, |question| {
            let asked = std::slice::from_ref(question);
            let prompts = rollout::render(&opened.tokenizer, asked, &texts, &instruction)
                .map_err(|error| InputError::refused("the prompts", &error))?;
            let lengths = prompts.iter().map(|prompt| prompt.prefix.len());
            Ok(lengths.max().unwrap_or(0))
        })?;
        notes.extend(questions.notes);
        fit::enough(
            "run.questions_per_step",
            recipe.run.questions_per_step,
            &questions.training,
        )?;
        let (held_out, longest) = (questions.held_out.len(), questions.longest);
        let budget = Budget::new(&recipe, &opened, &principles, held_out, longest);
        let disk = Disk::new(&written(&recipe, &opened, &budget), &out)?;
        Ok(Self {
            inputs: inputs(&recipe.model, Some(&recipe.principles), sources.named()),
            settings: run_settings(&recipe),
            evaluation: evaluation(&recipe),
            task: Task {
                questions: questions.training,
                held_out: questions.held_out,
                principles,
                format,
                format_instruction: instruction,
            },
            recipe,
            out,
            opened,
            data: questions.record,
            budget,
            disk,
            notes,
        })
    }
}

fn written<'a>(recipe: &TrainRecipe, opened: &'a Opened, budget: &Budget) -> Written<'a> {
    let TrainRecipe { run, sampling, .. } = recipe;
    let logged = match run.log_completions_steps {
        0 => 0,
        every => run.max_steps / every,
    };
    let completions = logged.saturating_mul(budget.completions_per_step);
    let tokens = completions.saturating_mul(sampling.max_completion_length);
    Written {
        opened,
        dtype: settings::dtype(recipe.model.checkpoint_dtype),
        saves: run.saves(),
        steps: [run.max_steps, run.save_steps],
        tokens: tokens.saturating_add(budget.evaluation_tokens_max),
    }
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
        importance_sampling_clip_max: settings::importance_sampling_clip_max(sampling),
        advantages: settings::advantages(grpo.scale_rewards),
        objective: settings::objective(recipe),
        learning_rate: optimizer.learning_rate,
        lr_scheduler_type: settings::schedule(optimizer.lr_scheduler_type),
        warmup_steps: optimizer.warmup_steps,
        num_iterations: grpo.num_iterations,
        micro_batch_tokens: run.micro_batch_tokens,
        save_steps: run.save_steps,
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
