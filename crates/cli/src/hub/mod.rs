//! Models of the Hugging Face hub, through the cache that `huggingface_hub` and transformers use.
//!
//! A command that may use the network [`fetch`]es the word it was given; from then on the word is
//! pinned to a commit, and [`snapshot`] finds its folder in the cache.

mod download;
mod id;
mod settings;

use std::path::{Path, PathBuf};

use crate::data::find;
use crate::error::InputError;
use crate::nano;
use crate::terminal::Screen;

use id::HubId;
use settings::Settings;

/// Turns an id of the hub into the same id at a commit, whose files are then in the cache; other
/// words stay as they are. `key` is where the word was given.
///
/// # Errors
/// Where the model cannot be fetched and is not in the cache.
pub(crate) fn fetch(
    key: &'static str,
    word: &mut String,
    folder: Option<&Path>,
    screen: &Screen,
) -> Result<(), InputError> {
    if word == nano::NANO || find(key, word, folder).is_ok() {
        return Ok(());
    }
    let Some(id) = HubId::parse(word) else {
        return Ok(());
    };
    let settings = Settings::from_environment();
    let refused = |reason: String| InputError::Hub {
        key,
        found: word.clone(),
        reason,
    };
    let cached = settings.cached(&id);
    let commit = if settings.is_offline {
        let (commit, _) = cached.ok_or_else(|| {
            let place = settings.cache.display();
            refused(format!(
                "it is not in the cache {place}, and HF_HUB_OFFLINE is set"
            ))
        })?;
        commit
    } else {
        match (download::download(&settings, &id, screen), cached) {
            (Ok(commit), _) => commit,
            (Err(error), Some((commit, _))) if error.is_offline() => {
                screen.line(format!(
                    "{} {error}; using the copy in the cache",
                    screen.dim("note:")
                ));
                commit
            }
            (Err(error), _) => return Err(refused(error.to_string())),
        }
    };
    *word = id.at(&commit).to_string();
    Ok(())
}

/// The folder of an id that is in the cache.
pub(crate) fn snapshot(word: &str) -> Option<PathBuf> {
    let id = HubId::parse(word)?;
    Some(Settings::from_environment().cached(&id)?.1)
}
