//! JSON: a list of objects, or an object whose `data` is one. The text is held as a whole, its rows
//! are read one at a time.

use std::io::{BufRead, Cursor, Read};

use serde_json::{Deserializer, Map, Value};

use super::jsonl;
use super::rows::{Fault, Numbered, Numbereds};

/// The objects of a text, each with its number. A text of JSON lines is read as such, whatever its
/// name.
///
/// # Errors
/// Where the text is not UTF-8, or is neither.
pub(super) fn rows(mut source: Box<dyn BufRead>) -> Result<Numbereds, Fault> {
    let mut text = String::new();
    source.read_to_string(&mut text).map_err(Fault::whole)?;
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let at = text.len() - start.len();
    if start.starts_with('[') {
        return Ok(Box::new(elements(text, at + 1)));
    }
    match serde_json::from_str::<Map<String, Value>>(start) {
        Ok(mut object) => match object.remove("data") {
            Some(Value::Array(rows)) => Ok(Box::new((1..).zip(rows).map(numbered))),
            _ if text.trim().lines().count() == 1 => Ok(Box::new(jsonl::rows(Cursor::new(text)))),
            _ => Err(Fault::whole(
                "expected a list of objects, or an object with one at `data`",
            )),
        },
        Err(_) => Ok(Box::new(jsonl::rows(Cursor::new(text)))),
    }
}

/// The elements of a list that begins before `at`.
fn elements(text: String, mut at: usize) -> impl Iterator<Item = Result<Numbered, Fault>> {
    let mut number = 0;
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        number += 1;
        let found = element(&text, at, number);
        is_over = !matches!(found, Ok(Some(_)));
        match found {
            Ok(None) => None,
            Ok(Some((row, end))) => {
                at = end;
                Some(Ok(row))
            }
            Err(fault) => Some(Err(fault)),
        }
    })
}

/// The element at `at` and where the one after it is; `None` at the end of the list.
fn element(text: &str, at: usize, number: usize) -> Result<Option<(Numbered, usize)>, Fault> {
    let rest = text[at..].trim_start();
    if number == 1 && rest.starts_with(']') {
        return Ok(None);
    }
    let rest = match rest.strip_prefix(',') {
        Some(rest) if number > 1 => rest,
        _ if number > 1 && rest.starts_with(']') => return Ok(None),
        _ if number > 1 => {
            let reason = "expected `,` or `]` before it; the list is not whole";
            return Err(Fault::at(number, reason));
        }
        _ => rest,
    };
    let at = text.len() - rest.len();
    let mut values = Deserializer::from_str(rest).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => {
            let end = at + values.byte_offset();
            numbered((number, value)).map(|row| Some((row, end)))
        }
        Some(Err(error)) => Err(Fault::at(number, format!("not JSON: {error}"))),
        None => Err(Fault::at(number, "expected a JSON object, found no more")),
    }
}

fn numbered((number, value): (usize, Value)) -> Result<Numbered, Fault> {
    match value {
        Value::Object(fields) => Ok((number, fields)),
        _ => Err(Fault::at(
            number,
            "expected a JSON object, found another value",
        )),
    }
}
