//! Where a recipe's word leads: a file, or what comes with the binary.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::InputError;

/// Text to be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// Text in the binary.
    BuiltIn {
        /// A name for messages, whose ending tells the format.
        path: PathBuf,
        /// The text.
        text: &'static str,
    },
}

impl Source {
    /// The file, or the name of what is built in.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::BuiltIn { path, .. } => path,
        }
    }

    /// The whole text.
    ///
    /// # Errors
    /// Where the file cannot be read or is not UTF-8.
    pub(crate) fn text(&self) -> Result<Cow<'static, str>, InputError> {
        match self {
            Self::BuiltIn { text, .. } => Ok(Cow::Borrowed(text)),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Cow::Owned(text)),
                Err(error) => Err(InputError::Unreadable {
                    path: path.clone(),
                    reason: error.to_string(),
                }),
            },
        }
    }
}

/// The absolute path of the file or folder that `word` names: relative to the recipe's folder, else
/// to the working directory.
///
/// # Errors
/// Where neither exists.
pub(crate) fn find(
    key: &'static str,
    word: &str,
    folder: Option<&Path>,
) -> Result<PathBuf, InputError> {
    let places = folder
        .map(|folder| folder.join(word))
        .into_iter()
        .chain([PathBuf::from(word)]);
    let mut tried = Vec::new();
    if word.is_empty() {
        return Err(InputError::NoPath { key });
    }
    for place in places {
        if place.exists() {
            return std::path::absolute(&place).map_err(|error| InputError::Unreadable {
                path: place,
                reason: error.to_string(),
            });
        }
        let name = place.display().to_string();
        if !tried.contains(&name) {
            tried.push(name);
        }
    }
    Err(InputError::Missing {
        key,
        found: word.to_owned(),
        tried,
    })
}
