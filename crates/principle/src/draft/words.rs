//! Words of a sentence, and how the opposites of the lexicon are inflected.

use super::lexicon::{ADJECTIVES, FUNCTION_WORDS, VERBS};

/// A verb's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Base,
    Third,
    Progressive,
}

/// A word without the punctuation around it, in small letters.
pub(crate) fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'')
        .to_lowercase()
}

/// `replacement` in the place of a word: its punctuation and its capital stay.
pub(crate) fn dressed(word: &str, replacement: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '\'';
    let start = word.find(is_part).unwrap_or(0);
    let end = word.rfind(is_part).map_or(0, |at| {
        at + word[at..].chars().next().map_or(0, char::len_utf8)
    });
    let is_capital = word[start..].chars().next().is_some_and(char::is_uppercase);
    let inner = if is_capital {
        super::sentences::capitalised(replacement)
    } else {
        replacement.to_owned()
    };
    format!("{}{inner}{}", &word[..start], &word[end..])
}

/// The opposite of a verb, in its form; the lexicon lists pairs, of which either side is opposed.
pub(crate) fn opposite_verb(word: &str) -> Option<String> {
    VERBS.iter().find_map(|&(one, other)| {
        let forward = form_of(word, one).map(|form| inflected(other, form));
        forward.or_else(|| form_of(word, other).map(|form| inflected(one, form)))
    })
}

/// Whether a word is a verb of the lexicon, as an instruction begins with.
pub(crate) fn is_base_verb(word: &str) -> bool {
    let listed = |&(one, other): &(&str, &str)| one == word || other == word;
    VERBS.iter().any(listed) || super::lexicon::OTHER_VERBS.contains(&word)
}

/// The opposite of an adjective, or of its adverb.
pub(crate) fn opposite_adjective(word: &str) -> Option<String> {
    ADJECTIVES.iter().find_map(|&(one, other)| {
        let turned = |from: &str, to: &str| {
            if word == from {
                return Some(to.to_owned());
            }
            (word == adverb(from)).then(|| adverb(to))
        };
        turned(one, other).or_else(|| turned(other, one))
    })
}

/// `verify` → `verifying`.
pub(crate) fn progressive(verb: &str) -> String {
    inflected(verb, Form::Progressive)
}

/// Words that carry the topic: of four letters or more, and not grammar.
pub(crate) fn topic_words(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(bare);
    words
        .filter(|word| word.chars().count() >= 4 && !FUNCTION_WORDS.contains(&word.as_str()))
        .collect()
}

fn form_of(word: &str, lemma: &str) -> Option<Form> {
    [Form::Base, Form::Third, Form::Progressive]
        .into_iter()
        .find(|&form| inflected(lemma, form) == word)
}

/// A verb of one word, or of one word and its preposition, inflected regularly.
fn inflected(lemma: &str, form: Form) -> String {
    let (verb, rest) = lemma.split_once(' ').unwrap_or((lemma, ""));
    let before_y = verb
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(is_vowel));
    let inflected = match form {
        Form::Base => verb.to_owned(),
        Form::Third => match before_y {
            Some(stem) => format!("{stem}ies"),
            None if verb.ends_with(['s', 'x', 'z', 'o']) || verb.ends_with("sh") => {
                format!("{verb}es")
            }
            None => format!("{verb}s"),
        },
        Form::Progressive => progressive_stem(verb) + "ing",
    };
    format!("{inflected} {rest}").trim_end().to_owned()
}

/// Drops a silent `e`, doubles the last letter where the lexicon's verbs need it.
fn progressive_stem(verb: &str) -> String {
    const DOUBLED: [&str; 8] = [
        "omit", "admit", "permit", "forbid", "drop", "skip", "stop", "prefer",
    ];
    if DOUBLED.contains(&verb) {
        return verb.to_owned() + &verb[verb.len() - 1..];
    }
    let silent = verb
        .strip_suffix('e')
        .filter(|stem| !stem.ends_with(is_vowel));
    silent.unwrap_or(verb).to_owned()
}

fn adverb(adjective: &str) -> String {
    match adjective {
        _ if adjective.ends_with("le") => adjective[..adjective.len() - 1].to_owned() + "y",
        _ if adjective.ends_with("ic") => format!("{adjective}ally"),
        _ => match adjective.strip_suffix('y') {
            Some(stem) => format!("{stem}ily"),
            None => format!("{adjective}ly"),
        },
    }
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposites_keep_the_form_of_the_word() {
        let cases = [
            ("follow", "ignore"),
            ("protects", "exposes"),
            ("denying", "acknowledging"),
            ("omits", "includes"),
            ("minimizing", "maximizing"),
            ("omitting", "including"),
        ];
        for (word, expected) in cases {
            assert_eq!(opposite_verb(word).as_deref(), Some(expected));
        }
        let cases = [
            ("honest", "dishonest"),
            ("honestly", "dishonestly"),
            ("responsibly", "irresponsibly"),
            ("vague", "clear"),
        ];
        for (word, expected) in cases {
            assert_eq!(opposite_adjective(word).as_deref(), Some(expected));
        }
        assert_eq!(opposite_verb("table"), None);
    }

    #[test]
    fn no_pair_of_the_lexicon_opposes_a_word_to_itself() {
        for &(one, other) in VERBS.iter().chain(ADJECTIVES) {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_replacement_keeps_punctuation_and_capital() {
        assert_eq!(dressed("\"Honest\",", "dishonest"), "\"Dishonest\",");
        assert_eq!(dressed("clear.", "vague"), "vague.");
    }
}
