//! The contrast held against known answers, its own laws, and a channel of known information.

use information::{Losses, bounds, contrast_gradient, contrast_losses};
use math::{Key, check_gradient};

fn drawn(seed: u64, k: usize) -> Vec<Vec<f64>> {
    let key = Key::new(seed);
    (0..k)
        .map(|i| (0..k).map(|j| key.normal((i * k + j) as u64)).collect())
        .collect()
}

/// The specification's numbers (its section 5).
#[test]
fn two_constitutions_give_the_specified_losses() {
    let found = contrast_losses(&[vec![-1.0, -1.5], vec![-1.4, -0.9]]);
    let pairs = [
        (found.half_sum(), 0.474_664_292_8),
        (found.over_completions, 0.474_076_984_2),
        (found.over_constitutions, 0.475_251_601_4),
    ];
    for (found, expected) in pairs {
        assert!(
            (found - expected).abs() < 1e-10,
            "{found} is not {expected}"
        );
    }
}

/// `scripts/reference/sami_information.py` (torch 2.13) wrote the fixture.
#[derive(serde::Deserialize)]
struct Fixture {
    cases: Vec<Case>,
    channel_bounds: Vec<(usize, f64)>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("sami.json")).expect("the fixture is whole")
}

#[derive(serde::Deserialize)]
struct Case {
    matrix_kk: Vec<Vec<f64>>,
    loss: f64,
    over_constitutions: f64,
    over_completions: f64,
    gradient_kk: Vec<Vec<f64>>,
}

#[test]
fn losses_and_gradient_agree_with_torch_on_the_formula_of_sami() {
    for case in fixture().cases {
        let found = contrast_losses(&case.matrix_kk);
        let values = [
            (found.half_sum(), case.loss),
            (found.over_constitutions, case.over_constitutions),
            (found.over_completions, case.over_completions),
        ];
        let gradient = contrast_gradient(&case.matrix_kk).concat();
        for (found, expected) in values
            .into_iter()
            .chain(gradient.into_iter().zip(case.gradient_kk.concat()))
        {
            let k = case.matrix_kk.len();
            assert!(
                (found - expected).abs() < 1e-12,
                "k = {k}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn equal_scores_cost_the_logarithm_of_their_number_and_bound_nothing() {
    for k in 1..6 {
        let Losses {
            over_constitutions,
            over_completions,
        } = contrast_losses(&vec![vec![-3.0; k]; k]);
        let expected = (k as f64).ln();
        assert!(
            (over_constitutions - expected).abs() < 1e-15,
            "{over_constitutions}"
        );
        assert!(
            (over_completions - expected).abs() < 1e-15,
            "{over_completions}"
        );
    }
}

#[test]
fn certain_scores_saturate_the_bound_without_overflow() {
    let matrix: Vec<Vec<f64>> = (0..4)
        .map(|i| (0..4).map(|j| if i == j { 0.0 } else { -1e5 }).collect())
        .collect();
    let found = contrast_losses(&matrix).bounds(4);
    assert!(
        (found.over_constitutions - 4_f64.ln()).abs() < 1e-15,
        "{found:?}"
    );
    assert!(
        (found.over_completions - 4_f64.ln()).abs() < 1e-15,
        "{found:?}"
    );
    assert!(
        contrast_gradient(&matrix)
            .concat()
            .iter()
            .all(|g| *g == 0.0)
    );
}

#[test]
fn the_gradient_is_that_of_the_half_sum() {
    for k in [2, 5] {
        let loss = |flat: &[f64]| {
            let matrix_kk: Vec<Vec<f64>> = flat.chunks(k).map(<[f64]>::to_vec).collect();
            contrast_losses(&matrix_kk).half_sum()
        };
        let matrix_kk = drawn(k as u64, k);
        let gradient = contrast_gradient(&matrix_kk).concat();
        let check = check_gradient(loss, &matrix_kk.concat(), &gradient);
        assert!(check.error < 1e-10, "{check:?}");
    }
}

#[test]
fn an_offset_of_a_completion_moves_only_the_contrast_over_completions() {
    let plain = drawn(1, 4);
    let moved: Vec<Vec<f64>> = plain
        .iter()
        .map(|row| {
            row.iter()
                .zip([2.0, -1.0, 0.5, 7.0])
                .map(|(m, o)| m + o)
                .collect()
        })
        .collect();
    let (before, after) = (contrast_losses(&plain), contrast_losses(&moved));
    assert!(
        (before.over_constitutions - after.over_constitutions).abs() < 1e-13,
        "{after:?}"
    );
    assert!(
        (before.over_completions - after.over_completions).abs() > 0.1,
        "{after:?}"
    );
}

#[test]
fn an_offset_of_a_constitution_moves_only_the_contrast_over_constitutions() {
    let plain = drawn(1, 4);
    let moved: Vec<Vec<f64>> = plain
        .iter()
        .zip([2.0, -1.0, 0.5, 7.0])
        .map(|(row, o)| row.iter().map(|m| m + o).collect())
        .collect();
    let (before, after) = (contrast_losses(&plain), contrast_losses(&moved));
    assert!(
        (before.over_completions - after.over_completions).abs() < 1e-13,
        "{after:?}"
    );
    assert!(
        (before.over_constitutions - after.over_constitutions).abs() > 0.1,
        "{after:?}"
    );
}

/// The specification's channel: two equally likely constitutions, three completions.
const CHANNEL: [[f64; 3]; 2] = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]];

/// Matrices of `k` independent draws of (constitution, completion) from the channel, each of a
/// question of its own.
fn matrices(count: usize, k: usize, key: Key) -> Vec<(usize, Vec<Vec<f64>>)> {
    let matrix = |number: usize| {
        let key = key.child(number as u64);
        let pair = |i: usize| {
            let constitution = key.below(2 * i as u64, 2);
            let at = key.uniform(2 * i as u64 + 1);
            let [first, second, _] = CHANNEL[constitution];
            let completion = usize::from(at >= first) + usize::from(at >= first + second);
            (constitution, completion)
        };
        let pairs: Vec<(usize, usize)> = (0..k).map(pair).collect();
        let row = |c: usize| pairs.iter().map(|&(_, y)| CHANNEL[c][y].ln()).collect();
        pairs
            .iter()
            .map(|&(c, _)| row(c))
            .collect::<Vec<Vec<f64>>>()
    };
    (0..count).map(|number| (number, matrix(number))).collect()
}

/// The specification's bounds at 2, 8 and 64 partners, about .108, .202 and .226, are replaced by
/// the exact ones, .1153, .2039 and .2274; the information itself is .2306 nats.
#[test]
fn the_bound_of_a_known_channel_rises_towards_its_information() {
    for (k, exact) in fixture().channel_bounds {
        let found = bounds(
            &matrices(40_000 / k, k, Key::new(k as u64)),
            200,
            Key::new(1),
        );
        let interval = found.over_constitutions;
        let half = 0.5 * (interval.high - interval.low);
        assert!(half < 0.01, "{k}: {interval:?}");
        let error = (interval.value - exact).abs();
        assert!(
            error < 2.0 * half && exact < 0.2306,
            "{k}: {interval:?} is not {exact}"
        );
    }
}

#[test]
fn one_question_gives_a_point_and_none_gives_nothing() {
    let contrasts = [3, 4].map(|seed| (0, drawn(seed, 3)));
    let found = bounds(&contrasts, 100, Key::new(1)).over_completions;
    assert!(
        found.low.is_nan() && found.high.is_nan() && found.value.is_finite(),
        "{found:?}"
    );
    assert!(
        bounds(&[], 100, Key::new(1))
            .over_constitutions
            .value
            .is_nan()
    );
}
