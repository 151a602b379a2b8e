//! The solver against gradient ascent on GRPO's objective itself, taken apart into every group
//! that can be drawn: no formula of the theory is used on that side.

use math::Key;
use stationary::{Answers, Group, Penalty, Question, Scale, Variant, solve};

/// What a completion can be: an answer with a reward, and the probability of that reward.
struct Atom {
    answer: usize,
    reward: f64,
    chance: f64,
}

/// All groups of one size, with their advantages.
struct Groups {
    /// Answers of a group, their advantages, and the probability of its rewards.
    members: Vec<(Vec<usize>, Vec<f64>, f64)>,
}

impl Groups {
    fn new(atoms: &[Atom], size: usize, scale: Scale) -> Self {
        let count = atoms.len().pow(size as u32);
        let group = |index: usize| {
            let digit = |i: u32| &atoms[index / atoms.len().pow(i) % atoms.len()];
            let drawn: Vec<&Atom> = (0..size as u32).map(digit).collect();
            let rewards: Vec<f64> = drawn.iter().map(|atom| atom.reward).collect();
            let chance = drawn.iter().map(|atom| atom.chance).product();
            let answers = drawn.iter().map(|atom| atom.answer).collect();
            (answers, advantages(&rewards, scale), chance)
        };
        let members = (0..count).map(group).collect();
        Self { members }
    }

    /// `Σ_groups Pr · (1/G) Σ_i Ã_i · ∇ ln π(o_i)` in the logits: the gradient of the objective
    /// at ratio 1, without its penalty.
    fn gradient(&self, policy_k: &[f64]) -> Vec<f64> {
        let mut scores_k = vec![0.0; policy_k.len()];
        for (answers, advantages, chance) in &self.members {
            let drawn: f64 = answers.iter().map(|&k| policy_k[k]).product();
            let weight = chance * drawn / answers.len() as f64;
            for (&k, advantage) in answers.iter().zip(advantages) {
                scores_k[k] += weight * advantage;
            }
        }
        let total: f64 = scores_k.iter().sum();
        scores_k
            .iter()
            .zip(policy_k)
            .map(|(s, p)| s - total * p)
            .collect()
    }
}

fn advantages(rewards: &[f64], scale: Scale) -> Vec<f64> {
    let flat = rewards.iter().all(|r| (r - rewards[0]).abs() <= 0.0);
    let mean = math::mean(rewards);
    let deviation = match scale {
        Scale::None => 1.0,
        _ if flat => f64::INFINITY,
        Scale::Population => math::variance(rewards, 0).sqrt(),
        Scale::Sample => math::variance(rewards, 1).sqrt(),
    };
    rewards.iter().map(|r| (r - mean) / deviation).collect()
}

/// The gradient in the logits of the penalty's expectation, at ratio 1.
fn penalty_gradient(penalty: Penalty, policy_k: &[f64], reference_k: &[f64]) -> Vec<f64> {
    let slope = |(p, reference): (&f64, &f64)| match penalty {
        // The derivative of π_ref/π − ln(π_ref/π) − 1 in ln π, under the draw of π.
        Penalty::K3 => p * (1.0 - reference / p),
        Penalty::Kl => p * (p / reference).ln(),
    };
    let slopes_k: Vec<f64> = policy_k.iter().zip(reference_k).map(slope).collect();
    let total: f64 = slopes_k.iter().sum();
    slopes_k
        .iter()
        .zip(policy_k)
        .map(|(s, p)| s - total * p)
        .collect()
}

/// Ascends from the reference; each logit's step is divided by its probability, which only sets
/// how fast it moves.
fn ascend(groups: &Groups, penalty: Penalty, beta: f64, reference_k: &[f64]) -> Vec<f64> {
    let mut logits: Vec<f64> = reference_k.iter().map(|p| p.ln()).collect();
    let mut rate = 0.1;
    let mut before = vec![0.0; logits.len()];
    for _ in 0..50_000 {
        let policy_k = math::softmax(&logits);
        let reward = groups.gradient(&policy_k);
        let held = penalty_gradient(penalty, &policy_k, reference_k);
        let gradient: Vec<f64> = reward
            .iter()
            .zip(&held)
            .map(|(a, b)| a - beta * b)
            .collect();
        if math::norm(&gradient) < 1e-11 {
            break;
        }
        // A step too far turns the gradient around.
        let turned = math::dot(&gradient, &before) < 0.0;
        rate = if turned { rate * 0.5 } else { rate * 1.02 };
        for ((logit, g), p) in logits.iter_mut().zip(&gradient).zip(&policy_k) {
            *logit += (rate * g / p).clamp(-0.5, 0.5);
        }
        before = gradient;
    }
    math::softmax(&logits)
}

/// A question and a variant by chance: ties among the rewards, Bernoulli rewards, every penalty
/// and scale.
fn drawn(seed: u64) -> (Question, Variant, Vec<Atom>, usize, Scale, Penalty) {
    let key = Key::new(seed);
    let is_bernoulli = seed % 3 == 2;
    let answers = 2 + key.below(0, if is_bernoulli { 2 } else { 4 });
    let group = 2 + key.below(1, 4);
    let scale = [Scale::Population, Scale::Sample, Scale::None][key.below(2, 3)];
    let penalty = [Penalty::K3, Penalty::Kl][key.below(3, 2)];
    let beta = (key.uniform(4) * 2.5 - 1.2).exp();
    let masses: Vec<f64> = (0..answers)
        .map(|k| 0.05 + key.child(1).uniform(k as u64))
        .collect();
    let total: f64 = masses.iter().sum();
    let reference_k: Vec<f64> = masses.iter().map(|p| p / total).collect();
    let values: Vec<f64> = (0..answers)
        .map(|k| key.child(2).below(k as u64, 6) as f64 / 5.0)
        .collect();
    let atom = |answer, reward, chance| Atom {
        answer,
        reward,
        chance,
    };
    let atoms = (0..answers).flat_map(|k| {
        if is_bernoulli {
            vec![atom(k, 1.0, values[k]), atom(k, 0.0, 1.0 - values[k])]
        } else {
            vec![atom(k, values[k], 1.0)]
        }
    });
    let atoms = atoms.collect();
    let answers = if is_bernoulli {
        Answers::Bernoulli(values)
    } else {
        Answers::Rewards {
            mean_k: values,
            noise: 0.0,
        }
    };
    let question = Question::new(answers, &reference_k).expect("valid");
    let variant = Variant::new(beta, Group::Of(group)).expect("valid");
    let variant = variant.with_penalty(penalty).with_scale(scale);
    (question, variant, atoms, group, scale, penalty)
}

#[test]
fn two_hundred_random_questions_are_solved_as_gradient_ascent_solves_them() {
    let (mut worst_residual, mut worst) = (0.0_f64, 0.0_f64);
    for seed in 0..200 {
        let (question, variant, atoms, group, scale, penalty) = drawn(seed);
        let found = solve(&question, &variant).expect("they fit");
        let groups = Groups::new(&atoms, group, scale);
        let reference_k = question.reference();
        // The equation with the preference that enumeration gives, not the solver's own.
        let reward = groups.gradient(&found.policy);
        let held = penalty_gradient(penalty, &found.policy, reference_k);
        let unbalanced = reward
            .iter()
            .zip(&held)
            .map(|(a, b)| (a - variant.beta() * b).abs());
        let residual = unbalanced.fold(found.residual, f64::max);
        let ascended = ascend(&groups, penalty, variant.beta(), reference_k);
        let apart = ascended
            .iter()
            .zip(&found.policy)
            .map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f64::max);
        assert!(
            residual < 1e-8 && apart < 1e-5 && found.unique,
            "seed {seed}: residual {residual:e}, {apart:e} apart; {question:?}, {variant:?}"
        );
        (worst_residual, worst) = (worst_residual.max(residual), worst.max(apart));
    }
    eprintln!("worst residual {worst_residual:e}, worst distance {worst:e}");
}
