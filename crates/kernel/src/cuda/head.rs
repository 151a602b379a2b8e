//! Log-probabilities of given tokens, a chunk of the vocabulary at a time.

use std::ops::Range;

use super::Cuda;
use super::buffer::Buffer;
use super::launch::THREADS;
use super::product::{Operand, multiply};
use crate::device::Device;
use crate::head::{Scores, Settings};
use crate::matrix::{Matrix, Mode};

/// Logits that are held at a time, where rows are few enough for it: 128 MiB.
const LOGITS_MAX: usize = 1 << 25;
/// Tokens of a chunk at least, so that products stay large.
const CHUNK_MIN: usize = 256;
/// And at most.
const CHUNK_MAX: usize = 16384;

/// Ranges of tokens that tile the vocabulary.
fn chunks(rows: usize, vocabulary: usize) -> impl Iterator<Item = Range<usize>> {
    let chunk = (LOGITS_MAX / rows.max(1)).clamp(CHUNK_MIN, CHUNK_MAX);
    // A multiple of eight keeps every chunk of a weight aligned.
    let chunk = (chunk / 8 * 8).min(vocabulary.max(1));
    let starts = (0..vocabulary).step_by(chunk);
    starts.map(move |start| start..vocabulary.min(start + chunk))
}

/// Bytes of the logits of so many rows that are held at a time, and of their copy in bfloat16.
pub(super) fn held_bytes(rows: usize) -> usize {
    LOGITS_MAX.max(rows * CHUNK_MIN) * (size_of::<f32>() + size_of::<u16>())
}

/// The logits of some tokens, before any cap.
fn logits(cuda: &Cuda, hidden_md: &Matrix, weight_dv: &Matrix, tokens: &Range<usize>) -> Matrix {
    let device = Device::Cuda(cuda.clone());
    let mut logits = device.zeros(hidden_md.rows(), tokens.len());
    let weight = Operand::weight(weight_dv).columns(tokens.clone());
    let all = 0..tokens.len();
    multiply(
        cuda,
        &Operand::new(hidden_md),
        &weight,
        (&mut logits, all),
        Mode::Write,
    );
    logits
}

/// The cap as kernels take it: none is 0.
fn cap(settings: Settings) -> f32 {
    settings.softcap.unwrap_or(0.0)
}

/// [`crate::head::forward`].
pub(crate) fn forward(
    cuda: &Cuda,
    hidden_md: &Matrix,
    weight_dv: &Matrix,
    targets: &[u32],
    settings: Settings,
) -> Scores {
    let (rows, vocabulary) = (hidden_md.rows(), weight_dv.columns());
    let targets = cuda.table(targets);
    let mut greatest = Buffer::from_slice(cuda, &vec![f32::NEG_INFINITY; rows]);
    let (mut sums, mut chosen) = (Buffer::zeros(cuda, rows), Buffer::zeros(cuda, rows));
    for tokens in chunks(rows, vocabulary) {
        let logits = logits(cuda, hidden_md, weight_dv, &tokens);
        let launch = cuda.core("head_accumulate").read(logits.card().values());
        let launch = launch.read(&targets).write(&mut greatest);
        let launch = launch.write(&mut sums).write(&mut chosen);
        let launch = launch.size(tokens.start).size(tokens.len());
        let launch = launch
            .number(settings.inverse_temperature)
            .number(cap(settings));
        launch.run([rows, 1, 1], [THREADS, 1], 0);
    }
    let launch = cuda.core("head_finish").read(&greatest);
    let launch = launch.write(&mut sums).write(&mut chosen).size(rows);
    launch.run([rows.div_ceil(THREADS), 1, 1], [THREADS, 1], 0);
    Scores {
        logprobs_m: chosen.to_vec(rows),
        log_sum_exp_m: sums.to_vec(rows),
    }
}

/// [`crate::head::backward`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    cuda: &Cuda,
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
    let targets = cuda.table(targets);
    let log_sum_exp = Buffer::from_slice(cuda, log_sum_exp_m);
    let grad_logprobs = Buffer::from_slice(cuda, grad_logprobs_m);
    for tokens in chunks(rows, vocabulary) {
        let mut logits = logits(cuda, hidden_md, weight_dv, &tokens);
        let launch = cuda
            .core("head_gradient")
            .write(logits.card_mut().values_mut());
        let launch = launch
            .read(&targets)
            .read(&log_sum_exp)
            .read(&grad_logprobs);
        let launch = launch.size(tokens.start).size(tokens.len());
        let launch = launch
            .number(settings.inverse_temperature)
            .number(cap(settings));
        launch.run([rows, 1, 1], [THREADS, 1], 0);
        // Two products read the gradients.
        let gradients = Operand::weight(&logits);
        let weight = Operand::weight(weight_dv)
            .columns(tokens.clone())
            .transposed();
        multiply(
            cuda,
            &gradients,
            &weight,
            (&mut *grad_hidden_md, 0..width),
            Mode::Add,
        );
        if let Some(grad_weight) = &mut grad_weight_dv {
            let hidden = Operand::new(hidden_md).transposed();
            multiply(
                cuda,
                &hidden,
                &gradients,
                (&mut **grad_weight, tokens),
                Mode::Add,
            );
        }
    }
}
