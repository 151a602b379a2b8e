//! The tokenizer of the built-in model: byte-level BPE over the generated text.
//!
//! A split before the bytes keeps tags, words and numbers of two digits whole, so that each becomes
//! one ordinary token; only the turn markers are special. Numbers `0..=99` are tokens with and
//! without a space before them.

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::row::Row;

/// The most entries the vocabulary may have.
pub(crate) const VOCABULARY_MAX: usize = 1024;
/// Fills rows of unequal length where a peer needs that.
pub(crate) const PAD: &str = "<|pad|>";
/// Ends a turn.
pub(crate) const END: &str = "<|end|>";
/// Opens the turns, in the order of a conversation.
pub(crate) const TURNS: [&str; 3] = ["<|system|>", "<|user|>", "<|assistant|>"];

const PIECES: &str = r"</?(?:reasoning|answer)>| ?[A-Za-z]+| ?[0-9]{1,2}| ?[^\s<A-Za-z0-9]+|<|\s";
/// How often each number is shown beside the rows, so that it is merged before rarer words are.
const NUMBER_REPEATS: usize = 400;

/// The tokenizer trained on the texts of `rows`.
///
/// # Errors
/// Where the library refuses to train.
pub(crate) fn train(rows: &[Row]) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let pattern = SplitPattern::Regex(PIECES.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, true, false);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    tokenizer.with_decoder(Some(bytes));
    let special = [PAD, END].into_iter().chain(TURNS);
    let trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY_MAX)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.map(|text| AddedToken::from(text, true)).collect())
        .show_progress(false)
        .build();
    let numbers: Vec<String> = (0..100).map(|n| format!("{n} {n}\n")).collect();
    let numbers = numbers.concat();
    let texts = rows
        .iter()
        .flat_map(|row| [row.system, &row.story.question, &row.completion])
        .chain(std::iter::repeat_n(numbers.as_str(), NUMBER_REPEATS));
    let texts: Vec<&str> = texts.collect();
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts.into_iter())?;
    Ok(tokenizer)
}

/// The prompt of a row as the chat template renders it.
pub(crate) fn prompt(row: &Row) -> String {
    let [system, user, assistant] = TURNS;
    format!(
        "{system}{}{END}{user}{}{END}{assistant}",
        row.system, row.story.question
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::sync::OnceLock;

    use math::Key;

    use super::*;
    use crate::nano::style::{PRINCIPLES, Polarity};

    /// Rows and the tokenizer trained on them, made once for all tests.
    pub(crate) fn trained() -> &'static (Vec<Row>, Tokenizer) {
        static TRAINED: OnceLock<(Vec<Row>, Tokenizer)> = OnceLock::new();
        TRAINED.get_or_init(|| {
            let draw = |index| Row::draw(Key::new(1).child(index), &BTreeSet::new());
            let rows: Vec<Row> = (0..2000).map(draw).collect();
            let tokenizer = train(&rows).unwrap();
            (rows, tokenizer)
        })
    }

    fn tokens(text: &str) -> usize {
        trained().1.encode(text, false).unwrap().len()
    }

    #[test]
    fn every_number_below_a_hundred_is_one_token_with_and_without_a_space() {
        for number in 0..100 {
            assert_eq!(
                (tokens(&format!("{number}")), tokens(&format!(" {number}"))),
                (1, 1)
            );
        }
    }

    #[test]
    fn every_style_word_and_every_tag_is_one_token() {
        for tag in ["<reasoning>", "</reasoning>", "<answer>", "</answer>"] {
            assert_eq!(tokens(tag), 1, "{tag}");
            assert_eq!(tokens(&format!("20.{tag}")), 3, "{tag} after a full stop");
        }
        let sides = PRINCIPLES
            .iter()
            .flat_map(|p| Polarity::BOTH.map(|polarity| p.side(polarity)));
        for word in sides.flat_map(super::super::style::Side::words) {
            assert_eq!(tokens(&format!(" {word}")), 1, "{word}");
        }
    }

    #[test]
    fn decoding_gives_back_the_text_that_was_encoded_and_keeps_the_tags() {
        let (rows, tokenizer) = trained();
        let outside = "Größe <b> 1234 → ok\n".to_owned();
        for text in rows[..100]
            .iter()
            .map(|row| &row.completion)
            .chain([&outside])
        {
            let ids = tokenizer.encode(text.as_str(), false).unwrap();
            assert_eq!(&tokenizer.decode(ids.get_ids(), true).unwrap(), text);
        }
    }

    #[test]
    fn training_twice_gives_the_same_tokenizer() {
        let (rows, tokenizer) = trained();
        let again = train(rows).unwrap();
        assert_eq!(
            again.to_string(false).unwrap(),
            tokenizer.to_string(false).unwrap()
        );
    }
}
