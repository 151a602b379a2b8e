//! A question from the command line: rewards, success probabilities or a file of preferences, and
//! a reference from numbers or from a model.

use std::path::Path;

use ::stationary::{Answers, Question, Scale};

use super::variant::{Defaults, variant};
use super::{Inquiry, model, refused, said};
use crate::arguments::StationaryArguments;
use crate::data::Source;
use crate::error::{Failure, InputError};
use crate::terminal::Screen;

/// The question and the variant of the arguments.
///
/// # Errors
/// Where an argument or the model is wrong.
pub(super) fn inquiry(
    arguments: &StationaryArguments,
    screen: &Screen,
) -> Result<Inquiry, Failure> {
    if arguments.prompt.is_some() {
        return Err(said("--prompt is given without --run; expected both").into());
    }
    let variant = variant(
        arguments,
        Defaults {
            beta: None,
            group: None,
            scale: Scale::Population,
        },
    )?;
    let answers = answers(arguments)?;
    let texts: Option<Vec<String>> = arguments
        .answers
        .as_ref()
        .map(|list| list.split(',').map(str::to_owned).collect());
    let count = match &answers {
        Answers::Rewards { mean_k, .. } | Answers::Bernoulli(mean_k) => mean_k.len(),
        Answers::Pairwise(rows) => rows.len(),
    };
    if let Some(texts) = &texts
        && texts.len() != count
    {
        let found = texts.len();
        return Err(said(format!("--answers has {found} texts, expected {count}")).into());
    }
    let reference = match (&arguments.reference, &arguments.model) {
        (Some(list), None) => numbers("--reference", list)?,
        (None, Some(_)) => {
            let texts = texts.as_deref().ok_or_else(|| {
                said("--answers is missing; expected the texts of the answers for --model")
            })?;
            model::reference(arguments, texts, screen)?
        }
        _ => {
            return Err(said(
                "expected either --reference, the probabilities of the answers, or --model, which \
                 gives them",
            )
            .into());
        }
    };
    let question = Question::new(answers, &reference).map_err(|error| refused(&error))?;
    let number = |k: usize| format!("{}", k + 1);
    let names = texts.unwrap_or_else(|| (0..count).map(number).collect());
    Ok(Inquiry {
        question,
        names,
        variant,
    })
}

fn answers(arguments: &StationaryArguments) -> Result<Answers, InputError> {
    let noise = arguments.noise;
    if noise.abs() > 0.0 && arguments.rewards.is_none() {
        return Err(said(format!(
            "--noise is {noise} without --rewards; expected both"
        )));
    }
    match (
        &arguments.rewards,
        &arguments.success,
        &arguments.preference,
    ) {
        (Some(list), None, None) => Ok(Answers::Rewards {
            mean_k: numbers("--rewards", list)?,
            noise,
        }),
        (None, Some(list), None) => Ok(Answers::Bernoulli(numbers("--success", list)?)),
        (None, None, Some(path)) => matrix(path).map(Answers::Pairwise),
        _ => Err(said(
            "expected one of --rewards, --success, --preference and --run, which say what the \
             answers are worth",
        )),
    }
}

/// Numbers separated by commas.
fn numbers(key: &str, list: &str) -> Result<Vec<f64>, InputError> {
    let number = |text: &str| {
        let wrong = || {
            said(format!(
                "{key} has `{text}`; expected numbers separated by commas"
            ))
        };
        text.trim().parse().map_err(|_| wrong())
    };
    list.split(',').map(number).collect()
}

/// A JSON list of lists, or a line of numbers for each row.
fn matrix(path: &Path) -> Result<Vec<Vec<f64>>, InputError> {
    let source = Source::File(path.to_owned());
    let text = source.text()?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|error| {
            at(
                &source,
                error.line(),
                "expected a JSON list with a list of numbers for each row",
            )
        });
    }
    let row = |(line, text): (usize, &str)| -> Result<Vec<f64>, InputError> {
        let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        let number = |word: &str| {
            let wrong = || at(&source, line, format!("expected a number, found `{word}`"));
            word.trim().parse().map_err(|_| wrong())
        };
        words.map(number).collect()
    };
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, text)| !text.trim().is_empty())
        .map(row)
        .collect()
}

/// A mistake on a line, counted from 1.
fn at(source: &Source, line: usize, reason: impl Into<String>) -> InputError {
    InputError::Refused {
        context: format!("{}, line {line}", source.path().display()),
        reason: reason.into(),
    }
}
