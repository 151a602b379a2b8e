//! Completions to imitate.

use policy::{Message, Role};

use super::conversation::completion;
use super::{Conversation, Place, Row, Source, gsm8k, rows};
use crate::error::InputError;

/// A prompt and the completion that is to follow it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// Where it stands.
    pub(crate) place: Place,
    /// The prompt.
    pub(crate) prompt: Conversation,
    /// The completion's text.
    pub(crate) completion: String,
}

/// How a worked answer of GSM8K is put.
#[derive(Clone, Debug)]
pub(crate) struct Form<'a> {
    /// Name of the reasoning's tag.
    pub(crate) reasoning_tag: &'a str,
    /// Name of the answer's tag, where it has one.
    pub(crate) answer_tag: Option<&'a str>,
    /// Follows each question after an empty line; may be empty.
    pub(crate) instruction: &'a str,
    /// System turns, one question each in turn; may be empty.
    pub(crate) constitutions: &'a [String],
}

/// The first `limit` rows of a split of a source, read as they are asked for.
///
/// Rows with `prompt` and `completion` are taken as they are, rows with `question` and `answer` are
/// put into the form.
///
/// # Errors
/// Where the source has no rows; then where a row is neither.
pub(crate) fn examples<'a>(
    source: &Source,
    split: &str,
    limit: Option<usize>,
    form: &'a Form,
) -> Result<impl Iterator<Item = Result<Exemplar, InputError>> + use<'a>, InputError> {
    let columns = ["prompt", "completion", "question", "answer"];
    let rows = rows(source, split, Some(&columns), limit)?;
    Ok(rows.map(|row| {
        let row = row?;
        if row.fields.contains_key("question") {
            worked(&row, form)
        } else {
            given(&row)
        }
    }))
}

fn given(row: &Row) -> Result<Exemplar, InputError> {
    let value = |key: &str| match row.fields.get(key) {
        Some(value) => Ok(value),
        None => Err(row.refuse(format!(
            "no `{key}`; expected `prompt` and `completion`, or GSM8K's two keys"
        ))),
    };
    let wrong = |key: &'static str| move |reason: String| row.refuse(format!("`{key}`: {reason}"));
    Ok(Exemplar {
        place: row.place.clone(),
        prompt: Conversation::parse(value("prompt")?).map_err(wrong("prompt"))?,
        completion: completion(value("completion")?).map_err(wrong("completion"))?,
    })
}

fn worked(row: &Row, form: &Form) -> Result<Exemplar, InputError> {
    let question = row.text("question")?;
    let answer = row.text("answer")?;
    let Some((rationale, answer)) = gsm8k::split(&answer) else {
        let reason = "expected an answer of the form `rationale #### result`, as GSM8K's";
        return Err(row.refuse(reason));
    };
    let user = match form.instruction {
        "" => question,
        instruction => format!("{question}\n\n{instruction}"),
    };
    let system = form
        .constitutions
        .get((row.number - 1) % form.constitutions.len().max(1));
    let system = system.map(|text| Message::new(Role::System, text.as_str()));
    let messages = system
        .into_iter()
        .chain([Message::new(Role::User, user)])
        .collect();
    let tag = form.reasoning_tag;
    let reasoning = format!("<{tag}>\n{rationale}\n</{tag}>\n");
    let completion = match form.answer_tag {
        Some(tag) => format!("{reasoning}<{tag}>{answer}</{tag}>"),
        None => format!("{reasoning}{answer}"),
    };
    Ok(Exemplar {
        place: row.place.clone(),
        prompt: Conversation::Messages(messages),
        completion,
    })
}
