//! Completions that were written under the constitutions of principles, by whomever.

use std::collections::HashMap;

use principle::Principle;

use super::{Row, Source, completion, rows};
use crate::error::InputError;

/// The completions given for one principle.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenCompletions {
    /// By the text of the question; one for each constitution, where it is there.
    texts: HashMap<String, Vec<Option<String>>>,
}

impl GivenCompletions {
    /// A question's completions, one for each constitution; `None` where any is missing.
    pub(crate) fn of(&self, question: &str) -> Option<Vec<&str>> {
        let texts_k = self.texts.get(question)?;
        texts_k.iter().map(Option::as_deref).collect()
    }
}

/// The completions of a source, by principle. A row has `question` (or `prompt`), `completion`,
/// `constitution` (0 for the positive one, then the negatives by their number) and `principle`,
/// which may be missing where there is only one.
///
/// # Errors
/// Where a line is not such a row, or repeats another.
pub(crate) fn given_completions(
    source: &Source,
    principles: &[Principle],
) -> Result<Vec<GivenCompletions>, InputError> {
    let mut given = vec![GivenCompletions::default(); principles.len()];
    for row in rows(source, "train", None, None)? {
        let row = row?;
        let wrong = |reason: String| row.refuse(reason);
        let number = principle_of(&row, principles).map_err(wrong)?;
        let k = 1 + principles[number].negatives.len();
        let constitution = constitution_of(&row, k).map_err(wrong)?;
        let text = row
            .fields
            .get("completion")
            .ok_or_else(|| wrong("expected the key `completion`".to_owned()))?;
        let text = completion(text).map_err(|reason| wrong(format!("`completion`: {reason}")))?;
        let key = if row.fields.contains_key("question") {
            "question"
        } else {
            "prompt"
        };
        let texts = &mut given[number].texts;
        let texts_k = texts.entry(row.text(key)?).or_insert_with(|| vec![None; k]);
        if texts_k[constitution].replace(text).is_some() {
            return Err(wrong(
                "expected one completion of each question, principle and \
                              constitution, found another"
                    .to_owned(),
            ));
        }
    }
    Ok(given)
}

fn principle_of(row: &Row, principles: &[Principle]) -> Result<usize, String> {
    let ids = || {
        principles
            .iter()
            .map(|p| p.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match row.fields.get("principle") {
        None if principles.len() == 1 => Ok(0),
        None => Err(format!("expected the key `principle`, one of {}", ids())),
        Some(value) => {
            let known = |p: &Principle| value.as_str() == Some(p.id.as_str());
            let found = principles.iter().position(known);
            found.ok_or_else(|| format!("`principle` is {value}; expected one of {}", ids()))
        }
    }
}

fn constitution_of(row: &Row, k: usize) -> Result<usize, String> {
    let found = row
        .fields
        .get("constitution")
        .and_then(serde_json::Value::as_u64);
    let found = found
        .map(|number| number as usize)
        .filter(|&number| number < k);
    found.ok_or_else(|| {
        let most = k - 1;
        format!("`constitution` is not a number from 0, the positive one, to {most}, its negatives")
    })
}
