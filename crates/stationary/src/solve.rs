//! From a question and a variant to the policy that training comes to rest at.

use math::Interval;

use crate::affine::Slope;
use crate::fixed_point::{ROUNDING, Settled, settle};
use crate::interior::Levels;
use crate::pool::Pull;
use crate::preference::{Model, REPETITIONS, Sampling, intervals};
use crate::{Group, Penalty, Question, StationaryError, Variant, binary};

/// How a stationary policy was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a closed form.
    ClosedForm,
    /// As the roots of one equation in one variable, all of which are found.
    OneVariable,
    /// By a damped fixed point with Anderson's mixing, from several starts.
    FixedPoint,
    /// As that, on samples of groups.
    MonteCarlo,
    /// There is none inside: the best answer takes all.
    Collapse,
}

/// A stationary policy, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Stationary {
    /// Probabilities of the answers: where training from the reference comes to rest.
    pub policy: Vec<f64>,
    /// How far it is from its equation: the largest `|(1 − (P_G − E_π P_G)/β)·π − π_ref|` for k3,
    /// `|π − π_ref·e^{P_G/β}/Z|` for direct KL. NaN after a collapse, which no equation describes;
    /// by Monte Carlo that of the equations of the samples.
    pub residual: f64,
    /// Iterations of the fixed point; 0 where there was none.
    pub iterations: usize,
    /// Whether the residual is at most 1e-8.
    pub converged: bool,
    /// Whether no other stationary policy was found: by all roots of one variable, or from every
    /// start of the fixed point.
    pub unique: bool,
    /// How it was found.
    pub method: Method,
    /// The 95 % interval of each probability, by Monte Carlo; `None` for an exact one.
    pub interval: Option<Vec<Interval>>,
    /// Other stationary policies.
    pub others: Vec<Other>,
}

/// A stationary policy that training from the reference does not come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Probabilities of the answers.
    pub policy: Vec<f64>,
    /// Whether training returns to it after a small push.
    pub attracting: bool,
}

/// A residual that counts as solved.
const RESIDUAL_MAX: f64 = 1e-8;
/// Policies nearer than this in every probability are one.
const SAME: f64 = 1e-6;
/// Levels whose corners are starts of the probe.
const CORNERS: usize = 8;
/// Mass that a corner has on its level.
const CORNER: f64 = 0.98;
/// A residual of the equations of a sample that is far below what its size leaves open.
const SAMPLED_AIM: f64 = 1e-10;
/// Times that the groups of a sample are drawn by the policy that they gave.
const REFRESHES: usize = 3;

impl Method {
    /// A name for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClosedForm => "closed form",
            Self::OneVariable => "roots of one variable",
            Self::FixedPoint => "fixed point",
            Self::MonteCarlo => "Monte Carlo",
            Self::Collapse => "collapse",
        }
    }
}

/// The policy that GRPO of this variant comes to rest at on this question, from the reference.
///
/// Answers of reference probability 0 keep it; equal rewards share their mass as the reference
/// does.
///
/// # Errors
/// Where question and variant contradict each other.
///
/// # Source
/// Vojnović and Yun (arXiv 2502.18548), equation 11 and, for direct KL, their alternatives; K
/// answers, Bernoulli and Gaussian rewards, finite groups beyond two \[D\].
pub fn solve(question: &Question, variant: &Variant) -> Result<Stationary, StationaryError> {
    let levels = Levels::new(question, |k| question.reference_k[k] > 0.0);
    let model = Model::new(question, variant, &levels)?;
    let case = Case {
        reference_k: &question.reference_k,
        factor: variant.deviation_factor(),
        pull: Pull {
            penalty: variant.penalty,
            beta: variant.beta,
            reference_l: levels.masses(&question.reference_k),
        },
        levels,
    };
    if case.levels.len() == 1 {
        let reference_l = case.pull.reference_l.clone();
        return Ok(case.found(&reference_l, 0.0, Method::ClosedForm));
    }
    Ok(match &model {
        Model::Affine { slope, values_l } => case.affine(*slope, values_l, variant.group),
        Model::Ranks if variant.penalty == Penalty::K3 => {
            case.closed(&model, &ranked(&case.pull, case.factor))
        }
        Model::Pairs(margins_ll) if variant.penalty == Penalty::K3 && margins_ll.len() == 2 => {
            let margin = case.factor * margins_ll[0][1];
            let first = binary::pairs(variant.beta, margin, case.pull.reference_l[0]);
            let second = binary::pairs(variant.beta, -margin, case.pull.reference_l[1]);
            case.closed(&model, &[first, second])
        }
        Model::Sampled(sampling) => case.sampled(sampling),
        _ => case.probed(&|policy_l| model.preference(policy_l)),
    })
}

/// Groups of two, deterministic rewards: by equation 14 for every mass of the top levels, whose
/// differences `π_l = t·π_ref,l/(M_l + M_{l+1} + t − 1)` need no subtraction of near masses \[D\].
fn ranked(pull: &Pull, factor: f64) -> Vec<f64> {
    let t = pull.beta / factor;
    let (mut reference, mut above) = (0.0, 0.0);
    let mut policy_l: Vec<f64> = Vec::new();
    for mass in pull.reference_l.iter().rev() {
        reference = f64::min(reference + mass, 1.0);
        let whole = binary::pairs(t, 1.0, reference);
        policy_l.push(if policy_l.is_empty() {
            whole
        } else {
            t * mass / (whole + above + t - 1.0)
        });
        above = whole;
    }
    policy_l.reverse();
    policy_l
}

/// A question reduced to levels.
struct Case<'a> {
    reference_k: &'a [f64],
    levels: Levels,
    pull: Pull,
    factor: f64,
}

impl Case<'_> {
    fn found(&self, policy_l: &[f64], residual: f64, method: Method) -> Stationary {
        Stationary {
            policy: self.levels.share(policy_l, self.reference_k),
            residual,
            iterations: 0,
            converged: residual <= RESIDUAL_MAX,
            unique: true,
            method,
            interval: None,
            others: Vec::new(),
        }
    }

    fn scaled(&self, mut preference_l: Vec<f64>) -> Vec<f64> {
        for preference in &mut preference_l {
            *preference *= self.factor;
        }
        preference_l
    }

    fn closed(&self, model: &Model, policy_l: &[f64]) -> Stationary {
        let preference_l = self.scaled(model.preference(policy_l));
        let residual = self.pull.residual(policy_l, &preference_l);
        self.found(policy_l, residual, Method::ClosedForm)
    }

    fn affine(&self, slope: Slope, values_l: &[f64], group: Group) -> Stationary {
        let is_plain = group == Group::Large && values_l.len() == 2;
        if is_plain
            && slope == (Slope::Deviation { noise: 0.0 })
            && self.pull.penalty == Penalty::K3
        {
            let worse = binary::worse_in_large_groups(self.pull.beta, self.pull.reference_l[0]);
            return self.closed(&affine_model(slope, values_l), &[worse, 1.0 - worse]);
        }
        let balances = slope.balances(self.factor, values_l, &self.pull);
        let Some((first, rest)) = balances.split_first() else {
            if !slope.may_collapse(self.pull.penalty) {
                return self.probed(&|policy_l| slope.preference(values_l, policy_l));
            }
            let mut corner_l = vec![0.0; values_l.len()];
            corner_l[values_l.len() - 1] = 1.0;
            return self.found(&corner_l, f64::NAN, Method::Collapse);
        };
        let method = match slope {
            Slope::Constant(_) => Method::ClosedForm,
            _ => Method::OneVariable,
        };
        let preference_l = self.scaled(slope.preference(values_l, &first.policy_l));
        let residual = self.pull.residual(&first.policy_l, &preference_l);
        let others = rest.iter().map(|balance| Other {
            policy: self.levels.share(&balance.policy_l, self.reference_k),
            attracting: balance.attracting,
        });
        Stationary {
            unique: rest.is_empty(),
            others: others.collect(),
            ..self.found(&first.policy_l, residual, method)
        }
    }

    /// The fixed point from the reference, and from corners and the centre as a probe.
    fn probed(&self, preference: &dyn Fn(&[f64]) -> Vec<f64>) -> Stationary {
        let preference = |policy_l: &[f64]| self.scaled(preference(policy_l));
        let settled = settle(&preference, &self.pull, &self.pull.reference_l, ROUNDING);
        let mut others: Vec<Other> = Vec::new();
        let mut unique = settled.residual <= RESIDUAL_MAX;
        for start_l in self.starts() {
            let probe = settle(&preference, &self.pull, &start_l, ROUNDING);
            if distance(&probe.policy_l, &settled.policy_l) <= SAME {
                continue;
            }
            unique = false;
            let policy = self.levels.share(&probe.policy_l, self.reference_k);
            let is_known = others.iter().any(|o| distance(&o.policy, &policy) <= SAME);
            if probe.residual <= RESIDUAL_MAX && !is_known {
                let attracting = true;
                others.push(Other { policy, attracting });
            }
        }
        Stationary {
            iterations: settled.iterations,
            unique,
            others,
            ..self.found(&settled.policy_l, settled.residual, Method::FixedPoint)
        }
    }

    fn starts(&self) -> Vec<Vec<f64>> {
        let reference_l = &self.pull.reference_l;
        let levels = reference_l.len();
        let every = levels.div_ceil(CORNERS);
        let corner = |corner: usize| -> Vec<f64> {
            let mass = |(l, reference): (usize, &f64)| {
                (1.0 - CORNER) * reference + if l == corner { CORNER } else { 0.0 }
            };
            reference_l.iter().enumerate().map(mass).collect()
        };
        let corners = (0..levels).rev().step_by(every).map(corner);
        let centre = vec![1.0 / levels as f64; levels];
        corners.chain([centre]).collect()
    }

    /// A solution of each of several independent samples; their mean with its interval.
    fn sampled(&self, sampling: &Sampling) -> Stationary {
        let noise = sampling.noise;
        let near = Slope::Deviation { noise }.balances(1.0, &sampling.values_l, &self.pull);
        let reference_l = &self.pull.reference_l;
        let near_l = near
            .first()
            .map_or(reference_l, |balance| &balance.policy_l);
        // At most twice as likely as proposed, so that no group has a large weight.
        let halfway: Vec<f64> = near_l
            .iter()
            .zip(reference_l)
            .map(|(a, b)| f64::midpoint(*a, *b))
            .collect();
        let solution = |repetition: usize| -> (Settled, bool) {
            let mut proposal_l = halfway.clone();
            let mut iterations = 0;
            for refresh in 1.. {
                let groups = sampling.groups(&proposal_l, repetition);
                let preference = |policy_l: &[f64]| self.scaled(groups.preference(policy_l));
                let mut settled = settle(&preference, &self.pull, &proposal_l, SAMPLED_AIM);
                iterations += settled.iterations;
                settled.iterations = iterations;
                if refresh == REFRESHES {
                    let probe = || settle(&preference, &self.pull, reference_l, SAMPLED_AIM);
                    let is_same =
                        repetition > 0 || distance(&probe().policy_l, &settled.policy_l) <= SAME;
                    return (settled, is_same);
                }
                proposal_l = settled.policy_l;
            }
            unreachable!("the last refresh returns")
        };
        let solutions: Vec<(Settled, bool)> = (0..REPETITIONS).map(solution).collect();
        let policies: Vec<Vec<f64>> = solutions
            .iter()
            .map(|(settled, _)| self.levels.share(&settled.policy_l, self.reference_k))
            .collect();
        let interval = intervals(&policies);
        let residuals = solutions.iter().map(|(settled, _)| settled.residual);
        let residual = residuals.fold(0.0, f64::max);
        Stationary {
            policy: interval.iter().map(|i| i.value).collect(),
            residual,
            iterations: solutions.iter().map(|(s, _)| s.iterations).sum(),
            converged: residual <= RESIDUAL_MAX,
            unique: solutions.iter().all(|(_, is_same)| *is_same),
            method: Method::MonteCarlo,
            interval: Some(interval),
            others: Vec::new(),
        }
    }
}

fn affine_model(slope: Slope, values_l: &[f64]) -> Model {
    let values_l = values_l.to_vec();
    Model::Affine { slope, values_l }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}
