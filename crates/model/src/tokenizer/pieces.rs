//! Which id added which text.
//!
//! A tokenizer's decoder sees a whole sequence: it drops a space at the start and joins bytes to
//! characters. Most ids stand for whole characters, and their text depends only on whether they
//! come first. The others, *fragments*, are decoded together with the fragments around them. So
//! the work is linear in the number of ids, but for the window inside a run of fragments, which is
//! bounded.

use std::collections::HashSet;

use guard::guarded;
use tokenizers::Tokenizer;

use crate::ModelError;

/// What a decoder gives for bytes that are no character, or not yet.
const REPLACEMENT: char = '\u{FFFD}';
/// Fragments after which bytes that still make no character are taken for none: a character has
/// four bytes, and a fragment at least one.
const WINDOW: usize = 16;

/// Decodes, and tells the text of an id in the middle of a sequence from its text at the start.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The ids of special tokens. The tokenizer's own list of their texts lacks those that it
    /// normalises.
    special: HashSet<u32>,
    /// An id to stand before others, and its text.
    opening: u32,
    opening_text: String,
}

impl Decoder {
    /// # Errors
    /// Where the tokenizer's decoder does not append: the text of two ids must begin with that of
    /// the first.
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let appends = |&id: &u32| {
            let (one, two) = (decode(tokenizer, &[id]), decode(tokenizer, &[id, id]));
            !one.is_empty() && two.len() > one.len() && two.starts_with(&one)
        };
        let letter = tokenizer.encode_fast("a", false).ok();
        let opening = letter
            .and_then(|ids| ids.get_ids().last().copied())
            .filter(appends);
        let opening = opening.ok_or_else(|| ModelError::Tokenizer {
            reason: "its decoder does not append the text of an id to the text before".to_owned(),
        })?;
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let special = added
            .filter(|(_, token)| token.special)
            .map(|(id, _)| id)
            .collect();
        let opening_text = decode(tokenizer, &[opening]);
        Ok(Self {
            special,
            opening,
            opening_text,
        })
    }

    /// For each id the text it adds; joined, they are what decoding all of them gives.
    pub(super) fn pieces(&self, tokenizer: &Tokenizer, tokens_t: &[u32]) -> Vec<String> {
        let mut pieces = vec![String::new(); tokens_t.len()];
        let spoken = |at: &usize| self.is_text(tokenizer, tokens_t[*at]);
        let places: Vec<usize> = (0..tokens_t.len()).filter(spoken).collect();
        let mut at = 0;
        while at < places.len() {
            let fragments = places[at..].iter().map(|&place| tokens_t[place]);
            let length = fragments
                .take_while(|&id| self.is_fragment(tokenizer, id))
                .count();
            let run = &places[at..at + length.max(1)];
            let ids: Vec<u32> = run.iter().map(|&place| tokens_t[place]).collect();
            let texts = self.run_pieces(tokenizer, &ids, at == 0);
            for (&place, text) in run.iter().zip(texts) {
                pieces[place] = text;
            }
            at += run.len();
        }
        pieces
    }

    /// The text of all ids together.
    pub(super) fn decode(&self, tokenizer: &Tokenizer, tokens_t: &[u32]) -> String {
        let text = |id: &u32| self.is_text(tokenizer, *id);
        let ids: Vec<u32> = tokens_t.iter().copied().filter(text).collect();
        decode(tokenizer, &ids)
    }

    /// The pieces of ids that must be decoded together.
    fn run_pieces(&self, tokenizer: &Tokenizer, ids: &[u32], first: bool) -> Vec<String> {
        let text = self.text(tokenizer, ids, first);
        let mut pieces = self.whole_characters(tokenizer, ids, first);
        let shown = pieces.concat();
        if let Some(rest) = text.strip_prefix(&shown) {
            pieces[ids.len() - 1].push_str(rest);
        } else {
            pieces.fill(String::new());
            pieces[ids.len() - 1] = text;
        }
        pieces
    }

    /// For each id the characters that it makes whole, as far as they can be told.
    fn whole_characters(&self, tokenizer: &Tokenizer, ids: &[u32], first: bool) -> Vec<String> {
        let mut pieces = vec![String::new(); ids.len()];
        let (mut start, mut shown) = (0, String::new());
        for at in 0..ids.len() {
            let window = self.text(tokenizer, &ids[start..=at], first && start == 0);
            let whole = window.trim_end_matches(REPLACEMENT);
            let Some(new) = whole.strip_prefix(&shown) else {
                break;
            };
            pieces[at].push_str(new);
            shown.push_str(new);
            if whole.len() == window.len() {
                start = at + 1;
                shown.clear();
            } else if at - start >= WINDOW {
                break;
            }
        }
        pieces
    }

    /// The text of ids at the start of a sequence, or in its middle.
    fn text(&self, tokenizer: &Tokenizer, ids: &[u32], first: bool) -> String {
        if first {
            return decode(tokenizer, ids);
        }
        let mut opened = vec![self.opening];
        opened.extend_from_slice(ids);
        let mut text = decode(tokenizer, &opened);
        if text.starts_with(&self.opening_text) {
            text.split_off(self.opening_text.len())
        } else {
            // It does not append these: they are told as at the start.
            decode(tokenizer, ids)
        }
    }

    /// Whether an id is one that the tokenizer knows, and not special.
    fn is_text(&self, tokenizer: &Tokenizer, id: u32) -> bool {
        !self.special.contains(&id) && tokenizer.id_to_token(id).is_some()
    }

    /// Whether an id is not a number of whole characters, whatever stands around it.
    fn is_fragment(&self, tokenizer: &Tokenizer, id: u32) -> bool {
        let byte = |token: String| token.starts_with("<0x") && token.len() == 6;
        tokenizer.id_to_token(id).is_some_and(byte)
            || self.text(tokenizer, &[id], false).contains(REPLACEMENT)
    }
}

/// The text of ids, of which none is special. Ids that the decoder does not take, which no sound
/// one has, stand for their tokens as they are.
fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let decoded = guarded(|| tokenizer.decode(ids, false));
    decoded.ok().and_then(Result::ok).unwrap_or_else(|| {
        let tokens = ids.iter().filter_map(|&id| tokenizer.id_to_token(id));
        tokens.collect()
    })
}
