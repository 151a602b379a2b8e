//! What gives a completion its reward.

use crate::{Format, Grade, GraderError, Question, Ungraded, same_answer};

/// A completion to be graded.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// The whole completion as decoded.
    pub text: &'a str,
}

/// Gives completions a grade.
pub trait Grader {
    /// The name under which its grades are recorded.
    fn name(&self) -> &str;

    /// One grade an item, in order.
    ///
    /// # Errors
    /// Where the grader has given up.
    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError>;

    /// How many completions it left without a grade so far, and why; `None` where it has not.
    fn faults(&self) -> Option<String> {
        None
    }
}

/// 1 for a completion of the format, else 0.
#[derive(Clone, Debug)]
pub struct FormatGrader {
    format: Format,
}

/// 1 for the right answer, 0 for a wrong one or none; a question without an expected answer leaves
/// its completions ungraded.
#[derive(Clone, Debug)]
pub struct AnswerGrader {
    format: Format,
}

impl FormatGrader {
    /// A grader of this format, with the name `format`.
    pub fn new(format: Format) -> Self {
        Self { format }
    }
}

impl Grader for FormatGrader {
    fn name(&self) -> &'static str {
        "format"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let valid = |item: &Item| self.format.parse(item.text).is_some();
        let grades = items.iter().map(|item| Ok(f64::from(valid(item))));
        Ok(grades.collect())
    }
}

impl AnswerGrader {
    /// A grader that finds answers by this format (see [`Format::answer`]), with the name `answer`.
    pub fn new(format: Format) -> Self {
        Self { format }
    }
}

impl Grader for AnswerGrader {
    fn name(&self) -> &'static str {
        "answer"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let right = |item: &Item| answer_is_right(&self.format, item.question, item.text);
        let grades = items.iter().map(right);
        let grades = grades.map(|right| right.map(f64::from).ok_or(Ungraded::Null));
        Ok(grades.collect())
    }
}

/// Whether a completion gives the expected answer; `None` if none is expected.
pub(crate) fn answer_is_right(format: &Format, question: &Question, text: &str) -> Option<bool> {
    let expected = question.answer.as_ref()?;
    let given = format.answer(text);
    Some(given.is_some_and(|given| same_answer(given, expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: Option<&str>) -> Question {
        Question {
            id: 0,
            history: Vec::new(),
            text: "6 + 12?".to_owned(),
            answer: answer.map(str::to_owned),
            fields: serde_json::Map::new(),
        }
    }

    fn grades(grader: &mut dyn Grader, question: &Question, texts: &[&str]) -> Vec<Grade> {
        let items: Vec<Item> = texts.iter().map(|text| Item { question, text }).collect();
        grader.grade(&items).expect("it never gives up")
    }

    #[test]
    fn the_answer_counts_whatever_the_form_and_the_form_whatever_the_answer() {
        let texts = [
            "<reasoning>r</reasoning><answer>18</answer>",
            "<reasoning>r</reasoning><answer>17</answer>",
            "<answer>$18.00</answer>",
            "18",
        ];
        let question = question(Some("6+12\n#### 18"));
        let answer = grades(&mut AnswerGrader::new(Format::default()), &question, &texts);
        assert_eq!(answer, [Ok(1.0), Ok(0.0), Ok(1.0), Ok(0.0)]);
        let format = grades(&mut FormatGrader::new(Format::default()), &question, &texts);
        assert_eq!(format, [Ok(1.0), Ok(1.0), Ok(0.0), Ok(0.0)]);
    }

    #[test]
    fn without_an_expected_answer_nothing_is_graded() {
        let mut grader = AnswerGrader::new(Format::default());
        let found = grades(&mut grader, &question(None), &["<answer>18</answer>"]);
        assert_eq!(found, [Err(Ungraded::Null)]);
    }
}
