//! The general solver: a damped fixed point of preference and pooling, with Anderson's mixing.

use math::log_sum_exp;

use crate::pool::Pull;

/// Where an iteration came to rest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    pub(crate) policy_l: Vec<f64>,
    /// As [`Pull::residual`].
    pub(crate) residual: f64,
    pub(crate) iterations: usize,
}

/// What rounding leaves of a residual.
pub(crate) const ROUNDING: f64 = 1e-13;
/// Iterations in all.
const ITERATIONS_MAX: usize = 4000;
/// Steps without a new best residual after which steps get shorter.
const PATIENCE: usize = 40;
/// A residual so many times the best is a step that went too far.
const EXCESS: f64 = 10.0;
/// Steps that are mixed.
const MEMORY: usize = 6;
/// The smallest share of a step that is tried.
const DAMPING_MIN: f64 = 1e-4;

/// Steps `ln π` towards `ln pool(P(π))` from `start_l`, until the residual is at most `aim`.
///
/// A step is taken by a share, which is halved, from the best policy so far, where steps went too
/// far or nowhere. In logits this is a natural gradient ascent in steps of finite size, so what it
/// settles at attracts training; Anderson's mixing of the last steps makes it fast.
///
/// # Source
/// Walker and Ni, "Anderson acceleration for fixed-point iterations" (2011), section 2.
pub(crate) fn settle(
    preference: &dyn Fn(&[f64]) -> Vec<f64>,
    pull: &Pull,
    start_l: &[f64],
    aim: f64,
) -> Settled {
    let mut logs_l: Vec<f64> = start_l.iter().map(|p| p.ln()).collect();
    let mut best = Settled {
        policy_l: start_l.to_vec(),
        residual: f64::INFINITY,
        iterations: 0,
    };
    let mut history = History::default();
    let (mut damping, mut stale) = (1.0, 0);
    while best.iterations < ITERATIONS_MAX && best.residual > aim && damping > DAMPING_MIN {
        best.iterations += 1;
        let policy_l: Vec<f64> = logs_l.iter().map(|log| log.exp()).collect();
        let preference_l = preference(&policy_l);
        let residual = pull.residual(&policy_l, &preference_l);
        stale += 1;
        if residual < best.residual {
            stale = 0;
            best.policy_l = policy_l;
            best.residual = residual;
        }
        if stale > PATIENCE || residual > EXCESS * best.residual {
            damping /= 2.0;
            stale = 0;
            history = History::default();
            logs_l = best.policy_l.iter().map(|p| p.ln()).collect();
            continue;
        }
        let pooled_l = pull.pool(&preference_l);
        let step_l: Vec<f64> = pooled_l
            .iter()
            .zip(&logs_l)
            .map(|(pooled, log)| pooled.max(f64::MIN_POSITIVE).ln() - log)
            .collect();
        logs_l = history.mix(&logs_l, &step_l, damping);
        let total = log_sum_exp(&logs_l);
        for log in &mut logs_l {
            *log -= total;
        }
    }
    best
}

/// The last points and their steps.
#[derive(Debug, Default)]
struct History {
    points: Vec<Vec<f64>>,
    steps: Vec<Vec<f64>>,
}

impl History {
    /// The next point: `point + damping·step`, corrected by the combination of earlier differences
    /// that makes the step smallest.
    fn mix(&mut self, point: &[f64], step: &[f64], damping: f64) -> Vec<f64> {
        let plain = point.iter().zip(step).map(|(x, f)| x + damping * f);
        let mut next: Vec<f64> = plain.collect();
        let difference =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let changes = |kept: &[Vec<f64>], new: &[f64]| -> Vec<Vec<f64>> {
            kept.iter().map(|old| difference(new, old)).collect()
        };
        let (moved, bent) = (changes(&self.points, point), changes(&self.steps, step));
        let products = |row: &Vec<f64>| -> Vec<f64> {
            bent.iter().map(|other| math::dot(row, other)).collect()
        };
        let gram: Vec<Vec<f64>> = bent.iter().map(products).collect();
        let right = bent.iter().map(|row| math::dot(row, step)).collect();
        for ((weight, moved), bent) in eliminate(gram, right).iter().zip(&moved).zip(&bent) {
            for ((x, m), b) in next.iter_mut().zip(moved).zip(bent) {
                *x -= weight * (m + damping * b);
            }
        }
        if self.points.len() == MEMORY {
            self.points.remove(0);
            self.steps.remove(0);
        }
        self.points.push(point.to_vec());
        self.steps.push(step.to_vec());
        next
    }
}

/// Solves a small positive semidefinite system by elimination; directions without content get 0.
fn eliminate(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    let scale = (0..size).map(|i| matrix[i][i]).fold(0.0, f64::max);
    for (index, row) in matrix.iter_mut().enumerate() {
        row[index] += 1e-14 * scale + f64::MIN_POSITIVE;
    }
    for pivot in 0..size {
        for row in pivot + 1..size {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let (above, below) = matrix.split_at_mut(row);
            for (entry, upper) in below[0].iter_mut().zip(&above[pivot]).skip(pivot) {
                *entry -= factor * upper;
            }
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|c| matrix[row][c] * right[c]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    if right.iter().all(|w| w.is_finite()) {
        right
    } else {
        vec![0.0; size]
    }
}
