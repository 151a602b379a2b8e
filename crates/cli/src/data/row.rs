//! A row of a data set, and the place that a message about it names.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::InputError;

/// Where a row stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: Arc<Path>,
    /// What is counted: `line` or `row`.
    pub(crate) unit: &'static str,
    /// Counted from 1.
    pub(crate) number: usize,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its number over all files of the source, counted from 1.
    pub(crate) number: usize,
    /// Where it stands.
    pub(crate) place: Place,
    /// Its columns.
    pub(crate) fields: Map<String, Value>,
}

impl Place {
    /// A mistake there.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> InputError {
        InputError::Row {
            path: self.path.to_path_buf(),
            unit: self.unit,
            number: self.number,
            reason: reason.into(),
        }
    }
}

impl Row {
    /// A mistake in the row.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> InputError {
        self.place.refuse(reason)
    }

    /// The text at `key`.
    ///
    /// # Errors
    /// Where the key is missing or holds something else.
    pub(crate) fn text(&self, key: &str) -> Result<String, InputError> {
        match self.fields.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.refuse(format!("`{key}` is not text"))),
            None => Err(self.missing(key)),
        }
    }

    /// That the key is missing, and which are there.
    pub(crate) fn missing(&self, key: &str) -> InputError {
        let found: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        let found = match found.join(", ") {
            none if none.is_empty() => "none".to_owned(),
            some => some,
        };
        self.refuse(format!("expected the key `{key}`, found: {found}"))
    }
}
