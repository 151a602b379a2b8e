//! Bounds from below and above held against channels whose information is known.

use information::{bounds, channel_information, club, contrast_losses};
use math::{Interval, Key, bootstrap_mean, log_sum_exp, softmax};

/// Channels of three constitutions and four completions, from weak to strong.
fn channels() -> Vec<Vec<Vec<f64>>> {
    let channel = |number: u64| {
        let key = Key::new(17).child(number);
        let row = |c: u64| {
            let logit = |y: u64| 0.3 * number as f64 * key.child(c).normal(y);
            softmax(&(0..4).map(logit).collect::<Vec<_>>())
        };
        (0..3).map(row).collect()
    };
    (1..8).map(channel).collect()
}

/// Information of a channel whose constitutions are equally likely, nats.
fn information_of(channel: &[Vec<f64>]) -> f64 {
    let k = channel.len() as f64;
    let mixture = |y: usize| channel.iter().map(|row| row[y]).sum::<f64>() / k;
    let entry = |row: &[f64], y: usize| row[y] * (row[y] / mixture(y)).ln() / k;
    let rows = channel.iter();
    rows.map(|row| (0..row.len()).map(|y| entry(row, y)).sum::<f64>())
        .sum()
}

/// The exact mean of a figure over one completion of each constitution, `[i][j]` the
/// log-probability of completion `j` under `i`.
fn mean_over_draws(channel: &[Vec<f64>], figure: impl Fn(&[Vec<f64>]) -> f64) -> f64 {
    let (k, width) = (channel.len(), channel[0].len());
    let draws = 0..width.pow(k as u32);
    let of_draw = |draw: usize| {
        let drawn: Vec<usize> = (0..k).map(|j| draw / width.pow(j as u32) % width).collect();
        let weight: f64 = drawn.iter().zip(channel).map(|(&y, row)| row[y]).product();
        let row = |row: &Vec<f64>| drawn.iter().map(|&y| row[y].ln()).collect();
        weight * figure(&channel.iter().map(row).collect::<Vec<_>>())
    };
    draws.map(of_draw).sum()
}

#[test]
fn the_information_of_a_channel_is_found_without_bias_and_bracketed() {
    for channel in channels() {
        let exact = information_of(&channel);
        let found = mean_over_draws(&channel, channel_information);
        assert!((found - exact).abs() < 1e-12, "{found} is not {exact}");
        let upper = mean_over_draws(&channel, club);
        assert!(upper >= exact, "{upper} is below {exact}");
        let key = Key::new(5);
        for scale in [0.2, 0.5, 2.0] {
            let lower = mean_over_draws(&channel, |logprobs_kk| {
                // Any scores will do: here scaled, and disturbed by what tells nothing.
                let score = |i: usize, j: usize| {
                    scale * logprobs_kk[i][j] + 0.1 * key.normal((3 * i + j) as u64)
                };
                let row = |i: usize| (0..3).map(|j| score(i, j)).collect();
                let matrix_kk: Vec<Vec<f64>> = (0..3).map(row).collect();
                contrast_losses(&matrix_kk).bounds(3).over_constitutions
            });
            assert!(lower <= exact, "{lower} is above {exact} at {scale}");
        }
    }
}

/// Where the pair's constitutions are known to differ, both completions tell which is which: more
/// than one alone can.
#[test]
fn over_completions_of_each_constitution_more_can_be_found_than_a_completion_tells() {
    let over_completions = |m: &[Vec<f64>]| contrast_losses(m).bounds(m.len()).over_completions;
    let symmetric = vec![vec![0.6, 0.4], vec![0.4, 0.6]];
    let found = mean_over_draws(&symmetric, over_completions);
    assert!((found - 0.029_931_9).abs() < 1e-6, "{found}");
    assert!((information_of(&symmetric) - 0.020_135_5).abs() < 1e-6);
    for channel in channels() {
        let (found, exact) = (
            mean_over_draws(&channel, over_completions),
            information_of(&channel),
        );
        assert!(found <= 3.0 * exact, "{found} of {exact}");
    }
}

/// Values within the interval's own half-width of `limit` count as error of the draws.
fn slack(interval: &Interval) -> f64 {
    0.5 * (interval.high - interval.low)
}

/// `y = c + σ·noise` with standard normal `c`: the information is `½ ln(1 + 1/σ²)`.
#[test]
fn the_bounds_of_a_gaussian_channel_lie_on_their_sides_of_its_information() {
    const PAIRS: usize = 8;
    for (number, sigma) in [0.5, 1.0, 2.0].into_iter().enumerate() {
        let exact = 0.5 * f64::ln(1.0 + 1.0 / (sigma * sigma));
        let matrix = |draw: usize| {
            let key = Key::new(23).child(number as u64).child(draw as u64);
            let c = |i: usize| key.child(0).normal(i as u64);
            let y = |i: usize| c(i) + sigma * key.child(1).normal(i as u64);
            let logprob = |i: usize, j: usize| {
                let z = (y(j) - c(i)) / sigma;
                -0.5 * z * z - f64::ln(sigma) - 0.5 * f64::ln(std::f64::consts::TAU)
            };
            let row = |i: usize| (0..PAIRS).map(|j| logprob(i, j)).collect();
            (draw, (0..PAIRS).map(row).collect::<Vec<Vec<f64>>>())
        };
        let matrices: Vec<_> = (0..1500).map(matrix).collect();
        let found = bounds(&matrices, 200, Key::new(1));
        for lower in [found.over_constitutions, found.over_completions] {
            assert!(
                lower.value <= exact + slack(&lower),
                "{lower:?} is above {exact}"
            );
        }
        // Here the best scores are at hand; over completions they lack how likely each is at all.
        let tight = found.over_constitutions.value;
        assert!(tight > 0.7 * exact, "{tight} of {exact}");
        let upper: Vec<(usize, f64)> = matrices.iter().map(|(n, m)| (*n, club(m))).collect();
        let upper = bootstrap_mean(&upper, 200, Key::new(2));
        assert!(
            upper.value >= exact - slack(&upper),
            "{upper:?} is below {exact}"
        );
    }
}

/// Four constitutions, each a normal law around a mean of its own; the mixture is integrated.
#[test]
fn the_information_of_gaussian_constitutions_is_that_of_their_mixture() {
    const MEANS: [f64; 4] = [-1.5, -0.5, 0.4, 1.7];
    let logprob =
        |mean: f64, y: f64| -0.5 * (y - mean) * (y - mean) - 0.5 * f64::ln(std::f64::consts::TAU);
    let log_mixture = |y: f64| log_sum_exp(&MEANS.map(|m| logprob(m, y))) - f64::ln(4.0);
    let step = 1e-3;
    let grid = (-9000..9000).map(|n| f64::from(n) * step);
    let density = |y: f64| {
        let own = MEANS.map(|m| logprob(m, y).exp() * (logprob(m, y) - log_mixture(y)));
        own.iter().sum::<f64>() / 4.0
    };
    let exact: f64 = grid.map(density).sum::<f64>() * step;
    let matrix = |draw: u64| -> Vec<Vec<f64>> {
        let y = |j: usize| MEANS[j] + Key::new(31).child(draw).normal(j as u64);
        let row = |mean: &f64| (0..4).map(|j| logprob(*mean, y(j))).collect();
        MEANS.iter().map(row).collect()
    };
    let matrices: Vec<Vec<Vec<f64>>> = (0..4000).map(matrix).collect();
    let estimate = |figure: fn(&[Vec<f64>]) -> f64| {
        let values: Vec<(usize, f64)> = matrices.iter().map(|m| figure(m)).enumerate().collect();
        bootstrap_mean(&values, 200, Key::new(3))
    };
    let (found, upper) = (estimate(channel_information), estimate(club));
    assert!(
        (found.value - exact).abs() < 2.0 * slack(&found),
        "{found:?} is not {exact}"
    );
    assert!(upper.low > exact, "{upper:?} is not above {exact}");
}
