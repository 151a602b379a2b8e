//! The measurement of a plan's principles on a model.

use model::Workload;
use policy::{PolicyError, Sampler, Scorer};
use principle::{Completion, PROMPTS_MIN, draw, score as score_contrasts, sufficiency};
use record::PrincipleScore;

use super::metrics;
use crate::error::InputError;
use crate::machine::Room;
use crate::plan::{ScoringPlan, Subject};
use crate::terminal::{Bars, Phase};

/// Tokens computed at once.
const TOKENS_MAX: usize = 8192;

/// Resamples of the prompts behind each interval.
const RESAMPLES: usize = 1000;

/// Every principle's metrics, and what they cost together.
pub(super) struct Measured {
    pub(super) principles: Vec<PrincipleScore>,
    pub(super) tokens: usize,
    pub(super) forward_passes: usize,
}

/// Why a principle has no score.
pub(super) enum ScoringError {
    Policy(PolicyError),
    Input(InputError),
}

impl From<PolicyError> for ScoringError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl ScoringError {
    /// The mistake, in words about the model it was met with.
    pub(super) fn of(self, model: &str) -> InputError {
        match self {
            Self::Policy(error) => InputError::refused(model, &error),
            Self::Input(error) => error,
        }
    }
}

/// What the plan takes of a card: one principle's completions are drawn at once.
pub(super) fn room(plan: &ScoringPlan) -> Room {
    let most = plan.subjects.iter().map(|subject| {
        let prompts = subject.asked.iter().flat_map(|asked| &asked.prefixes_k);
        let count = usize::from(subject.given.is_none());
        let drawn = prompts.map(|prefix| (prefix.len(), count));
        let length = plan.sampling.max_completion_length;
        let workload = Workload::untrained(drawn, length, TOKENS_MAX);
        plan.opened.config.card_inference_bytes(&workload)
    });
    Room {
        bytes: most.max().unwrap_or(0),
        lower: "lower --prompts-max",
    }
}

/// Measures the plan's principles one after the other.
pub(super) fn measure(
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
