//! From bytes of the decoded text to the tokens that wrote them.

use std::ops::Range;

use crate::Format;

/// The tokens that overlap a byte range of the text that `pieces_t` spell, or `None` if there are
/// none.
///
/// A token that adds no text belongs to the piece after it, as the first ids of a character of
/// several bytes do. The range never reaches the last token, which is predicted but never read, so
/// that it can be a [`policy::Row`]'s reasoning.
pub fn token_span(pieces_t: &[String], bytes: &Range<usize>) -> Option<Range<usize>> {
    let (mut first, mut end) = (None, 0);
    // Where the text of the next piece begins, and the first token that waits for it.
    let (mut begin_byte, mut waiting) = (0, 0);
    for (token, piece) in pieces_t.iter().enumerate() {
        if piece.is_empty() {
            continue;
        }
        let end_byte = begin_byte + piece.len();
        if begin_byte < bytes.end && end_byte > bytes.start {
            first = first.or(Some(waiting));
            end = token + 1;
        }
        (begin_byte, waiting) = (end_byte, token + 1);
    }
    let end = end.min(pieces_t.len().saturating_sub(1));
    first
        .map(|first| first..end)
        .filter(|span| !span.is_empty())
}

/// The tokens of a completion that count where principles are scored before training: its
/// reasoning where the format is valid, else all of it but the last token. `None`: there are none.
///
/// Training contrasts valid completions alone; a model that was never asked for the format has
/// few of them, and a principle shows in what it writes all the same. \[ours\]
pub fn scored_span(format: &Format, pieces_t: &[String]) -> Option<Range<usize>> {
    let reasoning = format
        .parse(&pieces_t.concat())
        .map(|spans| spans.reasoning);
    let whole = 0..pieces_t.len().saturating_sub(1);
    let span = reasoning.and_then(|reasoning| token_span(pieces_t, &reasoning));
    span.or((!whole.is_empty()).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a tokenizer whose tokens are `width` bytes each, and an end token.
    fn pieces(text: &str, width: usize) -> Vec<String> {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len())
            .step_by(width)
            .map(|i| (i + width).min(bytes.len()));
        let mut spelled = 0;
        let mut pieces: Vec<String> = ends
            .map(|end| {
                let whole = (spelled..=end).rev().find(|&i| text.is_char_boundary(i));
                let whole = whole.expect("the start is a boundary");
                let piece = text[spelled..whole].to_owned();
                spelled = whole;
                piece
            })
            .collect();
        pieces.push(String::new());
        pieces
    }

    #[test]
    fn one_token_a_byte_gives_the_bytes_themselves() {
        let text = " <reasoning>\n two é→ and é</reasoning><answer>2</answer>";
        let reasoning = Format::default().parse(text).expect("valid").reasoning;
        assert_eq!(&text[reasoning.clone()], "two é→ and é");
        assert_eq!(token_span(&pieces(text, 1), &reasoning), Some(reasoning));
    }

    #[test]
    fn a_character_of_several_tokens_at_either_end_is_taken_whole() {
        let text = "<reasoning>→ é</reasoning><answer>2</answer>";
        let reasoning = Format::default().parse(text).expect("valid").reasoning;
        assert_eq!(token_span(&pieces(text, 1), &reasoning), Some(11..17));
    }

    #[test]
    fn wider_tokens_are_taken_where_they_overlap_and_nowhere_else() {
        let text = "<reasoning>three apples and two</reasoning><answer>5</answer>";
        let reasoning = Format::default().parse(text).expect("valid").reasoning;
        for width in 2..20 {
            let expected = reasoning.start / width..reasoning.end.div_ceil(width);
            assert_eq!(
                token_span(&pieces(text, width), &reasoning),
                Some(expected),
                "{width}"
            );
        }
    }

    #[test]
    fn a_completion_of_another_form_counts_whole_but_for_its_last_token() {
        let format = Format::default();
        let scored = |text: &str| scored_span(&format, &pieces(text, 1));
        let valid = "<reasoning>so</reasoning><answer>2</answer>";
        assert_eq!(scored(valid), Some(11..13));
        assert_eq!(scored("so 2"), Some(0..4));
        assert_eq!(scored(""), None);
    }

    #[test]
    fn the_last_token_is_never_in_the_span() {
        let pieces = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        assert_eq!(token_span(&pieces(&["ab", "cd"]), &(1..4)), Some(0..1));
        assert_eq!(token_span(&pieces(&["abcd"]), &(1..3)), None);
        assert_eq!(token_span(&pieces(&["ab", "cd"]), &(3..4)), None);
        assert_eq!(token_span(&[], &(0..1)), None);
    }
}
