//! The rollout itself: sample, decode, grade.

use std::ops::Range;

use math::Key;
use policy::{PolicyError, Request, Sample, SamplingOptions, TextCodec, TextError};

use crate::grade::finite;
use crate::grader::answer_is_right;
use crate::span::token_span;
use crate::{Format, Grade, GraderError, Item, Prompt, Question, WeightedGrader, weighted_reward};

/// What stays the same from one rollout of a run to the next.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// The questions that prompts index.
    pub questions: &'a [Question],
    /// The form a valid completion has.
    pub format: &'a Format,
    /// Completions of each prompt (`num_generations`).
    pub group_size: usize,
    /// How tokens are drawn.
    pub sampling: &'a SamplingOptions,
}

/// What one question under one constitution gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Index of the question.
    pub question: usize,
    /// Index of the constitution.
    pub constitution: usize,
    /// Token ids of the rendered prompt.
    pub prefix: Vec<u32>,
    /// The completions, in the order of their numbers.
    pub completions: Vec<Completion>,
}

/// A completion, graded.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The tokens as drawn.
    pub sample: Sample,
    /// The decoded text, without special tokens.
    pub text: String,
    /// For each grader, its grade: finite, or why there is none.
    pub grades: Vec<Grade>,
    /// The weighted sum of the grades; `None`: ungraded, and out of every mean.
    pub reward: Option<f64>,
    /// Whether the text has the format. One that the length limit cut is judged like any other.
    pub format_valid: bool,
    /// The tokens of the reasoning of a completion with a valid format (see [`token_span`]).
    pub reasoning: Option<Range<usize>>,
    /// Whether it gives the expected answer (see [`Format::answer`]); `None` if none is expected.
    pub answer_right: Option<bool>,
}

/// Why there is no rollout.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum RolloutError {
    /// The sampler failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A grader has given up.
    #[error(transparent)]
    Grader(#[from] GraderError),
    /// A prompt could not be rendered.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The chat template has no system turn.
    #[error("a constitution is a system turn, which this model does not take: {source}")]
    SystemTurnRefused {
        /// What the codec said.
        source: TextError,
    },
    /// The chat template leaves the system turn out without a word.
    #[error("a constitution is a system turn, which this model's chat template drops silently")]
    SystemTurnDropped,
    /// A tag name that cannot stand in a tag.
    #[error("tag name {name:?} is not one or more letters, digits, '_' or '-'")]
    TagName {
        /// The name found.
        name: String,
    },
    /// Reasoning and answer cannot be told apart.
    #[error("reasoning and answer both have the tag {name:?}, expected two different names")]
    TagUsedTwice {
        /// The name found.
        name: String,
    },
}

/// Draws the completions of requests, as [`policy::Sampler::sample`].
pub type Draw<'a> =
    dyn FnMut(&[Request], &SamplingOptions) -> Result<Vec<Vec<Sample>>, PolicyError> + 'a;

/// Draws and grades the completions of some prompts: one group a prompt, in the order given.
///
/// `key` names the rollout (run and step); a draw is named by the question's id, the constitution
/// and the sample below it. So a prompt gives the same group whatever else is rolled out with it,
/// up to the rounding of the sampler's matrix products, which can follow the size of its batch.
/// Each grader is called once, with all completions; where there are no prompts, neither sampler
/// nor grader is.
///
/// # Errors
/// Where the sampler fails, or a grader has given up.
///
/// # Panics
/// If a prompt names no question, or a grader does not give one grade for each completion.
pub fn collect(
    draw: &mut Draw,
    codec: &dyn TextCodec,
    rollout: &Rollout,
    prompts: &[Prompt],
    graders: &mut [WeightedGrader],
    key: Key,
) -> Result<Vec<Group>, RolloutError> {
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let request = |prompt: &Prompt| Request {
        prefix: prompt.prefix.clone(),
        count: rollout.group_size,
        key: key
            .child(rollout.questions[prompt.question].id as u64)
            .child(prompt.constitution as u64),
    };
    let requests: Vec<Request> = prompts.iter().map(request).collect();
    let samples_pg = draw(&requests, rollout.sampling)?;
    let group = |(prompt, samples_g): (&Prompt, Vec<Sample>)| Group {
        question: prompt.question,
        constitution: prompt.constitution,
        prefix: prompt.prefix.clone(),
        completions: samples_g
            .into_iter()
            .map(|sample| read(codec, rollout, &rollout.questions[prompt.question], sample))
            .collect(),
    };
    let mut groups: Vec<Group> = prompts.iter().zip(samples_pg).map(group).collect();
    grade(rollout.questions, graders, &mut groups)?;
    Ok(groups)
}

/// A sample with its text and what the format finds in it, not graded yet.
fn read(
    codec: &dyn TextCodec,
    rollout: &Rollout,
    question: &Question,
    sample: Sample,
) -> Completion {
    let pieces_t = codec.pieces(&sample.tokens_t);
    let text = pieces_t.concat();
    let spans = rollout.format.parse(&text);
    Completion {
        sample,
        grades: Vec::new(),
        reward: None,
        format_valid: spans.is_some(),
        reasoning: spans.and_then(|spans| token_span(&pieces_t, &spans.reasoning)),
        answer_right: answer_is_right(rollout.format, question, &text),
        text,
    }
}

fn grade(
    questions: &[Question],
    graders: &mut [WeightedGrader],
    groups: &mut [Group],
) -> Result<(), GraderError> {
    let item = |(question, text)| Item {
        question: &questions[question],
        text,
    };
    let texts = groups.iter().flat_map(|group| {
        let texts = group.completions.iter().map(|c| c.text.as_str());
        texts.map(|text| (group.question, text))
    });
    let items: Vec<Item> = texts.map(item).collect();
    let grades: Vec<Vec<Grade>> = graders
        .iter_mut()
        .map(|weighted| {
            let grades_n = weighted.grader.grade(&items)?;
            let name = weighted.grader.name();
            assert_eq!(grades_n.len(), items.len(), "grades of {name}");
            Ok(grades_n)
        })
        .collect::<Result<_, GraderError>>()?;
    let weights: Vec<f64> = graders.iter().map(|weighted| weighted.weight).collect();
    let completions = groups.iter_mut().flat_map(|group| &mut group.completions);
    for (index, completion) in completions.enumerate() {
        completion.grades = grades
            .iter()
            .map(|grades_n| finite(grades_n[index]))
            .collect();
        completion.reward = weighted_reward(&completion.grades, &weights);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use policy::{Finish, Message, Sampler, TabularPolicy};

    use super::*;
    use crate::{AnswerGrader, FormatGrader, Grader, Ungraded};

    /// Token 3 ends; a prefix's last id is the context of the table.
    const PIECES: [&str; 4] = ["<reasoning>r</reasoning>", "<answer>1</answer>", "x", ""];

    struct Table;

    impl TextCodec for Table {
        fn render(&self, _: &[Message]) -> Result<Vec<u32>, TextError> {
            unreachable!("prompts are given")
        }

        fn encode(&self, _: &str) -> Result<Vec<u32>, TextError> {
            unreachable!("prompts are given")
        }

        fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
            let piece = |&id: &u32| PIECES[id as usize].to_owned();
            tokens_t.iter().map(piece).collect()
        }

        fn end_tokens(&self) -> &[u32] {
            &[3]
        }
    }

    /// Gives NaN to every completion that holds an `x`.
    struct Fragile;

    impl Grader for Fragile {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
            let grade = |item: &Item| {
                let bad = item.text.contains('x');
                Ok(if bad { f64::NAN } else { 1.0 })
            };
            Ok(items.iter().map(grade).collect())
        }
    }

    fn prompt(question: usize, constitution: usize) -> Prompt {
        Prompt {
            question,
            constitution,
            prefix: vec![0, constitution as u32],
        }
    }

    fn groups(prompts: &[Prompt], key: Key) -> Vec<Group> {
        let question = |id, answer: Option<&str>| Question {
            id,
            history: Vec::new(),
            text: String::new(),
            answer: answer.map(str::to_owned),
            fields: serde_json::Map::new(),
        };
        let questions = [question(40, Some("#### 1")), question(2, None)];
        let sampling = SamplingOptions {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_completion_length: 5,
        };
        let rollout = Rollout {
            questions: &questions,
            format: &Format::default(),
            group_size: 64,
            sampling: &sampling,
        };
        let weighted = |grader: Box<dyn Grader>, weight| WeightedGrader { grader, weight };
        let mut graders = [
            weighted(Box::new(FormatGrader::new(Format::default())), 1.0),
            weighted(Box::new(AnswerGrader::new(Format::default())), 0.0),
            weighted(Box::new(Fragile), 0.5),
        ];
        let policy = TabularPolicy::new(4, &[vec![2.0, 0.0, 0.0, 0.0], vec![0.0; 4]], &[3]);
        let draw = &mut |requests: &[Request], options: &SamplingOptions| {
            policy.sample(requests, options, &mut |_| {})
        };
        collect(draw, &Table, &rollout, prompts, &mut graders, key).expect("valid")
    }

    #[test]
    fn a_prompt_gives_the_same_group_whatever_is_rolled_out_beside_it() {
        let prompts = [prompt(0, 0), prompt(0, 1), prompt(1, 0), prompt(1, 1)];
        let key = Key::new(5).child(12);
        let together = groups(&prompts, key);
        let mut reversed = prompts.clone();
        reversed.reverse();
        let mut backwards = groups(&reversed, key);
        backwards.reverse();
        assert_eq!(together, backwards);
        for (prompt, group) in prompts.iter().zip(&together) {
            let alone = groups(std::slice::from_ref(prompt), key);
            assert_eq!(&alone[0], group);
        }
    }

    #[test]
    fn the_step_the_question_and_the_constitution_each_change_the_draws() {
        let draws = |question, constitution, step| -> Vec<Sample> {
            let mut prompt = prompt(question, constitution);
            prompt.prefix = vec![1];
            let group = groups(&[prompt], Key::new(5).child(step)).remove(0);
            group.completions.into_iter().map(|c| c.sample).collect()
        };
        let first = draws(0, 0, 1);
        assert_eq!(first, draws(0, 0, 1));
        for other in [draws(0, 0, 2), draws(1, 0, 1), draws(0, 1, 1)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn format_span_answer_and_reward_follow_from_the_tokens_alone() {
        let groups = groups(&[prompt(0, 0), prompt(1, 0)], Key::new(1));
        let mut valid = 0;
        for group in &groups {
            for completion in &group.completions {
                let Completion { sample, text, .. } = completion;
                let tokens_t = &sample.tokens_t;
                let is_valid = tokens_t.starts_with(&[0, 1])
                    && (tokens_t[2..] == [3] || (tokens_t.len() == 2));
                valid += usize::from(is_valid);
                assert_eq!(completion.format_valid, is_valid, "{text:?}");
                assert_eq!(completion.reasoning, is_valid.then_some(0..1), "{text:?}");
                let right = (group.question == 0).then(|| tokens_t.contains(&1));
                assert_eq!(completion.answer_right, right, "{text:?}");
                let grade = right.map(f64::from).ok_or(Ungraded::Null);
                assert_eq!(completion.grades[1], grade);
                let reward = (!tokens_t.contains(&2)).then(|| f64::from(is_valid) + 0.5);
                assert_eq!(completion.reward, reward, "{text:?}");
                assert!(sample.finish == Finish::Length || tokens_t.ends_with(&[3]));
            }
        }
        assert!(valid > 3, "{valid} valid completions try nothing");
    }
}
