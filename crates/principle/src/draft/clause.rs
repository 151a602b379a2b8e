//! The head of a rule: what says that something is to be done, or not, and the verb it says it of.

use std::ops::Range;

use super::words::{bare, is_base_verb};

/// Words that open a clause whose words are not the rule's own.
const SUBORDINATE: [&str; 22] = [
    "that", "which", "who", "whose", "if", "when", "unless", "because", "while", "until", "where",
    "even", "except", "so", "as", "whether", "how", "what", "why", "rather", "than", "without",
];

/// Openings of a clause that stands before the rule, up to a comma.
const OPENINGS: [&str; 12] = [
    "when", "if", "before", "after", "unless", "where", "while", "for", "in", "to", "within",
    "during",
];

/// The most words between the start of a rule and its marker; a marker further on is an aside's.
const SUBJECT_WORDS_MAX: usize = 8;

/// What the marker of a rule demands of its verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polarity {
    /// That it is done.
    Do,
    /// That it is not.
    DoNot,
}

/// Where a rule says what it demands, as indices of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) polarity: Polarity,
    /// `should`, `must not`, `Always`; empty for a bare imperative.
    pub(crate) marker: Range<usize>,
    /// What turns the marker around.
    pub(crate) turned: String,
    /// The verb that the rule is about.
    pub(crate) verb: usize,
    /// The words after the verb that belong to its clause.
    pub(crate) object: Range<usize>,
    /// Whether the sentence is an order without a subject.
    pub(crate) is_imperative: bool,
}

/// The head of a rule; none where a sentence gives no order.
pub(crate) fn head(words: &[&str]) -> Option<Head> {
    imperative(words).or_else(|| modal(words))
}

fn imperative(words: &[&str]) -> Option<Head> {
    let start = after_opening(words);
    let at = |index: usize| words.get(index).map(|word| bare(word)).unwrap_or_default();
    let (length, polarity, turned) = match (at(start).as_str(), at(start + 1).as_str()) {
        ("never" | "don't", _) => (1, Polarity::DoNot, "always"),
        ("do", "not") => (2, Polarity::DoNot, "always"),
        ("always", _) => (1, Polarity::Do, "never"),
        _ => (0, Polarity::Do, "never"),
    };
    let verb = start + length;
    let is_order = length > 0 || is_base_verb(&at(verb));
    let is_order = is_order && !words.get(verb)?.ends_with(':');
    is_order.then(|| Head {
        polarity,
        marker: start..verb,
        turned: turned.to_owned(),
        verb,
        object: object(words, verb),
        is_imperative: true,
    })
}

/// Where the rule begins after `When …,`.
fn after_opening(words: &[&str]) -> usize {
    let opens = words
        .first()
        .is_some_and(|word| OPENINGS.contains(&bare(word).as_str()));
    let comma = words.iter().position(|word| word.ends_with(','));
    match comma {
        Some(comma) if opens => comma + 1,
        _ => 0,
    }
}

fn modal(words: &[&str]) -> Option<Head> {
    let start = after_opening(words);
    let bare_words: Vec<String> = words.iter().map(|word| bare(word)).collect();
    let main = bare_words[start..]
        .iter()
        .position(|word| SUBORDINATE.contains(&word.as_str()))
        .map_or(words.len(), |at| start + at);
    (start..main).find_map(|at| {
        let next = |offset: usize| bare_words.get(at + offset).map_or("", String::as_str);
        let (length, polarity, turned) = marker(next(0), next(1), next(2))?;
        let end = at + length;
        let verb = end
            + bare_words[end..]
                .iter()
                .take_while(|w| is_adverb(w))
                .count();
        let is_near = at - start <= SUBJECT_WORDS_MAX;
        (is_near && verb < words.len()).then(|| Head {
            polarity,
            marker: at..end,
            turned,
            verb,
            object: object(words, verb),
            is_imperative: false,
        })
    })
}

/// How many words the marker at a place has, what it demands, and what turns it around.
fn marker(first: &str, second: &str, third: &str) -> Option<(usize, Polarity, String)> {
    let demand = |length, turned: &str| Some((length, Polarity::Do, turned.to_owned()));
    let forbid = |length, turned: &str| Some((length, Polarity::DoNot, turned.to_owned()));
    match (first, second, third) {
        (_, "only", _) => None,
        ("should" | "must" | "shall", "not", _) => forbid(2, first),
        ("should" | "must" | "shall", "never", _) => forbid(2, &format!("{first} always")),
        ("should" | "must" | "shall", "always", _) => demand(2, &format!("{first} never")),
        ("should" | "must" | "shall", ..) => demand(1, &format!("{first} not")),
        ("shouldn't" | "mustn't", ..) => forbid(1, &first[..first.len() - 3]),
        ("may", "not", third) if third != "be" => forbid(2, "may"),
        ("needs" | "need" | "has" | "have", "to", _) => demand(2, "must not"),
        ("is" | "are", "required" | "expected" | "obliged", "to") => demand(3, "must not"),
        _ => None,
    }
}

fn is_adverb(word: &str) -> bool {
    word.ends_with("ly") || ["also", "still", "instead", "first", "then"].contains(&word)
}

/// The words after a verb up to the next clause.
fn object(words: &[&str], verb: usize) -> Range<usize> {
    let start = verb + 1;
    let ends = |index: &usize| {
        let is_clause = SUBORDINATE.contains(&bare(words[*index]).as_str());
        is_clause || words[*index - 1].ends_with([';', ':'])
    };
    start..(start..words.len()).find(ends).unwrap_or(words.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_head_is_its_first_order_in_the_main_clause() {
        let cases = [
            (
                "The agent should not lie.",
                Polarity::DoNot,
                "should not",
                "lie.",
            ),
            (
                "Staff must always log each access.",
                Polarity::Do,
                "must always",
                "log",
            ),
            ("When in doubt, ask the owner.", Polarity::Do, "", "ask"),
            ("Do not share keys.", Polarity::DoNot, "Do not", "share"),
            ("Staff may not guess.", Polarity::DoNot, "may not", "guess."),
            (
                "It should generally assume good will.",
                Polarity::Do,
                "should",
                "assume",
            ),
            (
                "Every team is required to record incidents.",
                Polarity::Do,
                "is required to",
                "record",
            ),
        ];
        for (sentence, polarity, marker, verb) in cases {
            let words: Vec<&str> = sentence.split(' ').collect();
            let head = head(&words).unwrap_or_else(|| panic!("{sentence} has a head"));
            let found = (
                head.polarity,
                words[head.marker].join(" "),
                words[head.verb],
            );
            assert_eq!(found, (polarity, marker.to_owned(), verb), "{sentence}");
        }
    }

    #[test]
    fn a_statement_and_an_order_in_a_side_clause_have_no_head() {
        for sentence in [
            "The sky is blue.",
            "We believe that models should not lie.",
            "It should only use the voice.",
            "Users can always leave.",
        ] {
            let words: Vec<&str> = sentence.split(' ').collect();
            assert_eq!(head(&words), None, "{sentence}");
        }
    }
}
