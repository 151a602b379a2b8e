//! What gives a completion its reward.

use crate::{Format, Question, same_answer};

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

    /// One finite grade an item, in order; `None` where it could not be graded.
    fn grade(&mut self, items: &[Item]) -> Vec<Option<f64>>;
}

/// A grader and its part in the reward.
pub struct WeightedGrader {
    /// The grader.
    pub grader: Box<dyn Grader>,
    /// Its grades are multiplied by this; at 0 they are recorded but are no part of the reward.
    pub weight: f64,
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

/// The weighted sum of a completion's grades; `None` if any grade that has a weight is missing.
///
/// # Panics
/// If there is not one weight for each grade.
pub fn weighted_reward(grades: &[Option<f64>], weights: &[f64]) -> Option<f64> {
    assert_eq!(grades.len(), weights.len(), "one weight for each grade");
    grades
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(grade, weight)| grade.map(|grade| grade * weight))
        .sum()
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

    fn grade(&mut self, items: &[Item]) -> Vec<Option<f64>> {
        let valid = |item: &Item| self.format.parse(item.text).is_some();
        items
            .iter()
            .map(|item| Some(f64::from(valid(item))))
            .collect()
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

    fn grade(&mut self, items: &[Item]) -> Vec<Option<f64>> {
        let right = |item: &Item| answer_is_right(&self.format, item.question, item.text);
        items
            .iter()
            .map(|item| right(item).map(f64::from))
            .collect()
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

    fn grades(grader: &mut dyn Grader, question: &Question, texts: &[&str]) -> Vec<Option<f64>> {
        let items: Vec<Item> = texts.iter().map(|text| Item { question, text }).collect();
        grader.grade(&items)
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
        assert_eq!(answer, [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);
        let format = grades(&mut FormatGrader::new(Format::default()), &question, &texts);
        assert_eq!(format, [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]);
    }

    #[test]
    fn without_an_expected_answer_nothing_is_graded() {
        let mut grader = AnswerGrader::new(Format::default());
        let found = grades(&mut grader, &question(None), &["<answer>18</answer>"]);
        assert_eq!(found, [None]);
    }

    #[test]
    fn a_missing_grade_takes_the_reward_away_unless_it_has_no_weight() {
        let reward = weighted_reward(&[Some(1.0), Some(0.5)], &[1.0, 2.0]);
        assert_eq!(reward, Some(2.0));
        assert_eq!(weighted_reward(&[Some(1.0), None], &[1.0, 2.0]), None);
        assert_eq!(weighted_reward(&[Some(1.0), None], &[1.0, 0.0]), Some(1.0));
    }
}
