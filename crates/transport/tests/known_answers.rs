//! Transport held against numbers computed elsewhere and against an exact assignment.

use math::{Key, check_gradient};
use transport::{Epsilon, Options, Transport, entropic, sinkhorn_divergence};

fn precise(epsilon: Epsilon) -> Options {
    Options {
        epsilon,
        tolerance: 1e-12,
        ..Options::default()
    }
}

fn squared_distances(x_nd: &[Vec<f64>], y_md: &[Vec<f64>]) -> Vec<f64> {
    let square = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum();
    let pairs = x_nd.iter().flat_map(|x| y_md.iter().map(move |y| (x, y)));
    pairs.map(|(x, y)| square(x, y)).collect()
}

fn solve(x_nd: &[Vec<f64>], y_md: &[Vec<f64>], options: &Options) -> Transport {
    let cost_nm = squared_distances(x_nd, y_md);
    entropic(&cost_nm, x_nd.len(), y_md.len(), options).expect("the cost is sound")
}

fn cloud(key: Key, points: usize, width: usize) -> Vec<Vec<f64>> {
    let point = |i: usize| {
        (0..width)
            .map(|d| key.normal((i * width + d) as u64))
            .collect()
    };
    (0..points).map(point).collect()
}

fn triangle() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let x = vec![vec![0.0, 0.0], vec![1.0, 0.0], vec![0.0, 1.0]];
    let y = vec![vec![0.1, 0.1], vec![1.2, -0.1], vec![0.2, 1.1]];
    (x, y)
}

/// The specification's numbers (its section 5), ten digits each.
#[test]
fn three_points_give_the_specified_numbers() {
    let (x, y) = triangle();
    let cases = [
        (
            0.1,
            0.040_042_516_0,
            0.149_857_088_7,
            0.040_000_379_9,
            0.109_855_175_6,
        ),
        (
            1.0,
            0.460_229_005_8,
            0.708_708_100_2,
            0.035_190_710_9,
            0.644_238_252_2,
        ),
    ];
    for (epsilon, cost, value, divergence, within) in cases {
        let options = precise(Epsilon::Absolute(epsilon));
        let cross = solve(&x, &y, &options);
        let found = sinkhorn_divergence(&x, &y, &options).unwrap();
        assert!(found.converged && cross.converged, "{found:?}");
        let pairs = [
            (cross.cost, cost),
            (cross.value, value),
            (found.value, divergence),
            (solve(&x, &x, &options).value, within),
        ];
        for (found, expected) in pairs {
            assert!(
                (found - expected).abs() < 1e-10,
                "{found} is not {expected}"
            );
        }
    }
}

#[derive(serde::Deserialize)]
struct PotCase {
    x_nd: Vec<Vec<f64>>,
    y_md: Vec<Vec<f64>>,
    share: f64,
    value: f64,
    cost: f64,
    divergence: f64,
    gradient_nd: Vec<Vec<f64>>,
}

/// `scripts/reference/pot_transport.py` (POT 0.9.7, torch 2.13) wrote the fixture.
#[test]
fn values_costs_and_gradients_agree_with_pot_and_torch() {
    let cases: Vec<PotCase> = serde_json::from_str(include_str!("pot.json")).unwrap();
    for case in cases {
        let options = precise(Epsilon::RelativeToMeanCost(case.share));
        let cross = solve(&case.x_nd, &case.y_md, &options);
        let found = sinkhorn_divergence(&case.x_nd, &case.y_md, &options).unwrap();
        let gradients = found
            .gradient_nd
            .concat()
            .into_iter()
            .zip(case.gradient_nd.concat());
        let values = [
            (cross.value, case.value),
            (cross.cost, case.cost),
            (found.value, case.divergence),
        ];
        for (found, expected) in values.into_iter().chain(gradients) {
            let error = (found - expected).abs();
            assert!(
                error < 1e-9,
                "share {}: {found} is not {expected}",
                case.share
            );
        }
    }
}

#[test]
fn at_small_epsilon_the_cost_is_that_of_the_best_assignment() {
    let permutations = |n: usize| -> Vec<Vec<usize>> {
        let digits = |code: usize| {
            (0..n)
                .map(|i| code / n.pow(i as u32) % n)
                .collect::<Vec<_>>()
        };
        let once = |order: &Vec<usize>| (0..n).all(|i| order.contains(&i));
        (0..n.pow(n as u32)).map(digits).filter(once).collect()
    };
    for seed in 0..20 {
        let (x, y) = (
            cloud(Key::new(seed), 4, 2),
            cloud(Key::new(seed + 100), 4, 2),
        );
        let cost_nm = squared_distances(&x, &y);
        let price =
            |order: &Vec<usize>| (0..4).map(|i| cost_nm[4 * i + order[i]]).sum::<f64>() / 4.0;
        let best = permutations(4)
            .iter()
            .map(price)
            .fold(f64::INFINITY, f64::min);
        let found = solve(&x, &y, &precise(Epsilon::RelativeToMeanCost(1e-4)));
        assert!(
            found.converged,
            "{seed}: {} {}",
            found.iterations, found.marginal_error
        );
        // The entropic plan costs at most ε ln n more than the best assignment.
        assert!(
            (found.cost - best).abs() < 1e-3,
            "{seed}: {} is not {best}",
            found.cost
        );
    }
}

#[test]
fn the_gradient_is_that_of_the_value_whatever_epsilon_follows() {
    let (n, m, d) = (5, 4, 3);
    let (x, y) = (cloud(Key::new(1), n, d), cloud(Key::new(2), m, d));
    for epsilon in [
        Epsilon::Absolute(0.3),
        Epsilon::RelativeToMeanCost(0.05),
        Epsilon::RelativeToMeanCost(2.0),
    ] {
        let at = |flat: &[f64]| {
            let x_nd: Vec<Vec<f64>> = flat.chunks(d).map(<[f64]>::to_vec).collect();
            sinkhorn_divergence(&x_nd, &y, &precise(epsilon)).unwrap()
        };
        let gradient = at(&x.concat()).gradient_nd.concat();
        let check = check_gradient(|flat| at(flat).value, &x.concat(), &gradient);
        assert!(check.error < 1e-8, "{epsilon:?}: {check:?}");
    }
}
