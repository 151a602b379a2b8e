//! Constitutions from text: this project's TOML and JSON, and SAMI's JSON files as they are.

use std::collections::BTreeSet;

use crate::{Constitution, Identifiers, Principle};

/// Why a text is no constitution.
#[derive(Debug, thiserror::Error)]
pub enum PrincipleError {
    /// The TOML does not parse, or has not the expected keys.
    #[error("line {line}: {reason}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// The JSON does not parse, or has not the expected keys.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A file of no principles.
    #[error("the constitution has no principle, expected at least one [[principle]]")]
    NoPrinciple,
    /// A principle without contrast.
    #[error("principle {id:?} has no negative, expected at least one text in `negatives`")]
    NoNegative {
        /// The principle.
        id: String,
    },
    /// Two principles of one name.
    #[error("two principles have the id {id:?}, expected each id once")]
    DuplicateId {
        /// The id found twice.
        id: String,
    },
    /// An id that names nothing.
    #[error("principle {number} has an empty id, expected a name of its own")]
    EmptyId {
        /// Which principle of the file, from 1.
        number: usize,
    },
    /// A text that says nothing.
    #[error("principle {id:?} has an empty {field}, expected text")]
    EmptyText {
        /// The principle.
        id: String,
        /// The field found empty.
        field: &'static str,
    },
    /// Two texts that no completion can tell apart.
    #[error(
        "negative {number} of principle {id:?} repeats its positive or another negative, expected \
         a text that differs"
    )]
    RepeatedText {
        /// The principle.
        id: String,
        /// Which of its negatives, from 1.
        number: usize,
    },
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    principle: Vec<Entry>,
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: Option<String>,
    source: Option<String>,
    positive: String,
    #[serde(default)]
    negatives: Vec<String>,
    identifiers: Option<Identifiers>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SamiFile {
    positive: String,
    negative: String,
    identifiers: Option<Identifiers>,
}

impl Constitution {
    /// Reads `[[principle]]` tables with the keys `id`, `positive`, `negatives`, and optionally
    /// `name` (else the id) and `source`.
    ///
    /// White space at the ends of texts is dropped.
    ///
    /// # Errors
    /// For other keys, empty texts, ids used twice, and principles without a negative or with one
    /// that repeats another text.
    pub fn from_toml(text: &str) -> Result<Self, PrincipleError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            PrincipleError::Toml {
                line: 1 + text[..start].matches('\n').count(),
                reason: error.message().to_owned(),
            }
        })?;
        Self::from_entries(file.principle)
    }

    /// Reads JSON of the same shape as [`from_toml`](Self::from_toml), or a SAMI file: one object
    /// with `positive`, `negative` and `identifiers`, whose principle takes `sami_id` as its id.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml).
    ///
    /// # Source
    /// Files `constitutions_*/*.json` of <https://github.com/janphilippfranken/sami>.
    pub fn from_json(text: &str, sami_id: &str) -> Result<Self, PrincipleError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        if value.get("positive").is_none() {
            return Self::from_entries(serde_json::from_value::<File>(value)?.principle);
        }
        let file: SamiFile = serde_json::from_value(value)?;
        Self::from_entries(vec![Entry {
            id: sami_id.to_owned(),
            name: None,
            source: None,
            positive: file.positive,
            negatives: vec![file.negative],
            identifiers: file.identifiers,
        }])
    }

    /// The text that [`from_toml`](Self::from_toml) reads as this constitution.
    pub fn to_toml(&self) -> String {
        let entry = |principle: &Principle| Entry {
            id: principle.id.clone(),
            name: (principle.name != principle.id).then(|| principle.name.clone()),
            source: principle.source.clone(),
            positive: principle.positive.clone(),
            negatives: principle.negatives.clone(),
            identifiers: principle.identifiers.clone(),
        };
        let principle = self.principles.iter().map(entry).collect();
        toml::to_string_pretty(&File { principle }).expect("text and lists of text")
    }

    fn from_entries(entries: Vec<Entry>) -> Result<Self, PrincipleError> {
        if entries.is_empty() {
            return Err(PrincipleError::NoPrinciple);
        }
        let mut ids = BTreeSet::new();
        let mut principles = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let principle = Principle::from_entry(entry, index + 1)?;
            if !ids.insert(principle.id.clone()) {
                return Err(PrincipleError::DuplicateId { id: principle.id });
            }
            principles.push(principle);
        }
        Ok(Self { principles })
    }
}

impl Principle {
    fn from_entry(entry: Entry, number: usize) -> Result<Self, PrincipleError> {
        let id = entry.id.trim().to_owned();
        if id.is_empty() {
            return Err(PrincipleError::EmptyId { number });
        }
        let filled = |text: &str, field| match text.trim() {
            "" => Err(PrincipleError::EmptyText {
                id: id.clone(),
                field,
            }),
            text => Ok(text.to_owned()),
        };
        let name = filled(entry.name.as_deref().unwrap_or(&id), "name")?;
        let positive = filled(&entry.positive, "positive")?;
        let negatives = entry.negatives.iter().map(|text| filled(text, "negative"));
        let negatives = negatives.collect::<Result<Vec<_>, _>>()?;
        if negatives.is_empty() {
            return Err(PrincipleError::NoNegative { id });
        }
        let mut texts = BTreeSet::from([&positive]);
        if let Some(index) = negatives.iter().position(|text| !texts.insert(text)) {
            let number = index + 1;
            return Err(PrincipleError::RepeatedText { id, number });
        }
        Ok(Self {
            id,
            name,
            positive,
            negatives,
            identifiers: entry.identifiers,
            source: entry.source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        [[principle]]
        id = "verify"
        name = "Verify each step"
        positive = "Check every step before the next."
        negatives = ["Go on without a check of any step.", "Trust the first step that comes up."]

        [[principle]]
        id = "cite"
        positive = " Name two sources. "
        negatives = ["Name just one source."]
    "#;

    #[test]
    fn toml_and_json_of_one_shape_give_one_constitution() {
        let from_toml = Constitution::from_toml(TOML).expect("valid");
        let names: Vec<_> = from_toml
            .principles
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        assert_eq!(names, ["Verify each step", "cite"]);
        assert_eq!(from_toml.principles[1].positive, "Name two sources.");
        let value: toml::Value = toml::from_str(TOML).expect("valid");
        let json = serde_json::to_string(&value).expect("plain values");
        assert_eq!(
            Constitution::from_json(&json, "unused").expect("valid"),
            from_toml
        );
    }

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        let text = TOML.replace("id = \"cite\"", "id = \"cite\"\nsource = \"policy.md:12\"");
        let constitution = Constitution::from_toml(&text).expect("valid");
        assert_eq!(
            constitution.principles[1].source.as_deref(),
            Some("policy.md:12")
        );
        let again = Constitution::from_toml(&constitution.to_toml()).expect("valid");
        assert_eq!(again, constitution);
    }

    #[test]
    fn each_mistake_is_named_with_its_principle() {
        let one = |rest: &str| format!("[[principle]]\nid = \"a\"\n{rest}\n");
        let full = one("positive = \"p\"\nnegatives = [\"n\"]");
        let cases = [
            (String::new(), "no principle"),
            (one("positive = \"p\""), "principle \"a\" has no negative"),
            (
                one("positive = \"p\"\nnegatives = []"),
                "principle \"a\" has no negative",
            ),
            (
                one("positive = \" \"\nnegatives = [\"n\"]"),
                "principle \"a\" has an empty positive",
            ),
            (
                one("positive = \"p\"\nnegatives = [\"\"]"),
                "principle \"a\" has an empty negative",
            ),
            (
                one("positive = \"p\"\nnegatives = [\"n\", \"p \"]"),
                "negative 2 of principle \"a\"",
            ),
            (
                one("positive = \"p\"\nnegatives = [\"n\", \"n\"]"),
                "negative 2 of principle \"a\"",
            ),
            (full.clone() + &full, "two principles have the id \"a\""),
            (
                full.replace("\"a\"", "\" \""),
                "principle 1 has an empty id",
            ),
            (
                full.replace("negatives", "negative"),
                "unknown field `negative`",
            ),
            (one("negatives = [\"n\"]"), "missing field `positive`"),
        ];
        for (text, expected) in cases {
            let error = Constitution::from_toml(&text).expect_err(&text).to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
        let error = Constitution::from_json(r#"{"principles": []}"#, "x").expect_err("a typo");
        assert!(
            error.to_string().contains("unknown field `principles`"),
            "{error}"
        );
    }

    #[test]
    fn samis_files_are_read_as_they_are_and_some_are_not_matched_in_length() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/sami");
        if !std::path::Path::new(folder).exists() {
            eprintln!("skipped: {folder} is absent");
            return;
        }
        for (author, mismatched) in [("opus", [].as_slice()), ("mistral", &[2, 5])] {
            for number in 0..6 {
                let path = format!("{folder}/constitutions_{author}/{number}.json");
                let text = std::fs::read_to_string(&path).expect(&path);
                let constitution = Constitution::from_json(&text, author).expect(&path);
                let principle = &constitution.principles[0];
                assert_eq!(
                    (principle.id.as_str(), principle.negatives.len()),
                    (author, 1)
                );
                let identifiers = principle
                    .identifiers
                    .as_ref()
                    .expect("a SAMI file has them");
                assert!(
                    identifiers
                        .positive
                        .iter()
                        .all(|label| label.starts_with("pos "))
                );
                let expected = usize::from(mismatched.contains(&number));
                assert_eq!(constitution.mismatches().len(), expected, "{path}");
            }
        }
    }
}
