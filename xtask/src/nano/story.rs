//! Word problems over small numbers, with one or two operations.
//!
//! Every number that a problem or its solution holds lies in `0..=99`; the sums and differences
//! have a right side below 10, so that the arithmetic is a table a small model can learn.

use math::Key;

/// What a change does to the running quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The amount is added.
    Add,
    /// The amount is taken away.
    Subtract,
    /// So many of the amount each.
    Multiply,
}

/// One operation on the running quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// What happens.
    pub(crate) operation: Operation,
    /// The right side of the operation.
    pub(crate) amount: usize,
}

/// A word problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// Who acts.
    pub(crate) name: &'static str,
    /// The quantity at first.
    pub(crate) start: usize,
    /// What happens to it, in order.
    pub(crate) changes: Vec<Change>,
    /// The problem as it is asked.
    pub(crate) question: String,
}

const NAMES: [&str; 20] = [
    "Mia", "Tom", "Ana", "Ben", "Eva", "Leo", "Zoe", "Max", "Ida", "Sam", "Kim", "Jon", "Liv",
    "Ray", "Amy", "Dan", "Uma", "Gus", "Pia", "Ned",
];
const OBJECTS: [&str; 20] = [
    "apples", "pens", "coins", "books", "cards", "shells", "stones", "plums", "pears", "cups",
    "stamps", "keys", "nuts", "eggs", "lamps", "seeds", "rings", "balls", "caps", "figs",
];
const HOLDERS: [&str; 4] = ["boxes", "bags", "rows", "jars"];
const POSSESSIONS: [&str; 3] = ["has", "owns", "keeps"];
const GAINS: [&str; 5] = ["buys", "finds", "gets", "wins", "picks"];
const LOSSES: [&str; 5] = ["sells", "loses", "eats", "drops", "lends"];
const ENDINGS: [&str; 3] = [
    "How many {object} does {name} have now?",
    "What number of {object} does {name} have now?",
    "Count the {object} that {name} has now.",
];

// The counters of a story's draws.
const KIND: u64 = 0;
const NAME: u64 = 1;
const OBJECT: u64 = 2;
const HOLDER: u64 = 3;
const POSSESSION: u64 = 4;
const ENDING: u64 = 5;
const START: u64 = 6;
const FACTOR: u64 = 7;

impl Operation {
    /// The sign between the two sides.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
        }
    }

    /// The result; a difference below 0 is 0.
    pub(crate) fn apply(self, left: usize, right: usize) -> usize {
        match self {
            Self::Add => left + right,
            Self::Subtract => left.saturating_sub(right),
            Self::Multiply => left * right,
        }
    }
}

impl Story {
    /// The story of a key: half of all have two operations, a quarter start with a product.
    pub(crate) fn draw(key: Key) -> Self {
        let kind = key.uniform(KIND);
        let (multiplies, extra) = match kind {
            _ if kind < 0.4 => (false, 1),
            _ if kind < 0.75 => (false, 2),
            _ if kind < 0.85 => (true, 0),
            _ => (true, 1),
        };
        let name = pick(&NAMES, key, NAME);
        let object = pick(&OBJECTS, key, OBJECT);
        let start = if multiplies {
            2 + key.below(START, 4)
        } else {
            2 + key.below(START, 19)
        };
        let possession = pick(&POSSESSIONS, key, POSSESSION);
        let mut changes = Vec::new();
        let opening = if multiplies {
            let factor = 2 + key.below(FACTOR, 5);
            changes.push(Change {
                operation: Operation::Multiply,
                amount: factor,
            });
            let holder = pick(&HOLDERS, key, HOLDER);
            format!("{name} {possession} {start} {holder} of {factor} {object} each.")
        } else {
            format!("{name} {possession} {start} {object}.")
        };
        let mut sentences = vec![opening];
        for index in 0..extra {
            let quantity = value(start, &changes);
            let (change, event) = draw_change(quantity, key.child(index));
            sentences.push(format!("Then {name} {event}."));
            changes.push(change);
        }
        let ending = pick(&ENDINGS, key, ENDING).replace("{object}", object);
        sentences.push(ending.replace("{name}", name));
        Self {
            name,
            start,
            changes,
            question: sentences.join(" "),
        }
    }

    /// The right answer.
    pub(crate) fn answer(&self) -> usize {
        value(self.start, &self.changes)
    }
}

fn draw_change(quantity: usize, key: Key) -> (Change, String) {
    if quantity == 0 || key.uniform(0) < 0.5 {
        let amount = 1 + key.below(1, 9);
        let event = format!("{} {amount} more", pick(&GAINS, key, 2));
        (
            Change {
                operation: Operation::Add,
                amount,
            },
            event,
        )
    } else {
        let amount = 1 + key.below(1, quantity.min(9));
        let event = format!("{} {amount} of them", pick(&LOSSES, key, 2));
        (
            Change {
                operation: Operation::Subtract,
                amount,
            },
            event,
        )
    }
}

fn value(start: usize, changes: &[Change]) -> usize {
    changes.iter().fold(start, |left, change| {
        change.operation.apply(left, change.amount)
    })
}

fn pick(choices: &[&'static str], key: Key, counter: u64) -> &'static str {
    choices[key.below(counter, choices.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_of_a_story_fits_two_digits_and_its_right_sides_one() {
        for index in 0..5000 {
            let story = Story::draw(Key::new(2).child(index));
            assert!(story.answer() <= 99, "{story:?}");
            assert!(
                story.changes.iter().all(|c| (1..=9).contains(&c.amount)),
                "{story:?}"
            );
            assert!((1..=2).contains(&story.changes.len()), "{story:?}");
        }
    }

    #[test]
    fn a_question_names_the_numbers_that_its_changes_use() {
        for index in 0..500 {
            let story = Story::draw(Key::new(3).child(index));
            let numbers: Vec<usize> = story
                .question
                .split([' ', '.'])
                .filter_map(|word| word.parse().ok())
                .collect();
            let expected: Vec<usize> = std::iter::once(story.start)
                .chain(story.changes.iter().map(|change| change.amount))
                .collect();
            assert_eq!(numbers, expected, "{}", story.question);
        }
    }
}
