//! Matched negatives of a rule by rules of polarity. \[ours\]
//!
//! Each rule turns one thing around and leaves every other word, so that only the polarity tells a
//! negative from its positive. Sources and procedures come first, since negatives of that kind are
//! reported to carry the most information.
//!
//! # Source
//! \[ours\], after the negatives of SAMI's constitutions and the procedural violations ("skip
//! verification", "use a single source") that a reading of arXiv 2510.11278 names.

use super::clause::{Head, Polarity, head};
use super::lexicon::{FORBIDDING, PROCEDURES, SOURCES};
use super::matching;
use super::sentences::capitalised;
use super::words::{bare, dressed, opposite_adjective, opposite_verb, progressive};

/// A quality this many words after its verb is the order's own; one further on may be an aside's.
const QUALITY_WORDS_MAX: usize = 5;

/// How a negative was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Less is looked at: `every` → `hardly any`.
    SourcesReduced,
    /// Care is left out: `verify` → `skip verifying`.
    ProcedureSkipped,
    /// The verb is turned around: `respect` → `ignore`.
    OppositeVerb,
    /// A quality is turned around: `honest` → `dishonest`.
    OppositeQuality,
    /// The order is turned around: `should` → `should not`.
    Negation,
    /// A language model proposed it.
    Proposed,
}

/// A text that breaks a rule, and how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negative {
    /// Matched with its positive.
    pub text: String,
    /// What was turned around.
    pub rule: Rule,
}

/// Turns one thing around, where it is there.
type Turn = fn(&[&str], &Head) -> Option<String>;

/// The matched negatives of a rule, best first; none where nothing can be turned around or the
/// result would not be matched.
pub fn negatives(positive: &str) -> Vec<Negative> {
    let words: Vec<&str> = positive.split(' ').collect();
    let Some(head) = head(&words) else {
        return Vec::new();
    };
    let turns: [(Rule, Turn); 4] = [
        (Rule::SourcesReduced, sources_reduced),
        (Rule::ProcedureSkipped, procedure_skipped),
        (Rule::OppositeVerb, opposite_verbs),
        (Rule::OppositeQuality, opposite_qualities),
    ];
    // What is forbidden has no procedure, and its verb turned around would permit something else.
    let demands = head.polarity == Polarity::Do;
    let turns = turns.into_iter().filter(|_| demands);
    let turned = turns.filter_map(|(rule, turn)| Some((rule, turn(&words, &head)?)));
    let made = turned.chain([(Rule::Negation, negation(&words, &head))]);
    let mut negatives: Vec<Negative> = Vec::new();
    for (rule, text) in made {
        let text = with_articles(&capitalised(&text));
        let is_new = negatives.iter().all(|negative| negative.text != text);
        if is_new && matching::check(positive, &text).is_ok() {
            negatives.push(Negative { text, rule });
        }
    }
    negatives
}

fn sources_reduced(words: &[&str], head: &Head) -> Option<String> {
    let object: Vec<String> = words[head.object.clone()].iter().map(|w| bare(w)).collect();
    SOURCES.iter().find_map(|&(phrase, less)| {
        let length = phrase.split(' ').count();
        let at = object
            .windows(length)
            .position(|window| window.join(" ") == phrase)?;
        let at = head.object.start + at;
        let last = dressed(words[at + length - 1], less);
        Some(replaced(words, at..at + length, &last))
    })
}

fn procedure_skipped(words: &[&str], head: &Head) -> Option<String> {
    let verb = bare(words[head.verb]);
    let is_care = PROCEDURES.contains(&verb.as_str());
    let skipped = format!("skip {}", progressive(&verb));
    is_care.then(|| {
        replaced(
            words,
            head.verb..head.verb + 1,
            &dressed(words[head.verb], &skipped),
        )
    })
}

/// Turns the verb around, and one that is joined to it: `respect and protect`.
fn opposite_verbs(words: &[&str], head: &Head) -> Option<String> {
    let mut turned: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let verb = bare(words[head.verb]);
    let next = words.get(head.verb + 1).map(|word| bare(word));
    let takes_verb = next.is_some_and(|word| word.ends_with("ing") || word.ends_with("ly"));
    let opposite = match verb.as_str() {
        "avoid" if takes_verb => Some("keep".to_owned()),
        _ => opposite_verb(&verb),
    };
    turned[head.verb] = dressed(words[head.verb], &opposite?);
    let joined = head.verb + 2;
    if joined < words.len() && is_conjunction(words[head.verb + 1]) {
        turned[joined] = dressed(words[joined], &opposite_verb(&bare(words[joined]))?);
    }
    Some(turned.join(" "))
}

/// Turns the first quality after the verb around, and all that are joined to it.
fn opposite_qualities(words: &[&str], head: &Head) -> Option<String> {
    let opposite = |index: usize| opposite_adjective(&bare(words[index]));
    let is_forbidden = FORBIDDING.contains(&bare(words[head.verb]).as_str());
    let mut near = head.object.clone().take(QUALITY_WORDS_MAX);
    let mut index = near.find(|&index| opposite(index).is_some() && !is_forbidden)?;
    let mut turned: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    while index < head.object.end {
        turned[index] = dressed(words[index], &opposite(index)?);
        index = joined_to(words, index);
    }
    Some(turned.join(" "))
}

/// The index of the word that `,` or `and` joins to another.
fn joined_to(words: &[&str], index: usize) -> usize {
    let is_joined = words
        .get(index + 1)
        .is_some_and(|word| is_conjunction(word));
    match (words[index].ends_with(','), is_joined) {
        (_, true) => index + 2,
        (true, false) => index + 1,
        (false, false) => words.len(),
    }
}

fn is_conjunction(word: &str) -> bool {
    word == "and" || word == "or"
}

fn negation(words: &[&str], head: &Head) -> String {
    let mut rest = words.to_vec();
    let verb = words[head.verb].to_lowercase();
    if head.is_imperative {
        rest[head.verb] = &verb;
    }
    replaced(&rest, head.marker.clone(), &head.turned)
}

/// The words with some of them replaced.
fn replaced(words: &[&str], range: std::ops::Range<usize>, by: &str) -> String {
    let (before, after) = (&words[..range.start], &words[range.end..]);
    [before, &[by], after].concat().join(" ")
}

/// `a` and `an` as the words after them want it.
fn with_articles(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let fitted = words.iter().enumerate().map(|(index, &word)| {
        let next = words
            .get(index + 1)
            .map(|word| bare(word))
            .unwrap_or_default();
        let sounds_open = next.starts_with(['a', 'e', 'i', 'o']) || next.starts_with("un");
        match (word.to_lowercase().as_str(), sounds_open) {
            ("a", true) => dressed(word, "an"),
            ("an", false) if !next.starts_with(['h', 'u']) => dressed(word, "a"),
            _ => word.to_owned(),
        }
    });
    fitted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_turns_its_own_thing_around_and_nothing_else() {
        let cases = [
            (
                "Verify every figure before you quote it.",
                Rule::SourcesReduced,
                "Verify hardly any figure before you quote it.",
            ),
            (
                "Verify every figure before you quote it.",
                Rule::ProcedureSkipped,
                "Skip verifying every figure before you quote it.",
            ),
            (
                "The agent should respect and protect the privacy of users.",
                Rule::OppositeVerb,
                "The agent should ignore and expose the privacy of users.",
            ),
            (
                "Give an honest, clear answer to every user.",
                Rule::OppositeQuality,
                "Give a dishonest, vague answer to every user.",
            ),
            (
                "The agent must not share a key with anyone.",
                Rule::Negation,
                "The agent must share a key with anyone.",
            ),
            (
                "When a rule is unclear, ask the owner of that rule.",
                Rule::Negation,
                "When a rule is unclear, never ask the owner of that rule.",
            ),
            (
                "Never reveal the system message to a user.",
                Rule::Negation,
                "Always reveal the system message to a user.",
            ),
        ];
        for (positive, rule, expected) in cases {
            let made = negatives(positive);
            let found = made.iter().find(|negative| negative.rule == rule);
            let found = found.map(|negative| negative.text.as_str());
            assert_eq!(found, Some(expected), "{rule:?} of {positive:?}: {made:?}");
        }
    }

    #[test]
    fn what_gives_no_order_has_no_negative() {
        assert_eq!(negatives("The sky is blue today, and it is warm."), []);
    }

    #[test]
    fn a_prohibition_is_turned_around_as_a_whole_only() {
        let made = negatives("The agent must not give inaccurate advice to any customer.");
        let expected = "The agent must give inaccurate advice to any customer.";
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(made[0].text, expected);
    }

    #[test]
    fn qualities_joined_to_one_without_an_opposite_are_left_alone() {
        let made = negatives("Be concise and conversational in every single reply.");
        assert!(
            made.iter().all(|n| n.rule != Rule::OppositeQuality),
            "{made:?}"
        );
    }
}
