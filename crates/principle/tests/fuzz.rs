//! Damaged constitutions: none may make the reader panic.

use fuzz::fuzz;
use principle::Constitution;

const TOML: &str = r#"# Rules of a house.
[[principle]]
id = "verify"
name = 'Verify each step'
source = "policy.md:12"
positive = """
Check every step \
before the next."""
negatives = ["Go on without a check.", "Trust the first step \u00e9."]
identifiers = { positive = ["pos a"], negative = ["neg a"] }

[[principle]]
id = "cite"
positive = " Name two sources. "
negatives = ["Name just one source."]
"#;

const JSON: &str = r#"{"principle": [{"id": "a", "positive": "Do.", "negatives": ["Do not."]}]}"#;

const SAMI: &str = r#"{"positive": "1. Be \"short\".", "negative": "1. Be long.",
    "identifiers": {"positive": ["pos concise"], "negative": ["neg concise"]}}"#;

const WORDS: [&str; 16] = [
    "[[",
    "]]",
    "[[principle]]",
    "[principle]",
    "\"\"\"",
    "'''",
    "id",
    "name",
    "positive",
    "negatives",
    "negative",
    "identifiers",
    "source",
    "principle",
    ".",
    "1979-05-27T07:32:00Z",
];

#[test]
fn a_damaged_constitution_is_refused_or_read() {
    let seeds: Vec<Vec<u8>> = [TOML, JSON, SAMI].map(Into::into).to_vec();
    fuzz("constitution", &seeds, &WORDS, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let read = [
            Constitution::from_toml(text),
            Constitution::from_json(text, "sami"),
        ];
        for constitution in read.into_iter().flatten() {
            constitution.mismatches();
            let again = Constitution::from_toml(&constitution.to_toml()).expect("as written");
            assert_eq!(again, constitution);
        }
    });
}
