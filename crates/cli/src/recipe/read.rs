//! Text and overrides into a recipe whose keys are all known.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, Sections};

/// A recipe before it is understood.
#[derive(Clone, Debug)]
pub(crate) struct RecipeText {
    /// The file's name without its ending; names the run.
    pub(crate) name: String,
    /// What messages call it.
    pub(crate) title: String,
    /// Paths in the recipe are relative to this first; `None` for the built-in recipe.
    pub(crate) folder: Option<PathBuf>,
    /// The TOML.
    pub(crate) text: String,
}

/// Why a recipe could not be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum RecipeError {
    /// No such file, or not text.
    #[error("recipe {title}: cannot be read: {reason}; expected a TOML file in UTF-8")]
    Unreadable {
        /// The recipe.
        title: String,
        /// The system's words.
        reason: String,
    },
    /// Not TOML.
    #[error("recipe {title}, line {line}: {reason}")]
    Syntax {
        /// The recipe.
        title: String,
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// A key that no section has.
    #[error("recipe {title}: unknown {found} for `enigma {command}`; the nearest is {nearest}")]
    Unknown {
        /// The recipe.
        title: String,
        /// The command that reads it.
        command: &'static str,
        /// What was found.
        found: String,
        /// What may have been meant.
        nearest: String,
    },
    /// A value of the wrong kind, or a required key that is missing.
    #[error("recipe {title}: {reason}")]
    Value {
        /// The recipe.
        title: String,
        /// Expected, found and where.
        reason: String,
    },
    /// An override that is not `section.key=value`.
    #[error("--set {found}: expected SECTION.KEY=VALUE, as in --set grpo.beta=0.04")]
    Override {
        /// What was typed.
        found: String,
    },
}

impl RecipeText {
    /// The recipe in a file.
    ///
    /// # Errors
    /// [`RecipeError::Unreadable`].
    pub(crate) fn open(path: &Path) -> Result<Self, RecipeError> {
        let title = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| RecipeError::Unreadable {
            title: title.clone(),
            reason: error.to_string(),
        })?;
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Ok(Self {
            name: stem.to_string_lossy().into_owned(),
            title,
            folder: path.parent().map(Path::to_path_buf),
            text,
        })
    }
}

/// The recipe that the text and the overrides spell, later overrides winning.
///
/// # Errors
/// [`RecipeError`], at the first mistake.
pub(crate) fn read<R: Sections>(
    source: &RecipeText,
    overrides: &[String],
) -> Result<R, RecipeError> {
    let mut table: Table = toml::from_str(&source.text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        RecipeError::Syntax {
            title: source.title.clone(),
            line: source.text[..start].lines().count().max(1),
            reason: one_line(error.message()),
        }
    })?;
    for assignment in overrides {
        assign(&mut table, assignment)?;
    }
    if let Some((found, nearest)) = keys::first_unknown::<R>(&table) {
        return Err(RecipeError::Unknown {
            title: source.title.clone(),
            command: R::COMMAND,
            found,
            nearest,
        });
    }
    Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| RecipeError::Value {
            title: source.title.clone(),
            reason: in_words(&one_line(&error.to_string())),
        })
}

/// Rust's names of kinds of values, as a reader of recipes would say them.
fn in_words(reason: &str) -> String {
    let words = [
        ("expected f64", "expected a number"),
        ("expected u64", "expected a whole number from 0"),
        ("expected usize", "expected a whole number from 0"),
        ("expected a sequence", "expected a list"),
    ];
    words
        .into_iter()
        .fold(reason.to_owned(), |text, (kind, word)| {
            text.replace(kind, word)
        })
}

/// Sets one key; a value that is not TOML is taken as text, so that paths need no quotes.
fn assign(table: &mut Table, assignment: &str) -> Result<(), RecipeError> {
    let wrong = || RecipeError::Override {
        found: assignment.to_owned(),
    };
    let (path, value) = assignment.split_once('=').ok_or_else(wrong)?;
    let (section, key) = path.split_once('.').ok_or_else(wrong)?;
    if section.is_empty() || key.is_empty() {
        return Err(wrong());
    }
    let value = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let entries = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    entries
        .as_table_mut()
        .ok_or_else(wrong)?
        .insert(key.to_owned(), value);
    Ok(())
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
