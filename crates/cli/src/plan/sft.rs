//! The plan of a supervised run.

use std::path::PathBuf;

use policy::TextCodec;
use trainer::{Example, SftSettings};

use super::disk::Written;
use super::inputs::inputs;
use super::{Disk, Memory, duplicates, fit, principles, settings};
use crate::data::{self, Exemplar, Form, Place, Source, find};
use crate::error::InputError;
use crate::machine::{self, Opened};
use crate::recipe::{Duplicates, RecipeText, SftRecipe};

/// A supervised run that can start.
#[derive(Debug)]
pub(crate) struct SftPlan {
    /// Every default filled in, every path absolute.
    pub(crate) recipe: SftRecipe,
    /// The run's folder, which does not exist yet.
    pub(crate) out: PathBuf,
    /// The model, but for its weights.
    pub(crate) opened: Opened,
    /// What is imitated.
    pub(crate) examples: Vec<Example>,
    /// How the run goes.
    pub(crate) settings: SftSettings,
    /// How much it computes with.
    pub(crate) memory: Memory,
    /// How much is kept.
    pub(crate) disk: Disk,
    /// The texts it is made from.
    pub(crate) inputs: Vec<(String, Source)>,
    /// What a reader should know before it starts.
    pub(crate) notes: Vec<String>,
}

impl SftPlan {
    /// Reads everything that a checked recipe names.
    ///
    /// # Errors
    /// At the first mistake.
    pub(crate) fn resolve(
        source: &RecipeText,
        mut recipe: SftRecipe,
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
        let (mut constitutions, mut notes) = (Vec::new(), Vec::new());
        if let Some(section) = &mut recipe.principles {
            let (resolved, principles, warnings) = principles::principles(section, folder)?;
            *section = resolved;
            notes = warnings;
            let texts = principles.into_iter();
            constitutions = texts
                .flat_map(|p| std::iter::once(p.positive).chain(p.negatives))
                .collect();
        }
        let path = find("data.examples", &recipe.data.examples, folder)?;
        recipe.data.examples = path.display().to_string();
        let opened = machine::open_section(&mut recipe.model, recipe.lora.as_ref(), folder)?;

        let source = Source::File(path);
        let (reasoning_tag, answer_tag) = recipe.format.tags();
        let (instruction, constitutions) = (&instruction, &constitutions);
        let form = Form {
            reasoning_tag,
            answer_tag,
            instruction,
            constitutions,
        };
        let split = &recipe.data.dataset_train_split;
        let rows = data::examples(&source, split, recipe.data.limit, &form)?;
        let rows = rows.map(|row| example(&opened.tokenizer, row?));
        let limit = fit::Limit {
            key: "data.max_length",
            length: recipe.data.max_length,
            context: opened.config.scored_context(1),
            remedy: "data.max_length to leave long examples out",
        };
        let fitting = fit::within(rows, limit, source.path(), |example: &Example| {
            Ok(example.prefix.len() + example.tokens_t.len())
        })?;
        if fitting.left_out > 0 {
            notes.push(format!(
                "{} examples exceed data.max_length",
                fitting.left_out
            ));
        }
        let mut examples = fitting.rows;
        notes.extend(settle(&mut examples, recipe.data.duplicates));
        let key = "run.per_device_train_batch_size";
        fit::enough(key, recipe.run.per_device_train_batch_size, &examples)?;
        let settings = run_settings(&mut recipe, examples.len());
        let data = vec![("data.examples", source)];
        let disk = Disk::new(&written(&recipe, &opened, &settings), &out)?;
        Ok(Self {
            memory: Memory::of_examples(&recipe, &opened, &examples),
            inputs: inputs(&recipe.model, recipe.principles.as_ref(), data),
            recipe,
            out,
            opened,
            examples,
            settings,
            disk,
            notes,
        })
    }
}

/// Does with examples that repeat another what the recipe says, and tells of them.
fn settle(examples: &mut Vec<Example>, policy: Duplicates) -> Option<String> {
    let repeated = duplicates::mark(examples.iter().map(|e| (&e.prefix, &e.tokens_t)));
    let count = repeated.iter().filter(|&&is_repeated| is_repeated).count();
    policy.apply(examples, &repeated);
    policy.note(count, "examples repeat another")
}

/// A row as token ids, the end token last.
fn example(codec: &dyn TextCodec, row: Exemplar) -> Result<(Place, Example), InputError> {
    let refused = |error: policy::TextError| row.place.refuse(error.to_string());
    let prefix = row.prompt.encode(codec).map_err(refused)?;
    if prefix.is_empty() {
        return Err(row.place.refuse("expected a prompt, found none"));
    }
    let mut tokens_t = codec.encode(&row.completion).map_err(refused)?;
    tokens_t.push(codec.end_tokens()[0]);
    Ok((row.place, Example { prefix, tokens_t }))
}

fn written<'a>(recipe: &SftRecipe, opened: &'a Opened, settings: &SftSettings) -> Written<'a> {
    Written {
        opened,
        dtype: settings::dtype(recipe.model.checkpoint_dtype),
        saves: recipe.run.saves(),
        steps: [settings.steps, settings.save_steps],
        tokens: 0,
    }
}

/// The settings; the recipe learns the number of steps.
fn run_settings(recipe: &mut SftRecipe, examples: usize) -> SftSettings {
    let SftRecipe { run, optimizer, .. } = recipe;
    let batch_size = run.per_device_train_batch_size;
    // An epoch ends with its last whole batch.
    let epochs = (run.num_train_epochs * (examples / batch_size) as f64).ceil();
    SftSettings {
        seed: run.seed,
        steps: *run.max_steps.get_or_insert((epochs as usize).max(1)),
        batch_size,
        learning_rate: optimizer.learning_rate,
        lr_scheduler_type: settings::schedule(optimizer.lr_scheduler_type),
        warmup_steps: optimizer.warmup_steps,
        micro_batch_tokens: run.micro_batch_tokens,
        save_steps: run.save_steps,
    }
}
