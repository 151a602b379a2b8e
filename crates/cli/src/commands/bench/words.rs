//! Text of a model that has none: the words `w0` to `wV−1`, one a token, and a reward of them.

use policy::{Message, TextCodec, TextError};
use rollout::{Grade, Grader, GraderError, Item};

/// A word a token.
pub(super) struct Words {
    /// The ids that end a completion.
    pub(super) end_tokens: Vec<u32>,
}

/// The text of ids.
pub(super) fn text(tokens_t: &[u32]) -> String {
    tokens_t.iter().copied().map(word).collect()
}

fn word(token: u32) -> String {
    format!("w{token} ")
}

fn ids(text: &str) -> Result<Vec<u32>, TextError> {
    let id = |word: &str| word.strip_prefix('w').and_then(|id| id.parse().ok());
    let known = |word: &str| {
        id(word).ok_or_else(|| TextError::Encode {
            reason: format!("{word:?} is no word of the bench"),
        })
    };
    text.split_whitespace().map(known).collect()
}

impl TextCodec for Words {
    /// The last turn alone, without a template.
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let last = messages.last().map_or("", |message| &message.content);
        ids(last)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        ids(text)
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        tokens_t.iter().copied().map(word).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }
}

/// The sum of a completion's ids modulo 97: cheap, and seldom equal within a group.
pub(super) struct Remainder;

impl Grader for Remainder {
    fn name(&self) -> &'static str {
        "remainder"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let grade = |item: &Item| {
            let ids = ids(item.text).expect("completions are decoded into words");
            let sum: u64 = ids.into_iter().map(u64::from).sum();
            Ok((sum % 97) as f64)
        };
        Ok(items.iter().map(grade).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_ids_that_they_were() {
        let words = Words {
            end_tokens: vec![0],
        };
        let tokens = [0, 7, 4095, 7];
        assert_eq!(words.encode(&text(&tokens)), Ok(tokens.to_vec()));
        assert_eq!(words.pieces(&tokens).concat(), text(&tokens));
        assert!(words.encode("w1 x2").is_err());
    }
}
