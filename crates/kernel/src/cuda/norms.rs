//! Norms of rows and heads, and sums over matrices.

use std::ops::Range;

use super::Cuda;
use super::buffer::Buffer;
use super::launch::THREADS;
use crate::matrix::{Matrix, Mode};
use crate::rms::Norm;

/// Entries up to which one warp does a run alone.
const WARP_ENTRIES_MAX: usize = 256;
/// Threads of a warp.
const WARP: usize = 32;
/// Rows whose gradient in the weight is summed together.
const PART_ROWS: usize = 64;
/// Partial sums of squares, at most.
const PARTIALS_MAX: usize = 1024;

fn threads(size: usize) -> usize {
    if size <= WARP_ENTRIES_MAX {
        WARP
    } else {
        THREADS
    }
}

/// `crate::rms::forward`.
pub(crate) fn forward(
    cuda: &Cuda,
    x: &Matrix,
    columns: &Range<usize>,
    weight: &Matrix,
    norm: Norm,
    y: &mut Matrix,
    inverse_rms: &mut Matrix,
) {
    let (size, runs) = (weight.columns(), inverse_rms.columns());
    let launch = cuda.core("rms_forward").read(x.card().values());
    let launch = launch.read(weight.card().values());
    let launch = launch.write(y.card_mut().values_mut());
    let launch = launch.write(inverse_rms.card_mut().values_mut());
    let launch = launch.size(x.columns()).size(columns.start).size(size);
    let launch = launch.number(norm.epsilon).number(norm.offset);
    launch.run([x.rows(), runs, 1], [threads(size), 1], 0);
}

/// `crate::rms::backward`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    cuda: &Cuda,
    x: &Matrix,
    columns: &Range<usize>,
    weight: &Matrix,
    norm: Norm,
    inverse_rms: &Matrix,
    grad_y: &Matrix,
    grad_x: &mut Matrix,
    mode: Mode,
    grad_weight: &mut Matrix,
) {
    let (rows, width, size) = (x.rows(), x.columns(), weight.columns());
    let runs = inverse_rms.columns();
    let launch = cuda.core("rms_backward").read(x.card().values());
    let launch = launch.read(weight.card().values());
    let launch = launch
        .read(inverse_rms.card().values())
        .read(grad_y.card().values());
    let launch = launch.write(grad_x.card_mut().values_mut());
    let launch = launch.size(width).size(columns.start).size(size);
    let launch = launch
        .number(norm.offset)
        .word(u32::from(mode == Mode::Add));
    launch.run([rows, runs, 1], [threads(size), 1], 0);
    let parts = rows.div_ceil(PART_ROWS);
    let mut partial = Buffer::unset(cuda, parts * size);
    let launch = cuda.core("rms_backward_weight").read(x.card().values());
    let launch = launch
        .read(inverse_rms.card().values())
        .read(grad_y.card().values());
    let launch = launch.write(&mut partial).size(rows).size(width);
    let launch = launch
        .size(columns.start)
        .size(runs)
        .size(size)
        .size(PART_ROWS);
    launch.run([size.div_ceil(THREADS), parts, 1], [THREADS, 1], 0);
    sum_columns(cuda, &partial, (parts, size), grad_weight);
}

/// `sums += Σ rows`.
pub(super) fn sum_columns(
    cuda: &Cuda,
    x: &Buffer<f32>,
    (rows, columns): (usize, usize),
    sums: &mut Matrix,
) {
    let launch = cuda.core("column_sums").read(x);
    let launch = launch.write(sums.card_mut().values_mut());
    let launch = launch.size(rows).size(columns);
    launch.run([columns.div_ceil(WARP), 1, 1], [WARP, 8], 0);
}

/// `crate::norm::squared`.
pub(crate) fn squared(cuda: &Cuda, x: &Matrix) -> f64 {
    let count = x.rows() * x.columns();
    let blocks = count.div_ceil(THREADS).min(PARTIALS_MAX);
    let mut partial = Buffer::<f64>::unset(cuda, blocks);
    let launch = cuda.core("squared_partials").read(x.card().values());
    let launch = launch.write(&mut partial).size(count);
    launch.run([blocks, 1, 1], [THREADS, 1], 0);
    partial.to_vec(blocks).iter().sum()
}

/// `crate::norm::is_finite`.
pub(crate) fn is_finite(cuda: &Cuda, x: &Matrix) -> bool {
    let count = x.rows() * x.columns();
    let mut found = Buffer::<u32>::zeros(cuda, 1);
    let launch = cuda.core("find_not_finite").read(x.card().values());
    launch.write(&mut found).size(count).over(count);
    found.to_vec(1) == [0]
}
