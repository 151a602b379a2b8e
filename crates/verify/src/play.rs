//! One real training step on completions that are given instead of drawn.

use objective::{AdvantageOptions, Aggregation, Grpo, RatioLevel, SinkhornDrift, WarmUp};
use policy::{Batch, Probe, Sample, SamplingOptions, Signals, TextCodec};
use record::{CompletionRecord, StepRecord};
use rollout::{FormatGrader, WeightedGrader, render};
use trainer::{Schedule, Settings, Task, Training};

use crate::length_grader::LengthGrader;
use crate::stage::{Actor, Lines, Sampled, Score, Stage};
use crate::task::task;
use crate::{Subject, VerifyError};

/// Completions of a group.
const GROUP: usize = 4;
/// Tokens of a sampled completion, at most: enough for a cache to go stale.
const COMPLETION_TOKENS: usize = 128;

/// Which terms have weight, and which rewards differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Every term.
    All,
    /// The policy gradient alone.
    Grpo,
    /// Rewards are equal, so that only the divergence from the reference has a gradient.
    Kl,
    /// Rewards are equal, so that only the contrast has one.
    Sami,
    /// Rewards are equal, so that only the drift of hidden states has one.
    Transport,
}

impl Parts {
    pub(crate) const EACH: [Self; 5] =
        [Self::Grpo, Self::Kl, Self::Sami, Self::Transport, Self::All];

    /// The metric of its value in a step of all parts.
    pub(crate) fn metric(self) -> &'static str {
        match self {
            Self::All => "loss",
            Self::Grpo => "grpo/loss",
            Self::Kl => "kl/loss",
            Self::Sami => "sami/loss",
            Self::Transport => "transport/loss",
        }
    }

    /// What findings call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "total",
            Self::Grpo => "grpo",
            Self::Kl => "kl",
            Self::Sami => "sami",
            Self::Transport => "transport",
        }
    }

    fn weight(self, part: Self, whole: f64) -> f64 {
        match self {
            Self::All => whole,
            _ => f64::from(self == part),
        }
    }

    fn rewards_differ(self) -> bool {
        matches!(self, Self::All | Self::Grpo)
    }
}

/// Everything but the policy: what is asked, and what is said.
pub(crate) struct Play<'a> {
    codec: &'a dyn TextCodec,
    task: Task,
    max_completion_length: usize,
    lines: Vec<Vec<Vec<u32>>>,
    samples: Vec<Vec<Sample>>,
}

/// What a step left.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) record: StepRecord,
    /// In the order of groups and samples.
    pub(crate) completions: Vec<CompletionRecord>,
    /// The prompt of each group.
    pub(crate) prefixes_g: Vec<Vec<u32>>,
    /// What each group said.
    pub(crate) samples_g: Vec<Vec<Sample>>,
    /// The batch and its signals; of the last slice, where there are several.
    pub(crate) batch: Batch,
    pub(crate) signals: Signals,
    /// The gradient in those signals.
    pub(crate) signal_gradient: Signals,
    /// The gradient in the parameters; empty of a speaker.
    pub(crate) gradient: Vec<f64>,
}

impl Played {
    /// A figure of the step; NaN where it has none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.record.metrics.get(name).copied().unwrap_or(f64::NAN)
    }
}

impl<'a> Play<'a> {
    /// Writes the completions.
    ///
    /// # Errors
    /// Where the codec cannot encode them.
    pub(crate) fn new(subject: &Subject<'a>) -> Result<Self, VerifyError> {
        let task = task();
        let principle = &task.principles[0];
        let texts = [
            vec![principle.positive.clone()],
            principle.negatives.clone(),
        ]
        .concat();
        let prompts = render(
            subject.codec,
            &task.questions,
            &texts,
            &task.format_instruction,
        )?;
        let longest = prompts.iter().map(|prompt| prompt.prefix.len()).max();
        let room = subject.context.saturating_sub(longest.unwrap_or(0));
        let mut lines = Vec::new();
        for group in 0..prompts.len() {
            let line = |sample| line(subject.codec, group, sample);
            lines.push((0..GROUP).map(line).collect::<Result<_, _>>()?);
        }
        Ok(Self {
            codec: subject.codec,
            task,
            max_completion_length: room.clamp(1, COMPLETION_TOKENS),
            lines,
            samples: Vec::new(),
        })
    }

    /// Gives the completions the log-probabilities that a policy at these parameters sampled them
    /// with.
    pub(crate) fn samples_at(
        mut self,
        policy: &mut dyn Probe,
        parameters: &[f64],
    ) -> Result<Self, VerifyError> {
        policy.set_parameters(parameters);
        let stage = Stage::new(Actor::Learner(policy), Lines::Prepared(&self.lines));
        self.samples = self.act(stage, Parts::Grpo, usize::MAX)?.samples_g;
        Ok(self)
    }

    /// The step of a policy at these parameters, with its gradient; nothing is updated.
    pub(crate) fn learn(
        &self,
        policy: &mut dyn Probe,
        parameters: &[f64],
        parts: Parts,
        micro_batch_tokens: usize,
    ) -> Result<Played, VerifyError> {
        policy.set_parameters(parameters);
        let stage = Stage::new(Actor::Learner(policy), Lines::Kept(&self.samples));
        self.act(stage, parts, micro_batch_tokens)
    }

    /// The step's values alone, every term's.
    pub(crate) fn speak(&self, now: &Score, reference: &Score) -> Result<Played, VerifyError> {
        let stage = Stage::new(Actor::Speaker(now, reference), Lines::Kept(&self.samples));
        self.act(stage, Parts::All, usize::MAX)
    }

    /// The step of a policy as it is, on what it samples itself.
    pub(crate) fn improvise(&self, policy: &mut dyn Probe) -> Result<Played, VerifyError> {
        let stage = Stage::new(Actor::Learner(policy), Lines::Free);
        self.act(stage, Parts::All, usize::MAX)
    }

    /// The task and settings of the step, for those who train for good.
    pub(crate) fn training(&self) -> (&Task, Settings) {
        (&self.task, self.settings(Parts::All, usize::MAX))
    }

    fn act(&self, mut stage: Stage, parts: Parts, tokens: usize) -> Result<Played, VerifyError> {
        let settings = self.settings(parts, tokens);
        let mut graders = graders(&self.task, parts.rewards_differ());
        let mut training = Training::new(self.codec, &self.task, &settings)?;
        let record = training.step(&mut stage, &mut graders, 0, &mut ())?;
        let completions = training.completions(&graders);
        let (batch, signals) = stage
            .forwards
            .pop()
            .unwrap_or_else(|| (empty(), Signals::default()));
        let Sampled {
            prefixes_g,
            samples_g,
        } = stage.sampled.take();
        Ok(Played {
            record,
            completions,
            prefixes_g,
            samples_g,
            batch,
            signals,
            signal_gradient: stage.backwards.pop().unwrap_or_default(),
            gradient: stage.gradient,
        })
    }

    fn settings(&self, parts: Parts, micro_batch_tokens: usize) -> Settings {
        Settings {
            seed: 11,
            steps: 2,
            questions_per_step: self.task.questions.len(),
            num_generations: GROUP,
            sampling: SamplingOptions {
                temperature: 1.0,
                top_k: None,
                top_p: None,
                max_completion_length: self.max_completion_length,
            },
            advantages: AdvantageOptions::default(),
            objective: objective::Settings {
                // A clip so wide that differences meet no kink.
                grpo: Grpo {
                    level: RatioLevel::Sequence,
                    epsilon: 0.9,
                    epsilon_high: 9.0,
                    aggregation: Aggregation::Dapo,
                },
                beta: parts.weight(Parts::Kl, 0.1),
                sami_weight: parts.weight(Parts::Sami, 0.5),
                sami_warm_up: WarmUp { steps: 0 },
                transport_weight: parts.weight(Parts::Transport, 1.0),
                transport: SinkhornDrift {
                    options: transport::Options::default(),
                },
            },
            learning_rate: 1e-3,
            lr_scheduler_type: Schedule::Constant,
            warmup_steps: 0,
            num_iterations: 1,
            importance_sampling_clip_max: None,
            micro_batch_tokens,
            save_steps: 0,
            log_completions_steps: 0,
        }
    }
}

/// Graders whose rewards differ inside a group, or are all 0.
pub(crate) fn graders(task: &Task, differ: bool) -> Vec<WeightedGrader> {
    let weight = f64::from(differ);
    vec![
        WeightedGrader {
            grader: Box::new(FormatGrader::new(task.format.clone())),
            weight,
        },
        WeightedGrader {
            grader: Box::new(LengthGrader),
            weight,
        },
    ]
}

/// What sample `sample` of a group says: its last has no valid format, the others do.
fn line(codec: &dyn TextCodec, group: usize, sample: usize) -> Result<Vec<u32>, VerifyError> {
    const SAYINGS: [&str; 4] = [
        "3 + 4 = 7.",
        "I check: 7 is right.",
        "so 7",
        "First add 3 and 4, which gives 7. Done",
    ];
    let saying = SAYINGS[(group + sample) % SAYINGS.len()];
    let reasoning = format!("{saying} {}", "ab".repeat(group % 3 + 1));
    let text = if sample + 1 == GROUP {
        format!("<reasoning>{reasoning}<answer>7")
    } else {
        format!(
            "<reasoning>{reasoning}</reasoning><answer>{}</answer>",
            7 + sample
        )
    };
    let mut tokens_t = codec.encode(&text)?;
    tokens_t.extend(codec.end_tokens().first());
    Ok(tokens_t)
}

fn empty() -> Batch {
    Batch {
        prefixes: Vec::new(),
        rows: Vec::new(),
        temperature: 1.0,
    }
}
