//! A row of the training data: a constitution, a question and an imperfect completion.

use std::collections::BTreeSet;

use math::Key;
use serde_json::{Value, json};

use super::faults::{Fault, frame};
use super::reasoning::{Reasoning, reason};
use super::story::Story;
use super::style::{PRINCIPLES, Polarity, Principle};

/// Draws after which a question outside the excluded ones must have come; one or two are usual.
const ATTEMPTS: u64 = 1000;

/// A conversation of three turns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Whose lexicon the reasoning speaks.
    pub(crate) principle: &'static Principle,
    /// Which polarity the constitution asks for.
    pub(crate) polarity: Polarity,
    /// The constitution, in the system turn.
    pub(crate) system: &'static str,
    /// The problem that the user turn asks.
    pub(crate) story: Story,
    /// The reasoning, before any fault of format.
    pub(crate) reasoning: Reasoning,
    /// How the format was broken, if it was.
    pub(crate) fault: Option<Fault>,
    /// What the assistant says.
    pub(crate) completion: String,
}

impl Row {
    /// The row of a key, about a question that is not in `excluded`.
    pub(crate) fn draw(key: Key, excluded: &BTreeSet<String>) -> Self {
        let principle = &PRINCIPLES[key.below(0, PRINCIPLES.len())];
        let polarity = Polarity::BOTH[key.below(1, 2)];
        let texts = principle.side(polarity).texts;
        let system = texts[key.below(2, texts.len())];
        let story = (0..ATTEMPTS)
            .map(|attempt| Story::draw(key.child(0).child(attempt)))
            .find(|story| !excluded.contains(&story.question))
            .expect("there are far more questions than excluded ones");
        let reasoning = reason(&story, principle, polarity, key.child(1));
        let fault = Fault::draw(key.child(2));
        let completion = frame(&reasoning, fault);
        Self {
            principle,
            polarity,
            system,
            story,
            reasoning,
            fault,
            completion,
        }
    }

    /// The row in TRL's conversational prompt/completion format.
    pub(crate) fn json(&self) -> Value {
        json!({
            "prompt": [
                {"role": "system", "content": self.system},
                {"role": "user", "content": self.story.question},
            ],
            "completion": [{"role": "assistant", "content": self.completion}],
        })
    }
}

/// The first `count` distinct questions of a key with their answers, none of them in `excluded`.
pub(crate) fn questions(key: Key, count: usize, excluded: &BTreeSet<String>) -> Vec<Story> {
    let mut seen = excluded.clone();
    (0u64..)
        .map(|index| Story::draw(key.child(index)))
        .filter(|story| seen.insert(story.question.clone()))
        .take(count)
        .collect()
}

/// A question with its answer, as graders read it.
pub(crate) fn question_json(story: &Story) -> Value {
    json!({"question": story.question, "answer": story.answer().to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_training_row_asks_a_held_out_question() {
        let heldout = questions(Key::new(1).child(0), 300, &BTreeSet::new());
        let excluded: BTreeSet<String> = heldout.into_iter().map(|s| s.question).collect();
        assert_eq!(excluded.len(), 300, "held-out questions are distinct");
        for index in 0..3000 {
            let row = Row::draw(Key::new(1).child(0).child(index), &excluded);
            assert!(
                !excluded.contains(&row.story.question),
                "{}",
                row.story.question
            );
        }
    }
}
