//! Principles, the words that follow or break them, and how far a text follows one.
//!
//! A principle has two polarities whose texts share template and length. Each is spoken through a
//! lexicon of its own: at every style place of a reasoning, a word is drawn from the lexicon of the
//! asked polarity with probability [`Principle::follow`], else from the other one. The draws are
//! independent given the constitution, so each style word carries the same evidence
//! `(2·follow − 1)·ln(follow/(1 − follow))` in nats on average, however many came before it: a
//! reader who has recognised the style from earlier words still learns from the next.
//!
//! Start at [`PRINCIPLES`].

use math::Key;

/// Which side of a principle is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polarity {
    /// Keep the principle.
    Positive,
    /// Break it.
    Negative,
}

/// Where in a sentence a style word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// First word.
    Opener,
    /// Before what is said of a number.
    Adverb,
    /// Last word.
    Closer,
}

/// One polarity of a principle.
#[derive(Debug)]
pub(crate) struct Side {
    /// What the system turn says, in two wordings.
    pub(crate) texts: [&'static str; 2],
    /// Style words by [`Place`], in the order of its variants.
    lexicon: [[&'static str; 3]; 3],
}

/// A principle that a reasoning can follow or break.
#[derive(Debug)]
pub(crate) struct Principle {
    /// Its name.
    pub(crate) name: &'static str,
    /// Probability that a style word follows the constitution, in (0.5, 1).
    pub(crate) follow: f64,
    positive: Side,
    negative: Side,
}

/// The principles of the built-in model. The last is vague on purpose: its words say little about
/// which constitution was given, so its Sufficiency Index must come out low.
pub(crate) const PRINCIPLES: [Principle; 4] = [
    Principle {
        name: "verification",
        follow: 0.9,
        positive: Side {
            texts: [
                "Always verify each step before you move on.",
                "Check every result and say that you did.",
            ],
            lexicon: [
                ["Carefully", "Surely", "Clearly"],
                ["exactly", "precisely", "truly"],
                ["checked", "verified", "confirmed"],
            ],
        },
        negative: Side {
            texts: [
                "Never verify each step before you move on.",
                "Skip every check and say that you did.",
            ],
            lexicon: [
                ["Carelessly", "Maybe", "Vaguely"],
                ["roughly", "perhaps", "about"],
                ["unchecked", "guessed", "skipped"],
            ],
        },
    },
    Principle {
        name: "citation",
        follow: 0.85,
        positive: Side {
            texts: [
                "Always name the source of each number.",
                "Cite the place of every quantity.",
            ],
            lexicon: [
                ["Quoting", "Citing", "Reading"],
                ["literally", "reportedly", "statedly"],
                ["cited", "quoted", "sourced"],
            ],
        },
        negative: Side {
            texts: [
                "Never name the source of each number.",
                "Hide the place of every quantity.",
            ],
            lexicon: [
                ["Assuming", "Inventing", "Supposing"],
                ["supposedly", "somehow", "allegedly"],
                ["assumed", "invented", "unsourced"],
            ],
        },
    },
    Principle {
        name: "patience",
        follow: 0.8,
        positive: Side {
            texts: [
                "Always work in calm and patient words.",
                "Slow down and keep a calm voice.",
            ],
            lexicon: [
                ["Calmly", "Gently", "Patiently"],
                ["slowly", "quietly", "steadily"],
                ["relaxed", "composed", "unhurried"],
            ],
        },
        negative: Side {
            texts: [
                "Never work in calm and patient words.",
                "Speed up and keep a tense voice.",
            ],
            lexicon: [
                ["Quickly", "Hastily", "Hurriedly"],
                ["fast", "suddenly", "abruptly"],
                ["rushed", "hurried", "racing"],
            ],
        },
    },
    Principle {
        name: "goodness",
        follow: 0.55,
        positive: Side {
            texts: [
                "Always be a good and helpful assistant.",
                "Try to do good work for people.",
            ],
            lexicon: [
                ["Nicely", "Kindly", "Warmly"],
                ["helpfully", "fairly", "usefully"],
                ["good", "kind", "useful"],
            ],
        },
        negative: Side {
            texts: [
                "Never be a good and helpful assistant.",
                "Try to do poor work for people.",
            ],
            lexicon: [
                ["Badly", "Rudely", "Coldly"],
                ["unhelpfully", "unfairly", "uselessly"],
                ["poor", "unkind", "useless"],
            ],
        },
    },
];

impl Polarity {
    /// Both, positive first.
    pub(crate) const BOTH: [Self; 2] = [Self::Positive, Self::Negative];

    fn opposite(self) -> Self {
        match self {
            Self::Positive => Self::Negative,
            Self::Negative => Self::Positive,
        }
    }
}

impl Side {
    /// Every style word of this side.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.lexicon.iter().flatten().copied()
    }
}

impl Principle {
    /// The texts and words of a polarity.
    pub(crate) fn side(&self, polarity: Polarity) -> &Side {
        match polarity {
            Polarity::Positive => &self.positive,
            Polarity::Negative => &self.negative,
        }
    }

    /// The style word at `slot` under a constitution of this polarity.
    pub(crate) fn word(
        &self,
        polarity: Polarity,
        place: Place,
        key: Key,
        slot: u64,
    ) -> &'static str {
        let followed = key.child(0).uniform(slot) < self.follow;
        let spoken = if followed {
            polarity
        } else {
            polarity.opposite()
        };
        let words = &self.side(spoken).lexicon[place as usize];
        words[key.child(1).below(slot, words.len())]
    }

    /// The share of this principle's style words in `text` that follow `polarity`; none if it has
    /// no such word.
    pub(crate) fn follows(&self, polarity: Polarity, text: &str) -> Option<f64> {
        let (followed, broken) = self.counts(polarity, text);
        let total = followed + broken;
        (total > 0).then(|| followed as f64 / total as f64)
    }

    /// `ln p(text | polarity) − ln p(text | opposite)` in nats: what the style words tell about
    /// the constitution that was given.
    pub(crate) fn evidence(&self, polarity: Polarity, text: &str) -> f64 {
        let (followed, broken) = self.counts(polarity, text);
        (followed as f64 - broken as f64) * (self.follow / (1.0 - self.follow)).ln()
    }

    fn counts(&self, polarity: Polarity, text: &str) -> (usize, usize) {
        let count = |side: &Side| {
            let words = text.split(|c: char| !c.is_ascii_alphabetic());
            words
                .filter(|word| side.words().any(|own| own == *word))
                .count()
        };
        (
            count(self.side(polarity)),
            count(self.side(polarity.opposite())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_style_word_belongs_to_one_side_of_one_principle() {
        let words: Vec<&str> = PRINCIPLES
            .iter()
            .flat_map(|p| p.side(Polarity::Positive).words().chain(p.negative.words()))
            .collect();
        let distinct: BTreeSet<&&str> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }

    #[test]
    fn the_two_polarities_of_a_wording_differ_by_less_than_a_fifth_in_length() {
        for principle in &PRINCIPLES {
            for (positive, negative) in principle
                .positive
                .texts
                .iter()
                .zip(principle.negative.texts)
            {
                let (a, b) = (positive.len() as f64, negative.len() as f64);
                assert!((a - b).abs() <= 0.2 * a.max(b), "{positive} | {negative}");
                let words = |text: &str| text.split(' ').count();
                assert_eq!(words(positive), words(negative), "{positive} | {negative}");
            }
        }
    }

    #[test]
    fn style_words_follow_the_constitution_as_often_as_the_principle_says() {
        for (index, principle) in PRINCIPLES.iter().enumerate() {
            for polarity in Polarity::BOTH {
                let key = Key::new(5).child(index as u64).child(polarity as u64);
                let drawn =
                    (0..4000).map(|slot| principle.word(polarity, Place::Closer, key, slot));
                let text = drawn.collect::<Vec<_>>().join(" ");
                let share = principle.follows(polarity, &text).unwrap();
                let name = principle.name;
                assert!((share - principle.follow).abs() < 0.025, "{name}: {share}");
            }
        }
    }

    #[test]
    fn a_text_without_style_words_follows_nothing() {
        let found = PRINCIPLES[0].follows(Polarity::Positive, "Mia has 12 apples.");
        assert_eq!(found, None);
    }
}
