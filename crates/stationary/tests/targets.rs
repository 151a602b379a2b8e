//! The known answers, to the digits in which they are given.

use stationary::{Answers, Group, Penalty, Question, Scale, Variant, binary, solve};

fn rewards(mean_k: &[f64], reference_k: &[f64]) -> Question {
    let answers = Answers::Rewards {
        mean_k: mean_k.to_vec(),
        noise: 0.0,
    };
    Question::new(answers, reference_k).expect("a valid question")
}

fn variant(beta: f64, group: Group) -> Variant {
    Variant::new(beta, group).expect("a valid variant")
}

/// Half a unit of the last digit given, and a little for the rounding of the figure itself.
const DIGITS_9: f64 = 6e-10;
const DIGITS_8: f64 = 6e-9;
const DIGITS_6: f64 = 6e-7;

#[track_caller]
fn check(question: &Question, variant: &Variant, expected_k: &[f64], tolerance: f64) {
    let found = solve(question, variant).expect("they fit");
    for (found, expected) in found.policy.iter().zip(expected_k) {
        assert!((found - expected).abs() < tolerance, "{found} {expected}");
    }
    assert!(
        found.residual < 1e-12 && found.converged && found.unique,
        "{found:?}"
    );
}

const BETAS: [f64; 5] = [0.04, 0.1, 0.5, 1.0, 2.0];

/// Answer a has reward 1, b has 0; the closed form and the solver must both meet the figure.
fn check_binary(group: Group, reference: f64, closed: impl Fn(f64) -> f64, expected: [f64; 5]) {
    let question = rewards(&[1.0, 0.0], &[reference, 1.0 - reference]);
    for (beta, expected) in BETAS.into_iter().zip(expected) {
        let found = closed(beta);
        assert!((found - expected).abs() < DIGITS_9, "{found} {expected}");
        check(&question, &variant(beta, group), &[expected], DIGITS_9);
    }
}

#[test]
fn equation_14_gives_the_published_probabilities() {
    let even = [
        0.980_399_840,
        0.952_493_781,
        0.809_016_994,
        std::f64::consts::FRAC_1_SQRT_2,
        0.618_033_989,
    ];
    check_binary(
        Group::Of(2),
        0.5,
        |beta| binary::pairs(beta, 1.0, 0.5),
        even,
    );
    let rare = [
        0.964_148_737,
        0.910_977_223,
        0.585_410_197,
        0.316_227_766,
        0.170_820_393,
    ];
    check_binary(
        Group::Of(2),
        0.1,
        |beta| binary::pairs(beta, 1.0, 0.1),
        rare,
    );
}

#[test]
fn equation_15_gives_the_published_probabilities() {
    let even = [
        0.999_600_479,
        0.997_518_595,
        0.947_213_595,
        0.853_553_391,
        0.723_606_798,
    ];
    check_binary(
        Group::Large,
        0.5,
        |beta| binary::large_groups(beta, 0.5),
        even,
    );
}

#[test]
fn larger_groups_prefer_the_better_answer_by_the_known_amounts() {
    let question = rewards(&[1.0, 0.0], &[0.3, 0.7]);
    let expected = [
        0.710_977, 0.782_069, 0.810_384, 0.853_564, 0.878_441, 0.896_191,
    ];
    for (group, expected) in [2, 3, 4, 8, 16, 64].into_iter().zip(expected) {
        check(
            &question,
            &variant(0.5, Group::Of(group)),
            &[expected],
            DIGITS_6,
        );
    }
    check(&question, &variant(0.5, Group::Large), &[0.9], 1e-12);
}

#[test]
fn the_preference_gap_has_its_known_values_and_limits() {
    let expected = [
        1.0,
        2.0_f64.sqrt(),
        1.616_025,
        1.855_656,
        1.934_123,
        1.984_186,
    ];
    for (group, expected) in [2, 3, 4, 8, 16, 64].into_iter().zip(expected) {
        let found = binary::preference_gap(group, 0.5);
        assert!((found - expected).abs() < DIGITS_6, "{group}: {found}");
    }
    let p = 0.2_f64;
    let four = 3.0_f64.sqrt() + (3.0 - 2.0 * 3.0_f64.sqrt()) * p * (1.0 - p);
    assert!((binary::preference_gap(4, p) - four).abs() < 1e-14);
    let large = 1.0 / (p * (1.0 - p)).sqrt();
    assert!((binary::preference_gap(1_000_000, p) / large - 1.0).abs() < 1e-5);
    for group in [2, 5, 33] {
        let edge = binary::preference_gap(group, 0.0);
        assert!((edge - ((group - 1) as f64).sqrt()).abs() < 1e-14, "{edge}");
        assert!((binary::preference_gap(group, 1e-9) - edge).abs() < 1e-7);
    }
}

#[test]
fn bernoulli_rewards_in_large_groups_meet_their_target() {
    let answers = Answers::Bernoulli(vec![0.8, 0.35]);
    let question = Question::new(answers, &[0.3, 0.7]).expect("valid");
    check(
        &question,
        &variant(0.5, Group::Large),
        &[0.700_264_96],
        DIGITS_8,
    );
}

#[test]
fn four_answers_meet_their_targets_for_every_size_of_group() {
    let question = rewards(&[0.0, 0.2, 0.7, 1.0], &[0.4, 0.3, 0.2, 0.1]);
    let table = [
        (
            Group::Of(2),
            [0.225_403_33, 0.226_874_11, 0.231_494_79, 0.316_227_77],
        ),
        (
            Group::Of(3),
            [0.197_787_92, 0.177_392_33, 0.202_644_56, 0.422_175_19],
        ),
        (
            Group::Large,
            [0.144_189_09, 0.132_858_29, 0.206_650_01, 0.516_302_61],
        ),
    ];
    for (group, expected) in table {
        check(&question, &variant(1.0, group), &expected, DIGITS_8);
    }
}

#[test]
fn direct_kl_in_large_groups_has_two_roots_above_its_critical_beta_and_none_below() {
    let critical = [0.697_006, 1.081_878, 1.508_880, 2.184_934, 4.136_987];
    for (reference, expected) in [0.1, 0.3, 0.5, 0.7, 0.9].into_iter().zip(critical) {
        let found = binary::critical_beta(reference);
        assert!((found - expected).abs() < DIGITS_6, "{reference}: {found}");
        assert_eq!(binary::direct_large_groups(0.999 * found, reference), []);
        let roots = binary::direct_large_groups(1.001 * found, reference);
        let attracting: Vec<bool> = roots.iter().map(|root| root.attracting).collect();
        assert_eq!(attracting, [true, false], "{roots:?}");
        let question = rewards(&[1.0, 0.0], &[reference, 1.0 - reference]);
        let direct = |beta| variant(beta, Group::Large).with_penalty(Penalty::Kl);
        let above = solve(&question, &direct(1.001 * found)).expect("they fit");
        assert!(
            (above.policy[0] - roots[0].probability).abs() < 1e-7,
            "{above:?}"
        );
        assert!(
            (above.others[0].policy[0] - roots[1].probability).abs() < 1e-7,
            "{above:?}"
        );
        assert!(!above.unique && !above.others[0].attracting);
        let below = solve(&question, &direct(0.999 * found)).expect("they fit");
        assert_eq!(below.policy, [1.0, 0.0]);
        assert_eq!(below.method, stationary::Method::Collapse);
    }
}

#[test]
fn the_variants_meet_their_closed_forms() {
    let reference_k = [0.4, 0.3, 0.2, 0.1];
    let rewards_k = [0.0, 0.2, 0.7, 1.0];
    let question = rewards(&rewards_k, &reference_k);
    let plain = variant(0.6, Group::Of(4)).with_scale(Scale::None);
    // With c = 3/4: direct KL is RLHF at β/c; k3 is βπ_ref/(β + λ − c·r).
    let exponential: Vec<f64> = rewards_k
        .iter()
        .zip(reference_k)
        .map(|(r, p)| p * (0.75 * r / 0.6_f64).exp())
        .collect();
    let total: f64 = exponential.iter().sum();
    let expected: Vec<f64> = exponential.iter().map(|p| p / total).collect();
    check(
        &question,
        &plain.with_penalty(Penalty::Kl),
        &expected,
        1e-13,
    );
    let found = solve(&question, &plain).expect("they fit").policy;
    let lambda = |k: usize| 0.6 * reference_k[k] / found[k] - 0.6 + 0.75 * rewards_k[k];
    assert!(
        (0..4).all(|k| (lambda(k) - lambda(0)).abs() < 1e-13),
        "{found:?}"
    );
    // Two answers, groups of two, direct KL: the logit moves by 1/β.
    let question = rewards(&[1.0, 0.0], &[0.2, 0.8]);
    let direct = variant(0.5, Group::Of(2)).with_penalty(Penalty::Kl);
    let odds = 0.25 * 2.0_f64.exp();
    check(&question, &direct, &[odds / (1.0 + odds)], 1e-13);
}
