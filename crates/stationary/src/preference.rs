//! What a group says of an answer: its expected advantage.

use math::{Interval, Key, mean, variance};

use crate::affine::Slope;
use crate::compositions::{self, Compositions};
use crate::interior::Levels;
use crate::question::{Answers, Question};
use crate::sampled::{Draw, Groups};
use crate::{Group, Scale, StationaryError, Variant, pairwise};

/// The reward preference of each answer under a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Preference {
    /// `P_G(o | π)` for each answer, in units of the advantage.
    pub values_k: Vec<f64>,
    /// The 95 % interval of each, where it was estimated by Monte Carlo; `None` where it is exact.
    pub interval_k: Option<Vec<Interval>>,
}

/// `P_G(o | π) = E[(r_1 − mean)/std | o_1 = o, the others drawn by π]` for every answer, by the
/// normalisation of the variant, with 0/0 ≡ 0.
///
/// Exact by a closed form or by enumeration of the groups where there are at most about 10⁵;
/// beyond, a stratified Monte-Carlo estimate with an interval from independent repetitions.
///
/// # Errors
/// Where the policy is not a distribution over the answers, or question and variant contradict.
///
/// # Source
/// Vojnović and Yun (arXiv 2502.18548), section 3; closed forms for binary rewards \[D\].
pub fn reward_preference(
    question: &Question,
    variant: &Variant,
    policy_k: &[f64],
) -> Result<Preference, StationaryError> {
    let (found, sum) = (policy_k.len(), math::sum(policy_k));
    let expected = question.len();
    let is_distribution = policy_k.iter().all(|p| *p >= 0.0) && (sum - 1.0).abs() <= 1e-6;
    if found != expected || !is_distribution {
        return Err(StationaryError::Policy {
            found,
            sum,
            expected,
        });
    }
    let levels = Levels::new(question, |_| true);
    let policy_l = levels.masses(policy_k);
    let model = Model::new(question, variant, &levels)?;
    let factor = variant.deviation_factor();
    let scaled = |preference_l: &[f64]| -> Vec<f64> {
        let values_k = levels.spread(preference_l);
        values_k.iter().map(|p| factor * p).collect()
    };
    if let Model::Sampled(sampling) = &model {
        let sample = |repetition| {
            let groups = sampling.groups(&policy_l, repetition);
            scaled(&groups.preference(&policy_l))
        };
        let samples: Vec<Vec<f64>> = (0..REPETITIONS).map(sample).collect();
        let interval_k = intervals(&samples);
        return Ok(Preference {
            values_k: interval_k.iter().map(|interval| interval.value).collect(),
            interval_k: Some(interval_k),
        });
    }
    Ok(Preference {
        values_k: scaled(&model.preference(&policy_l)),
        interval_k: None,
    })
}

/// How the preference of levels is computed; by population deviation, or without.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    /// A slope times the distance from the mean reward.
    Affine { slope: Slope, values_l: Vec<f64> },
    /// Groups of two by the margins of pairs.
    Pairs(Vec<Vec<f64>>),
    /// Groups of two by the ranks of deterministic rewards.
    Ranks,
    /// Larger groups, all of them.
    Enumerated(Compositions),
    /// Larger groups, some of them.
    Sampled(Sampling),
}

/// What groups are sampled of.
#[derive(Clone, Debug)]
pub(crate) struct Sampling {
    pub(crate) values_l: Vec<f64>,
    pub(crate) noise: f64,
    others: usize,
}

/// The most advantages that are tabulated.
const TABLE_MAX: f64 = 1e5;
/// Advantages of a sample, in all.
const SAMPLE: usize = 1 << 19;
/// The fewest and the most groups of a sample, even numbers.
const GROUPS: [usize; 2] = [512, 32_768];
/// Independent repetitions of a sample; the interval is Student's with one degree less.
pub(crate) const REPETITIONS: usize = 8;
const STUDENT: f64 = 2.364_624_251_592_785;
/// Names the draws; a result is a function of its question.
const SEED: u64 = 0;

impl Model {
    /// The exact or sampled preference of this question's levels.
    pub(crate) fn new(
        question: &Question,
        variant: &Variant,
        levels: &Levels,
    ) -> Result<Self, StationaryError> {
        let values_l = levels.values_l.clone();
        let affine = |slope| Self::Affine {
            slope,
            values_l: values_l.clone(),
        };
        let is_scaled = variant.scale != Scale::None;
        let (noise, is_bernoulli) = match &question.answers {
            Answers::Pairwise(margins_kk) => {
                return pairs(margins_kk, variant, levels);
            }
            Answers::Rewards { noise, .. } => (*noise, false),
            Answers::Bernoulli(_) => (0.0, true),
        };
        let group = match variant.group {
            Group::Large if !is_scaled => return Ok(affine(Slope::Constant(1.0))),
            Group::Large if is_bernoulli => return Ok(affine(Slope::BernoulliDeviation)),
            Group::Large => return Ok(affine(Slope::Deviation { noise })),
            Group::Of(group) => group,
        };
        if !is_scaled {
            return Ok(affine(Slope::Constant(1.0 - 1.0 / group as f64)));
        }
        if is_bernoulli {
            return Ok(affine(Slope::Gap { group }));
        }
        let is_exact = noise <= 0.0;
        if is_exact && values_l.len() == 2 {
            return Ok(affine(Slope::TwoLevels { group }));
        }
        if group == 2 && is_exact {
            return Ok(Self::Ranks);
        }
        if group == 2 {
            return Ok(Self::Pairs(pairwise::gaussian(&values_l, noise)));
        }
        let table = compositions::count(group - 1, values_l.len()) * values_l.len() as f64;
        if is_exact && table <= TABLE_MAX {
            return Ok(Self::Enumerated(Compositions::new(&values_l, group - 1)));
        }
        Ok(Self::Sampled(Sampling {
            values_l,
            noise,
            others: group - 1,
        }))
    }

    /// The preference of each level under masses of the levels.
    ///
    /// # Panics
    /// If it is sampled: a sample has a proposal.
    pub(crate) fn preference(&self, policy_l: &[f64]) -> Vec<f64> {
        match self {
            Self::Affine { slope, values_l } => slope.preference(values_l, policy_l),
            Self::Pairs(margins_ll) => pairwise::preference(margins_ll, policy_l),
            Self::Ranks => pairwise::ranks(policy_l),
            Self::Enumerated(compositions) => compositions.preference(policy_l),
            Self::Sampled(_) => unreachable!("a sample is drawn before it is asked"),
        }
    }
}

fn pairs(
    margins_kk: &[Vec<f64>],
    variant: &Variant,
    levels: &Levels,
) -> Result<Model, StationaryError> {
    match (variant.group, variant.scale) {
        (_, Scale::None) => Err(StationaryError::PairwiseScale),
        (Group::Of(2), _) => {
            let kept = || levels.values_l.iter().map(|&k| k as usize);
            let row = |a: usize| kept().map(|b| margins_kk[a][b]).collect();
            Ok(Model::Pairs(kept().map(row).collect()))
        }
        (Group::Of(group), _) => Err(StationaryError::PairwiseGroup {
            found: group.to_string(),
        }),
        (Group::Large, _) => Err(StationaryError::PairwiseGroup {
            found: "inf".to_owned(),
        }),
    }
}

impl Sampling {
    /// One of the independent samples, with groups drawn by `proposal_l`.
    pub(crate) fn groups(&self, proposal_l: &[f64], repetition: usize) -> Groups {
        let groups = (SAMPLE / self.values_l.len()).clamp(GROUPS[0], GROUPS[1]);
        let draw = Draw {
            groups: groups / 2 * 2,
            others: self.others,
            key: Key::new(SEED).child(repetition as u64),
        };
        Groups::new(&self.values_l, self.noise, proposal_l, draw)
    }
}

/// For each entry, the mean over repetitions with its 95 % interval by Student's law.
pub(crate) fn intervals(samples: &[Vec<f64>]) -> Vec<Interval> {
    let entry = |k: usize| {
        let column: Vec<f64> = samples.iter().map(|sample| sample[k]).collect();
        let (value, n) = (mean(&column), column.len() as f64);
        let half = STUDENT * (variance(&column, 1) / n).sqrt();
        Interval {
            low: value - half,
            value,
            high: value + half,
        }
    };
    (0..samples[0].len()).map(entry).collect()
}
