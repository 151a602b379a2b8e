//! A passage cut into sentences, cleaned as they will stand in a principle.

use std::ops::Range;

/// Words after which a full stop ends no sentence.
const ABBREVIATIONS: [&str; 12] = [
    "e.g.", "i.e.", "etc.", "cf.", "vs.", "dr.", "mr.", "mrs.", "ms.", "no.", "fig.", "sec.",
];

/// Words before a sentence that tie it to the one before without changing what it says.
const CONNECTIVES: [&str; 12] = [
    "however",
    "similarly",
    "therefore",
    "instead",
    "also",
    "thus",
    "additionally",
    "moreover",
    "finally",
    "likewise",
    "in addition",
    "conversely",
];

/// Byte ranges of a text's sentences. A sentence ends at `.`, `!` or `?` before white space and
/// something other than a small letter; abbreviations end none.
pub(crate) fn split(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for (at, mark) in text.char_indices() {
        let end = at + mark.len_utf8();
        if matches!(mark, '.' | '!' | '?') && ends_sentence(text, end) {
            ranges.push(start..end);
            start = end;
        }
    }
    ranges.push(start..text.len());
    let trimmed = ranges.into_iter().map(|range| trim(text, range));
    trimmed.filter(|range| !range.is_empty()).collect()
}

fn ends_sentence(text: &str, end: usize) -> bool {
    let mut rest = text[end..].chars();
    let is_spaced = rest.next().is_some_and(char::is_whitespace);
    let begins_anew = rest
        .find(|c| !c.is_whitespace())
        .is_some_and(|c| !c.is_lowercase());
    let word = text[..end].rsplit(char::is_whitespace).next().unwrap_or("");
    let word = word.trim_start_matches(['(', '"']).to_lowercase();
    let is_initial = word.chars().count() == 2 && word.ends_with('.');
    is_spaced && begins_anew && !is_initial && !ABBREVIATIONS.contains(&word.as_str())
}

fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

/// A sentence without asides in parentheses, opening connectives and doubled white space, with
/// straight apostrophes, a capital at its start and a full stop at its end.
pub(crate) fn clean(sentence: &str) -> String {
    let straight = sentence.replace(['’', '‘'], "'").replace(['“', '”'], "\"");
    let mut words = without_asides(&without_footnotes(&straight));
    for connective in CONNECTIVES {
        let opening = words.get(..connective.len()).map(str::to_lowercase);
        let rest = words.get(connective.len()..).unwrap_or("");
        if opening.as_deref() == Some(connective) && rest.starts_with(", ") {
            words = rest[2..].to_owned();
        }
    }
    let mut text = capitalised(&words);
    if !text.ends_with(['.', '!', '?', ':']) {
        text.push('.');
    }
    text
}

/// The text without references to footnotes, `[^1]`.
fn without_footnotes(text: &str) -> String {
    let mut parts = text.split("[^");
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |kept, part| {
        kept + part.split_once(']').map_or(part, |(_, rest)| rest)
    })
}

/// White space single, text in parentheses left out.
fn without_asides(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    let joined = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    [" ,", " .", " ;"].iter().fold(joined, |text, spaced| {
        text.replace(spaced, spaced.trim_start())
    })
}

/// The text with a capital at its start.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_initials_and_small_letters_end_no_sentence() {
        let text = "Ask J. Doe, e.g. Today or 3.5 times. Then stop! \"Never\" wait? Yes";
        let found: Vec<&str> = split(text).into_iter().map(|range| &text[range]).collect();
        let expected = [
            "Ask J. Doe, e.g. Today or 3.5 times.",
            "Then stop!",
            "\"Never\" wait?",
            "Yes",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_clean_sentence_has_no_aside_and_no_opening_connective() {
        let cases = [
            (
                "however, it’s  so (see [x] (y)), and ends",
                "It's so, and ends.",
            ),
            ("Be kind[^a1] and fair [^2].", "Be kind and fair."),
            ("Instead of this, do that", "Instead of this, do that."),
            ("", "."),
        ];
        for (sentence, expected) in cases {
            assert_eq!(clean(sentence), expected);
        }
    }
}
