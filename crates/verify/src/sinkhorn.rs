//! Entropic transport by the laws it obeys, on two keyed clouds.

use math::Key;
use transport::{Divergence, Epsilon, Options, Transport, entropic, sinkhorn_divergence};

use crate::{Bench, Finding, VerifyError};

const POINTS: usize = 12;
const WIDTH: usize = 6;
const EPSILON: f64 = 0.3;

pub(crate) fn run(_: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let (x, y) = (cloud(1, 0.0), cloud(2, 0.5));
    let costs: Vec<f64> = x
        .iter()
        .flat_map(|a| y.iter().map(|b| cost(a, b)))
        .collect();
    let options = |epsilon| Options {
        epsilon: Epsilon::Absolute(epsilon),
        ..Options::default()
    };
    let solved = entropic(&costs, POINTS, POINTS, &options(EPSILON))?;
    let same = sinkhorn_divergence(&x, &x, &options(EPSILON))?;
    let far = sinkhorn_divergence(&x, &y, &options(1e6))?;
    let near = sinkhorn_divergence(&x, &y, &options(EPSILON))?;
    Ok(vec![
        marginals(&solved, &costs),
        equal_clouds(&same),
        limit(&far, &x, &y),
        slope(&near, &x, &y)?,
    ])
}

/// The plan by its potentials, `P = ab·exp((f + g − C)/ε)`, has uniform marginals, and is the one
/// that was returned.
fn marginals(solved: &Transport, costs: &[f64]) -> Finding {
    let share = 1.0 / POINTS as f64;
    let plan = |i: usize, j: usize| {
        let exponent = solved.source_potential[i] + solved.target_potential[j];
        share * share * ((exponent - costs[i * POINTS + j]) / EPSILON).exp()
    };
    let mut worst = 0.0_f64;
    for i in 0..POINTS {
        let row: f64 = (0..POINTS).map(|j| plan(i, j)).sum();
        let column: f64 = (0..POINTS).map(|j| plan(j, i)).sum();
        worst = worst.max((row - share).abs()).max((column - share).abs());
        for j in 0..POINTS {
            worst = worst.max((plan(i, j) - solved.plan[i * POINTS + j]).abs());
        }
    }
    let converged = if solved.converged {
        worst
    } else {
        f64::INFINITY
    };
    let detail = "plan rebuilt from its potentials; the solver stops at 1e-9";
    Finding::new("marginals", converged * POINTS as f64, 1e-7, detail)
}

fn equal_clouds(same: &Divergence) -> Finding {
    let detail = "S_ε of a cloud with itself; the solver stops at 1e-9";
    Finding::new("equal", same.value.abs(), 1e-8, detail)
}

/// At ε → ∞ the divergence is the squared distance of the means.
fn limit(far: &Divergence, x: &[Vec<f64>], y: &[Vec<f64>]) -> Finding {
    let mean = |cloud: &[Vec<f64>], d: usize| {
        cloud.iter().map(|point| point[d]).sum::<f64>() / cloud.len() as f64
    };
    let expected: f64 = (0..WIDTH).map(|d| (mean(x, d) - mean(y, d)).powi(2)).sum();
    let detail = format!(
        "S_ε at ε = 1e6: {:.6}, the means give {expected:.6}",
        far.value
    );
    let distance = (far.value - expected).abs() / expected;
    // The first correction is of the order cost²/ε; what is left is rounding of ε · 1e-16.
    Finding::new("limit", distance, 1e-4, detail)
}

/// The gradient against central differences of the value along one direction.
fn slope(near: &Divergence, x: &[Vec<f64>], y: &[Vec<f64>]) -> Result<Finding, VerifyError> {
    let direction = cloud(3, 0.0);
    let at = |step: f64| {
        let moved = |(point, d): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            point.iter().zip(d).map(|(x, d)| x + step * d).collect()
        };
        let moved: Vec<Vec<f64>> = x.iter().zip(&direction).map(moved).collect();
        let options = Options {
            epsilon: Epsilon::Absolute(EPSILON),
            ..Options::default()
        };
        sinkhorn_divergence(&moved, y, &options).map(|found| found.value)
    };
    let step = 1e-3;
    let numeric =
        (8.0 * (at(step)? - at(-step)?) - (at(2.0 * step)? - at(-2.0 * step)?)) / (12.0 * step);
    let pairs = near.gradient_nd.iter().zip(&direction);
    let analytic: f64 = pairs.map(|(g, d)| math::dot(g, d)).sum();
    let detail = "gradient in the points against differences, relative; fourth order in 1e-3";
    Ok(Finding::new(
        "slope",
        (analytic - numeric).abs() / numeric.abs(),
        1e-7,
        detail,
    ))
}

fn cloud(stream: u64, shift: f64) -> Vec<Vec<f64>> {
    let key = Key::new(5).child(stream);
    let point = |i: usize| {
        let entry = |d: usize| 0.5 * key.normal((i * WIDTH + d) as u64) + shift;
        (0..WIDTH).map(entry).collect()
    };
    (0..POINTS).map(point).collect()
}

fn cost(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
