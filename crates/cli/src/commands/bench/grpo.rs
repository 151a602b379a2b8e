//! `enigma bench grpo`: the trainer's own step.

use std::time::Instant;

use model::{MachineRates, Pass, Workload};
use objective::{AdvantageOptions, Aggregation, Grpo, RatioLevel, SinkhornDrift, WarmUp};
use record::StepRecord;
use rollout::{Format, Question, WeightedGrader};
use serde_json::json;
use trainer::{Schedule, Settings, Task, Training};

use super::failed;
use super::lengths::lengths;
use super::report::{Fact, Part, Report, median};
use super::subject::{DRAWS, LEARNING_RATE, Planned, Subject, mib, sampling, whole};
use super::watch::Watch;
use super::words::{Remainder, Words, text};
use crate::arguments::{BenchGrpoArguments, WorkArguments};
use crate::commands::memory::peak_mib;
use crate::error::{Failure, InputError};
use crate::plan;
use crate::range::{OutOfRange, not_negative, require, some};
use crate::recipe::FloatType;
use crate::terminal::Screen;

/// A step that counts.
struct Step {
    lengths_pg: Vec<Vec<usize>>,
    record: StepRecord,
    /// Seconds from the first token drawn to the last.
    decode: f64,
}

/// Times steps of GRPO after one that is not counted.
///
/// # Errors
/// Where an argument is out of range, or a step fails.
pub(super) fn grpo(
    arguments: &BenchGrpoArguments,
    launch: Instant,
    screen: &Screen,
) -> Result<(), Failure> {
    check(arguments).map_err(InputError::from)?;
    let work = &arguments.work;
    let mut subject = Subject::new(work, || planned(arguments))?;
    let policy = &mut subject.policy;
    policy.set_sampling_dtype(plan::dtype(arguments.sampling_dtype));
    policy.set_gradient_checkpointing(arguments.gradient_checkpointing);
    if arguments.beta > 0.0 {
        policy.keep_reference();
    }
    let mut watch = Watch::new(screen, work.steps + 1, launch);
    let steps = run(&mut subject, arguments, &mut watch)?;
    let (peak, of_card) = (peak_mib(), subject.card_memory());
    watch.finish();
    let machine = MachineRates::measure(subject.policy.device());
    let planned = mib(subject.memory.memory_bytes);
    let drawn: Vec<usize> = steps.iter().flat_map(|s| s.lengths_pg.concat()).collect();
    let mut facts = lengths(&subject, work, &drawn, screen).to_vec();
    facts.extend(rates(&subject, arguments, &steps, &machine));
    facts.extend([
        Fact::optional(
            "launch_to_first_token_s",
            "launch to first token, s",
            watch.first_token(),
        ),
        Fact::optional(
            "launch_to_first_step_s",
            "launch to the end of the first step, s",
            watch.first_round(),
        ),
        Fact::optional("peak_mib", "peak memory, MiB", peak),
        Fact::new("planned_mib", "planned memory, MiB", planned),
    ]);
    facts.extend(of_card);
    let report = Report {
        work,
        settings: json!({
            "bench": "grpo",
            "beta": arguments.beta,
            "micro_batch_tokens": arguments.micro_batch_tokens,
            "sampling_dtype": arguments.sampling_dtype,
            "gradient_checkpointing": arguments.gradient_checkpointing,
        }),
        threads: subject.policy.device().threads(),
        parts: parts(&subject, arguments, &steps),
        facts,
        machine,
    };
    report.print(screen)
}

/// What a step computes at once.
fn planned(arguments: &BenchGrpoArguments) -> Planned {
    let workload = whole(&arguments.work);
    Planned {
        workload: Workload {
            computed_tokens: workload.computed_tokens.min(arguments.micro_batch_tokens),
            gradient_checkpointing: arguments.gradient_checkpointing,
            sampling_dtype: plan::dtype(arguments.sampling_dtype),
            ..workload
        },
        keeps_reference: Some(arguments.beta > 0.0),
    }
}

fn check(arguments: &BenchGrpoArguments) -> Result<(), OutOfRange> {
    let group = arguments.work.group;
    require(group >= 2, "--group", group, "2 or more")?;
    not_negative("--beta", arguments.beta)?;
    some("--micro-batch-tokens", arguments.micro_batch_tokens)
}

/// The steps after the first.
fn run(
    subject: &mut Subject,
    arguments: &BenchGrpoArguments,
    watch: &mut Watch,
) -> Result<Vec<Step>, Failure> {
    let work = &arguments.work;
    let (task, settings) = (task(subject, work), settings(arguments));
    let codec = Words {
        end_tokens: subject.end_tokens.clone(),
    };
    let mut graders = [WeightedGrader {
        grader: Box::new(Remainder),
        weight: 1.0,
    }];
    let mut training = Training::new(&codec, &task, &settings).map_err(failed)?;
    let mut steps = Vec::new();
    for updates in 0..settings.steps {
        let record = training.step(&mut subject.policy, &mut graders, updates, watch);
        let record = record.map_err(failed)?;
        let seconds = PARTS.map(|(name, metric)| (name, record.metrics[metric]));
        watch.done(updates + 1, settings.steps, &seconds);
        if updates == 0 {
            continue;
        }
        let completions = training.completions(&graders);
        let lengths: Vec<usize> = completions.iter().map(|record| record.tokens).collect();
        steps.push(Step {
            lengths_pg: lengths.chunks(work.group).map(<[usize]>::to_vec).collect(),
            record,
            decode: watch.decode_seconds(),
        });
    }
    Ok(steps)
}

/// The parts of a step and the trainer's names for their times.
const PARTS: [(&str, &str); 4] = [
    ("rollout", "rollout_time"),
    ("scoring", "scoring_time"),
    ("update", "update_time"),
    ("step", "step_time"),
];

fn parts(subject: &Subject, arguments: &BenchGrpoArguments, steps: &[Step]) -> Vec<Part> {
    let (config, lora) = (subject.policy.config(), subject.lora.as_ref());
    let passes = steps
        .iter()
        .map(|step| Pass::of_groups(arguments.work.prompt_tokens, &step.lengths_pg));
    let flops = passes.map(|pass| {
        let rollout = config.forward_flops(&pass, lora);
        let reference = config.forward_flops(&pass, None);
        let scoring = if arguments.beta > 0.0 { reference } else { 0.0 };
        let update = config.training_flops(&pass, lora);
        [rollout, scoring, update, rollout + scoring + update]
    });
    let flops: Vec<[f64; 4]> = flops.collect();
    let part = |(index, (name, metric)): (usize, (&'static str, &str))| Part {
        name,
        seconds: steps.iter().map(|s| s.record.metrics[metric]).collect(),
        flops: flops.iter().map(|flops| flops[index]).collect(),
    };
    let mut parts: Vec<Part> = PARTS.into_iter().enumerate().map(part).collect();
    for part in &mut parts {
        // Without a reference, scoring multiplies nothing.
        part.flops.retain(|&flops| flops > 0.0);
    }
    parts
}

fn rates(
    subject: &Subject,
    arguments: &BenchGrpoArguments,
    steps: &[Step],
    machine: &MachineRates,
) -> [Fact; 4] {
    let (work, config) = (&arguments.work, subject.policy.config());
    let dtype = subject.read_dtype(plan::dtype(arguments.sampling_dtype));
    let sampled = |step: &Step| step.lengths_pg.concat().iter().sum::<usize>() as f64;
    let per_second = |step: &Step| sampled(step) / step.record.metrics["step_time"];
    let read = |step: &Step| {
        let lora = subject.lora.as_ref();
        config.decode_bytes(work.prompt_tokens, &step.lengths_pg, lora, dtype) / step.decode
    };
    let share = |step: &Step| {
        let pass = Pass::of_groups(work.prompt_tokens, &step.lengths_pg);
        config.attention_share(&pass)
    };
    let rolled = |step: &Step| sampled(step) / step.record.metrics["rollout_time"];
    let of = |figure: &dyn Fn(&Step) -> f64| {
        let figures: Vec<f64> = steps.iter().map(figure).collect();
        median(&figures)
    };
    [
        Fact::new(
            "new_tokens_per_s",
            "tokens drawn a second of the step",
            of(&per_second),
        ),
        Fact::new(
            "rollout_tokens_per_s",
            "tokens drawn a second of the rollout",
            of(&rolled),
        ),
        Fact::new(
            "decode_share_of_memory_bandwidth",
            "decoding's share of what can be read",
            of(&read) / machine.memory_bandwidth,
        ),
        Fact::new(
            "attention_share_of_flops",
            "attention's share of operations",
            of(&share),
        ),
    ]
}

/// Questions for every step, none asked twice.
fn task(subject: &Subject, work: &WorkArguments) -> Task {
    let prompts = subject.prompts(work, work.prompts * (work.steps + 1));
    let question = |(id, prompt): (usize, &Vec<u32>)| Question {
        id,
        history: Vec::new(),
        text: text(prompt),
        answer: None,
        fields: serde_json::Map::new(),
    };
    Task {
        questions: prompts.iter().enumerate().map(question).collect(),
        held_out: Vec::new(),
        principles: Vec::new(),
        format: Format::default(),
        format_instruction: String::new(),
    }
}

/// TRL's defaults for what its script does not set, as the peer has them.
fn settings(arguments: &BenchGrpoArguments) -> Settings {
    let work = &arguments.work;
    Settings {
        seed: DRAWS,
        steps: work.steps + 1,
        questions_per_step: work.prompts,
        num_generations: work.group,
        sampling: sampling(work.new_tokens),
        importance_sampling_clip_max: (arguments.sampling_dtype != FloatType::Float32)
            .then_some(3.0),
        advantages: AdvantageOptions::default(),
        objective: objective::Settings {
            grpo: Grpo {
                level: RatioLevel::Token,
                epsilon: 0.2,
                epsilon_high: 0.2,
                aggregation: Aggregation::Dapo,
            },
            beta: arguments.beta,
            sami_weight: 0.0,
            sami_warm_up: WarmUp::default(),
            transport_weight: 0.0,
            transport: SinkhornDrift {
                options: transport::Options::default(),
            },
        },
        learning_rate: LEARNING_RATE,
        lr_scheduler_type: Schedule::Constant,
        warmup_steps: 0,
        num_iterations: 1,
        micro_batch_tokens: arguments.micro_batch_tokens,
        save_steps: 0,
        log_completions_steps: 0,
    }
}
