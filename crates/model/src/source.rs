//! Where a model comes from: a folder on disk, or bytes inside the program.

use std::{borrow::Cow, fs, io, path::PathBuf};

use serde_json::{Map, Value};

use crate::ModelError;

/// Where the files of a model lie.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder as Hugging Face lays it out.
    Folder(PathBuf),
    /// A model inside the program.
    Embedded(Embedded),
}

/// The files of a model inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// `config.json`.
    pub config: &'static str,
    /// `tokenizer.json`.
    pub tokenizer: &'static str,
    /// `tokenizer_config.json`, which holds the chat template.
    pub tokenizer_config: &'static str,
    /// `model.safetensors`.
    pub weights: &'static [u8],
}

impl Source {
    /// The text of a file, nothing where there is none.
    ///
    /// # Errors
    /// Where a file is there and cannot be read.
    pub(crate) fn text(&self, file: &str) -> Result<Option<Cow<'static, str>>, ModelError> {
        let folder = match self {
            Self::Folder(folder) => folder,
            Self::Embedded(embedded) => return Ok(embedded.text(file).map(Cow::Borrowed)),
        };
        let path = folder.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Cow::Owned(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ModelError::Io { path, source }),
        }
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, file: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(file).exists(),
            Self::Embedded(embedded) => embedded.text(file).is_some(),
        }
    }

    /// As [`text`](Self::text), where the file must be there.
    pub(crate) fn required(&self, file: &'static str) -> Result<Cow<'static, str>, ModelError> {
        self.text(file)?.ok_or_else(|| ModelError::MissingFile {
            place: self.place(),
            file,
        })
    }

    /// The JSON object in a file, nothing where there is no file.
    pub(crate) fn object(&self, file: &str) -> Result<Option<Map<String, Value>>, ModelError> {
        self.text(file)?.map(|text| object(file, &text)).transpose()
    }

    /// The source as errors name it.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Embedded(_) => "the built-in model".to_owned(),
        }
    }
}

impl Embedded {
    fn text(&self, file: &str) -> Option<&'static str> {
        match file {
            "config.json" => Some(self.config),
            "tokenizer.json" => Some(self.tokenizer),
            "tokenizer_config.json" => Some(self.tokenizer_config),
            _ => None,
        }
    }
}

/// Parses a JSON object; errors name the file.
pub(crate) fn object(file: &str, text: &str) -> Result<Map<String, Value>, ModelError> {
    serde_json::from_str(text).map_err(|error| ModelError::Json {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}
