//! The name of a model on the hub.

use std::fmt;

/// `org/name`, or `org/name@revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubId {
    /// Owner and name.
    pub(super) name: String,
    /// A branch, tag or commit.
    pub(super) revision: String,
}

impl HubId {
    /// Reads a word that has the form of an id; nothing for any other.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (name, revision) = word.split_once('@').unwrap_or((word, "main"));
        let (owner, model) = name.split_once('/')?;
        let is_plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        let is_revision = revision.split('/').all(is_plain);
        (is_plain(owner) && is_plain(model) && is_revision).then(|| Self {
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// The same model at a commit.
    pub(super) fn at(&self, commit: &str) -> Self {
        Self {
            revision: commit.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}@{}", self.name, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_an_owner_a_name_and_perhaps_a_revision() {
        let id = HubId::parse("Qwen/Qwen2.5-0.5B@refs/pr/3").expect("an id");
        assert_eq!(
            (id.name.as_str(), id.revision.as_str()),
            ("Qwen/Qwen2.5-0.5B", "refs/pr/3")
        );
        assert_eq!(HubId::parse("a/b").expect("an id").to_string(), "a/b@main");
        for word in [
            "", "gpt2", "a/b/c", "/a/b", "../a", "a/", "a/b@", "a b/c", "a/b@../c",
        ] {
            assert_eq!(HubId::parse(word), None, "{word}");
        }
    }
}
