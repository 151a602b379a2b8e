//! `enigma principles score`: how strongly a model's reasoning tells each principle from its
//! negatives, before any training.

use std::path::Path;
use std::time::Instant;

use model::Transformer;
use policy::{PolicyError, Sampler, Scorer, TextCodec};
use principle::{Completion, PROMPTS_MIN, draw, score as score_contrasts, sufficiency};
use record::{PrincipleScore, Scores};

use super::{metrics, report};
use crate::arguments::ScorePrinciplesArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::plan::{ScoringPlan, Subject};
use crate::terminal::{Bars, Phase, Screen, grouped, output};

/// Tokens computed at once.
const TOKENS_MAX: usize = 8192;

/// Resamples of the prompts behind each interval.
const RESAMPLES: usize = 1000;

/// Scores every principle, then prints the table and writes the file.
///
/// # Errors
/// Where an argument, the model or a file is wrong, the model's numbers are not finite, or an
/// interval is wider than was asked for.
pub(super) fn score(arguments: &ScorePrinciplesArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let plan = ScoringPlan::resolve(arguments)?;
    let device = machine::device(&arguments.machine);
    let mut policy = Transformer::open(&plan.opened.source, &device)
        .map_err(|error| InputError::refused(&arguments.model, &error))?;
    policy.set_end_tokens(plan.opened.tokenizer.end_tokens());
    introduce(&plan, arguments, screen);
    let mut bars = Bars::new(screen, plan.subjects.len());
    let measured = measure(&plan, &policy, &mut bars);
    bars.finish();
    let Measured {
        mut principles,
        tokens,
        forward_passes,
    } = measured.map_err(|error| match error {
        ScoringError::Policy(error) => InputError::refused(&arguments.model, &error),
        ScoringError::Input(error) => error,
    })?;
    if let Some(asked) = arguments.half_width {
        narrow_enough(&principles, asked)?;
    }
    let index = |score: &PrincipleScore| score.si.unwrap_or(f64::NEG_INFINITY);
    principles.sort_by(|a, b| index(b).total_cmp(&index(a)));
    let scores = Scores {
        principles,
        tokens,
        forward_passes,
        seconds: start.elapsed().as_secs_f64(),
        model: arguments.model.clone(),
        seed: arguments.seed,
        given: arguments.completions.clone(),
    };
    write(&scores, &plan.out)?;
    if arguments.json {
        output(&serde_json::to_string(&scores).expect("scores are plain values"))?;
    } else {
        for line in report::lines(&scores, screen) {
            output(&line)?;
        }
    }
    report::spent(&scores, &plan.out, screen);
    Ok(())
}

fn introduce(plan: &ScoringPlan, arguments: &ScorePrinciplesArguments, screen: &Screen) {
    let prompts = plan.subjects.iter().map(|s| s.asked.len()).max();
    let lines = [
        ("model", arguments.model.clone()),
        ("principles", plan.subjects.len().to_string()),
        ("prompts", grouped(prompts.unwrap_or(0))),
        (
            "cost",
            format!(
                "at most {} tokens to draw, {} to score",
                grouped(plan.cost.drawn),
                grouped(plan.cost.scored)
            ),
        ),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    screen.line("");
}

/// Every principle's metrics, and what they cost together.
struct Measured {
    principles: Vec<PrincipleScore>,
    tokens: usize,
    forward_passes: usize,
}

/// Why a principle has no score.
enum ScoringError {
    Policy(PolicyError),
    Input(InputError),
}

impl From<PolicyError> for ScoringError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

/// Measures the plan's principles one after the other.
fn measure(
    plan: &ScoringPlan,
    policy: &(impl Sampler + Scorer),
    bars: &mut Bars,
) -> Result<Measured, ScoringError> {
    let mut measured = Measured {
        principles: Vec::new(),
        tokens: 0,
        forward_passes: 0,
    };
    for (number, subject) in plan.subjects.iter().enumerate() {
        let drawn = match &subject.given {
            Some(_) => None,
            None => Some(drawn(plan, subject, policy, number, bars)?),
        };
        let completions_qk = drawn.as_ref().or(subject.given.as_ref());
        let completions_qk = completions_qk.expect("either is there");
        let mut progress = |done, total| bars.phase(Phase::Evaluation, number, done, total);
        let contrasts = score_contrasts(
            policy,
            &subject.asked,
            completions_qk,
            plan.sampling.temperature,
            TOKENS_MAX,
            &mut progress,
        )?;
        if let Some(drawn) = &drawn {
            let prompts = subject
                .asked
                .iter()
                .flat_map(|a| &a.prefixes_k)
                .map(Vec::len);
            let completions = drawn.iter().flatten().map(|c| c.tokens_t.len());
            measured.tokens += prompts.chain(completions).sum::<usize>();
        }
        measured.tokens += contrasts.tokens;
        measured.forward_passes += contrasts.forward_passes;
        let found = contrasts.contrasts.len();
        if found < PROMPTS_MIN {
            let id = subject.principle.id.clone();
            let needed = PROMPTS_MIN;
            return Err(ScoringError::Input(InputError::FewPrompts {
                id,
                found,
                needed,
            }));
        }
        let is_own = drawn.is_some();
        let metrics = sufficiency(&contrasts.contrasts, is_own, RESAMPLES, plan.figures());
        let ids = scored_ids(subject, completions_qk);
        let score = metrics::record(&subject.principle, &metrics, ids, contrasts.incomplete);
        measured.principles.push(score);
        bars.steps(number + 1);
    }
    Ok(measured)
}

/// The prompts with something to score under every constitution.
fn scored_ids(subject: &Subject, completions_qk: &[Vec<Completion>]) -> Vec<usize> {
    let asked = subject.asked.iter().zip(completions_qk);
    let complete =
        asked.filter(|(_, completions_k)| completions_k.iter().all(|c| c.scored.is_some()));
    complete.map(|(asked, _)| asked.id).collect()
}

fn drawn(
    plan: &ScoringPlan,
    subject: &Subject,
    policy: &impl Sampler,
    number: usize,
    bars: &mut Bars,
) -> Result<Vec<Vec<Completion>>, PolicyError> {
    draw(
        policy,
        &subject.asked,
        &plan.sampling,
        plan.completions(),
        &|tokens_t| plan.scored(tokens_t),
        &mut |progress| {
            bars.phase(Phase::Rollout, number, progress.finished, progress.total);
            bars.tokens(progress.tokens);
        },
    )
}

/// Every index is known as narrowly as was asked for.
fn narrow_enough(principles: &[PrincipleScore], asked: f64) -> Result<(), InputError> {
    for score in principles {
        let found = score.si_interval.map_or(f64::INFINITY, metrics::half_width);
        if found > asked {
            return Err(InputError::WideInterval {
                id: score.id.clone(),
                prompts: score.prompts,
                found,
                asked,
                needed: metrics::prompts_for(score.prompts, found, asked),
            });
        }
    }
    Ok(())
}

fn write(scores: &Scores, path: &Path) -> Result<(), InputError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    let refused = |reason: String| InputError::FileNotWritable {
        path: path.to_owned(),
        reason,
    };
    made.map_err(|error| refused(error.to_string()))?;
    scores
        .write(path)
        .map_err(|error| refused(error.to_string()))
}
