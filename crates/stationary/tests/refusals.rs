//! Bad input gets the reason, and the condition of the theory where there is one.

use stationary::{Answers, Group, Question, Scale, Variant, reward_preference, solve};

fn rewards(mean_k: &[f64]) -> Answers {
    Answers::Rewards {
        mean_k: mean_k.to_vec(),
        noise: 0.0,
    }
}

#[track_caller]
fn check(answers: Answers, reference_k: &[f64], expected: &str) {
    let found = Question::new(answers, reference_k)
        .expect_err("it is wrong")
        .to_string();
    assert!(found.contains(expected), "{found}");
}

#[test]
fn a_question_is_refused_by_what_is_wrong_with_it() {
    check(rewards(&[1.0]), &[1.0], "1 answers, expected 2 or more");
    check(rewards(&[1.0, 0.0]), &[1.0], "1 probabilities, expected 2");
    check(rewards(&[1.0, 0.0]), &[0.5, 0.4], "sum to 0.9, expected 1");
    check(rewards(&[1.0, 0.0]), &[1.5, -0.5], "probability 1 is 1.5");
    check(
        rewards(&[1.0, 0.0]),
        &[f64::NAN, 0.5],
        "probability 1 is NaN",
    );
    check(rewards(&[1.0, f64::NAN]), &[0.5, 0.5], "reward 2 is NaN");
    check(rewards(&[1.0, 0.0]), &[0.0, 1.0], "supp π ⊆ supp π_ref");
    check(
        Answers::Bernoulli(vec![0.5, 1.2]),
        &[0.5, 0.5],
        "success probability 2 is 1.2",
    );
    let noisy = Answers::Rewards {
        mean_k: vec![0.0, 1.0],
        noise: -1.0,
    };
    check(noisy, &[0.5, 0.5], "the noise is -1");
}

#[test]
fn a_matrix_of_preferences_is_refused_at_the_entry_that_is_wrong() {
    let matrix = |rows: &[&[f64]]| Answers::Pairwise(rows.iter().map(|r| r.to_vec()).collect());
    let half = [0.5, 0.5];
    check(
        matrix(&[&[0.5, 0.7], &[0.4, 0.5]]),
        &half,
        "(1, 2) and (2, 1) are 0.7 and 0.4",
    );
    check(matrix(&[&[0.0, 0.7], &[0.3, 0.0]]), &half, "antisymmetric");
    check(
        matrix(&[&[0.5, 1.7], &[-0.7, 0.5]]),
        &half,
        "preference (1, 2) is 1.7",
    );
    check(
        matrix(&[&[0.5, 0.7], &[0.3, 0.6]]),
        &half,
        "preference (2, 2) is 0.6",
    );
    check(
        matrix(&[&[0.5, 0.7], &[0.3]]),
        &half,
        "row 2 of the preference matrix has 1",
    );
    check(
        matrix(&[&[0.0, 1.0], &[-1.0, 0.0]]),
        &[0.0, 1.0],
        "supp π ⊆ supp π_ref",
    );
}

#[test]
fn a_variant_is_refused_with_the_condition_that_it_breaks() {
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let found = Variant::new(beta, Group::Large).unwrap_err().to_string();
        assert!(found.contains("expected a number above 0"), "{found}");
    }
    let found = Variant::new(1.0, Group::Of(1)).unwrap_err().to_string();
    assert!(
        found.starts_with("group is 1, expected 2 or more"),
        "{found}"
    );
    let pairs = Answers::Pairwise(vec![vec![0.5, 0.9], vec![0.1, 0.5]]);
    let pairs = Question::new(pairs, &[0.5, 0.5]).unwrap();
    let of = |group| Variant::new(1.0, group).unwrap();
    let found = solve(&pairs, &of(Group::Of(3))).unwrap_err().to_string();
    assert!(
        found.starts_with("group is 3 with pairwise preferences"),
        "{found}"
    );
    let plain = of(Group::Of(2)).with_scale(Scale::None);
    let found = solve(&pairs, &plain).unwrap_err().to_string();
    assert!(found.starts_with("no scale normalisation"), "{found}");
    let found = reward_preference(&pairs, &of(Group::Of(2)), &[0.5]).unwrap_err();
    assert!(found.to_string().contains("1 probabilities"), "{found}");
}
