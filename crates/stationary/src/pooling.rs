//! The other two ways to pool preference and reference, for comparison, and distances of policies.

use math::softmax;

use crate::fixed_point::{ROUNDING, settle};
use crate::pairwise;
use crate::pool::Pull;
use crate::question::{Answers, Question};
use crate::{Penalty, Variant};

/// The policy of RLHF, `π ∝ π_ref·e^{r/β}` with the mean reward `r`, which maximises `E_π r − β·
/// KL(π ‖ π_ref)`; `None` for pairwise preferences, which have no rewards.
///
/// # Source
/// Vojnović and Yun (arXiv 2502.18548), section 2; Rafailov et al. (arXiv 2305.18290), equation 4.
pub fn rlhf(question: &Question, variant: &Variant) -> Option<Vec<f64>> {
    let rewards_k = question.rewards()?;
    let logits: Vec<f64> = rewards_k
        .iter()
        .zip(&question.reference_k)
        .map(|(r, reference)| r / variant.beta + reference.ln())
        .collect();
    Some(softmax(&logits))
}

/// The policy of NLHF: the symmetric Nash equilibrium of `P(π ≻ π′) − β·KL(π ‖ π_ref) + β·KL(π′ ‖
/// π_ref)`, which solves `π(a) ∝ π_ref(a)·e^{P(a≻π)/β}`. It is unique. `P(a≻b)` is the probability
/// that a's reward is the larger, ties counted half.
///
/// # Source
/// Munos et al. (arXiv 2312.00886), section 4.
pub fn nlhf(question: &Question, variant: &Variant) -> Vec<f64> {
    let kept: Vec<usize> = (0..question.len())
        .filter(|&k| question.reference_k[k] > 0.0)
        .collect();
    let margins_kk = margins(question, &kept);
    let reference_l: Vec<f64> = kept.iter().map(|&k| question.reference_k[k]).collect();
    let pull = Pull {
        penalty: Penalty::Kl,
        // P(a≻b) is half its margin, and a half that all answers have.
        beta: 2.0 * variant.beta,
        reference_l,
    };
    let preference = |policy_l: &[f64]| pairwise::preference(&margins_kk, policy_l);
    let settled = settle(&preference, &pull, &pull.reference_l, ROUNDING);
    let mut policy_k = vec![0.0; question.len()];
    for (&k, probability) in kept.iter().zip(settled.policy_l) {
        policy_k[k] = probability;
    }
    policy_k
}

/// `P(a≻b) − P(b≻a)` among the answers `kept`.
fn margins(question: &Question, kept: &[usize]) -> Vec<Vec<f64>> {
    let margin = |a: usize, b: usize| match &question.answers {
        Answers::Pairwise(margins_kk) => margins_kk[a][b],
        Answers::Bernoulli(success_k) => success_k[a] - success_k[b],
        Answers::Rewards { mean_k, noise } if *noise > 0.0 => {
            libm::erf((mean_k[a] - mean_k[b]) / (2.0 * noise))
        }
        Answers::Rewards { mean_k, .. } => {
            f64::from(mean_k[a] > mean_k[b]) - f64::from(mean_k[a] < mean_k[b])
        }
    };
    kept.iter()
        .map(|&a| kept.iter().map(|&b| margin(a, b)).collect())
        .collect()
}

/// `P(p ≻ q)`: how often an answer of `p_k` has the larger reward than one of `q_k`, ties counted
/// half; or wins by the pairwise preferences.
///
/// # Panics
/// If the lengths differ from the question's.
pub fn win_rate(question: &Question, p_k: &[f64], q_k: &[f64]) -> f64 {
    let all: Vec<usize> = (0..question.len()).collect();
    let preference_k = pairwise::preference(&margins(question, &all), q_k);
    f64::midpoint(1.0, math::dot(p_k, &preference_k))
}

/// `KL(p ‖ q)` in nats; infinite where p has mass that q has not.
///
/// # Panics
/// If the lengths differ.
pub fn divergence(p_k: &[f64], q_k: &[f64]) -> f64 {
    assert_eq!(p_k.len(), q_k.len(), "divergence of different lengths");
    let terms: Vec<f64> = p_k
        .iter()
        .zip(q_k)
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, q)| p * (p / q).ln())
        .collect();
    math::sum(&terms).max(0.0)
}
