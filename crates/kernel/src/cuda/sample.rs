//! Drawing tokens from rows of logits.

use super::Cuda;
use super::buffer::Buffer;
use super::launch::THREADS;
use crate::matrix::Matrix;
use crate::sample::{Draw, Options};

/// Tokens that the kernel's table of sums reaches.
const VOCABULARY_MAX: usize = 512 * 1024;

/// [`crate::sample::draw`].
pub(crate) fn draw(
    cuda: &Cuda,
    logits_rv: &Matrix,
    options: &Options,
    uniforms: &[f64],
) -> Vec<Draw> {
    let (rows, vocabulary) = (logits_rv.rows(), logits_rv.columns());
    assert!(vocabulary <= VOCABULARY_MAX, "a vocabulary of {vocabulary}");
    let uniforms = Buffer::from_slice(cuda, uniforms);
    let mut tokens = Buffer::unset(cuda, rows);
    let (mut logprobs, mut entropies) = (Buffer::unset(cuda, rows), Buffer::unset(cuda, rows));
    let launch = cuda.core("sample_draw").read(logits_rv.card().values());
    let launch = launch.read(&uniforms).write(&mut tokens);
    let launch = launch.write(&mut logprobs).write(&mut entropies);
    let launch = launch.size(vocabulary).number(options.temperature);
    let launch = launch.size(options.top_k.map_or(0, |count| count.max(1)));
    let launch = launch.number(options.top_p.map_or(1.0, |mass| mass.min(1.0)));
    launch.run([rows, 1, 1], [THREADS, 1], 0);
    let (logprobs, entropies) = (logprobs.to_vec(rows), entropies.to_vec(rows));
    let numbers = logprobs.into_iter().zip(entropies);
    let draw = |(token, (logprob, entropy))| Draw {
        token,
        logprob,
        entropy,
    };
    tokens
        .to_vec(rows)
        .into_iter()
        .zip(numbers)
        .map(draw)
        .collect()
}
