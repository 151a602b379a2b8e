//! Log-probabilities of given tokens, without the matrix of logits.
//!
//! The vocabulary is walked in chunks: the forward keeps a running maximum and sum of
//! exponentials a row, the backward rebuilds each chunk's probabilities from the logarithm of
//! that sum.

use std::ops::Range;

use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::product::{Target, View, multiply, multiply_shared};
use crate::softcap;
use crate::vector::{exp, max, sum_exp, vectorised};

/// Rows of one block of logits, at most.
const BLOCK_ROWS: usize = 256;
/// Tokens of one chunk of the vocabulary in the forward: a block of logits fits a core's cache.
const CHUNK_FORWARD: usize = 512;
/// Gradients in logits that the backward holds at a time, where rows are few enough for it.
const GRADIENTS_MAX: usize = 1 << 21;

/// How logits become a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Multiplies the logits, after they are capped.
    pub inverse_temperature: f32,
    /// Caps the logits softly ([`crate::softcap`]).
    pub softcap: Option<f32>,
}

/// What the head gives for each row: nothing of the size of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Log-probability of the target, in nats.
    pub logprobs_m: Vec<f32>,
    /// Logarithm of the sum of exponentials of the row's logits times the inverse temperature.
    pub log_sum_exp_m: Vec<f32>,
}

/// Scores `targets[m]` under `softmax(cap(hidden[m, :] W) · inverse_temperature)`.
///
/// # Source
/// The running maximum and sum of Milakov and Gimelshein, arXiv 1805.02867, algorithm 3.
pub fn forward(
    hidden_md: &Matrix,
    weight_dv: &Matrix,
    targets: &[u32],
    settings: Settings,
) -> Scores {
    let (rows, width) = (hidden_md.rows(), weight_dv.rows());
    hidden_md.expect_shape("hidden", rows, width);
    expect_targets(targets, rows, weight_dv.columns());
    let cpu = match hidden_md.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::head::forward(card, hidden_md, weight_dv, targets, settings);
        }
    };
    let mut scores = Scores {
        logprobs_m: vec![0.0; rows],
        log_sum_exp_m: vec![0.0; rows],
    };
    let block = block_rows(rows);
    let inputs = hidden_md
        .values()
        .chunks(block * width)
        .zip(targets.chunks(block));
    let outputs = scores
        .logprobs_m
        .chunks_mut(block)
        .zip(scores.log_sum_exp_m.chunks_mut(block));
    cpu.threads().for_each(
        inputs.zip(outputs),
        |((hidden, targets), (logprobs, lse))| {
            let hidden = View::new(hidden, width);
            score_block(hidden, weight_dv.view(), targets, settings, logprobs, lse);
        },
    );
    scores
}

/// Adds the gradients in the hidden states and, where it learns, the weight, from the gradient in
/// the log-probabilities: `dlogits = g (onehot − softmax) · inverse_temperature`,
/// times the slope of the cap.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    hidden_md: &Matrix,
    weight_dv: &Matrix,
    targets: &[u32],
    settings: Settings,
    log_sum_exp_m: &[f32],
    grad_logprobs_m: &[f32],
    grad_hidden_md: &mut Matrix,
    mut grad_weight_dv: Option<&mut Matrix>,
) {
    let (rows, width, vocabulary) = (hidden_md.rows(), weight_dv.rows(), weight_dv.columns());
    hidden_md.expect_shape("hidden", rows, width);
    grad_hidden_md.expect_shape("grad_hidden", rows, width);
    if let Some(grad_weight) = &grad_weight_dv {
        grad_weight.expect_shape("grad_weight", width, vocabulary);
    }
    expect_targets(targets, rows, vocabulary);
    assert_eq!(log_sum_exp_m.len(), rows, "log_sum_exp must have every row");
    assert_eq!(
        grad_logprobs_m.len(),
        rows,
        "grad_logprobs must have every row"
    );
    let cpu = match hidden_md.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::head::backward(
                card,
                hidden_md,
                weight_dv,
                targets,
                settings,
                log_sum_exp_m,
                grad_logprobs_m,
                grad_hidden_md,
                grad_weight_dv,
            );
        }
    };
    let chunk = (GRADIENTS_MAX / rows.max(1))
        .clamp(256, 4096)
        .min(vocabulary.max(1));
    let block = block_rows(rows);
    let mut grad_logits = vec![0.0; rows * chunk];
    for first in (0..vocabulary).step_by(chunk) {
        let tokens = first..(first + chunk).min(vocabulary);
        let count = tokens.len();
        let grad_logits = &mut grad_logits[..rows * count];
        let weight = weight_dv.view().block(0..width, tokens.clone());
        let inputs = hidden_md
            .values()
            .chunks(block * width)
            .zip(targets.chunks(block));
        let sums = log_sum_exp_m
            .chunks(block)
            .zip(grad_logprobs_m.chunks(block));
        let parts = inputs.zip(sums).zip(grad_logits.chunks_mut(block * count));
        cpu.threads()
            .for_each(parts, |(((hidden, targets), (lse, grads)), logits)| {
                let mut target = Target::new(logits, count);
                multiply(View::new(hidden, width), weight, &mut target, Mode::Write);
                to_gradients(logits, &tokens, targets, settings, lse, grads);
            });
        let grad_logits = View::new(grad_logits, count);
        let add = |a: View, b: View, target: Target| {
            multiply_shared(cpu.threads(), a, b, target, Mode::Add, |_, _| {});
        };
        add(grad_logits, weight.transposed(), grad_hidden_md.target());
        if let Some(grad_weight) = &mut grad_weight_dv {
            let (grad_weight, _) = grad_weight.target().split_columns(tokens.end);
            let (_, grad_weight) = grad_weight.split_columns(first);
            add(hidden_md.view().transposed(), grad_logits, grad_weight);
        }
    }
}

fn expect_targets(targets: &[u32], rows: usize, vocabulary: usize) {
    assert_eq!(
        targets.len(),
        rows,
        "targets must name a token for every row"
    );
    let outside = targets
        .iter()
        .find(|target| **target as usize >= vocabulary);
    assert!(
        outside.is_none(),
        "target {outside:?} in a vocabulary of {vocabulary}"
    );
}

/// Rows of one block, whatever the number of threads.
fn block_rows(rows: usize) -> usize {
    (rows / 8).clamp(16, BLOCK_ROWS)
}

/// Scores some rows over the whole vocabulary.
fn score_block(
    hidden: View,
    weight: View,
    targets: &[u32],
    settings: Settings,
    logprobs: &mut [f32],
    log_sum_exp: &mut [f32],
) {
    let inverse_temperature = settings.inverse_temperature;
    let rows = targets.len();
    let vocabulary = weight.columns();
    let mut logits = vec![0.0; rows * CHUNK_FORWARD.min(vocabulary)];
    let mut greatest = vec![f32::NEG_INFINITY; rows];
    let mut sums = vec![0.0; rows];
    for first in (0..vocabulary).step_by(CHUNK_FORWARD) {
        let tokens = first..(first + CHUNK_FORWARD).min(vocabulary);
        let logits = &mut logits[..rows * tokens.len()];
        let weight = weight.block(0..weight.rows(), tokens.clone());
        multiply(
            hidden,
            weight,
            &mut Target::new(logits, tokens.len()),
            Mode::Write,
        );
        if let Some(cap) = settings.softcap {
            softcap::bend(logits, cap);
        }
        for (row, &target) in targets.iter().enumerate() {
            if tokens.contains(&(target as usize)) {
                let logit = logits[row * tokens.len() + target as usize - first];
                logprobs[row] = logit * inverse_temperature;
            }
        }
        accumulate(
            logits,
            tokens.len(),
            inverse_temperature,
            &mut greatest,
            &mut sums,
        );
    }
    for row in 0..rows {
        log_sum_exp[row] = greatest[row] + sums[row].ln();
        logprobs[row] -= log_sum_exp[row];
    }
}

/// Turns a chunk of logits into the gradients in them.
fn to_gradients(
    logits: &mut [f32],
    tokens: &Range<usize>,
    targets: &[u32],
    settings: Settings,
    log_sum_exp: &[f32],
    grad_logprobs: &[f32],
) {
    let by = settings.inverse_temperature;
    let Some(cap) = settings.softcap else {
        return logits_to_gradients(logits, tokens, targets, by, log_sum_exp, grad_logprobs);
    };
    let mut slopes = vec![0.0; logits.len()];
    softcap::bend_with_slopes(logits, &mut slopes, cap);
    logits_to_gradients(logits, tokens, targets, by, log_sum_exp, grad_logprobs);
    softcap::multiply(logits, &slopes);
}

vectorised! {
    /// Takes a chunk of logits into each row's maximum and sum of exponentials.
    fn accumulate(
        logits: &[f32],
        tokens: usize,
        inverse_temperature: f32,
        greatest: &mut [f32],
        sums: &mut [f32],
    ) {
        let states = greatest.iter_mut().zip(sums);
        for (logits, (greatest, sum)) in logits.chunks(tokens).zip(states) {
            let old = *greatest;
            *greatest = old.max(max(logits) * inverse_temperature);
            *sum = *sum * exp(old - *greatest) + sum_exp(logits, inverse_temperature, *greatest);
        }
    }

    /// Turns a chunk of logits, capped where they are, into the gradients in them.
    fn logits_to_gradients(
        logits: &mut [f32],
        tokens: &Range<usize>,
        targets: &[u32],
        inverse_temperature: f32,
        log_sum_exp: &[f32],
        grad_logprobs: &[f32],
    ) {
        let rows = targets.iter().zip(log_sum_exp).zip(grad_logprobs);
        for (logits, ((target, lse), grad)) in logits.chunks_mut(tokens.len()).zip(rows) {
            let slope = grad * inverse_temperature;
            for x in logits.iter_mut() {
                *x = -slope * exp(*x * inverse_temperature - lse);
            }
            if let Some(at) = (*target as usize).checked_sub(tokens.start)
                && at < tokens.len()
            {
                logits[at] += slope;
            }
        }
    }
}
