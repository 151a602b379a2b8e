//! The rows of a source, whatever its format, one after the other.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::layout::{self, Format};
use super::row::{Place, Row};
use super::{Source, csv, json, jsonl, parquet};
use crate::error::InputError;

/// The number of a row or line of a file, from 1, and its columns.
pub(super) type Numbered = (usize, Map<String, Value>);

/// The rows of a file.
pub(super) type Numbereds = Box<dyn Iterator<Item = Result<Numbered, Fault>>>;

/// What is wrong with a file.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// The row or line, counted from 1, where it is one.
    number: Option<usize>,
    reason: String,
}

impl Fault {
    /// A fault of one row or line.
    pub(super) fn at(number: usize, reason: impl Into<String>) -> Self {
        let (number, reason) = (Some(number), reason.into());
        Self { number, reason }
    }

    /// A fault of the whole file.
    pub(super) fn whole(reason: impl Display) -> Self {
        let reason = reason.to_string();
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            number: None,
            reason,
        }
    }
}

/// The first `limit` rows of a source; of a folder, those of one split. Of formats that allow it
/// only `columns` are read, where given.
///
/// Rows are read as they are asked for; the first is read at once.
///
/// # Errors
/// Where the source cannot be read, or has no rows; then row by row.
pub(crate) fn rows(
    source: &Source,
    split: &str,
    columns: Option<&[&str]>,
    limit: Option<usize>,
) -> Result<impl Iterator<Item = Result<Row, InputError>> + use<>, InputError> {
    let files = match source {
        Source::File(path) => layout::files(path, split)?,
        Source::BuiltIn { path, .. } => vec![path.clone()],
    };
    let columns: Option<Vec<String>> =
        columns.map(|columns| columns.iter().map(|&name| name.to_owned()).collect());
    let source = source.clone();
    let path = source.path().to_owned();
    let rows = files.into_iter().flat_map(move |file| {
        let columns: Option<Vec<&str>> = columns
            .as_ref()
            .map(|columns| columns.iter().map(String::as_str).collect());
        file_rows(&source, &file, columns.as_deref())
    });
    let numbered = (1..).zip(rows).map(|(number, row)| {
        row.map(|(place, fields)| Row {
            number,
            place,
            fields,
        })
    });
    let mut rows = numbered.take(limit.unwrap_or(usize::MAX)).peekable();
    match rows.peek() {
        Some(_) => Ok(rows),
        None => Err(InputError::NoRows { path }),
    }
}

type Placed = Result<(Place, Map<String, Value>), InputError>;

fn file_rows(
    source: &Source,
    path: &Path,
    columns: Option<&[&str]>,
) -> Box<dyn Iterator<Item = Placed>> {
    let path: Arc<Path> = Arc::from(path);
    let format = Format::of(&path);
    let unit = format.unit();
    let refuse = move |path: &Arc<Path>, fault: Fault| match fault.number {
        Some(number) => Place {
            path: Arc::clone(path),
            unit,
            number,
        }
        .refuse(fault.reason),
        None => InputError::Unreadable {
            path: path.to_path_buf(),
            reason: fault.reason,
        },
    };
    match open(source, &path, format, columns) {
        Err(fault) => Box::new(std::iter::once(Err(refuse(&path, fault)))),
        Ok(rows) => Box::new(rows.map(move |row| match row {
            Ok((number, fields)) => {
                let path = Arc::clone(&path);
                Ok((Place { path, unit, number }, fields))
            }
            Err(fault) => Err(refuse(&path, fault)),
        })),
    }
}

fn open(
    source: &Source,
    path: &Path,
    format: Format,
    columns: Option<&[&str]>,
) -> Result<Numbereds, Fault> {
    let text: Box<dyn BufRead> = match source {
        Source::BuiltIn { text, .. } => Box::new(Cursor::new(*text)),
        Source::File(_) => {
            let file = File::open(path).map_err(Fault::whole)?;
            if path.is_dir() {
                return Err(Fault::whole("is a folder; expected a file"));
            }
            if format == Format::Parquet {
                return Ok(Box::new(parquet::rows(file, columns)?));
            }
            if path.extension().is_some_and(|ending| ending == "gz") {
                Box::new(BufReader::new(MultiGzDecoder::new(file)))
            } else {
                Box::new(BufReader::new(file))
            }
        }
    };
    match format {
        Format::Json => json::rows(text),
        Format::Csv => Ok(Box::new(csv::rows(text)?)),
        Format::JsonLines | Format::Parquet => Ok(Box::new(jsonl::rows(text))),
    }
}
