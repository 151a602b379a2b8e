//! The real step on bandits, held against the theory of stationary policies: a table of logits and
//! the built-in model, both restricted to answers of one token.
//!
//! `cargo run --release -p enigma --example bandit -- docs/stationary`, from the root of the
//! repository, writes the figures there and prints the table.
//!
//! A point is trained by [`trainer::Training::step`] from the reference. Its estimate is the mean
//! of the policy over the late steps, whose error is that of the noise of the gradient: to first
//! order `H⁻¹ΣH⁻¹/(n·T)` for n groups a step and T steps, whatever the learning rate (Polyak and
//! Juditsky, 1992), with `H` the slope of the expected gradient and `Σ` a group's variance. It is
//! measured by the spread of means over blocks of steps, which knows no theory.

mod figures;
mod nano;
mod table;

use std::path::Path;
use std::process::ExitCode;

use math::Interval;
use objective::{
    AdvantageOptions, Aggregation, Deviation, Grpo, RatioLevel, ScaleRewards, SinkhornDrift, WarmUp,
};
use policy::{Policy, SamplingOptions, TextCodec};
use rollout::{Format, Grade, Grader, GraderError, Item, Question, WeightedGrader};
use stationary::{Scale, Variant};
use trainer::{Schedule, Settings, Task, Training};

/// A variant to train by, and how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    beta: f64,
    group: usize,
    scale: Scale,
    learning_rate: f64,
    /// Groups of a step.
    groups: usize,
    /// Steps before the mean begins, and steps of the mean.
    steps: [usize; 2],
}

/// Blocks of late steps whose means are taken for independent.
const BLOCKS: usize = 20;
/// The 97.5 % quantile of Student's law with so many degrees of freedom less one.
const STUDENT: f64 = 2.093_024;

/// What was predicted and what was trained, of one probability.
#[derive(Clone, Debug)]
struct Point {
    setting: String,
    predicted: f64,
    trained: Interval,
    /// The standard error that the theory of averaged gradient steps gives, where it is derived.
    derived_error: Option<f64>,
    plan: Plan,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to its user"
)]
fn main() -> ExitCode {
    let Some(out) = std::env::args().nth(1) else {
        eprintln!("usage: bandit DIR, the folder of the figures");
        return ExitCode::from(2);
    };
    match compare(Path::new(&out), &mut |line| eprintln!("{line}")) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Trains every point, writes the figures below `out`, and gives the table as Markdown.
///
/// # Errors
/// Where a step fails or a figure cannot be written, in words.
fn compare(out: &Path, said: &mut dyn FnMut(&str)) -> Result<String, String> {
    std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut points = Vec::new();
    points.extend(table::two_answers(out, said)?);
    points.extend(table::four_answers(out, said)?);
    points.extend(table::variants(out, said)?);
    points.extend(nano::one_token(out, said)?);
    Ok(markdown(&points))
}

/// Trains by the plan and gives the masses that `masses` reads of the policy after every late step.
fn train<P: Policy>(
    policy: &mut P,
    codec: &dyn TextCodec,
    reward: impl FnMut(&str) -> f64 + 'static,
    plan: Plan,
    masses: impl Fn(&P) -> Vec<f64>,
) -> Result<Vec<Vec<f64>>, String> {
    let settings = settings(plan);
    let question = |id| Question {
        id,
        history: Vec::new(),
        text: String::new(),
        answer: None,
        fields: serde_json::Map::new(),
    };
    let task = Task {
        questions: (0..plan.groups).map(question).collect(),
        held_out: Vec::new(),
        principles: Vec::new(),
        format: Format::default(),
        format_instruction: String::new(),
    };
    let mut graders = vec![WeightedGrader {
        grader: Box::new(ByText(reward)),
        weight: 1.0,
    }];
    let mut training = Training::new(codec, &task, &settings).map_err(|e| e.to_string())?;
    let mut late = Vec::new();
    for step in 0..settings.steps {
        training
            .step(policy, &mut graders, step, &mut ())
            .map_err(|error| error.to_string())?;
        if step >= plan.steps[0] {
            late.push(masses(policy));
        }
    }
    Ok(late)
}

/// GRPO with its penalty and nothing else.
fn settings(plan: Plan) -> Settings {
    let (scale, deviation) = match plan.scale {
        Scale::Population => (ScaleRewards::Group, Deviation::Population),
        Scale::Sample => (ScaleRewards::Group, Deviation::Sample),
        Scale::None => (ScaleRewards::None, Deviation::Population),
    };
    // TRL's own epsilon with TRL's own deviation.
    let epsilon = if plan.scale == Scale::Sample {
        1e-4
    } else {
        0.0
    };
    Settings {
        seed: 1,
        steps: plan.steps[0] + plan.steps[1],
        questions_per_step: plan.groups,
        num_generations: plan.group,
        sampling: SamplingOptions {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_completion_length: 1,
        },
        advantages: AdvantageOptions {
            scale,
            deviation,
            epsilon,
        },
        objective: objective::Settings {
            grpo: Grpo {
                level: RatioLevel::Token,
                epsilon: 0.2,
                epsilon_high: 0.2,
                aggregation: Aggregation::Grpo,
            },
            beta: plan.beta,
            sami_weight: 0.0,
            sami_warm_up: WarmUp { steps: 0 },
            transport_weight: 0.0,
            transport: SinkhornDrift {
                options: transport::Options::default(),
            },
        },
        learning_rate: plan.learning_rate,
        lr_scheduler_type: Schedule::Constant,
        warmup_steps: 0,
        num_iterations: 1,
        importance_sampling_clip_max: None,
        micro_batch_tokens: usize::MAX,
        save_steps: 0,
        log_completions_steps: 0,
    }
}

impl Plan {
    /// The variant that theory speaks of.
    fn variant(&self) -> Result<Variant, String> {
        let group = stationary::Group::Of(self.group);
        let variant = Variant::new(self.beta, group).map_err(|error| error.to_string())?;
        Ok(variant.with_scale(self.scale))
    }
}

/// The mean of one mass over the late steps, with its 95 % interval by the means of blocks.
fn estimate(late: &[Vec<f64>], mass: usize) -> Interval {
    let series: Vec<f64> = late.iter().map(|masses| masses[mass]).collect();
    let blocks: Vec<f64> = series
        .chunks(series.len() / BLOCKS)
        .take(BLOCKS)
        .map(math::mean)
        .collect();
    let value = math::mean(&blocks);
    let half = STUDENT * (math::variance(&blocks, 1) / BLOCKS as f64).sqrt();
    Interval {
        low: value - half,
        value,
        high: value + half,
    }
}

struct ByText<F>(F);

impl<F: FnMut(&str) -> f64> Grader for ByText<F> {
    fn name(&self) -> &'static str {
        "bandit"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        Ok(items.iter().map(|item| Ok((self.0)(item.text))).collect())
    }
}

fn markdown(points: &[Point]) -> String {
    let head = "| setting | predicted | trained | 95 % interval | distance / error | derived \
                    error / measured | groups × steps |\n|---|---|---|---|---|---|---|\n";
    let row = |point: &Point| {
        let error = (point.trained.high - point.trained.value) / STUDENT;
        let off = (point.trained.value - point.predicted) / error;
        let derived = point.derived_error.map_or_else(
            || "–".to_owned(),
            |derived| format!("{:.2}", derived / error),
        );
        format!(
            "| {} | {:.4} | {:.4} | {:.4} – {:.4} | {off:+.1} | {derived} | {} × {} |\n",
            point.setting,
            point.predicted,
            point.trained.value,
            point.trained.low,
            point.trained.high,
            point.plan.groups,
            point.plan.steps[1],
        )
    };
    head.to_owned() + &points.iter().map(row).collect::<String>()
}
