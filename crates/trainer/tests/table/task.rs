//! Tasks over a table of logits, shared by the tests.

use math::Key;
use objective::{
    AdvantageOptions, Aggregation, Deviation, Grpo, RatioLevel, ScaleRewards, SinkhornDrift, WarmUp,
};
use policy::{
    Batch, Message, Policy, Role, Row, SamplingOptions, TabularPolicy, TextCodec, TextError,
};
use principle::Principle;
use record::StepRecord;
use rollout::{
    Format, FormatGrader, Grade, Grader, GraderError, Item, Question, Ungraded, WeightedGrader,
};
use trainer::{Schedule, Settings, Task, Training};

/// Tokens are pieces of text; the constitution's text is the number of the table's context.
pub(crate) struct Pieces(pub(crate) &'static [&'static str]);

/// Token 1 ends a completion; two tokens or more can have the default format.
pub(crate) const REASONING: Pieces =
    Pieces(&["<reasoning>a", "</reasoning><answer>1</answer>", "b"]);

impl TextCodec for Pieces {
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let system = messages.iter().find(|message| message.role == Role::System);
        let context = system.map_or(0, |message| message.content.parse().expect("a context"));
        Ok(vec![messages.len() as u32, context])
    }

    fn encode(&self, _: &str) -> Result<Vec<u32>, TextError> {
        unreachable!("nothing but prompts is encoded")
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        tokens_t
            .iter()
            .map(|&token| self.0[token as usize].to_owned())
            .collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[]
    }
}

/// Grades a completion by its text.
pub(crate) struct ByText<F>(pub(crate) F);

impl<F: FnMut(&str) -> Option<f64>> Grader for ByText<F> {
    fn name(&self) -> &'static str {
        "by_text"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let grade = |item: &Item| (self.0)(item.text).ok_or(Ungraded::Null);
        Ok(items.iter().map(grade).collect())
    }
}

pub(crate) fn grader(grade: impl FnMut(&str) -> Option<f64> + 'static) -> Vec<WeightedGrader> {
    vec![WeightedGrader {
        grader: Box::new(ByText(grade)),
        weight: 1.0,
    }]
}

pub(crate) fn task(questions: usize) -> Task {
    let question = |id| Question {
        id,
        history: Vec::new(),
        text: String::new(),
        answer: None,
        fields: serde_json::Map::new(),
    };
    Task {
        questions: (0..questions).map(question).collect(),
        held_out: (0..questions).map(question).collect(),
        principles: Vec::new(),
        format: Format::default(),
        format_instruction: String::new(),
    }
}

/// GRPO alone, with the population's deviation and nothing added to it.
pub(crate) fn settings(beta: f64) -> Settings {
    Settings {
        seed: 1,
        steps: 1,
        questions_per_step: 1,
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
        learning_rate: 1.0,
        lr_scheduler_type: Schedule::Constant,
        warmup_steps: 0,
        num_iterations: 1,
        importance_sampling_clip_max: None,
        micro_batch_tokens: usize::MAX,
        save_steps: 0,
        log_completions_steps: 0,
    }
}

/// Two answers, the first with this probability.
pub(crate) fn bandit(probability: f64) -> TabularPolicy {
    let logits = vec![probability.ln(), (1.0 - probability).ln()];
    TabularPolicy::new(2, &[logits], &[])
}

/// Two principles of two constitutions each, with a context of its own for each of the four.
pub(crate) fn principled(questions: usize) -> Task {
    let principle = |positive: usize| Principle {
        id: positive.to_string(),
        name: positive.to_string(),
        positive: positive.to_string(),
        negatives: vec![(positive + 1).to_string()],
        identifiers: None,
        source: None,
    };
    Task {
        principles: vec![principle(0), principle(2)],
        ..task(questions)
    }
}

/// A policy over [`REASONING`] under the contexts of [`principled`]: every state has logits of
/// its own.
pub(crate) fn reasoner() -> TabularPolicy {
    let logits_cv = [
        [2.0, 0.0, 0.3],
        [1.5, 0.2, 0.0],
        [2.5, -0.5, 0.0],
        [1.0, 0.0, 0.1],
    ];
    let mut policy = TabularPolicy::new(3, &logits_cv.map(|row| row.to_vec()), &[1]);
    let row = |index: usize| Row {
        prefix: index / 9,
        tokens_t: vec![index as u32 / 3 % 3, index as u32 % 3],
        reasoning: None,
    };
    let batch = Batch {
        prefixes: (0..4).map(|context| vec![context]).collect(),
        rows: (0..36).map(row).collect(),
        temperature: 1.0,
    };
    let mut gradient = policy.forward(&batch).expect("known tokens").zeros_like();
    for (index, gradient_t) in gradient.logprobs_nt.iter_mut().enumerate() {
        gradient_t[1] = Key::new(8).normal(index as u64);
    }
    policy.backward(&gradient);
    policy.update(0.5);
    policy.freeze();
    policy
}

/// Every term has weight, from the first step on.
pub(crate) fn all_terms() -> Settings {
    let own = settings(0.1);
    Settings {
        steps: 4,
        questions_per_step: 6,
        num_generations: 12,
        sampling: SamplingOptions {
            max_completion_length: 4,
            ..own.sampling
        },
        objective: objective::Settings {
            sami_weight: 0.5,
            transport_weight: 0.5,
            ..own.objective
        },
        ..own
    }
}

/// [`all_terms`] that look at each completion alone.
pub(crate) fn separate_terms() -> Settings {
    let all = all_terms();
    Settings {
        objective: objective::Settings {
            beta: 0.1,
            sami_weight: 0.0,
            transport_weight: 0.0,
            ..all.objective
        },
        ..all
    }
}

/// The rewards of [`principled`]: of the format, as in the default recipe.
pub(crate) fn format_grader() -> Vec<WeightedGrader> {
    vec![WeightedGrader {
        grader: Box::new(FormatGrader::new(Format::default())),
        weight: 1.0,
    }]
}

/// Runs all steps and gives their records.
pub(crate) fn run(policy: &mut dyn Policy, task: &Task, settings: &Settings) -> Vec<StepRecord> {
    let mut training = Training::new(&REASONING, task, settings).expect("a valid task");
    let mut graders = format_grader();
    let step = |updates| training.step(policy, &mut graders, updates, &mut ());
    (0..settings.steps)
        .map(step)
        .collect::<Result<_, _>>()
        .expect("finite")
}
