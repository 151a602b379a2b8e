//! Words of the command line and the recipe into what they name: devices, models, templates.

use std::path::Path;

use model::{ChatTokenizer, Config, Device, PLAIN_TEMPLATE, Source, Transformer};

use crate::arguments::{DeviceChoice, MachineArguments, ModelArguments};
use crate::data::find;
use crate::error::InputError;
use crate::hub;
use crate::nano;
use crate::recipe::ModelSection;

/// The word that names [`PLAIN_TEMPLATE`] in place of a file.
pub(crate) const PLAIN: &str = "plain";

/// A model's files, shape and tokenizer: all but its weights.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The files.
    pub(crate) source: Source,
    /// The shape.
    pub(crate) config: Config,
    /// The tokenizer.
    pub(crate) tokenizer: ChatTokenizer,
}

/// The most tokens of a completion, where nothing is asked for and the context is long enough.
pub(crate) const LENGTH_MAX: usize = 256;

impl Opened {
    /// What was asked for, else 256 tokens or half the context, whichever is less.
    pub(crate) fn max_completion_length(&self, asked: Option<usize>) -> usize {
        let half = self.config.context(1).div_ceil(2);
        asked.unwrap_or(LENGTH_MAX.min(half))
    }
}

/// The device that was asked for.
pub(crate) fn device(machine: &MachineArguments) -> Device {
    match machine.device {
        DeviceChoice::Auto | DeviceChoice::Cpu => Device::cpu(machine.threads.map(usize::from)),
    }
}

/// The model of a recipe; the recipe's paths become absolute.
///
/// # Errors
/// Where a file is missing or not valid.
pub(crate) fn open_section(
    section: &mut ModelSection,
    folder: Option<&Path>,
) -> Result<Opened, InputError> {
    let source = source("model.path", &section.path, folder)?;
    if let (Source::Folder(path), None) = (&source, hub::snapshot(&section.path)) {
        section.path = path.display().to_string();
    }
    let template = match &mut section.chat_template {
        Some(word) => {
            let (name, text) = template("model.chat_template", word, folder)?;
            *word = name;
            Some(text)
        }
        None => None,
    };
    let mut opened = open(&section.path, source, template.as_deref())?;
    if !section.random_weights {
        Transformer::check_weights(&opened.source, &opened.config)
            .map_err(|error| InputError::refused(&section.path, &error))?;
    }
    let ids = opened.tokenizer.add_tokens(&section.add_tokens);
    let ids = ids.map_err(|error| InputError::refused(&section.path, &error))?;
    opened.config.grow_vocabulary(ids);
    Ok(opened)
}

/// The model that the command line names. A model that is not prompted in turns needs no template.
///
/// # Errors
/// Where a file is missing or not valid.
pub(crate) fn open_arguments(
    arguments: &ModelArguments,
    is_chat: bool,
) -> Result<Opened, InputError> {
    let source = source("--model", &arguments.model, None)?;
    let template = match &arguments.chat_template {
        Some(word) => Some(template("--chat-template", word, None)?.1),
        None => (!is_chat).then(|| PLAIN_TEMPLATE.to_owned()),
    };
    open(&arguments.model, source, template.as_deref())
}

fn open(name: &str, source: Source, template: Option<&str>) -> Result<Opened, InputError> {
    let refused = |error: model::ModelError| InputError::refused(name, &error);
    let config = Config::open(&source).map_err(refused)?;
    let tokenizer = ChatTokenizer::open(&source, &config, template).map_err(refused)?;
    Ok(Opened {
        source,
        config,
        tokenizer,
    })
}

/// The files that a word names.
///
/// # Errors
/// Where it names none.
pub(crate) fn source(
    key: &'static str,
    word: &str,
    folder: Option<&Path>,
) -> Result<Source, InputError> {
    if word == nano::NANO {
        return Ok(nano::model());
    }
    match find(key, word, folder) {
        Ok(path) => Ok(Source::Folder(path)),
        Err(missing) => hub::snapshot(word).map(Source::Folder).ok_or(missing),
    }
}

/// The template's name, absolute where it is a file, and its text.
fn template(
    key: &'static str,
    word: &str,
    folder: Option<&Path>,
) -> Result<(String, String), InputError> {
    if word == PLAIN {
        return Ok((PLAIN.to_owned(), PLAIN_TEMPLATE.to_owned()));
    }
    let path = find(key, word, folder)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => Err(InputError::Unreadable {
            path,
            reason: error.to_string(),
        }),
    }
}
