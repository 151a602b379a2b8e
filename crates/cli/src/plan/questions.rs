//! The questions of a run: read, measured, counted, and split into those to train on and those held
//! out.

use std::collections::HashSet;

use math::Key;
use model::Config;
use policy::Message;
use record::DataRecord;
use rollout::Question;

use super::{duplicates, fit};
use crate::data::{self, Asked, Columns, Source, find};
use crate::error::InputError;
use crate::nano;
use crate::recipe::{QuestionSection, TrainRecipe};

/// Stream of the key of a seed that a held-out part is drawn from; the trainer's start at 0.
const SPLIT: u64 = u64::MAX - 1;

/// What a run asks.
#[derive(Debug)]
pub(super) struct Questions {
    /// To train on.
    pub(super) training: Vec<Question>,
    /// To evaluate on.
    pub(super) held_out: Vec<Question>,
    /// Tokens of the longest prompt.
    pub(super) longest: usize,
    /// What became of the rows.
    pub(super) record: DataRecord,
    /// What a reader should know of them.
    pub(super) notes: Vec<String>,
}

/// Where questions come from.
pub(super) struct Sources {
    training: Source,
    /// `None`: a part of the others.
    held_out: Option<Source>,
}

impl Sources {
    /// Each with the key that names it.
    pub(super) fn named(self) -> Vec<(&'static str, Source)> {
        let held_out = self.held_out.map(|source| ("data.held_out", source));
        let training = ("data.questions", self.training);
        std::iter::once(training).chain(held_out).collect()
    }
}

/// The sources that a recipe names; their paths in the recipe become absolute.
///
/// # Errors
/// Where one does not exist.
pub(super) fn sources(
    data: &mut QuestionSection,
    folder: Option<&std::path::Path>,
) -> Result<Sources, InputError> {
    let source = |key, word: &mut String, built_in: fn() -> Source| {
        if word == nano::NANO {
            return Ok::<_, InputError>(built_in());
        }
        let path = find(key, word, folder)?;
        *word = path.display().to_string();
        Ok(Source::File(path))
    };
    let training = source("data.questions", &mut data.questions, nano::questions)?;
    let held_out = data.held_out.as_mut();
    let held_out = held_out.map(|word| source("data.held_out", word, nano::held_out));
    Ok(Sources {
        training,
        held_out: held_out.transpose()?,
    })
}

/// Reads and measures all questions; `measure` gives the tokens of a question's longest prompt.
///
/// # Errors
/// Where a row is no question or does not fit, or a part has none.
pub(super) fn questions(
    recipe: &TrainRecipe,
    sources: &Sources,
    config: &Config,
    measure: impl Fn(&Question) -> Result<usize, InputError>,
) -> Result<Questions, InputError> {
    let (section, limit) = (&recipe.data, limit(recipe, config)?);
    let columns = Columns {
        prompt: section.prompt_column.clone(),
        answer: section.answer_column.clone(),
        keeps_others: !recipe.rewards.command.is_empty(),
    };
    let read = |source: &Source, split: &str, rows: Option<usize>| {
        let questions = data::questions(source, split, &columns, rows)?;
        let placed =
            questions.map(|asked| asked.map(|Asked { question, place }| (place, question)));
        fit::within(placed, limit, source.path(), &measure)
    };
    let mut record = DataRecord::default();
    let training = read(
        &sources.training,
        &section.dataset_train_split,
        section.limit,
    )?;
    (record.questions.over_long, record.questions.rows) =
        (training.left_out, training.left_out + training.rows.len());
    let (mut longest, mut training) = (training.longest, training.rows);
    let mut held_out = match &sources.held_out {
        Some(source) => {
            let held_out = read(source, &section.dataset_test_split, None)?;
            (record.held_out.over_long, longest) =
                (held_out.left_out, longest.max(held_out.longest));
            record.held_out.rows = held_out.left_out + held_out.rows.len();
            held_out.rows
        }
        None => split_off(&mut training, recipe, &mut record)?,
    };
    let notes = settle(recipe, &mut training, &mut held_out, &mut record);
    let weight = recipe.rewards.answer;
    if weight > 0.0 && record.questions.without_answer == record.questions.used {
        let path = sources.training.path().to_owned();
        return Err(InputError::NoAnswers { weight, path });
    }
    Ok(Questions {
        training,
        held_out,
        longest,
        record,
        notes,
    })
}

/// Takes a part that the seed draws out of the questions.
fn split_off(
    training: &mut Vec<Question>,
    recipe: &TrainRecipe,
    record: &mut DataRecord,
) -> Result<Vec<Question>, InputError> {
    let rows = training.len();
    let size = recipe.data.test_size.unwrap_or(0.0);
    // As scikit-learn's and datasets' `train_test_split`, the part is rounded up.
    let count = if size < 1.0 {
        (size * rows as f64).ceil()
    } else {
        size
    } as usize;
    if count == 0 || count >= rows {
        return Err(InputError::NoSplitOff {
            held_out: count,
            rows,
        });
    }
    let order = Key::new(recipe.run.seed).child(SPLIT).permutation(rows);
    let chosen: HashSet<usize> = order[..count].iter().copied().collect();
    let mut held_out = Vec::with_capacity(count);
    let mut kept = Vec::with_capacity(rows - count);
    for (index, question) in training.drain(..).enumerate() {
        if chosen.contains(&index) {
            held_out.push(question);
        } else {
            kept.push(question);
        }
    }
    *training = kept;
    (record.questions.rows, record.held_out.rows) = (record.questions.rows - count, count);
    Ok(held_out)
}

/// Counts what repeats, leaves it out where the recipe says so, and says what was found.
fn settle(
    recipe: &TrainRecipe,
    training: &mut Vec<Question>,
    held_out: &mut Vec<Question>,
    record: &mut DataRecord,
) -> Vec<String> {
    let policy = recipe.data.duplicates;
    let mut notes = Vec::new();
    let key = "data.max_prompt_length";
    for (rows, part, split) in [
        (
            "questions to train on",
            &mut *training,
            &mut record.questions,
        ),
        ("held-out questions", held_out, &mut record.held_out),
    ] {
        let repeated = duplicates::mark(part.iter().map(prompt));
        split.duplicates = count(&repeated);
        policy.apply(part, &repeated);
        if split.over_long > 0 {
            notes.push(format!(
                "{} {rows} exceed {key}; they are left out",
                split.over_long
            ));
        }
        let repeat = format!("{rows} repeat the prompt of another");
        notes.extend(policy.note(split.duplicates, &repeat));
    }
    let held: HashSet<_> = held_out.iter().map(prompt).collect();
    let shared: Vec<bool> = training.iter().map(|q| held.contains(&prompt(q))).collect();
    record.overlap = count(&shared);
    policy.apply(training, &shared);
    let rows = "questions to train on";
    let repeat = format!("{rows} repeat the prompt of a held-out one");
    notes.extend(policy.note(record.overlap, &repeat));
    for (rows, part, split) in [
        (rows, &*training, &mut record.questions),
        ("held-out questions", &*held_out, &mut record.held_out),
    ] {
        split.used = part.len();
        split.without_answer = part.iter().filter(|q| q.answer.is_none()).count();
        if split.without_answer > 0 && recipe.rewards.answer > 0.0 {
            notes.push(format!(
                "{} of {} {rows} have no answer; their completions stay ungraded",
                split.without_answer, split.used
            ));
        }
    }
    notes
}

fn prompt(question: &Question) -> (&[Message], &str) {
    (&question.history, &question.text)
}

fn count(marks: &[bool]) -> usize {
    marks.iter().filter(|&&is_marked| is_marked).count()
}

/// What is left of the context for prompts.
fn limit(recipe: &TrainRecipe, config: &Config) -> Result<fit::Limit, InputError> {
    let (asked, context) = (recipe.sampling.max_completion_length, config.context(1));
    if asked >= context {
        return Err(InputError::NoRoom {
            key: "sampling.max_completion_length",
            asked,
            context,
        });
    }
    Ok(fit::Limit {
        key: "data.max_prompt_length",
        length: recipe.data.max_prompt_length,
        context: context - asked,
        remedy: "data.max_prompt_length to leave long prompts out, or a smaller \
                 sampling.max_completion_length",
    })
}
