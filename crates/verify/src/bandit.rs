//! The real step on two answers, where the theory knows what it comes to.

use std::cell::Cell;

use objective::{
    AdvantageOptions, Aggregation, Deviation, Grpo, RatioLevel, ScaleRewards, SinkhornDrift, WarmUp,
};
use policy::{
    Batch, Finish, Message, Policy, PolicyError, Request, Sample, SampleProgress, Sampler,
    SamplingOptions, Scorer, Signals, TabularPolicy, TextCodec, TextError, UpdateReport,
};
use ranks::{RankError, Ranks};
use rollout::{Format, Grade, Grader, GraderError, Item, Question, WeightedGrader};
use trainer::{Schedule, Settings, Task, Training};

use crate::{Bench, Finding, VerifyError};

/// Pairs of answers that a step compares.
const PAIRS: usize = 200;

/// Pairs are spread evenly over their law; what is left of chance is below this.
const TOLERANCE: f64 = 2e-3;

pub(crate) fn run(_: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let mut worst = 0.0_f64;
    let mut said = Vec::new();
    for (beta, reference) in [(0.5, 0.5), (1.0, 0.1)] {
        // The first answer wins every pair.
        let expected = stationary::binary::pairs(beta, 1.0, reference);
        let found = trained(beta, reference)?;
        worst = worst.max((found - expected).abs());
        said.push(format!("β {beta}: {found:.4}, expected {expected:.4}"));
    }
    Ok(vec![Finding::new("", worst, TOLERANCE, said.join("; "))])
}

fn trained(beta: f64, reference: f64) -> Result<f64, VerifyError> {
    let logits = vec![f64::ln(reference), (1.0 - reference).ln()];
    let mut policy = Spread {
        table: TabularPolicy::new(2, &[logits], &[]),
        pairs: Cell::new(0.0),
    };
    let (task, settings) = (task(), settings(beta));
    let mut graders = vec![WeightedGrader {
        grader: Box::new(FirstIsBetter),
        weight: 1.0,
    }];
    let mut training = Training::new(&Answers, &task, &settings)?;
    for updates in 0..settings.steps {
        training.step(&mut policy, &mut graders, updates, &mut ())?;
    }
    Ok(policy.table.start_probabilities(0)[0])
}

fn task() -> Task {
    let question = |id| Question {
        id,
        text: String::new(),
        answer: None,
        history: Vec::new(),
        fields: serde_json::Map::new(),
    };
    Task {
        questions: (0..PAIRS).map(question).collect(),
        held_out: Vec::new(),
        principles: Vec::new(),
        format: Format::default(),
        format_instruction: String::new(),
    }
}

/// GRPO alone, with the theory's deviation.
fn settings(beta: f64) -> Settings {
    Settings {
        seed: 1,
        steps: 100,
        questions_per_step: PAIRS,
        num_generations: 2,
        sampling: SamplingOptions {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_completion_length: 1,
        },
        advantages: AdvantageOptions {
            scale: ScaleRewards::Group,
            deviation: Deviation::Population,
            epsilon: 0.0,
        },
        objective: objective::Settings {
            grpo: Grpo {
                level: RatioLevel::Sequence,
                epsilon: 0.2,
                epsilon_high: 0.2,
                aggregation: Aggregation::Grpo,
            },
            beta,
            sami_weight: 0.0,
            sami_warm_up: WarmUp { steps: 0 },
            transport_weight: 0.0,
            transport: SinkhornDrift {
                options: transport::Options::default(),
            },
        },
        learning_rate: 4.0,
        lr_scheduler_type: Schedule::Linear,
        warmup_steps: 0,
        num_iterations: 1,
        importance_sampling_clip_max: None,
        micro_batch_tokens: usize::MAX,
        save_steps: 0,
        log_completions_steps: 0,
    }
}

/// Token 0 is the better answer, always.
struct FirstIsBetter;

impl Grader for FirstIsBetter {
    fn name(&self) -> &'static str {
        "first"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let grade = |item: &Item| Ok(f64::from(item.text == "a"));
        Ok(items.iter().map(grade).collect())
    }
}

/// Two answers of one token.
struct Answers;

impl TextCodec for Answers {
    fn render(&self, _: &[Message]) -> Result<Vec<u32>, TextError> {
        Ok(vec![0])
    }

    fn encode(&self, _: &str) -> Result<Vec<u32>, TextError> {
        unreachable!("nothing but prompts is encoded")
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        let piece = |&token: &u32| if token == 0 { "a" } else { "b" };
        tokens_t.iter().map(piece).map(str::to_owned).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[]
    }
}

/// A table whose pairs of answers are spread evenly over their law instead of drawn from it, so
/// that a step's gradient is near its expectation.
struct Spread {
    table: TabularPolicy,
    pairs: Cell<f64>,
}

/// The steps of the additive recurrence in two dimensions: powers of the root of x³ = x + 1.
const STEPS: [f64; 2] = [0.754_877_666_246_692_7, 0.569_840_290_998_053_3];

impl Sampler for Spread {
    fn sample(
        &self,
        requests: &[Request],
        _: &SamplingOptions,
        _: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let probabilities = self.table.start_probabilities(0);
        let pair = |_: &Request| {
            let pair = self.pairs.replace(self.pairs.get() + 1.0);
            let answer = |step: f64| {
                let token = usize::from((pair * step).fract() >= probabilities[0]);
                Sample {
                    tokens_t: vec![token as u32],
                    logprobs_t: vec![probabilities[token].ln()],
                    entropies_t: vec![0.0],
                    finish: Finish::Length,
                }
            };
            STEPS.map(answer).to_vec()
        };
        Ok(requests.iter().map(pair).collect())
    }
}

impl Scorer for Spread {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.signals(batch)
    }
}

impl Policy for Spread {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.reference_signals(batch)
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.forward(batch)
    }

    fn backward(&mut self, gradient: &Signals) {
        self.table.backward(gradient);
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        self.table.sum_gradient(ranks)
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        self.table.update(learning_rate)
    }
}
