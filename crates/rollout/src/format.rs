//! The form a completion must have, and where its reasoning and its answer stand in it.

use std::ops::Range;

use crate::RolloutError;

/// What a completion must look like: reasoning in tags, then the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    reasoning: Tag,
    /// `None`: the answer is all that follows the reasoning, without tags of its own.
    answer: Option<Tag>,
}

/// Byte ranges of a completion's text, without the white space at their ends; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// What stands inside the reasoning tags.
    pub reasoning: Range<usize>,
    /// What stands inside the answer tags, or after the reasoning where they have none.
    pub answer: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    open: String,
    close: String,
}

struct Element {
    start: usize,
    content: Range<usize>,
    end: usize,
}

impl Format {
    /// `<reasoning>…</reasoning>` and `<answer>…</answer>` with these names for the tags.
    ///
    /// # Errors
    /// If a name is empty, is not made of letters, digits, `_` and `-`, or is used twice.
    pub fn tagged(reasoning: &str, answer: &str) -> Result<Self, RolloutError> {
        let is_name = |name: &str| {
            let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
            !name.is_empty() && name.chars().all(allowed)
        };
        if let Some(name) = [reasoning, answer].into_iter().find(|name| !is_name(name)) {
            let name = name.to_owned();
            return Err(RolloutError::TagName { name });
        }
        if reasoning == answer {
            let name = answer.to_owned();
            return Err(RolloutError::TagUsedTwice { name });
        }
        Ok(Self {
            reasoning: Tag::new(reasoning),
            answer: Some(Tag::new(answer)),
        })
    }

    /// `<think>…</think>` and then the answer without tags.
    pub fn think() -> Self {
        Self {
            reasoning: Tag::new("think"),
            answer: None,
        }
    }

    /// One sentence that asks a model for this form.
    pub fn instruction(&self) -> String {
        let Tag { open, close } = &self.reasoning;
        let answer = match &self.answer {
            Some(Tag { open, close }) => format!("only the answer inside {open} and {close}"),
            None => "only the answer".to_owned(),
        };
        format!("Reason step by step inside {open} and {close}, then write {answer}.")
    }

    /// The spans of a completion that has this form, else `None`.
    ///
    /// Valid is a *whole* completion that is one non-empty reasoning element, then one non-empty
    /// answer, and nothing else but white space; each of the four tags occurs exactly once, so
    /// tags are neither nested nor quoted. White space alone is empty. \[ours\]: the paper is
    /// known to gate on strict XML, not how.
    pub fn parse(&self, text: &str) -> Option<Spans> {
        let tags = std::iter::once(&self.reasoning).chain(&self.answer);
        if !tags.into_iter().all(|tag| tag.occurs_once(text)) {
            return None;
        }
        let reasoning = self.reasoning.first_element(text)?;
        let (between, answer, after) = match &self.answer {
            Some(tag) => {
                let answer = tag.first_element(text)?;
                let between = text.get(reasoning.end..answer.start)?;
                (between, answer.content, &text[answer.end..])
            }
            None => ("", reasoning.end..text.len(), ""),
        };
        let outside = [&text[..reasoning.start], between, after];
        if outside.iter().any(|part| !part.trim().is_empty()) {
            return None;
        }
        Some(Spans {
            reasoning: trimmed(text, reasoning.content)?,
            answer: trimmed(text, answer)?,
        })
    }

    /// The answer of a completion of any form: the content of the last complete answer element (or
    /// what follows the last closing reasoning tag), without the white space at its ends.
    pub fn answer<'t>(&self, text: &'t str) -> Option<&'t str> {
        let content = match &self.answer {
            Some(Tag { open, close }) => {
                let before_close = &text[..text.rfind(close)?];
                &before_close[before_close.rfind(open)? + open.len()..]
            }
            None => &text[text.rfind(&self.reasoning.close)? + self.reasoning.close.len()..],
        };
        Some(content.trim()).filter(|answer| !answer.is_empty())
    }
}

/// The tags `reasoning` and `answer`.
impl Default for Format {
    fn default() -> Self {
        Self::tagged("reasoning", "answer").expect("the names are letters and differ")
    }
}

impl Tag {
    fn new(name: &str) -> Self {
        Self {
            open: format!("<{name}>"),
            close: format!("</{name}>"),
        }
    }

    fn occurs_once(&self, text: &str) -> bool {
        text.matches(&self.open).count() == 1 && text.matches(&self.close).count() == 1
    }

    fn first_element(&self, text: &str) -> Option<Element> {
        let start = text.find(&self.open)?;
        let content = start + self.open.len();
        let length = text[content..].find(&self.close)?;
        Some(Element {
            start,
            content: content..content + length,
            end: content + length + self.close.len(),
        })
    }
}

/// The range without the white space at its ends; `None` if nothing is left.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    let length = part.trim().len();
    (length > 0).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_filled_reasoning_then_one_filled_answer_is_valid() {
        let cases = [
            (
                "<reasoning>r</reasoning><answer>a</answer>",
                Some(("r", "a")),
            ),
            (
                "<reasoning>\n r s \n</reasoning>\n<answer> 1 2 </answer>",
                Some(("r s", "1 2")),
            ),
            (
                "  <reasoning>r</reasoning>\t<answer>a</answer>\n\n",
                Some(("r", "a")),
            ),
            (
                "<reasoning>é→</reasoning><answer>ß</answer>",
                Some(("é→", "ß")),
            ),
            (
                "<reasoning>a < b > c & <i>d</i></reasoning><answer>a</answer>",
                Some(("a < b > c & <i>d</i>", "a")),
            ),
            (
                "<reasoning>answer> <answer reasoning</reasoning><answer>a</answer>",
                Some(("answer> <answer reasoning", "a")),
            ),
            ("", None),
            ("r a", None),
            ("<reasoning>r</reasoning>", None),
            ("<answer>a</answer>", None),
            ("<answer>a</answer><reasoning>r</reasoning>", None),
            ("<reasoning></reasoning><answer>a</answer>", None),
            ("<reasoning> \n</reasoning><answer>a</answer>", None),
            ("<reasoning>r</reasoning><answer></answer>", None),
            ("<reasoning>r</reasoning><answer>\u{a0} </answer>", None),
            ("So: <reasoning>r</reasoning><answer>a</answer>", None),
            ("<reasoning>r</reasoning>so<answer>a</answer>", None),
            ("<reasoning>r</reasoning><answer>a</answer>.", None),
            (
                "<reasoning>r</reasoning><answer>a</answer><answer>b</answer>",
                None,
            ),
            (
                "<reasoning>r</reasoning><reasoning>s</reasoning><answer>a</answer>",
                None,
            ),
            (
                "<reasoning>r<reasoning></reasoning><answer>a</answer>",
                None,
            ),
            ("<reasoning>r</reasoning><answer>a</answer></answer>", None),
            ("<reasoning>r<answer>a</answer></reasoning>", None),
            ("<reasoning>r<answer>a</reasoning></answer>", None),
            ("<reasoning>r</reasoning><answer>a", None),
            ("<reasoning>r<answer>a</answer>", None),
            ("reasoning>r</reasoning><answer>a</answer>", None),
            ("</reasoning>r<reasoning><answer>a</answer>", None),
            ("<Reasoning>r</Reasoning><answer>a</answer>", None),
            ("<reasoning >r</reasoning><answer>a</answer>", None),
            ("<think>r</think><answer>a</answer>", None),
        ];
        for (text, expected) in cases {
            let found = Format::default().parse(text);
            let found = found.map(|s| (&text[s.reasoning], &text[s.answer]));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn the_think_preset_takes_all_that_follows_as_the_answer() {
        let cases = [
            ("<think>r</think>a", Some(("r", "a"))),
            ("<think>\nr\n</think>\n\na b\n", Some(("r", "a b"))),
            ("<think>r</think>", None),
            ("<think></think>a", None),
            ("x<think>r</think>a", None),
            ("r</think>a", None),
            ("<think>r</think>a<think>", None),
            ("</think>r<think>a", None),
        ];
        for (text, expected) in cases {
            let found = Format::think().parse(text);
            let found = found.map(|s| (&text[s.reasoning], &text[s.answer]));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_complete_answer_is_found_in_a_completion_of_any_form() {
        let cases = [
            (
                "it is <answer> 3 </answer>, no: <answer>4</answer>!",
                Some("4"),
            ),
            ("<answer>3</answer> or <answer>4", Some("3")),
            ("<answer>3<answer>4</answer>", Some("4")),
            ("</answer><answer>", None),
            ("<answer> </answer>", None),
            ("4", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Format::default().answer(text), expected, "{text:?}");
        }
        assert_eq!(Format::think().answer("a</think>b</think> 4 "), Some("4"));
        assert_eq!(Format::think().answer("4"), None);
    }

    #[test]
    fn a_completion_that_follows_the_instruction_literally_is_valid() {
        let format = Format::tagged("cot", "final_answer").expect("names");
        assert!(format.instruction().contains("<cot> and </cot>"));
        assert!(
            format
                .parse("<cot>r</cot><final_answer>a</final_answer>")
                .is_some()
        );
    }

    #[test]
    fn tag_names_that_cannot_be_told_apart_are_refused() {
        for (reasoning, answer) in [("", "a"), ("a b", "c"), ("a", "<b>"), ("a", "a")] {
            assert!(
                Format::tagged(reasoning, answer).is_err(),
                "{reasoning:?} {answer:?}"
            );
        }
    }
}
