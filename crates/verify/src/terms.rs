//! The value of each term from the step's own signals, by its formula written out.

use policy::{Row, Signals};

use crate::play::Played;
use crate::{Bench, Finding, VerifyError};

/// Formulas in `f64` on the same signals.
const TOLERANCE: f64 = 1e-8;
/// The transport problems are solved to 1e-9, and their debiased value is about 1e-3.
const TRANSPORT: f64 = 1e-5;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let played = &bench.played;
    bench.own.policy.set_parameters(&bench.start);
    let reference = bench.own.policy.reference_signals(&played.batch)?;
    let within = |tolerance, name, found: f64, expected: f64, what: &str| {
        let distance = (found - expected).abs() / expected.abs().max(1e-6);
        let detail = format!("{what}: {found:.6}, relative to {expected:.6}");
        Finding::new(name, distance, tolerance, detail)
    };
    let relative = |name, found, expected, what| within(TOLERANCE, name, found, expected, what);
    let [loss, over_constitutions, over_completions] = sami(played);
    let drift = transport(played, &reference);
    Ok(vec![
        relative("grpo", played.metric("grpo/loss"), grpo(played), "loss"),
        relative(
            "kl",
            played.metric("kl/loss"),
            kl(played, &reference),
            "loss",
        ),
        relative("sami", played.metric("sami/loss"), loss, "loss"),
        relative(
            "sami/constitutions",
            played.metric("sami/bound_constitutions"),
            over_constitutions,
            "bound",
        ),
        relative(
            "sami/completions",
            played.metric("sami/bound_completions"),
            over_completions,
            "bound",
        ),
        within(
            TRANSPORT,
            "transport",
            played.metric("transport/loss"),
            drift,
            "S_ε",
        ),
    ])
}

/// The row of a completion under a prompt.
fn row_of(played: &Played, prefix: &[u32], tokens_t: &[u32]) -> Option<usize> {
    let is_it = |row: &Row| played.batch.prefixes[row.prefix] == prefix && row.tokens_t == tokens_t;
    played.batch.rows.iter().position(is_it)
}

/// Each completion's row and the log-probabilities it was sampled with.
fn own_rows(played: &Played) -> Vec<(usize, &[f64])> {
    let groups = played.prefixes_g.iter().zip(&played.samples_g);
    let own = groups.flat_map(|(prefix, samples)| {
        samples.iter().filter_map(|sample| {
            let row = row_of(played, prefix, &sample.tokens_t)?;
            Some((row, sample.logprobs_t.as_slice()))
        })
    });
    own.collect()
}

fn tokens(played: &Played) -> f64 {
    let lengths = played.samples_g.iter().flatten().map(|s| s.tokens_t.len());
    lengths.sum::<usize>() as f64
}

/// `−Σ_i |o_i| · min(s·A, clip(s)·A) / N` with the ratio of whole sequences.
fn grpo(played: &Played) -> f64 {
    let mut total = 0.0;
    for ((row, old_t), completion) in own_rows(played).into_iter().zip(&played.completions) {
        let now_t = &played.signals.logprobs_nt[row];
        let length = now_t.len() as f64;
        let drift: f64 = now_t.iter().zip(old_t).map(|(now, old)| now - old).sum();
        let ratio = (drift / length).exp();
        let advantage = completion.advantage.unwrap_or(0.0);
        total -= length * (ratio * advantage).min(ratio.clamp(0.1, 10.0) * advantage);
    }
    total / tokens(played)
}

/// `Σ (e^(ref − lp) − (ref − lp) − 1) / N`.
fn kl(played: &Played, reference: &Signals) -> f64 {
    let mut total = 0.0;
    for (row, _) in own_rows(played) {
        let pairs = played.signals.logprobs_nt[row]
            .iter()
            .zip(&reference.logprobs_nt[row]);
        total += pairs
            .map(|(now, reference)| (reference - now).exp() - (reference - now) - 1.0)
            .sum::<f64>();
    }
    total / tokens(played)
}

/// Loss, bound over constitutions and bound over completions, from a matrix of each question.
fn sami(played: &Played) -> [f64; 3] {
    let constitutions = 1 + played
        .completions
        .iter()
        .map(|c| c.constitution)
        .max()
        .unwrap_or(0);
    let questions = played.prefixes_g.chunks(constitutions);
    let count = questions.len() as f64;
    let most = (constitutions as f64).ln();
    let mut sums = [0.0; 3];
    for (prefixes_k, samples_k) in questions.zip(played.samples_g.chunks(constitutions)) {
        let entry = |prefix: &[u32], tokens_t: &[u32]| {
            let row = row_of(played, prefix, tokens_t)?;
            let span = played.batch.rows[row].reasoning.clone()?;
            let logprobs = &played.signals.logprobs_nt[row][span];
            Some(logprobs.iter().sum::<f64>() / logprobs.len() as f64)
        };
        // The first completion of a group is gated; entry [i][j] is completion j under i.
        let matrix = |i: usize, j: usize| {
            entry(&prefixes_k[i], &samples_k[j][0].tokens_t).unwrap_or(f64::NAN)
        };
        let each = 0..constitutions;
        let share = |own: f64, all: &mut dyn Iterator<Item = f64>| {
            -(own.exp() / all.map(f64::exp).sum::<f64>()).ln() / constitutions as f64
        };
        let column = |j: usize| share(matrix(j, j), &mut each.clone().map(|i| matrix(i, j)));
        let row = |i: usize| share(matrix(i, i), &mut each.clone().map(|j| matrix(i, j)));
        let over_constitutions: f64 = each.clone().map(column).sum();
        let over_completions: f64 = each.clone().map(row).sum();
        sums[0] += 0.5 * (over_constitutions + over_completions) / count;
        sums[1] += (most - over_constitutions) / count;
        sums[2] += (most - over_completions) / count;
    }
    sums
}

/// The debiased divergence of the gated completions' directions by plain Sinkhorn sweeps, ε at a
/// tenth of the mean cost.
fn transport(played: &Played, reference: &Signals) -> f64 {
    let gated = own_rows(played).into_iter().map(|(row, _)| row);
    let gated = gated.filter(|&row| played.batch.rows[row].reasoning.is_some());
    let gated: Vec<usize> = gated.collect();
    let directions = |signals: &Signals| -> Vec<Vec<f64>> {
        let direction = |&row: &usize| {
            let point = &signals.points_nd[row];
            let length = point.iter().map(|x| x * x).sum::<f64>().sqrt();
            point.iter().map(|x| x / length).collect()
        };
        gated.iter().map(direction).collect()
    };
    let (x, y) = (directions(&played.signals), directions(reference));
    let mean: f64 = x
        .iter()
        .flat_map(|a| y.iter().map(move |b| cost(a, b)))
        .sum();
    let epsilon = 0.1 * mean / (x.len() * y.len()) as f64;
    plain(&x, &y, epsilon) - 0.5 * (plain(&x, &x, epsilon) + plain(&y, &y, epsilon))
}

fn cost(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// `OT_ε` of two uniform clouds by alternating updates of the potentials, until they stand.
fn plain(x: &[Vec<f64>], y: &[Vec<f64>], epsilon: f64) -> f64 {
    const SWEEPS_MAX: usize = 30_000;
    const CHANGE: f64 = 1e-13;
    let (mut f, mut g) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let update = |to: &mut [f64], from: &[f64], cost: &dyn Fn(usize, usize) -> f64| {
        for (i, value) in to.iter_mut().enumerate() {
            let terms = from.iter().enumerate();
            let terms: Vec<f64> = terms.map(|(j, g)| (g - cost(i, j)) / epsilon).collect();
            let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = terms.iter().map(|t| (t - most).exp()).sum();
            *value = -epsilon * (most + (sum / from.len() as f64).ln());
        }
    };
    let costs: Vec<Vec<f64>> = x
        .iter()
        .map(|a| y.iter().map(|b| cost(a, b)).collect())
        .collect();
    for _ in 0..SWEEPS_MAX {
        let before = f.clone();
        update(&mut f, &g, &|i, j| costs[i][j]);
        update(&mut g, &f, &|j, i| costs[i][j]);
        let moved = f
            .iter()
            .zip(&before)
            .map(|(now, before)| (now - before).abs());
        if moved.fold(0.0, f64::max) <= CHANGE {
            break;
        }
    }
    f.iter().sum::<f64>() / f.len() as f64 + g.iter().sum::<f64>() / g.len() as f64
}
