//! Files of a model from the hub into the cache.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::id::HubId;
use super::settings::Settings;
use crate::terminal::{Download, Screen};

/// How often a broken connection is taken up again before the download fails; what came is kept,
/// and the next command goes on from there.
const RETRIES: u32 = 3;
/// How long before the first of them; longer before each that follows.
const WAIT: Duration = Duration::from_millis(500);
/// Files beside weights that a model is read from.
const FILES: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Why a model was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubError {
    /// The hub said so.
    #[error("{0}")]
    Said(String),
    /// The hub does not answer.
    #[error("{endpoint} cannot be reached ({reason})")]
    Unreachable {
        /// The hub.
        endpoint: String,
        /// The client's words.
        reason: String,
    },
    /// A file did not arrive whole.
    #[error("{file} was not fetched: {reason}; the same command goes on where it broke off")]
    Broken {
        /// The file.
        file: String,
        /// The client's words.
        reason: String,
    },
    /// There are no weights that are read.
    #[error("it has no {WEIGHTS}, expected weights in safetensors")]
    NoWeights,
    /// The cache cannot be written.
    #[error("{}: {source}", path.display())]
    Cache {
        /// The cache.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl HubError {
    /// Whether the hub was never reached.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A model on the hub, and its place in the cache.
struct Remote<'a> {
    settings: &'a Settings,
    id: &'a HubId,
    api: Api,
    files: ApiRepo,
    cached: CacheRepo,
}

/// Fetches what of a model is not in the cache, and gives the commit.
///
/// # Errors
/// Where the hub refuses or cannot be reached, or the cache cannot be written.
pub(super) fn download(
    settings: &Settings,
    id: &HubId,
    screen: &Screen,
) -> Result<String, HubError> {
    let cache = Cache::new(settings.cache.clone());
    let builder = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(settings.endpoint.clone())
        .with_token(settings.token.clone())
        .with_retries(0)
        .with_user_agent("enigma", env!("CARGO_PKG_VERSION"));
    let api = builder
        .build()
        .map_err(|error| HubError::Said(error.to_string()))?;
    let repo = Repo::with_revision(id.name.clone(), RepoType::Model, id.revision.clone());
    let remote = Remote {
        settings,
        id,
        files: api.repo(repo.clone()),
        cached: cache.repo(repo),
        api,
    };
    let info = remote
        .files
        .info()
        .map_err(|error| remote.failure(&error))?;
    let folder = remote.cached.pointer_path(&info.sha);
    let missing: Vec<&str> = wanted(&info)?
        .into_iter()
        .filter(|file| !folder.join(file).exists())
        .collect();
    if !missing.is_empty() {
        let place = settings.cache.display();
        let count = missing.len();
        screen.line(format!(
            "{} {id}, {count} files, to {place}",
            screen.dim("fetching")
        ));
    }
    for file in missing {
        remote.fetch(file, screen)?;
    }
    remote
        .cached
        .create_ref(&info.sha)
        .map_err(|source| HubError::Cache {
            path: settings.cache.clone(),
            source,
        })?;
    Ok(info.sha)
}

impl Remote<'_> {
    /// Fetches one file, and goes on with the part that an earlier attempt left.
    ///
    /// The crate's own retries are off: after a failure without a byte they ask for the whole file
    /// and append it to the part.
    fn fetch(&self, file: &str, screen: &Screen) -> Result<(), HubError> {
        let broken = |reason: String| HubError::Broken {
            file: file.to_owned(),
            reason,
        };
        let known = self.api.metadata(&self.files.url(file));
        let known = known.map_err(|error| self.failure(&error))?;
        let (blob, size) = (self.cached.blob_path(known.etag()), known.size() as u64);
        let part = blob.with_extension("part");
        if fs::metadata(&part).is_ok_and(|part| part.len() >= size) {
            // There is no range to ask for. Where this fails, the download says why.
            let _ = fs::remove_file(part);
        }
        let mut attempt = 0;
        let path = loop {
            let bar = Download::new(screen, file);
            match self.files.download_with_progress(file, bar) {
                Ok(path) => break path,
                Err(error) if status(&error).is_some() => return Err(self.failure(&error)),
                Err(_) if attempt < RETRIES => attempt += 1,
                Err(error) => return Err(broken(error.to_string())),
            }
            std::thread::sleep(WAIT * attempt);
        };
        let found = fs::metadata(&path).map_or(0, |file| file.len());
        if found != size {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(blob);
            return Err(broken(format!("it has {found} bytes, expected {size}")));
        }
        Ok(())
    }

    fn failure(&self, error: &ApiError) -> HubError {
        let page = format!("{}/{}", self.settings.endpoint, self.id.name);
        let token = "set HF_TOKEN to a token that may read it";
        let said = match (status(error), error) {
            (Some(401), _) => format!(
                "there is no such model, or it is private or gated; check the name or {token}"
            ),
            (Some(403), _) => format!("access is refused; ask for it at {page} and {token}"),
            (Some(404), _) => format!("{} has no such model or revision", self.settings.endpoint),
            (Some(code), _) => format!("{} answers with status {code}", self.settings.endpoint),
            (None, ApiError::RequestError(error)) => {
                return HubError::Unreachable {
                    endpoint: self.settings.endpoint.clone(),
                    reason: error.to_string(),
                };
            }
            (None, error) => error.to_string(),
        };
        HubError::Said(said)
    }
}

/// The status of an answer that was refused.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        _ => None,
    }
}

/// The files of a commit that a model is opened from.
fn wanted(info: &RepoInfo) -> Result<Vec<&str>, HubError> {
    let names = || info.siblings.iter().map(|file| file.rfilename.as_str());
    let has = |wanted: &str| names().any(|name| name == wanted);
    let is_shard = |name: &str| {
        name.starts_with("model-") && name.ends_with(".safetensors") && name.contains("-of-")
    };
    if !has(WEIGHTS) && !has(INDEX) {
        return Err(HubError::NoWeights);
    }
    let is_sharded = !has(WEIGHTS);
    let is_wanted = |name: &&str| {
        let weights = if is_sharded {
            *name == INDEX || is_shard(name)
        } else {
            *name == WEIGHTS
        };
        weights || FILES.contains(name)
    };
    // Weights come last: a mistake in a small file is told before the long wait.
    let mut wanted: Vec<&str> = names().filter(is_wanted).collect();
    wanted.sort_by_key(|name| name.ends_with(".safetensors"));
    Ok(wanted)
}
