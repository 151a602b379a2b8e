//! Drawing tokens from rows of logits.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::{exp, max, sum, vectorised};

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
///
/// # Source
/// `top_k`, then `top_p` on what is left, as the logits processors of `transformers`; nucleus:
/// Holtzman et al., arXiv 1904.09751, equations 2 and 3.
pub fn draw(logits_rv: &Matrix, options: &Options, uniforms: &[f64]) -> Vec<Draw> {
    assert_eq!(
        uniforms.len(),
        logits_rv.rows(),
        "uniforms must decide every row"
    );
    let cpu = match logits_rv.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::sample::draw(card, logits_rv, options, uniforms),
    };
    let mut draws = vec![
        Draw {
            token: 0,
            logprob: 0.0,
            entropy: 0.0
        };
        uniforms.len()
    ];
    let rows = logits_rv.values().chunks(logits_rv.columns()).zip(uniforms);
    cpu.threads()
        .for_each(rows.zip(&mut draws), |((logits, uniform), draw)| {
            *draw = draw_row(logits, options, *uniform);
        });
    draws
}

fn draw_row(logits: &[f32], options: &Options, uniform: f64) -> Draw {
    let greedy = options.temperature == 0.0;
    let divisor = if greedy { 1.0 } else { options.temperature };
    let mut weights = vec![0.0; logits.len()];
    let Sums {
        greatest,
        weight,
        energy,
    } = weigh(logits, divisor, &mut weights);
    let token = if greedy {
        logits.iter().position(|x| *x >= greatest).unwrap_or(0)
    } else {
        let floor = floor(logits, options, |logit| {
            f64::from((logit - greatest) / divisor).exp()
        });
        drop_below(floor, logits, &mut weights);
        pick(&weights, uniform)
    };
    let logprob = f64::from((logits[token] - greatest) / divisor) - weight.ln();
    let entropy = weight.ln() - energy / weight;
    Draw {
        token: token as u32,
        logprob: logprob as f32,
        entropy: entropy as f32,
    }
}

/// The sums of a row, with `s = (logit − greatest) / divisor`.
struct Sums {
    greatest: f32,
    /// `Σ eˢ`.
    weight: f64,
    /// `Σ s eˢ`.
    energy: f64,
}

/// Entries summed in `f32` before they join an `f64` sum.
const BLOCK: usize = 1024;
/// Most likely tokens that are sorted first in search of the nucleus.
const NUCLEUS_FIRST: usize = 64;

vectorised! {
    fn weigh(logits: &[f32], divisor: f32, weights: &mut [f32]) -> Sums {
        let mut sums = Sums { greatest: max(logits), weight: 0.0, energy: 0.0 };
        let mut energies = [0.0; BLOCK];
        for (logits, weights) in logits.chunks(BLOCK).zip(weights.chunks_mut(BLOCK)) {
            let energies = &mut energies[..logits.len()];
            for ((logit, weight), energy) in logits.iter().zip(&mut *weights).zip(&mut *energies) {
                let s = (logit - sums.greatest) / divisor;
                *weight = exp(s);
                *energy = if *weight == 0.0 { 0.0 } else { s * *weight };
            }
            sums.weight += f64::from(sum(weights));
            sums.energy += f64::from(sum(energies));
        }
        sums
    }

    fn drop_below(floor: f32, logits: &[f32], weights: &mut [f32]) {
        for (logit, weight) in logits.iter().zip(weights) {
            *weight = if *logit < floor { 0.0 } else { *weight };
        }
    }

    fn block_sum(weights: &[f32]) -> f32 {
        sum(weights)
    }
}

/// The least logit that truncation keeps.
fn floor(logits: &[f32], options: &Options, weight: impl Fn(f32) -> f64) -> f32 {
    let mut floor = f32::NEG_INFINITY;
    if options.top_k.is_none() && options.top_p.is_none() {
        return floor;
    }
    let mut kept = logits.to_vec();
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    if let Some(count) = options.top_k.filter(|count| *count < logits.len()) {
        floor = *kept.select_nth_unstable_by(count.max(1) - 1, descending).1;
        kept.retain(|x| *x >= floor);
    }
    let Some(mass) = options.top_p.filter(|mass| *mass < 1.0) else {
        return floor;
    };
    let wanted = f64::from(mass) * kept.iter().map(|x| weight(*x)).sum::<f64>();
    let mut count = NUCLEUS_FIRST.min(kept.len());
    loop {
        // The `count` greatest come first, in order; most nuclei end among the first few.
        if count < kept.len() {
            kept.select_nth_unstable_by(count, descending);
        }
        kept[..count].sort_unstable_by(descending);
        let mut sum = 0.0;
        for logit in &kept[..count] {
            sum += weight(*logit);
            if sum >= wanted {
                return *logit;
            }
        }
        if count == kept.len() {
            return floor;
        }
        count = (count * 4).min(kept.len());
    }
}

/// The token at `uniform` of the weights' sum, in order of token ids.
fn pick(weights: &[f32], uniform: f64) -> usize {
    let sums: Vec<f64> = weights
        .chunks(BLOCK)
        .map(|block| f64::from(block_sum(block)))
        .collect();
    let mut left = uniform * sums.iter().sum::<f64>();
    for (block, (weights, sum)) in weights.chunks(BLOCK).zip(sums).enumerate() {
        if left >= sum {
            left -= sum;
            continue;
        }
        for (token, weight) in weights.iter().enumerate() {
            left -= f64::from(*weight);
            if left < 0.0 {
                return block * BLOCK + token;
            }
        }
    }
    // Rounding went past the end.
    weights
        .iter()
        .rposition(|weight| *weight > 0.0)
        .unwrap_or(0)
}
