//! Laws of the divergence, the reach of the solver, and what is refused.

use math::Key;
use transport::{Divergence, Epsilon, Options, TransportError, entropic, sinkhorn_divergence};

fn cloud(seed: u64, points: usize, width: usize) -> Vec<Vec<f64>> {
    let key = Key::new(seed);
    let point = |i: usize| {
        (0..width)
            .map(|d| key.normal((i * width + d) as u64))
            .collect()
    };
    (0..points).map(point).collect()
}

fn with(epsilon: Epsilon) -> Options {
    Options {
        epsilon,
        tolerance: 1e-11,
        ..Options::default()
    }
}

fn divergence(x_nd: &[Vec<f64>], y_md: &[Vec<f64>], share: f64) -> Divergence {
    let options = with(Epsilon::RelativeToMeanCost(share));
    let found = sinkhorn_divergence(x_nd, y_md, &options).expect("the clouds are sound");
    assert!(
        found.converged,
        "share {share}: {} iterations",
        found.iterations
    );
    found
}

fn mapped(cloud_nd: &[Vec<f64>], map: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    cloud_nd.iter().map(|point| map(point)).collect()
}

#[test]
fn a_cloud_is_at_no_distance_from_itself_and_feels_no_pull() {
    for share in [0.01, 0.1, 1.0] {
        let x = cloud(3, 9, 4);
        let found = divergence(&x, &x, share);
        let pull = found
            .gradient_nd
            .concat()
            .iter()
            .fold(0.0, |far: f64, g| far.max(g.abs()));
        assert!(
            found.value.abs() < 1e-12 && pull < 1e-9,
            "{share}: {} {pull}",
            found.value
        );
    }
}

#[test]
fn the_divergence_is_positive_and_symmetric() {
    for seed in 0..10 {
        let (x, y) = (cloud(seed, 6, 3), cloud(seed + 50, 4, 3));
        for share in [0.01, 0.1, 1.0, 10.0] {
            let (there, back) = (divergence(&x, &y, share), divergence(&y, &x, share));
            assert!(there.value > 0.0, "{}", there.value);
            assert!(
                (there.value - back.value).abs() < 1e-11,
                "{} {}",
                there.value,
                back.value
            );
        }
    }
}

#[test]
fn neither_order_nor_place_nor_orientation_matters() {
    let (x, y) = (cloud(1, 6, 2), cloud(2, 5, 2));
    let expected = divergence(&x, &y, 0.1).value;
    let (sine, cosine) = 0.7_f64.sin_cos();
    let rotate = |p: &[f64]| vec![cosine * p[0] - sine * p[1], sine * p[0] + cosine * p[1]];
    let shift = |p: &[f64]| vec![p[0] + 3.0, p[1] - 2.0];
    let shuffled: Vec<_> = Key::new(5)
        .permutation(6)
        .iter()
        .map(|&i| x[i].clone())
        .collect();
    let cases = [
        ("order", shuffled, y.clone()),
        ("place", mapped(&x, shift), mapped(&y, shift)),
        ("orientation", mapped(&x, rotate), mapped(&y, rotate)),
    ];
    for (change, x, y) in cases {
        let found = divergence(&x, &y, 0.1).value;
        assert!(
            (found - expected).abs() < 1e-12,
            "{change}: {found} is not {expected}"
        );
    }
}

/// Euler's law of a function of degree 2: the gradient along x and y is twice the value.
#[test]
fn with_relative_epsilon_the_divergence_scales_with_the_square_of_the_clouds() {
    let (x, y) = (cloud(1, 6, 3), cloud(2, 5, 3));
    let near = divergence(&x, &y, 0.1);
    let along =
        |gradient_nd: &[Vec<f64>], at: &[Vec<f64>]| math::dot(&gradient_nd.concat(), &at.concat());
    let found = along(&near.gradient_nd, &x) + along(&divergence(&y, &x, 0.1).gradient_nd, &y);
    assert!((found - 2.0 * near.value).abs() < 1e-9, "{found}");
    let grow = |p: &[f64]| p.iter().map(|v| 1e3 * v).collect();
    let far = divergence(&mapped(&x, grow), &mapped(&y, grow), 0.1);
    assert!(
        (far.value / near.value / 1e6 - 1.0).abs() < 1e-10,
        "{}",
        far.value
    );
}

#[test]
fn at_large_epsilon_only_the_means_are_compared() {
    let (x, y) = (cloud(1, 6, 2), cloud(2, 5, 2));
    let mean = |cloud: &[Vec<f64>], d: usize| {
        math::mean(&cloud.iter().map(|point| point[d]).collect::<Vec<_>>())
    };
    let expected: f64 = (0..2).map(|d| (mean(&x, d) - mean(&y, d)).powi(2)).sum();
    let found = divergence(&x, &y, 1e5).value;
    assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
}

#[test]
fn every_problem_from_large_to_small_epsilon_is_solved_within_fifty_iterations() {
    let clouds = [(3, 3, 2), (4, 9, 1), (30, 30, 2), (40, 25, 64)];
    for (n, m, d) in clouds {
        let (x, y) = (cloud(7, n, d), cloud(8, m, d));
        for share in [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0] {
            let found = divergence(&x, &y, share);
            assert!(found.marginal_error <= 1e-11, "{}", found.marginal_error);
            assert!(
                found.iterations <= 50,
                "{n} {m} {d} {share}: {}",
                found.iterations
            );
        }
    }
}

/// Plain sweeps of this problem are 7.7e-5 from the marginals after 2000 iterations.
#[test]
fn the_three_points_that_stall_plain_sinkhorn_take_few_iterations() {
    let x = [vec![0.0, 0.0], vec![1.0, 0.0], vec![0.0, 1.0]];
    let y = [vec![0.1, 0.1], vec![1.2, -0.1], vec![0.2, 1.1]];
    for epsilon in [0.1, 0.03, 0.01] {
        let found = sinkhorn_divergence(&x, &y, &with(Epsilon::Absolute(epsilon))).unwrap();
        assert!(
            found.converged && found.iterations < 50,
            "{epsilon}: {}",
            found.iterations
        );
    }
}

#[test]
fn a_solver_stopped_early_says_so() {
    let options = Options {
        iterations_max: 2,
        ..with(Epsilon::RelativeToMeanCost(1e-3))
    };
    let found = sinkhorn_divergence(&cloud(1, 8, 2), &cloud(2, 8, 2), &options).unwrap();
    assert!(
        !found.converged && found.marginal_error > options.tolerance,
        "{found:?}"
    );
}

#[test]
fn clouds_gathered_in_one_point_are_at_no_distance() {
    let x = vec![vec![0.5, -1.0]; 3];
    let found = divergence(&x, &x, 0.1);
    assert!(found.value.abs() < 1e-15 && found.gradient_nd.concat().iter().all(|g| *g == 0.0));
}

#[test]
fn a_bad_cloud_is_refused_with_what_was_expected_and_found() {
    let refusal = |x: &[Vec<f64>], y: &[Vec<f64>], epsilon| {
        sinkhorn_divergence(x, y, &with(epsilon))
            .unwrap_err()
            .to_string()
    };
    let (good, share) = (vec![vec![0.0, 1.0]; 2], Epsilon::RelativeToMeanCost(0.1));
    let ragged = [vec![0.0, 1.0], vec![0.0]];
    let broken = [vec![0.0, 1.0], vec![f64::NAN, 0.0]];
    let huge = [vec![1e200, 0.0], vec![-1e200, 0.0]];
    let cases = [
        (
            refusal(&[], &good, share),
            "cloud x is degenerate: it has 0 points",
        ),
        (
            refusal(&good, &good[..1], share),
            "cloud y is degenerate: it has 1 points, expected at",
        ),
        (
            refusal(&good, &ragged, share),
            "y[1] has 1 coordinates, expected 2",
        ),
        (
            refusal(&broken, &good, share),
            "x[1][0] is NaN, expected a finite number",
        ),
        (
            refusal(&huge, &good, share),
            "the cost from 0 to 0 is inf, expected",
        ),
        (
            refusal(&good, &good, Epsilon::Absolute(0.0)),
            "epsilon is 0, expected",
        ),
        (
            refusal(&good, &good, Epsilon::RelativeToMeanCost(f64::NAN)),
            "epsilon is NaN",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_cost_of_another_shape_or_sign_is_refused() {
    let options = with(Epsilon::Absolute(1.0));
    let refusal = |cost: &[f64], n, m| entropic(cost, n, m, &options).unwrap_err();
    let found = refusal(&[0.0; 3], 2, 2);
    assert_eq!(
        found,
        TransportError::CostShape {
            found: 3,
            sources: 2,
            targets: 2
        }
    );
    assert_eq!(found.to_string(), "the cost has 3 entries, expected 2 x 2");
    assert_eq!(
        refusal(&[], 0, 2),
        TransportError::EmptyCost {
            sources: 0,
            targets: 2
        }
    );
    let negative = refusal(&[0.0, 1.0, -1.0, 0.0], 2, 2).to_string();
    assert_eq!(
        negative,
        "the cost from 1 to 0 is -1, expected a finite one >= 0"
    );
}
