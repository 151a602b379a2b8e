//! Drawing tokens from rows of logits.

use crate::matrix::Matrix;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keep only this many most likely tokens (and those that tie with the last of them).
    pub top_k: Option<usize>,
    /// Keep the fewest most likely tokens whose probability reaches this much, in `(0, 1]`.
    pub top_p: Option<f32>,
}

/// A token drawn from one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// The token.
    pub token: u32,
    /// Its log-probability under `softmax(logits / temperature)`, before any truncation, in nats;
    /// at temperature 0, under `softmax(logits)`.
    pub logprob: f32,
    /// The entropy of that same distribution, in nats.
    pub entropy: f32,
}

/// Draws one token a row; `uniforms[r]` in `[0, 1)` decides row `r`, so equal inputs give equal
/// tokens.
pub fn draw(logits_rv: &Matrix, options: &Options, uniforms: &[f64]) -> Vec<Draw> {
    assert_eq!(uniforms.len(), logits_rv.rows(), "uniforms must decide every row");
    let rows = logits_rv.values().chunks(logits_rv.columns());
    rows.zip(uniforms).map(|(logits, uniform)| draw_row(logits, options, *uniform)).collect()
}

fn draw_row(logits: &[f32], options: &Options, uniform: f64) -> Draw {
    let divisor = if options.temperature == 0.0 { 1.0 } else { options.temperature };
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from((logit - max) / divisor).exp();
    let total: f64 = logits.iter().map(|x| weight(*x)).sum();
    let logprob = |logit: f32| f64::from((logit - max) / divisor) - total.ln();
    let plogp = |logit: f32| weight(logit) / total * logprob(logit);
    let entropy = -logits.iter().filter(|x| weight(**x) > 0.0).map(|x| plogp(*x)).sum::<f64>();
    let token = if options.temperature == 0.0 {
        logits.iter().position(|x| *x == max).unwrap_or(0)
    } else {
        let floor = floor(logits, options, &weight);
        pick(logits, floor, &weight, uniform)
    };
    Draw { token: token as u32, logprob: logprob(logits[token]) as f32, entropy: entropy as f32 }
}

/// The least logit that truncation keeps.
fn floor(logits: &[f32], options: &Options, weight: &impl Fn(f32) -> f64) -> f32 {
    if options.top_k.is_none() && options.top_p.is_none() {
        return f32::NEG_INFINITY;
    }
    let mut sorted = logits.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    if let Some(count) = options.top_k {
        let least = sorted[count.clamp(1, sorted.len()) - 1];
        sorted.retain(|x| *x >= least);
    }
    if let Some(mass) = options.top_p {
        let wanted = f64::from(mass) * sorted.iter().map(|x| weight(*x)).sum::<f64>();
        let mut sum = 0.0;
        sorted.retain(|x| {
            let keep = sum < wanted;
            sum += weight(*x);
            keep
        });
    }
    sorted.last().copied().unwrap_or(f32::INFINITY)
}

/// The token at `uniform` of the kept tokens' probability, in order of token ids.
fn pick(logits: &[f32], floor: f32, weight: &impl Fn(f32) -> f64, uniform: f64) -> usize {
    let kept = || logits.iter().enumerate().filter(|(_, x)| **x >= floor);
    let mut left = uniform * kept().map(|(_, x)| weight(*x)).sum::<f64>();
    let mut last = 0;
    for (token, logit) in kept().filter(|(_, x)| weight(**x) > 0.0) {
        last = token;
        left -= weight(*logit);
        if left < 0.0 {
            break;
        }
    }
    last
}
