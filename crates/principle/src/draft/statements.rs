//! The sentences of a document that can serve as principles.

use super::clause::{Head, head};
use super::passages::{self, LINK, Passage};
use super::sentences::{self, capitalised, clean};
use super::words::bare;

/// Words of the shortest statement: an order and what it is about.
const WORDS_MIN: usize = 2;
/// Words of the longest; beyond, a rule is several.
const WORDS_MAX: usize = 40;

/// Words at the start of a sentence that lean on the one before.
const LEANING: [&str; 24] = [
    "it",
    "its",
    "this",
    "these",
    "they",
    "their",
    "those",
    "such",
    "he",
    "she",
    "here",
    "hence",
    "otherwise",
    "then",
    "again",
    "example",
    "for example",
    "for instance",
    "in this",
    "in these",
    "in such",
    "in all",
    "on the other hand",
    "either way",
];

/// Subjects that stand for someone named before.
const PRONOUNS: [&str; 4] = ["it", "they", "this", "these"];

/// Words that point to another place of the document.
const POINTING: [&str; 7] = [
    "this section",
    "this document",
    "the following",
    "as follows",
    "described above",
    "listed below",
    "[...]",
];

/// Heads of subjects that an order without subject can address as well.
const ACTORS: [&str; 16] = [
    "assistant",
    "assistants",
    "model",
    "models",
    "agent",
    "agents",
    "system",
    "systems",
    "ai",
    "chatbot",
    "you",
    "we",
    "employee",
    "employees",
    "staff",
    "teams",
];

/// Nouns besides [`ACTORS`] that a pronoun may stand for.
const PATIENTS: [&str; 4] = ["user", "users", "customer", "customers"];

/// Where in a document a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A heading that gives an order.
    Heading,
    /// An item of a list.
    ListItem,
    /// A sentence of a paragraph.
    Sentence,
}

/// A rule of a document that can stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Where it stands.
    pub kind: Kind,
    /// One sentence, cleaned of asides and links.
    pub text: String,
}

/// Why a sentence that gives an order is no statement.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Fewer words than a rule needs.
    #[error("fewer than {WORDS_MIN} words")]
    Short,
    /// More words than one rule has.
    #[error("more than {WORDS_MAX} words")]
    Long,
    /// It needs the sentence before it.
    #[error("leans on the sentence before it")]
    Leaning,
    /// It needs another place of the document.
    #[error("points to another place of the document")]
    Pointing,
    /// Its rest stands in a list below it, or it asks.
    #[error("does not end as a rule does")]
    Unended,
    /// Another sentence said the same.
    #[error("says what another statement says")]
    Repeated,
}

/// A sentence that gives an order and was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The line it begins on, from 1.
    pub line: usize,
    /// The sentence.
    pub text: String,
    /// Why.
    pub reason: Reason,
}

/// What a document says that can serve as principles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// In the document's order.
    pub found: Vec<Statement>,
    /// Orders that cannot stand alone, in the document's order.
    pub passed: Vec<Passed>,
}

/// The statements of a Markdown or plain text.
///
/// A sentence counts if it is an order, as in "Verify each step.", or says with a modal word what
/// is to be done, as in "The agent must not guess."; code, tables and quotations are not read.
pub fn statements(document: &str) -> Statements {
    let mut statements = Statements::default();
    for passage in passages::read(document) {
        for range in sentences::split(&passage.text) {
            let line = line(document, &passage, range.start);
            let sentence = &passage.text[range];
            let text = clean(sentence);
            let words: Vec<&str> = text.split(' ').collect();
            if head(&words).is_none() {
                continue;
            }
            match refusal(&text, sentence, &words, &statements) {
                Some(reason) => statements.passed.push(Passed { line, text, reason }),
                None => statements.found.push(Statement {
                    line,
                    kind: passage.kind,
                    text,
                }),
            }
        }
    }
    statements
}

fn line(document: &str, passage: &Passage, at: usize) -> usize {
    1 + document[..passage.source(at)].matches('\n').count()
}

fn refusal(text: &str, sentence: &str, words: &[&str], so_far: &Statements) -> Option<Reason> {
    let lower = text.to_lowercase();
    let opens = |start: &&str| {
        let rest = lower.strip_prefix(*start);
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let points = |part: &&str| lower.contains(*part);
    let says = |statement: &Statement| statement.text.to_lowercase() == lower;
    let checks = [
        (words.len() < WORDS_MIN, Reason::Short),
        (words.len() > WORDS_MAX, Reason::Long),
        (LEANING.iter().any(opens) || leans(words), Reason::Leaning),
        (
            text.contains(LINK) || POINTING.iter().any(points),
            Reason::Pointing,
        ),
        (
            !text.ends_with(['.', '!'])
                || sentence.starts_with(['"', '“', '!'])
                || text.contains('\\'),
            Reason::Unended,
        ),
        (so_far.found.iter().any(says), Reason::Repeated),
    ];
    checks
        .into_iter()
        .find_map(|(refuses, reason)| refuses.then_some(reason))
}

/// Whether a sentence speaks of something that only an earlier one names.
fn leans(words: &[&str]) -> bool {
    let is = |at: usize, list: &[&str]| list.contains(&bare(words[at]).as_str());
    let subject = head(words).and_then(|head| head.marker.start.checked_sub(1));
    let is_unnamed = |subject: usize| {
        is(subject, &PRONOUNS) && !(0..subject).any(|at| is(at, &ACTORS) || is(at, &PATIENTS))
    };
    let such = words
        .windows(2)
        .any(|pair| bare(pair[0]) == "such" && bare(pair[1]) != "as");
    subject.is_some_and(is_unnamed) || such
}

impl Statement {
    /// The statement, and the order that it is to whoever it speaks of: "The agent must not guess."
    /// is also "Do not guess."
    pub fn wordings(&self) -> Vec<String> {
        let words: Vec<&str> = self.text.split(' ').collect();
        let order = head(&words).and_then(|head| order(&words, &head));
        std::iter::once(self.text.clone()).chain(order).collect()
    }
}

fn order(words: &[&str], head: &Head) -> Option<String> {
    let subject = head.marker.start.checked_sub(1)?;
    let addressed = ACTORS.contains(&bare(words[subject]).as_str()) && subject <= 2;
    let marker = words[head.marker.clone()].join(" ").to_lowercase();
    let opening = match marker.as_str() {
        "should" | "must" | "shall" => "",
        "should not" | "must not" | "shall not" | "may not" | "cannot" => "Do not ",
        "should never" | "must never" => "Never ",
        "should always" | "must always" => "Always ",
        _ => return None,
    };
    let rest = &words[head.marker.end..];
    let speaks_back = rest
        .iter()
        .any(|w| ["it", "its", "itself"].contains(&bare(w).as_str()));
    (addressed && !speaks_back).then(|| capitalised(&format!("{opening}{}", rest.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# Handbook\n\n## Respect the privacy of users\n\nThe sky is blue.\n\
        However, the agent must not guess (ever). It should ask.\n\n- Verify each figure\n\
        - The agent should do the following:\n- Respect the privacy of users.\n\n\
        ```\nYou must not read this.\n```\n";

    #[test]
    fn statements_are_found_with_their_lines_and_the_rest_is_told_why() {
        let statements = statements(POLICY);
        let found: Vec<_> = statements
            .found
            .iter()
            .map(|s| (s.line, s.kind, s.text.as_str()))
            .collect();
        let expected = [
            (3, Kind::Heading, "Respect the privacy of users."),
            (6, Kind::Sentence, "The agent must not guess."),
            (8, Kind::ListItem, "Verify each figure."),
        ];
        assert_eq!(found, expected);
        let passed: Vec<_> = statements
            .passed
            .iter()
            .map(|p| (p.line, p.reason))
            .collect();
        let expected = [
            (6, Reason::Leaning),
            (9, Reason::Pointing),
            (10, Reason::Repeated),
        ];
        assert_eq!(passed, expected);
    }

    #[test]
    fn a_statement_about_an_actor_is_an_order_too() {
        let wordings = |text: &str| {
            let text = text.to_owned();
            let statement = Statement {
                line: 1,
                kind: Kind::Sentence,
                text,
            };
            statement.wordings()[1..].to_vec()
        };
        assert_eq!(wordings("The agent must not guess."), ["Do not guess."]);
        assert_eq!(
            wordings("The assistant should always be kind."),
            ["Always be kind."]
        );
        let none: [&str; 0] = [];
        assert_eq!(wordings("Scopes should be recorded."), none);
        assert_eq!(wordings("The agent should keep its word."), none);
    }

    #[test]
    fn a_real_policy_gives_principles_that_stand_on_their_lines() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/data/principles/openai_model_spec/model_spec.md"
        );
        let Ok(document) = std::fs::read_to_string(path) else {
            eprintln!("skipped: {path} is absent");
            return;
        };
        let lines: Vec<&str> = document.lines().collect();
        let statements = statements(&document);
        let negated = |statement: &&Statement| !super::super::negatives(&statement.text).is_empty();
        let negated = statements.found.iter().filter(negated).count();
        assert!(negated >= 200, "{negated} statements have a negative");
        for statement in &statements.found {
            let start = bare(statement.text.split(' ').next().expect("words"));
            let line = lines[statement.line - 1].to_lowercase().replace('’', "'");
            assert!(
                line.contains(&start),
                "line {}: {}",
                statement.line,
                statement.text
            );
        }
    }
}
