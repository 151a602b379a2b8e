//! What is asked while a policy is verified.

use principle::Principle;
use rollout::{Format, Question};
use trainer::Task;

/// Questions as the built-in model knows them.
const QUESTIONS: [&str; 2] = [
    "Ben has 2 jars of 6 stones each. How many stones does Ben have now?",
    "Uma keeps 10 caps. Then Uma buys 1 more. Count the caps that Uma has now.",
];

/// Two questions under one principle and its negative, in the default format.
pub(crate) fn task() -> Task {
    let question = |(id, text): (usize, &str)| Question {
        id,
        text: text.to_owned(),
        answer: None,
        history: Vec::new(),
        fields: serde_json::Map::new(),
    };
    let principle = Principle {
        id: "verification".to_owned(),
        name: "verification".to_owned(),
        positive: "Always verify each step before you move on.".to_owned(),
        negatives: vec!["Never verify each step before you move on.".to_owned()],
        identifiers: None,
        source: None,
    };
    Task {
        questions: QUESTIONS.into_iter().enumerate().map(question).collect(),
        held_out: Vec::new(),
        principles: vec![principle],
        format: Format::default(),
        format_instruction: String::new(),
    }
}
