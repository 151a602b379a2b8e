//! Rows that share a prompt against rows that each have their own.

use policy::Batch;

use crate::{Bench, Finding, VerifyError};

/// Nats. Two orders of summation in `f32`.
const LOGPROB: f64 = 1e-4;
/// Of the gradient's norm; the same.
const GRADIENT: f64 = 1e-4;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let policy = &mut bench.own.policy;
    let played = &bench.played;
    let mut apart = Batch {
        prefixes: Vec::new(),
        rows: Vec::new(),
        temperature: played.batch.temperature,
    };
    for row in &played.batch.rows {
        apart
            .prefixes
            .push(played.batch.prefixes[row.prefix].clone());
        let mut row = row.clone();
        row.prefix = apart.prefixes.len() - 1;
        apart.rows.push(row);
    }
    policy.set_parameters(&bench.moved);
    let signals = policy.forward(&apart)?;
    policy.backward(&played.signal_gradient);
    let gradient = policy.gradient();
    let pairs = signals.logprobs_nt.iter().zip(&played.signals.logprobs_nt);
    let distances = pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    let worst = distances.fold(0.0, f64::max);
    let relative = relative(&gradient, &played.gradient);
    Ok(vec![
        Finding::new("signals", worst, LOGPROB, "nats, largest difference; f32"),
        Finding::new("gradient", relative, GRADIENT, "of its norm; f32"),
    ])
}

/// `‖a − b‖ / ‖b‖`.
pub(crate) fn relative(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>().sqrt() / math::norm(b)
}
