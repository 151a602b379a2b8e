//! The clipped policy gradient of groups.

use policy::Signals;

use crate::{Aggregation, Evidence, Graded, Loss, Needs, ObjectiveError, Outcome, Term};

/// What a probability ratio is taken over (TRL's `importance_sampling_level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatioLevel {
    /// Each token has its own ratio `exp(lp_t − old_t)`.
    Token,
    /// All tokens of a row share `exp(mean_t(lp_t − old_t))`, as in GSPO (arXiv 2507.18071).
    Sequence,
}

/// `−min(s·A, clip(s, 1 − epsilon, 1 + epsilon_high)·A)` over the graded completions.
///
/// The gradient is exact, also at the level of sequences. On the bounds of the clip themselves it
/// is that of the unclipped side, as in PyTorch.
///
/// Where tokens were drawn with other log-probabilities than the old ones, the loss of each is
/// multiplied by its importance, which carries no gradient.
///
/// Metrics: the share of tokens (of rows, at the level of sequences) whose gradient the clip
/// removes, as `clip_ratio/low_mean`, `clip_ratio/high_mean` and `clip_ratio/region_mean`, their
/// sum.
///
/// # Source
/// Shao et al. (arXiv 2402.03300), without the KL; two bounds as DAPO (arXiv 2503.14476); ratios of
/// sequences as GSPO (arXiv 2507.18071). Checked against TRL 1.16, `GRPOTrainer._compute_loss`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grpo {
    /// What a ratio is taken over.
    pub level: RatioLevel,
    /// How far below 1 a ratio counts; in `(0, 1)`.
    pub epsilon: f64,
    /// How far above 1 a ratio counts; positive.
    pub epsilon_high: f64,
    /// How the losses of tokens are averaged.
    pub aggregation: Aggregation,
}

impl Term for Grpo {
    fn name(&self) -> &'static str {
        "grpo"
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn evaluate(&self, evidence: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError> {
        let mut loss = Loss {
            value: 0.0,
            gradient: signals.zeros_like(),
        };
        let mut clips = Clips::default();
        let weights_n = self.aggregation.weights_n(evidence);
        for (graded, weight) in evidence.graded.iter().zip(weights_n) {
            let log_ratios_t = self.log_ratios_t(graded, signals);
            let gradient_t = &mut loss.gradient.logprobs_nt[graded.row];
            let share = match self.level {
                RatioLevel::Token => 1.0,
                RatioLevel::Sequence => 1.0 / log_ratios_t.len() as f64,
            };
            let tokens = gradient_t.iter_mut().zip(log_ratios_t);
            for ((gradient, log_ratio), importance) in tokens.zip(self.importance_t(graded)) {
                let surrogate = self.surrogate(log_ratio.exp(), graded.advantage);
                let weight = weight * importance;
                loss.value += weight * surrogate.value;
                // A shared ratio moves by 1/|o| for each token and acts on all |o| of them.
                *gradient += weight * surrogate.slope;
                clips.add(share, &surrogate);
            }
        }
        let metrics = clips.metrics();
        Ok(Outcome { loss, metrics })
    }
}

/// The loss of one ratio.
struct Surrogate {
    value: f64,
    /// Derivative of the value in the logarithm of the ratio; 0 where clipped.
    slope: f64,
    low: bool,
    high: bool,
}

impl Grpo {
    /// The logarithm of the ratio that acts on each token.
    fn log_ratios_t(&self, graded: &Graded, signals: &Signals) -> Vec<f64> {
        let logprobs_t = &signals.logprobs_nt[graded.row];
        assert_eq!(
            logprobs_t.len(),
            graded.old_logprobs_t.len(),
            "tokens of row {} now and when it was sampled",
            graded.row
        );
        let pairs = logprobs_t.iter().zip(&graded.old_logprobs_t);
        let differences_t: Vec<f64> = pairs.map(|(now, old)| now - old).collect();
        match self.level {
            RatioLevel::Token => differences_t,
            RatioLevel::Sequence => vec![math::mean(&differences_t); differences_t.len()],
        }
    }

    /// By how much each token counts; tokens that share a ratio share the mean.
    fn importance_t(&self, graded: &Graded) -> Vec<f64> {
        let tokens = graded.old_logprobs_t.len();
        match (&graded.importance_t, self.level) {
            (None, _) => vec![1.0; tokens],
            (Some(importance_t), RatioLevel::Token) => importance_t.clone(),
            (Some(importance_t), RatioLevel::Sequence) => vec![math::mean(importance_t); tokens],
        }
    }

    fn surrogate(&self, ratio: f64, advantage: f64) -> Surrogate {
        let low = ratio < 1.0 - self.epsilon && advantage < 0.0;
        let high = ratio > 1.0 + self.epsilon_high && advantage > 0.0;
        let clipped = ratio.clamp(1.0 - self.epsilon, 1.0 + self.epsilon_high);
        let (kept, slope) = if low || high {
            (clipped, 0.0)
        } else {
            (ratio, -ratio * advantage)
        };
        Surrogate {
            value: -kept * advantage,
            slope,
            low,
            high,
        }
    }
}

/// Counts of clipped ratios.
#[derive(Default)]
struct Clips {
    ratios: f64,
    low: f64,
    high: f64,
}

impl Clips {
    fn add(&mut self, share: f64, surrogate: &Surrogate) {
        self.ratios += share;
        self.low += share * f64::from(surrogate.low);
        self.high += share * f64::from(surrogate.high);
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        if self.ratios <= 0.0 {
            return Vec::new();
        }
        vec![
            ("clip_ratio/low_mean", self.low / self.ratios),
            ("clip_ratio/high_mean", self.high / self.ratios),
            (
                "clip_ratio/region_mean",
                (self.low + self.high) / self.ratios,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use policy::{Batch, Row};

    use super::*;
    use crate::trial::{Trial, metric};

    const LEVELS: [RatioLevel; 2] = [RatioLevel::Token, RatioLevel::Sequence];
    const AGGREGATIONS: [Aggregation; 4] = [
        Aggregation::Grpo,
        Aggregation::Bnpo,
        Aggregation::DrGrpo {
            max_completion_length: 12,
        },
        Aggregation::Dapo,
    ];

    fn grpo(level: RatioLevel, aggregation: Aggregation) -> Grpo {
        Grpo {
            level,
            epsilon: 0.2,
            epsilon_high: 0.28,
            aggregation,
        }
    }

    /// The outcome for one completion whose tokens moved by `drift_t` since it was sampled.
    fn on_drift(term: Grpo, drift_t: &[f64], advantage: f64) -> Outcome {
        let row = Row {
            prefix: 0,
            tokens_t: vec![1; drift_t.len()],
            reasoning: None,
        };
        let batch = Batch {
            prefixes: vec![vec![1]],
            rows: vec![row],
            temperature: 1.0,
        };
        let signals = Signals {
            logprobs_nt: vec![drift_t.iter().map(|drift| drift - 2.0).collect()],
            points_nd: vec![Vec::new()],
        };
        let graded = Graded {
            row: 0,
            advantage,
            old_logprobs_t: vec![-2.0; drift_t.len()],
            importance_t: None,
        };
        let evidence = Evidence {
            batch: &batch,
            graded: vec![graded],
            contrasts: Vec::new(),
            cloud: Vec::new(),
            reference: None,
            active_tokens: drift_t.len() as f64,
        };
        term.evaluate(&evidence, &signals).unwrap()
    }

    #[test]
    fn the_gradient_agrees_with_differences_for_every_level_and_aggregation() {
        let trial = Trial::new(11, 2);
        for level in LEVELS {
            for aggregation in AGGREGATIONS {
                let term = grpo(level, aggregation);
                for graded in &trial.evidence().graded {
                    for log_ratio in term.log_ratios_t(graded, &trial.signals) {
                        let to_kink = |bound: f64| (log_ratio - bound.ln()).abs();
                        let distance = to_kink(0.8).min(to_kink(1.28));
                        assert!(
                            distance > 0.006,
                            "a ratio lies at a kink; choose another seed"
                        );
                    }
                }
                let outcome = term.evaluate(&trial.evidence(), &trial.signals).unwrap();
                for side in ["clip_ratio/low_mean", "clip_ratio/high_mean"] {
                    let share = metric(&outcome, side).expect("graded rows");
                    assert!(share > 0.0 && share < 0.8, "{side} is {share} at {level:?}");
                }
                let found = trial.check_term(&term);
                assert!(found.error < 1e-10, "{level:?} {aggregation:?}: {found:?}");
            }
        }
    }

    #[test]
    fn on_policy_the_value_is_minus_the_mean_advantage_and_nothing_else_matters() {
        let trial = Trial::new(11, 2);
        let mut evidence = trial.evidence();
        for graded in &mut evidence.graded {
            graded.old_logprobs_t = trial.signals.logprobs_nt[graded.row].clone();
        }
        let advantages: Vec<f64> = evidence.graded.iter().map(|g| g.advantage).collect();
        let at = |term: Grpo| term.evaluate(&evidence, &trial.signals).unwrap().loss;
        let plain = at(grpo(RatioLevel::Token, Aggregation::Grpo));
        assert!(
            (plain.value + math::mean(&advantages)).abs() < 1e-14,
            "{}",
            plain.value
        );
        let tight = Grpo {
            epsilon: 1e-3,
            epsilon_high: 1e-3,
            ..grpo(RatioLevel::Sequence, Aggregation::Grpo)
        };
        let tight = at(tight);
        assert!((plain.value - tight.value).abs() < 1e-14);
        let mut difference = plain.gradient.clone();
        difference.add_scaled(-1.0, &tight.gradient);
        assert!(
            difference.norm() < 1e-14 && plain.gradient.norm() > 0.1,
            "{difference:?}"
        );
    }

    #[test]
    fn a_token_already_pushed_past_the_clip_has_no_gradient() {
        let term = grpo(RatioLevel::Token, Aggregation::Bnpo);
        for (drift, advantage, moves) in [
            (0.3, 1.0, false),
            (0.3, -1.0, true),
            (-0.3, 1.0, true),
            (-0.3, -1.0, false),
            (0.1, 1.0, true),
            (-0.1, -1.0, true),
        ] {
            let outcome = on_drift(term, &[drift], advantage);
            let expected = if moves { -drift.exp() * advantage } else { 0.0 };
            let found = outcome.loss.gradient.logprobs_nt[0][0];
            assert!(
                (found - expected).abs() < 1e-14,
                "{drift} {advantage}: {found}"
            );
            let clipped = metric(&outcome, "clip_ratio/region_mean");
            assert_eq!(clipped, Some(f64::from(!moves)), "{drift} {advantage}");
        }
    }

    #[test]
    fn sequence_ratios_meet_the_worked_numbers() {
        for (drift_t, ratio) in [
            (vec![0.1, -0.2, 0.2], 1.033_895_11),
            (vec![0.05, -0.1], 0.975_309_91),
        ] {
            let outcome = on_drift(grpo(RatioLevel::Sequence, Aggregation::Grpo), &drift_t, 1.0);
            let found = -outcome.loss.value;
            assert!((found - ratio).abs() < 1e-8, "{drift_t:?}: {found}");
        }
    }

    #[test]
    fn a_batch_without_graded_completions_gives_nothing_and_logs_no_share() {
        let trial = Trial::new(11, 2);
        let mut evidence = trial.evidence();
        evidence.graded.clear();
        for aggregation in AGGREGATIONS {
            let term = grpo(RatioLevel::Token, aggregation);
            let outcome = term.evaluate(&evidence, &trial.signals).unwrap();
            assert_eq!(outcome.loss.gradient, trial.signals.zeros_like());
            assert!(outcome.loss.value.abs() <= 0.0 && outcome.metrics.is_empty());
        }
    }
}
