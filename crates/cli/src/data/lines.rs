//! JSONL: one JSON object a line, blank lines skipped.

use serde_json::{Map, Value};

use super::Source;
use crate::error::InputError;

/// A row and the number of its line, counted from 1.
pub(crate) struct Row {
    /// Line number.
    pub(crate) line: usize,
    /// The object.
    pub(crate) fields: Map<String, Value>,
}

/// The first `limit` rows.
///
/// # Errors
/// Where the source cannot be read, has no rows, or has a line that is not a JSON object.
pub(crate) fn rows(source: &Source, limit: Option<usize>) -> Result<Vec<Row>, InputError> {
    let text = source.text()?;
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(text, _)| !text.trim().is_empty());
    let rows: Vec<Row> = lines
        .take(limit.unwrap_or(usize::MAX))
        .map(|(text, line)| match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Row { line, fields }),
            Ok(_) => Err(source.at(line, "expected a JSON object, found another value")),
            Err(error) => {
                let column = error.column();
                Err(source.at(
                    line,
                    format!("expected a JSON object, not JSON at column {column}"),
                ))
            }
        })
        .collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Err(InputError::NoRows {
            path: source.path().to_owned(),
        });
    }
    Ok(rows)
}

impl Row {
    /// The text at `key`.
    ///
    /// # Errors
    /// Where the key is missing or holds something else.
    pub(crate) fn text(&self, source: &Source, key: &str) -> Result<String, InputError> {
        match self.fields.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(source.at(self.line, format!("`{key}` is not text"))),
            None => {
                let found: Vec<&str> = self.fields.keys().map(String::as_str).collect();
                let found = match found.join(", ") {
                    none if none.is_empty() => "none".to_owned(),
                    some => some,
                };
                Err(source.at(
                    self.line,
                    format!("expected the key `{key}`, found: {found}"),
                ))
            }
        }
    }
}
