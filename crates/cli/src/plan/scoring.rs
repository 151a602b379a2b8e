//! The plan of scoring principles before training.

use std::ops::Range;
use std::path::Path;

use math::Key;
use policy::{SamplingOptions, TextCodec};
use principle::{Asked, Completion, PROMPTS_MIN, Principle};
use rollout::{Format, Question, scored_span};

use super::{fit, principles, settings};
use crate::arguments::{ModelArguments, ScorePrinciplesArguments, ScoringArguments};
use crate::data::{self, Columns, Source, find};
use crate::error::InputError;
use crate::machine::{self, Opened};
use crate::nano;
use crate::range::some;
use crate::recipe::{FormatPreset, FormatSection, PrincipleSection};

/// Stream of the key of a seed that the order of the prompts is drawn from.
const PROMPTS: u64 = 0;

/// Stream that completions are drawn from.
const COMPLETIONS: u64 = 1;

/// Stream of resamples and labellings.
const FIGURES: u64 = 2;

/// Principles that can be scored.
#[derive(Debug)]
pub(crate) struct ScoringPlan {
    /// The model, but for its weights.
    pub(crate) opened: Opened,
    /// The principles with what they are scored on.
    pub(crate) subjects: Vec<Subject>,
    /// How completions are drawn; their scores are at the same temperature.
    pub(crate) sampling: SamplingOptions,
    /// The form whose reasoning counts.
    pub(crate) format: Format,
    /// How much is computed, at most.
    pub(crate) cost: Cost,
    /// Names the draws.
    seed: u64,
}

/// A principle, and what it is scored on.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The principle.
    pub(crate) principle: Principle,
    /// Its prompts.
    pub(crate) asked: Vec<Asked>,
    /// For each prompt the completions that were given; `None`: they are to be drawn.
    pub(crate) given: Option<Vec<Vec<Completion>>>,
}

/// Tokens to be computed, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// To draw.
    pub(crate) drawn: usize,
    /// To score, prompts included.
    pub(crate) scored: usize,
}

impl ScoringPlan {
    /// Reads and checks everything that the arguments name; `completions` is a file of given ones.
    ///
    /// # Errors
    /// At the first mistake.
    pub(crate) fn resolve(
        arguments: &ScoringArguments,
        principles: Vec<Principle>,
        completions: Option<&Path>,
    ) -> Result<Self, InputError> {
        check(arguments)?;
        let opened = machine::open_arguments(&model_arguments(arguments), true)?;
        let section = FormatSection {
            preset: arguments.format,
            ..FormatSection::default()
        };
        let format = settings::format(&section)?;
        let sampling = SamplingOptions {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_completion_length: opened.max_completion_length(arguments.max_completion_length),
        };
        let instruction = instruction(arguments, &format);
        let limit = limit(&opened, &sampling)?;
        let questions = questions(arguments, &principles, &opened, &instruction, limit)?;
        let given = completions.map(|path| {
            let source = Source::File(path.to_owned());
            data::given_completions(&source, &principles)
        });
        let given = given.transpose()?;
        let mut plan = Self {
            opened,
            subjects: Vec::new(),
            sampling,
            format,
            cost: Cost {
                drawn: 0,
                scored: 0,
            },
            seed: arguments.seed,
        };
        for (number, principle) in principles.into_iter().enumerate() {
            let given = given.as_ref().map(|given| &given[number]);
            let most = arguments.prompts_max;
            let subject = plan.subject(principle, &questions, given, most, &instruction)?;
            plan.subjects.push(subject);
        }
        plan.cost = plan.cost_at_most();
        Ok(plan)
    }

    /// The key of what is drawn for every principle alike.
    pub(crate) fn completions(&self) -> Key {
        Key::new(self.seed).child(COMPLETIONS)
    }

    /// The key of resamples and labellings.
    pub(crate) fn figures(&self) -> Key {
        Key::new(self.seed).child(FIGURES)
    }

    /// The tokens of a completion that count.
    pub(crate) fn scored(&self, tokens_t: &[u32]) -> Option<Range<usize>> {
        scored_span(&self.format, &self.opened.tokenizer.pieces(tokens_t))
    }

    fn subject(
        &self,
        principle: Principle,
        questions: &[Question],
        given: Option<&data::GivenCompletions>,
        most: usize,
        instruction: &str,
    ) -> Result<Subject, InputError> {
        let has_all = |question: &&Question| match given {
            Some(given) => given.of(&question.text).is_some(),
            None => true,
        };
        let questions: Vec<Question> = questions
            .iter()
            .filter(has_all)
            .take(most)
            .cloned()
            .collect();
        if questions.len() < PROMPTS_MIN {
            return Err(InputError::FewPrompts {
                id: principle.id,
                found: questions.len(),
                needed: PROMPTS_MIN,
            });
        }
        let completions = |question: &Question| {
            let texts_k = given.and_then(|given| given.of(&question.text))?;
            Some(texts_k.iter().map(|text| self.completion(text)).collect())
        };
        let texts = constitutions(&principle);
        let prompts = rollout::render(&self.opened.tokenizer, &questions, &texts, instruction)
            .map_err(|error| InputError::refused("the prompts", &error))?;
        let asked = questions.iter().zip(prompts.chunks(texts.len()));
        let asked = asked.map(|(question, prompts_k)| Asked {
            id: question.id,
            prefixes_k: prompts_k.iter().map(|p| p.prefix.clone()).collect(),
        });
        let given: Option<Result<Vec<_>, _>> = questions.iter().map(completions).collect();
        let subject = Subject {
            asked: asked.collect(),
            given: given.transpose()?,
            principle,
        };
        self.fits(&subject)?;
        Ok(subject)
    }

    /// A given completion, with the token that ends it.
    fn completion(&self, text: &str) -> Result<Completion, InputError> {
        let codec = &self.opened.tokenizer;
        let encoded = codec.encode(text);
        let mut tokens_t = encoded.map_err(|e| InputError::refused("--completions", &e))?;
        tokens_t.push(codec.end_tokens()[0]);
        Ok(Completion {
            scored: self.scored(&tokens_t),
            tokens_t,
        })
    }

    /// Given completions beside their prompts; drawn ones have room by the limit on prompts.
    fn fits(&self, subject: &Subject) -> Result<(), InputError> {
        let context = self.opened.config.scored_context(1);
        let longest = subject
            .pairs()
            .map(|(prompt, completion)| prompt + completion)
            .max();
        match longest {
            Some(found) if found > context => Err(InputError::Said(format!(
                "--completions: a prompt and completion of {:?} have {found} tokens; expected at \
                 most {}, by the model's context",
                subject.principle.id, context
            ))),
            _ => Ok(()),
        }
    }

    fn cost_at_most(&self) -> Cost {
        let mut cost = Cost {
            drawn: 0,
            scored: 0,
        };
        for subject in &self.subjects {
            let prompts: usize = subject
                .asked
                .iter()
                .flat_map(|a| &a.prefixes_k)
                .map(Vec::len)
                .sum();
            let k = 1 + subject.principle.negatives.len();
            let completions = match &subject.given {
                Some(given) => given.iter().flatten().map(|c| c.tokens_t.len()).sum(),
                None => subject.asked.len() * k * self.sampling.max_completion_length,
            };
            if subject.given.is_none() {
                cost.drawn += prompts + completions;
            }
            cost.scored += prompts + k * completions;
        }
        cost
    }
}

impl Subject {
    /// Tokens of each prompt under a constitution, and of the longest completion given for it.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = self.asked.iter().zip(self.given.iter().flatten());
        pairs.map(|(asked, completions_k)| {
            let prompt = asked.prefixes_k.iter().map(Vec::len).max();
            let completion = completions_k.iter().map(|c| c.tokens_t.len()).max();
            (prompt.unwrap_or(0), completion.unwrap_or(0))
        })
    }
}

fn check(arguments: &ScoringArguments) -> Result<(), InputError> {
    some("--prompts-max", arguments.prompts_max)?;
    if let Some(length) = arguments.max_completion_length {
        some("--max-completion-length", length)?;
    }
    Ok(())
}

fn model_arguments(arguments: &ScoringArguments) -> ModelArguments {
    ModelArguments {
        base: None,
        model: arguments.model.clone(),
        chat: true,
        chat_template: arguments.chat_template.clone(),
    }
}

/// The principles, whose negatives are matched in length unless that was waived.
///
/// # Errors
/// Where a file is no constitution, or a negative is not matched.
pub(crate) fn matched_principles(
    arguments: &ScorePrinciplesArguments,
) -> Result<Vec<Principle>, InputError> {
    let section = PrincipleSection {
        files: arguments.principles.clone(),
    };
    let (_, principles, mismatches) = principles::principles(&section, None)?;
    match mismatches.first() {
        Some(mismatch) if !arguments.allow_unmatched => Err(InputError::Said(format!(
            "{mismatch}; match it, or go on with --allow-unmatched"
        ))),
        _ => Ok(principles),
    }
}

/// The positive text first.
fn constitutions(principle: &Principle) -> Vec<String> {
    let positive = std::iter::once(&principle.positive);
    positive.chain(&principle.negatives).cloned().collect()
}

fn instruction(arguments: &ScoringArguments, format: &Format) -> String {
    match &arguments.instruction {
        Some(text) => text.clone(),
        None if arguments.model == nano::NANO && arguments.format == FormatPreset::Xml => {
            String::new()
        }
        None => format.instruction(),
    }
}

fn limit(opened: &Opened, sampling: &SamplingOptions) -> Result<fit::Limit, InputError> {
    let context = opened.config.context(1);
    let asked = sampling.max_completion_length;
    if asked >= context {
        return Err(InputError::NoRoom {
            key: "--max-completion-length",
            asked,
            context,
        });
    }
    Ok(fit::Limit {
        key: "--max-completion-length",
        length: None,
        context: context - asked,
        remedy: "a smaller --max-completion-length",
    })
}

/// All prompts in an order that the seed draws, so that the first of them are a fair sample.
fn questions(
    arguments: &ScoringArguments,
    principles: &[Principle],
    opened: &Opened,
    instruction: &str,
    limit: fit::Limit,
) -> Result<Vec<Question>, InputError> {
    let source = if arguments.prompts == nano::NANO {
        nano::questions()
    } else {
        Source::File(find("--prompts", &arguments.prompts, None)?)
    };
    let texts: Vec<String> = principles.iter().flat_map(constitutions).collect();
    let rows = data::questions(&source, "train", &Columns::default(), None)?;
    let placed = rows.map(|asked| asked.map(|asked| (asked.place, asked.question)));
    let fitting = fit::within(placed, limit, source.path(), |question| {
        let asked = std::slice::from_ref(question);
        let prompts = rollout::render(&opened.tokenizer, asked, &texts, instruction)
            .map_err(|error| InputError::refused("the prompts", &error))?;
        let lengths = prompts.iter().map(|prompt| prompt.prefix.len());
        Ok(lengths.max().unwrap_or(0))
    })?;
    let order = Key::new(arguments.seed)
        .child(PROMPTS)
        .permutation(fitting.rows.len());
    Ok(order.iter().map(|&row| fitting.rows[row].clone()).collect())
}
