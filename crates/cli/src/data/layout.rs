//! Which files of a folder are a split, by the names that Hugging Face's `datasets` goes by.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::InputError;

/// How a file's rows are written, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `.jsonl`, and any ending that is not known.
    JsonLines,
    /// `.json`.
    Json,
    /// `.csv`.
    Csv,
    /// `.parquet`.
    Parquet,
}

impl Format {
    /// The format of a file; `.gz` at the end of its name does not count.
    pub(super) fn of(path: &Path) -> Self {
        Self::known(path).unwrap_or(Self::JsonLines)
    }

    fn known(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let (_, ending) = name.rsplit_once('.')?;
        match ending {
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// What its messages count.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::JsonLines | Self::Csv => "line",
            Self::Json | Self::Parquet => "row",
        }
    }
}

/// The files of a split, in the order of their names: the file itself, or of a folder those in it
/// or
/// in its `data` that are named for the split (`train.jsonl`, `train-00000-of-00002.parquet`), or
/// all in a folder named for it (`train/0000.parquet`).
///
/// # Errors
/// Where a folder cannot be listed, or has no such file.
///
/// # Source
/// `datasets`, "Structure your repository": the name of a split is a word of a file's name, between
/// signs that are no letters, or the name of its folder.
pub(super) fn files(path: &Path, split: &str) -> Result<Vec<PathBuf>, InputError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut other = Vec::new();
    for folder in [path.to_owned(), path.join("data")] {
        if !folder.is_dir() {
            continue;
        }
        for file in listed(&folder)? {
            if named(&file, split) {
                found.push(file);
            } else {
                other.push(file);
            }
        }
        if folder.join(split).is_dir() {
            found.extend(listed(&folder.join(split))?);
        }
    }
    if found.is_empty() {
        return Err(InputError::NoSplit {
            path: path.to_owned(),
            split: split.to_owned(),
            found: names(&other),
        });
    }
    found.sort();
    Ok(found)
}

/// The files of a known format.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unreadable = |error: std::io::Error| InputError::Unreadable {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() && Format::known(&path).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn named(file: &Path, split: &str) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.match_indices(split).any(|(start, _)| {
        let (before, after) = (&name[..start], &name[start + split.len()..]);
        !before.ends_with(char::is_alphabetic) && !after.starts_with(char::is_alphabetic)
    })
}

fn names(files: &[PathBuf]) -> String {
    let name = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    match files.iter().map(name).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no file of a known format".to_owned(),
        some => some,
    }
}
