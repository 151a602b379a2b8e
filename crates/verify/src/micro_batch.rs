//! The step in slices against the step in one piece.

use crate::play::Parts;
use crate::prefix::relative;
use crate::{Bench, Finding, VerifyError};

/// Of the gradient's norm: sums of slices in another order, `f32`.
const GRADIENT: f64 = 1e-4;
const LOSS: f64 = 1e-5;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let tokens = bench.played.batch.computed_tokens() / 5;
    let play = bench.play()?;
    let sliced = play.learn(bench.own.policy, &bench.moved, Parts::All, tokens)?;
    let whole = &bench.played;
    let distance = (sliced.metric("loss") - whole.metric("loss")).abs();
    let slices = whole.batch.slices(tokens).len();
    Ok(vec![
        Finding::new("loss", distance, LOSS, format!("{slices} slices; f32")),
        Finding::new(
            "gradient",
            relative(&sliced.gradient, &whole.gradient),
            GRADIENT,
            "of its norm; f32",
        ),
    ])
}
