//! Where the cache is, who asks, and whether the network may be used: the variables of
//! `huggingface_hub`.

use std::fs;
use std::path::PathBuf;

use crate::hub::id::HubId;

/// What the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The folder of `models--org--name`.
    pub(super) cache: PathBuf,
    /// The hub, without a slash at its end.
    pub(super) endpoint: String,
    /// Who asks.
    pub(super) token: Option<String>,
    /// Whether only the cache may be used.
    pub(super) is_offline: bool,
}

impl Settings {
    /// Reads the environment.
    pub(super) fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// # Source
    /// `constants.py` and `utils/_auth.py` of `huggingface_hub` 1.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| given(name).map(PathBuf::from);
        let user = || {
            path("HOME")
                .or_else(|| path("USERPROFILE"))
                .unwrap_or_default()
        };
        let caches = || path("XDG_CACHE_HOME").unwrap_or_else(|| user().join(".cache"));
        let home = path("HF_HOME").unwrap_or_else(|| caches().join("huggingface"));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let is_true = |name: &str| {
            let value = given(name).unwrap_or_default().to_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
        };
        let stored = || {
            let place = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let text = fs::read_to_string(place).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let token = || {
            given("HF_TOKEN")
                .map(|token| token.trim().to_owned())
                .or_else(stored)
        };
        let is_silent = is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let token = if is_silent { None } else { token() };
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            cache: cache.unwrap_or_else(|| home.join("hub")),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            is_offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
        }
    }

    /// The folder of a model's revision in the cache; nothing where it was never fetched.
    pub(super) fn cached(&self, id: &HubId) -> Option<(String, PathBuf)> {
        let repository = self
            .cache
            .join(format!("models--{}", id.name.replace('/', "--")));
        let named = fs::read_to_string(repository.join("refs").join(&id.revision));
        let commit = named.map_or_else(|_| id.revision.clone(), |text| text.trim().to_owned());
        let folder = repository.join("snapshots").join(&commit);
        folder
            .join("config.json")
            .exists()
            .then_some((commit, folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_read_in_the_order_of_the_python_client() {
        let plain = read(&[("HOME", "/home/a")]);
        assert_eq!(plain.cache, PathBuf::from("/home/a/.cache/huggingface/hub"));
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!((plain.token, plain.is_offline), (None, false));
        let home = [
            ("HOME", "/home/a"),
            ("HF_HOME", "/data/hf"),
            ("HF_HUB_OFFLINE", "true"),
        ];
        assert_eq!(read(&home).cache, PathBuf::from("/data/hf/hub"));
        assert!(read(&home).is_offline);
        let cache = read(&[("HF_HOME", "/data/hf"), ("HF_HUB_CACHE", "/cache")]);
        assert_eq!(cache.cache, PathBuf::from("/cache"));
        let given = [("HF_TOKEN", " secret\n"), ("HF_ENDPOINT", "http://mirror/")];
        assert_eq!(read(&given).token.as_deref(), Some("secret"));
        assert_eq!(read(&given).endpoint, "http://mirror");
        let silent = [
            ("HF_TOKEN", "secret"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ];
        assert_eq!(read(&silent).token, None);
    }
}
