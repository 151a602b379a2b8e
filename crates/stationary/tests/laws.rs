//! What must hold whatever the numbers.

use math::Key;
use stationary::{
    Answers, Group, Method, Penalty, Question, Scale, Variant, binary, divergence, nlhf,
    reward_preference, rlhf, solve,
};

fn rewards(mean_k: &[f64], noise: f64, reference_k: &[f64]) -> Question {
    let answers = Answers::Rewards {
        mean_k: mean_k.to_vec(),
        noise,
    };
    Question::new(answers, reference_k).expect("a valid question")
}

fn variant(beta: f64, group: Group) -> Variant {
    Variant::new(beta, group).expect("a valid variant")
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    let near = found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(
        near && found.len() == expected.len(),
        "{found:?}, expected {expected:?}"
    );
}

fn policy(question: &Question, variant: &Variant) -> Vec<f64> {
    solve(question, variant).expect("they fit").policy
}

#[test]
fn sample_deviation_acts_as_a_larger_beta() {
    for group in [2, 3, 5] {
        let question = rewards(&[0.0, 0.3, 1.0], 0.0, &[0.5, 0.3, 0.2]);
        let sample = variant(0.7, Group::Of(group)).with_scale(Scale::Sample);
        let effective = 0.7 * (group as f64 / (group - 1) as f64).sqrt();
        let population = variant(effective, Group::Of(group));
        close(
            &policy(&question, &sample),
            &policy(&question, &population),
            1e-9,
        );
    }
}

#[test]
fn equal_rewards_share_their_mass_as_the_reference_does() {
    let question = rewards(&[1.0, 0.0, 1.0, 0.4], 0.0, &[0.1, 0.4, 0.3, 0.2]);
    let merged = rewards(&[1.0, 0.0, 0.4], 0.0, &[0.4, 0.4, 0.2]);
    for group in [Group::Of(2), Group::Of(4), Group::Large] {
        for penalty in [Penalty::K3, Penalty::Kl] {
            let variant = variant(2.0, group).with_penalty(penalty);
            let found = policy(&question, &variant);
            let merged = policy(&merged, &variant);
            close(&[found[0] + found[2], found[1], found[3]], &merged, 1e-9);
            assert!((found[2] / found[0] - 3.0).abs() < 1e-9, "{found:?}");
        }
    }
}

#[test]
fn a_tie_keeps_the_reference_and_a_worse_answer_may_have_none() {
    let question = rewards(&[0.5, 0.5], 0.0, &[0.3, 0.7]);
    close(
        &policy(&question, &variant(0.1, Group::Of(8))),
        &[0.3, 0.7],
        0.0,
    );
    let question = rewards(&[1.0, 0.2, 0.0], 0.0, &[0.3, 0.0, 0.7]);
    let found = policy(&question, &variant(0.5, Group::Of(2)));
    close(
        &found,
        &[
            binary::pairs(0.5, 1.0, 0.3),
            0.0,
            1.0 - binary::pairs(0.5, 1.0, 0.3),
        ],
        1e-12,
    );
}

#[test]
fn preferences_of_pairs_equal_the_rewards_that_they_come_from() {
    let reference_k = [0.4, 0.3, 0.2, 0.1];
    let question = rewards(&[0.0, 0.2, 0.7, 1.0], 0.0, &reference_k);
    let wins = |a: usize, b: usize| 0.5 + 0.5 * (f64::from(a > b) - f64::from(a < b));
    let matrix: Vec<Vec<f64>> = (0..4)
        .map(|a| (0..4).map(|b| wins(a, b)).collect())
        .collect();
    let pairs = Question::new(Answers::Pairwise(matrix), &reference_k).expect("valid");
    for penalty in [Penalty::K3, Penalty::Kl] {
        let variant = variant(0.8, Group::Of(2)).with_penalty(penalty);
        close(
            &policy(&pairs, &variant),
            &policy(&question, &variant),
            1e-9,
        );
        close(&nlhf(&pairs, &variant), &nlhf(&question, &variant), 1e-9);
    }
    assert!(rlhf(&pairs, &variant(1.0, Group::Of(2))).is_none());
}

/// Rock, paper, scissors by margins: none is best, and with an even reference none is preferred.
#[test]
fn a_cycle_of_preferences_keeps_an_even_reference() {
    let matrix = vec![
        vec![0.0, -1.0, 1.0],
        vec![1.0, 0.0, -1.0],
        vec![-1.0, 1.0, 0.0],
    ];
    let third = 1.0 / 3.0;
    let even = Question::new(Answers::Pairwise(matrix.clone()), &[third; 3]).expect("valid");
    let found = solve(&even, &variant(0.2, Group::Of(2))).expect("they fit");
    close(&found.policy, &[third; 3], 1e-9);
    let uneven = Question::new(Answers::Pairwise(matrix), &[0.6, 0.3, 0.1]).expect("valid");
    let found = solve(&uneven, &variant(0.2, Group::Of(2))).expect("they fit");
    assert!(
        found.converged && found.unique && found.residual < 1e-10,
        "{found:?}"
    );
}

#[test]
fn noise_that_vanishes_changes_nothing_and_noise_that_drowns_keeps_the_reference() {
    let reference_k = [0.4, 0.3, 0.2, 0.1];
    let mean_k = [0.0, 0.2, 0.7, 1.0];
    for group in [Group::Of(2), Group::Large] {
        let variant = variant(0.5, group);
        let exact = policy(&rewards(&mean_k, 0.0, &reference_k), &variant);
        close(
            &policy(&rewards(&mean_k, 1e-9, &reference_k), &variant),
            &exact,
            1e-7,
        );
        close(
            &policy(&rewards(&mean_k, 1e9, &reference_k), &variant),
            &reference_k,
            1e-8,
        );
    }
}

#[test]
fn the_preference_averages_to_zero_under_its_own_policy() {
    let question = rewards(&[0.0, 0.2, 0.7, 1.0, 3.0], 0.0, &[0.2; 5]);
    let policy_k = [0.1, 0.15, 0.2, 0.25, 0.3];
    for group in [Group::Of(2), Group::Of(3), Group::Of(7), Group::Large] {
        for scale in [Scale::Population, Scale::Sample, Scale::None] {
            let variant = variant(1.0, group).with_scale(scale);
            let found = reward_preference(&question, &variant, &policy_k).expect("valid");
            let average = math::dot(&found.values_k, &policy_k);
            assert!(average.abs() < 1e-12, "{group:?} {scale:?}: {average}");
        }
    }
}

/// 20 levels in groups of 4 have 1540 compositions of three others, which are enumerated; with
/// noise there is no end of them, and they are sampled.
#[test]
fn the_sampled_preference_covers_the_enumerated_one() {
    let value = |k: usize| (k as f64 / 7.0).sin() + k as f64 / 20.0;
    let mean_k: Vec<f64> = (0..20).map(value).collect();
    // A noise that is none to eight digits.
    let exact = rewards(&mean_k, 0.0, &[0.05; 20]);
    let noisy = rewards(&mean_k, 1e-9, &[0.05; 20]);
    let variant = variant(0.5, Group::Of(4));
    let policy_k = vec![0.05; 20];
    let truth = reward_preference(&exact, &variant, &policy_k).expect("valid");
    assert!(truth.interval_k.is_none());
    let found = reward_preference(&noisy, &variant, &policy_k).expect("valid");
    let intervals = found.interval_k.expect("sampled");
    let inside = intervals.iter().zip(&truth.values_k);
    let inside = inside
        .filter(|(i, t)| i.low <= **t && **t <= i.high)
        .count();
    let off = intervals
        .iter()
        .zip(&truth.values_k)
        .map(|(i, t)| (i.value - t).abs());
    assert!(off.fold(0.0, f64::max) < 5e-3);
    assert!(inside >= 16, "{inside} of 20 intervals hold the truth");
    let solved = solve(&exact, &variant).expect("they fit");
    let sampled = solve(&noisy, &variant).expect("they fit");
    assert_eq!(
        (solved.method, sampled.method),
        (Method::FixedPoint, Method::MonteCarlo)
    );
    close(&sampled.policy, &solved.policy, 1e-3);
    assert!(sampled.converged && sampled.unique, "{}", sampled.residual);
}

#[test]
fn a_thousand_answers_are_solved_in_every_size_of_group() {
    let mean_k: Vec<f64> = (0..1000).map(|k| Key::new(5).normal(k)).collect();
    let raw: Vec<f64> = (0..1000).map(|k| Key::new(6).uniform(k)).collect();
    let total = math::sum(&raw);
    let reference_k: Vec<f64> = raw.iter().map(|p| p / total).collect();
    let question = rewards(&mean_k, 0.0, &reference_k);
    for (group, method) in [
        (Group::Of(2), Method::ClosedForm),
        (Group::Large, Method::OneVariable),
        (Group::Of(8), Method::MonteCarlo),
    ] {
        let found = solve(&question, &variant(0.5, group)).expect("they fit");
        assert_eq!(found.method, method);
        let total = math::sum(&found.policy);
        assert!(
            found.converged && (total - 1.0).abs() < 1e-9,
            "{group:?}: {}",
            found.residual
        );
    }
}

/// RLHF is the stationary policy of the direct KL penalty without scale in large groups, and NLHF
/// is that of direct KL in groups of two at twice the β.
#[test]
fn rlhf_and_nlhf_are_stationary_policies_of_their_variants() {
    let question = rewards(&[0.0, 0.2, 0.7, 1.0], 0.3, &[0.4, 0.3, 0.2, 0.1]);
    let direct = |beta, group| variant(beta, group).with_penalty(Penalty::Kl);
    let plain = direct(0.4, Group::Large).with_scale(Scale::None);
    let found = rlhf(&question, &plain).expect("rewards");
    close(&found, &policy(&question, &plain), 1e-12);
    let found = nlhf(&question, &plain);
    close(&found, &policy(&question, &direct(0.8, Group::Of(2))), 1e-9);
}

#[test]
fn a_divergence_is_zero_only_for_equals_and_infinite_without_support() {
    let (p, q) = ([0.5, 0.5, 0.0], [0.25, 0.5, 0.25]);
    assert!(divergence(&p, &p) <= 0.0);
    assert!((divergence(&p, &q) - 0.5 * 2.0_f64.ln()).abs() < 1e-15);
    assert!(divergence(&q, &p).is_infinite());
}
