//! CSV with a header: every value is text, an empty one is null. A record is read at a time.

use std::io::Read;

use serde_json::{Map, Value};

use super::rows::{Fault, Numbered};

/// The records of a text, each with the line it begins on.
///
/// # Errors
/// Where the header is not UTF-8, is empty, or names a column twice.
pub(super) fn rows(
    text: impl Read,
) -> Result<impl Iterator<Item = Result<Numbered, Fault>>, Fault> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    let header = reader.headers().map_err(|error| fault(&error))?.clone();
    if let Some(name) = header
        .iter()
        .enumerate()
        .find_map(|(index, name)| header.iter().take(index).find(|&known| known == name))
    {
        return Err(Fault::at(1, format!("the header names {name:?} twice")));
    }
    Ok(reader.into_records().map(move |record| {
        let record = record.map_err(|error| fault(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Map<String, Value> = header
            .iter()
            .zip(&record)
            .map(|(name, value)| (name.to_owned(), cell(value)))
            .collect();
        Ok((line as usize, fields))
    }))
}

fn cell(value: &str) -> Value {
    if value.is_empty() {
        Value::Null
    } else {
        Value::String(value.to_owned())
    }
}

fn fault(error: &csv::Error) -> Fault {
    let line = error.position().map(csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} values, expected {expected_len}, as the header has"),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    match line {
        Some(line) => Fault::at(line as usize, reason),
        None => Fault::whole(reason),
    }
}
