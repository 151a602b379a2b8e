//! The tiny policy against its own forward pass in `f64`: exact values, and exact differences.

use policy::{Batch, Signals};

use crate::bench::beside;
use crate::difference::{errors, gradients};
use crate::play::{Parts, Play};
use crate::stage::Score;
use crate::{Bench, DecoderShape, Finding, VerifyError};

/// The tiny decoder: two layers, two query heads to a key head, a vocabulary of several chunks.
pub const TINY: DecoderShape = DecoderShape {
    width: 24,
    layers: 2,
    query_heads: 4,
    key_value_heads: 2,
    inner: 40,
    context: 160,
    rms_norm_epsilon: 1e-6,
    rope_theta: 10_000.0,
};

/// Nats and coordinates: rounding in `f32` over two layers.
const SIGNALS: f64 = 1e-5;
/// Of the gradient's norm: rounding of the gradient in `f32`; the differences are good to 1e-8.
const GRADIENT: f64 = 1e-4;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let start = bench.tiny.policy.parameters();
    let moved = beside(&start);
    let play = Play::new(&bench.tiny)?.samples_at(bench.tiny.policy, &start)?;
    let played = play.learn(bench.tiny.policy, &moved, Parts::All, usize::MAX)?;
    let expected = bench.decoder.signals(&moved, &played.batch);
    let mut found = signals(&played.signals, &expected);

    let gradients = gradients(&play, &mut bench.tiny, &moved)?;
    bench.tiny.policy.set_parameters(&start);
    let decoder = bench.decoder;
    let reference: &Score = &|batch: &Batch| Ok(decoder.signals(&start, batch));
    let mut values = |parameters: &[f64]| {
        let now: &Score = &|batch: &Batch| Ok(decoder.signals(parameters, batch));
        play.speak(now, reference)
    };
    let errors = errors(&moved, &gradients, &mut values)?;
    let finding = |(parts, error): (Parts, f64)| {
        let detail = "relative to the gradient's norm; differences of values in f64";
        Finding::new(parts.name(), error, GRADIENT, detail)
    };
    found.extend(Parts::EACH.into_iter().zip(errors).map(finding));
    Ok(found)
}

fn signals(found: &Signals, expected: &Signals) -> Vec<Finding> {
    let largest = |found: &[Vec<f64>], expected: &[Vec<f64>]| {
        let rows = found.iter().zip(expected);
        let distances = rows.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()));
        let worse = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
        distances.fold(0.0, worse)
    };
    let logprobs = largest(&found.logprobs_nt, &expected.logprobs_nt);
    let points = largest(&found.points_nd, &expected.points_nd);
    vec![
        Finding::new(
            "logprobs",
            logprobs,
            SIGNALS,
            "nats, largest difference from f64; f32",
        ),
        Finding::new(
            "points",
            points,
            SIGNALS,
            "largest difference from f64; f32",
        ),
    ]
}
