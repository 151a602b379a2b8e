//! Questions for a training run and its evaluation.

use policy::Role;
use rollout::Question;

use super::lines::{Row, rows};
use super::{Conversation, Source};
use crate::error::InputError;

/// The first `limit` questions of a source; a question's id is its line.
///
/// A row has `question` (as GSM8K's) or `prompt` (as TRL's: text, or one message of the user), and
/// may have `answer`; other columns are kept for graders.
///
/// # Errors
/// Where a line is not such a row.
pub(crate) fn questions(
    source: &Source,
    limit: Option<usize>,
) -> Result<Vec<Question>, InputError> {
    rows(source, limit)?
        .into_iter()
        .map(|row| question(source, row))
        .collect()
}

fn question(source: &Source, mut row: Row) -> Result<Question, InputError> {
    let text = match row.fields.get("prompt") {
        Some(prompt) => user_text(prompt)
            .map_err(|reason| source.at(row.line, format!("`prompt`: {reason}")))?,
        None => row.text(source, "question")?,
    };
    if text.trim().is_empty() {
        return Err(source.at(row.line, "expected a question, found empty text"));
    }
    let answer = match row.fields.get("answer") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        Some(_) => Some(row.text(source, "answer")?),
    };
    for known in ["prompt", "question", "answer"] {
        row.fields.remove(known);
    }
    Ok(Question {
        id: row.line,
        text,
        answer,
        fields: row.fields,
    })
}

fn user_text(prompt: &serde_json::Value) -> Result<String, String> {
    match Conversation::parse(prompt)? {
        Conversation::Raw(text) => Ok(text),
        Conversation::Messages(mut messages) => match messages.pop() {
            Some(last) if last.role == Role::User && messages.is_empty() => Ok(last.content),
            _ => Err(
                "expected text or one message of the user, because the system turn is the \
                      constitution's"
                    .to_owned(),
            ),
        },
    }
}
