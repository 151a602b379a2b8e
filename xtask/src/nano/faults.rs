//! The frame of a completion, and the ways in which it is broken on purpose.
//!
//! A sound completion is one `<reasoning>…</reasoning>`, a line break and one `<answer>…</answer>`.

use math::Key;

use super::reasoning::Reasoning;

/// Probability that a completion breaks the format.
pub(crate) const FAULTY: f64 = 0.45;

/// A way to break the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `</reasoning>` is missing.
    OpenReasoning,
    /// `</answer>` is missing.
    OpenAnswer,
    /// The answer stands outside its tag.
    BareAnswer,
    /// The answer is given twice.
    RepeatedAnswer,
    /// Words follow the answer.
    TrailingText,
    /// The tag of the answer holds nothing.
    EmptyAnswer,
    /// There is no reasoning.
    NoReasoning,
}

const FAULTS: [Fault; 7] = [
    Fault::OpenReasoning,
    Fault::OpenAnswer,
    Fault::BareAnswer,
    Fault::RepeatedAnswer,
    Fault::TrailingText,
    Fault::EmptyAnswer,
    Fault::NoReasoning,
];

impl Fault {
    /// The fault of a key, or none; each kind is as likely as the others.
    pub(crate) fn draw(key: Key) -> Option<Self> {
        (key.uniform(0) < FAULTY).then(|| FAULTS[key.below(1, FAULTS.len())])
    }
}

/// The whole text of a completion.
pub(crate) fn frame(reasoning: &Reasoning, fault: Option<Fault>) -> String {
    let Reasoning { text, answer } = reasoning;
    let thought = format!("<reasoning>{text}</reasoning>\n");
    let reply = format!("<answer>{answer}</answer>");
    match fault {
        None => thought + &reply,
        Some(Fault::OpenReasoning) => format!("<reasoning>{text}\n{reply}"),
        Some(Fault::OpenAnswer) => format!("{thought}<answer>{answer}"),
        Some(Fault::BareAnswer) => format!("{thought}{answer}"),
        Some(Fault::RepeatedAnswer) => format!("{thought}{reply}\n{reply}"),
        Some(Fault::TrailingText) => format!("{thought}{reply}\nThat is all."),
        Some(Fault::EmptyAnswer) => format!("{thought}<answer></answer>"),
        Some(Fault::NoReasoning) => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The strict format, written apart from the generator.
    fn is_sound(text: &str) -> bool {
        let inner = |text: &str, tag: &str| {
            let text = text.trim().strip_prefix(&format!("<{tag}>"))?.to_owned();
            let (content, rest) = text.split_once(&format!("</{tag}>"))?;
            let sound = !content.trim().is_empty() && !content.contains('<');
            sound.then(|| rest.to_owned())
        };
        inner(text, "reasoning")
            .and_then(|rest| inner(&rest, "answer"))
            .is_some_and(|rest| rest.trim().is_empty())
    }

    #[test]
    fn a_frame_is_sound_exactly_where_no_fault_was_drawn() {
        let reasoning = Reasoning {
            text: "Surely 3 + 4 makes 7.".to_owned(),
            answer: 7,
        };
        assert!(is_sound(&frame(&reasoning, None)));
        for fault in FAULTS {
            assert!(!is_sound(&frame(&reasoning, Some(fault))), "{fault:?}");
        }
    }

    #[test]
    fn faults_are_as_frequent_as_stated() {
        let faulty = (0..5000)
            .filter(|i| Fault::draw(Key::new(6).child(*i)).is_some())
            .count();
        assert!(
            (faulty as f64 / 5000.0 - FAULTY).abs() < 0.03,
            "{faulty} of 5000"
        );
    }
}
