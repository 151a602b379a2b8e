//! The worked reasoning of a story: four to six short sentences, three style words in each.
//!
//! A computation slips with probability [`SLIP`], and what follows builds on the slipped result, so
//! that a model trained on these texts is imperfect in a way that training can mend.

use math::Key;

use super::story::{Operation, Story};
use super::style::{Place, Polarity, Principle};

/// Probability that one computation gives a wrong result.
pub(crate) const SLIP: f64 = 0.08;

/// A reasoning and the answer it arrives at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reasoning {
    /// The sentences.
    pub(crate) text: String,
    /// The number in the last of them, right or wrong.
    pub(crate) answer: usize,
}

/// The reasoning about `story` under a constitution.
pub(crate) fn reason(
    story: &Story,
    principle: &Principle,
    polarity: Polarity,
    key: Key,
) -> Reasoning {
    let (style, slips) = (key.child(0), key.child(1));
    let mut quantity = story.start;
    let mut clauses = vec![[story.name.to_owned(), format!("has {quantity}")]];
    for (index, change) in story.changes.iter().enumerate() {
        let (amount, sign) = (change.amount, change.operation.sign());
        let what = match change.operation {
            Operation::Add => "more",
            Operation::Subtract => "less",
            Operation::Multiply => "each",
        };
        clauses.push(["then".to_owned(), format!("{amount} {what}")]);
        let result = slip(
            change.operation.apply(quantity, amount),
            slips.child(index as u64),
        );
        clauses.push([
            format!("{quantity} {sign} {amount}"),
            format!("makes {result}"),
        ]);
        quantity = result;
    }
    clauses.push(["the answer".to_owned(), format!("is {quantity}")]);
    let sentences = clauses
        .iter()
        .zip(0u64..)
        .map(|([subject, statement], index)| {
            let word = |place| principle.word(polarity, place, style, 3 * index + place as u64);
            let (opener, adverb) = (word(Place::Opener), word(Place::Adverb));
            format!(
                "{opener} {subject} {adverb} {statement} {}.",
                word(Place::Closer)
            )
        });
    Reasoning {
        text: sentences.collect::<Vec<_>>().join(" "),
        answer: quantity,
    }
}

fn slip(result: usize, key: Key) -> usize {
    if key.uniform(0) >= SLIP {
        return result;
    }
    let distance = 1 + key.below(1, 2);
    if result < distance || key.uniform(2) < 0.5 {
        result + distance
    } else {
        result - distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nano::style::PRINCIPLES;

    #[test]
    fn a_reasoning_has_three_style_words_a_sentence_and_ends_in_its_answer() {
        for index in 0..200 {
            let key = Key::new(9).child(index);
            let story = Story::draw(key.child(0));
            let found = reason(&story, &PRINCIPLES[0], Polarity::Negative, key.child(1));
            let sentences = 2 + 2 * story.changes.len();
            assert_eq!(found.text.matches('.').count(), sentences, "{}", found.text);
            let places = found.text.split([' ', '.']).filter(|word| {
                Polarity::BOTH
                    .iter()
                    .any(|p| PRINCIPLES[0].side(*p).words().any(|w| w == *word))
            });
            assert_eq!(places.count(), 3 * sentences, "{}", found.text);
            let last = found
                .text
                .split(' ')
                .rfind(|word| word.parse::<usize>().is_ok())
                .unwrap();
            assert_eq!(last, found.answer.to_string(), "{}", found.text);
        }
    }

    #[test]
    fn computations_slip_as_often_as_stated() {
        let wrong = (0..5000)
            .filter(|i| slip(7, Key::new(4).child(*i)) != 7)
            .count();
        assert!(
            (wrong as f64 / 5000.0 - SLIP).abs() < 0.015,
            "{wrong} of 5000"
        );
    }
}
