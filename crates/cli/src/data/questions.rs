//! Questions for a training run and its evaluation.

use policy::{Message, Role};
use rollout::Question;
use serde_json::Value;

use super::{Conversation, Place, Row, Source, rows};
use crate::error::InputError;

/// Columns of a prompt and of an answer where none is named, the first that a row has.
const PROMPTS: [&str; 2] = ["prompt", "question"];
const ANSWERS: [&str; 2] = ["answer", "solution"];

/// Which columns of a row are what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// The prompt; by default `prompt`, or else `question`.
    pub(crate) prompt: Option<String>,
    /// The expected answer; by default `answer`, or else `solution`.
    pub(crate) answer: Option<String>,
    /// Whether all columns but the prompt are kept, for graders that read them.
    pub(crate) keeps_others: bool,
}

/// A question and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The question; its id is its row's number.
    pub(crate) question: Question,
    /// Its place.
    pub(crate) place: Place,
}

/// The first `limit` questions of a split of a source, read as they are asked for.
///
/// A prompt is text or messages, the last of them the user's. An answer is text or a number, and
/// may be absent.
///
/// # Errors
/// Where the source has no rows; then where a row is not such a row.
pub(crate) fn questions(
    source: &Source,
    split: &str,
    columns: &Columns,
    limit: Option<usize>,
) -> Result<impl Iterator<Item = Result<Asked, InputError>> + use<>, InputError> {
    let columns = columns.clone();
    let known = names(columns.prompt.as_ref(), &PROMPTS);
    let known = known.chain(names(columns.answer.as_ref(), &ANSWERS));
    let known: Vec<&str> = known.collect();
    let read = (!columns.keeps_others).then_some(&known[..]);
    let rows = rows(source, split, read, limit)?;
    Ok(rows.map(move |row| asked(row?, &columns)))
}

/// The named column, or else the default ones.
fn names<'a>(
    named: Option<&'a String>,
    default: &'static [&'static str],
) -> impl Iterator<Item = &'a str> + use<'a> {
    let default = if named.is_some() { &[] } else { default };
    named
        .map(String::as_str)
        .into_iter()
        .chain(default.iter().copied())
}

fn asked(mut row: Row, columns: &Columns) -> Result<Asked, InputError> {
    let has = |name: &&str| row.fields.contains_key(*name);
    let prompt = names(columns.prompt.as_ref(), &PROMPTS).find(has);
    let Some(prompt) = prompt else {
        let expected = names(columns.prompt.as_ref(), &PROMPTS).last();
        return Err(row.missing(expected.expect("a column of prompts has a name")));
    };
    let wrong = |row: &Row, reason: String| row.refuse(format!("`{prompt}`: {reason}"));
    let (history, text) = turns(&row.fields[prompt]).map_err(|reason| wrong(&row, reason))?;
    if text.trim().is_empty() {
        return Err(row.refuse("expected a question, found empty text"));
    }
    let answer = names(columns.answer.as_ref(), &ANSWERS).find(has);
    let answer = answer.map(|name| (name, &row.fields[name]));
    let answer = match answer {
        None | Some((_, Value::Null)) => None,
        Some((_, Value::Number(number))) => Some(number.to_string()),
        Some((_, Value::String(text))) => Some(text.clone()),
        Some((name, _)) => return Err(row.refuse(format!("`{name}` is not text"))),
    };
    let prompt = prompt.to_owned();
    row.fields.remove(&prompt);
    if !columns.keeps_others {
        row.fields.clear();
    }
    let question = Question {
        id: row.number,
        history,
        text,
        answer,
        fields: row.fields,
    };
    let place = row.place;
    Ok(Asked { question, place })
}

/// The turns before the last, and the text of the last, which is the user's.
fn turns(prompt: &Value) -> Result<(Vec<Message>, String), String> {
    let mut messages = match Conversation::parse(prompt)? {
        Conversation::Raw(text) => return Ok((Vec::new(), text)),
        Conversation::Messages(messages) => messages,
    };
    let last = messages.pop().filter(|last| last.role == Role::User);
    let Some(last) = last else {
        return Err("expected the user's message at the end".to_owned());
    };
    let later = messages.iter().skip(1);
    if later.clone().any(|message| message.role == Role::System) {
        return Err("expected a system message at the beginning only".to_owned());
    }
    Ok((messages, last.content))
}
