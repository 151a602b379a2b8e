//! A point is a mean over tokens, so it is the mean of the points of its tokens alone.

use policy::{Batch, Row};

use crate::{Bench, Finding, VerifyError};

/// Tokens whose points are taken one by one, at most.
const TOKENS: usize = 6;

/// Sums of six numbers in `f32`.
const TOLERANCE: f64 = 1e-5;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let policy = &mut bench.own.policy;
    policy.set_parameters(&bench.start);
    let played = &bench.played;
    let gated = played.batch.rows.iter().find(|row| row.reasoning.is_some());
    let Some(Row {
        prefix,
        tokens_t,
        reasoning: Some(span),
    }) = gated
    else {
        return Ok(vec![Finding::new(
            "",
            f64::NAN,
            TOLERANCE,
            "no completion was gated",
        )]);
    };
    let span = span.start..span.end.min(span.start + TOKENS);
    let over = |span| Row {
        prefix: 0,
        tokens_t: tokens_t.clone(),
        reasoning: Some(span),
    };
    let singles = span.clone().map(|token| over(token..token + 1));
    let batch = Batch {
        prefixes: vec![played.batch.prefixes[*prefix].clone()],
        rows: std::iter::once(over(span.clone())).chain(singles).collect(),
        temperature: 1.0,
    };
    let points_nd = policy.signals(&batch)?.points_nd;
    let (whole_d, singles_nd) = (&points_nd[0], &points_nd[1..]);
    let mean = |d: usize| singles_nd.iter().map(|p| p[d]).sum::<f64>() / singles_nd.len() as f64;
    let difference: Vec<f64> = whole_d
        .iter()
        .enumerate()
        .map(|(d, x)| x - mean(d))
        .collect();
    let relative = math::norm(&difference) / math::norm(whole_d);
    let detail = format!("over {} tokens, relative; f32", span.len());
    Ok(vec![Finding::new("", relative, TOLERANCE, detail)])
}
