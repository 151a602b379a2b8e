//! Root-mean-square normalisation of equal runs of columns, which [`crate::rms_norm`] uses on
//! whole rows and [`crate::head_norm`] on heads.

use std::borrow::Cow;
use std::ops::Range;

use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::vector::{dot, vectorised};

/// Rows whose gradient in the weight is summed together; fixed, so that the order of summation
/// does not depend on the number of threads.
const BLOCK_ROWS: usize = 64;

/// The constants of a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Added to the mean of the squares.
    pub epsilon: f32,
    /// Added to every weight: 1 where a weight of 0 leaves the normed values as they are, else 0.
    pub offset: f32,
}

impl Norm {
    /// What the normed values are multiplied by.
    fn factors(self, weight: &Matrix) -> Cow<'_, [f32]> {
        if self.offset == 0.0 {
            return Cow::Borrowed(weight.values());
        }
        weight.values().iter().map(|w| self.offset + w).collect()
    }
}

/// `y = x · inverse_rms · (offset + weight)` for every run of the weight's width in the column
/// range.
pub(crate) fn forward(
    x: &Matrix,
    columns: &Range<usize>,
    weight: &Matrix,
    norm: Norm,
    y: &mut Matrix,
    inverse_rms: &mut Matrix,
) {
    let (rows, width, runs) = (x.rows(), x.columns(), runs(x, columns, weight));
    y.expect_shape("y", rows, width);
    inverse_rms.expect_shape("inverse_rms", rows, runs);
    let cpu = match x.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::norms::forward(card, x, columns, weight, norm, y, inverse_rms);
        }
    };
    let part = cpu.threads().part_rows(rows, columns.len());
    let inputs = x.values().chunks(part * width);
    let outputs = y.values_mut().chunks_mut(part * width);
    let inverses = inverse_rms.values_mut().chunks_mut(part * runs);
    let factors = norm.factors(weight);
    cpu.threads().for_each(
        inputs.zip(outputs).zip(inverses),
        |((x, y), inverse_rms)| {
            forward_rows(x, width, columns, &factors, norm.epsilon, y, inverse_rms);
        },
    );
}

/// The gradient in `x`, written or added in the column range, and, added, in the weight.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
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
    let (rows, width, runs) = (x.rows(), x.columns(), runs(x, columns, weight));
    let size = weight.columns();
    inverse_rms.expect_shape("inverse_rms", rows, runs);
    grad_y.expect_shape("grad_y", rows, width);
    grad_x.expect_shape("grad_x", rows, width);
    grad_weight.expect_shape("grad_weight", 1, size);
    let cpu = match x.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::norms::backward(
                card,
                x,
                columns,
                weight,
                norm,
                inverse_rms,
                grad_y,
                grad_x,
                mode,
                grad_weight,
            );
        }
    };
    let part = cpu
        .threads()
        .part_rows(rows, 2 * columns.len())
        .next_multiple_of(BLOCK_ROWS);
    let mut partial = vec![0.0; rows.div_ceil(BLOCK_ROWS) * size];
    let inputs = x
        .values()
        .chunks(part * width)
        .zip(grad_y.values().chunks(part * width));
    let inputs = inputs.zip(inverse_rms.values().chunks(part * runs));
    let outputs = grad_x.values_mut().chunks_mut(part * width);
    let outputs = outputs.zip(partial.chunks_mut(part / BLOCK_ROWS * size));
    let factors = norm.factors(weight);
    cpu.threads().for_each(
        inputs.zip(outputs),
        |(((x, grad_y), inverse), (grad_x, partial))| {
            backward_rows(
                x, width, columns, &factors, inverse, grad_y, grad_x, mode, partial,
            );
        },
    );
    for partial in partial.chunks(size) {
        grad_weight
            .values_mut()
            .iter_mut()
            .zip(partial)
            .for_each(|(sum, x)| *sum += x);
    }
}

fn runs(x: &Matrix, columns: &Range<usize>, weight: &Matrix) -> usize {
    let size = weight.columns();
    weight.expect_shape("weight", 1, size);
    assert!(
        columns.end <= x.columns(),
        "columns {columns:?} of {}",
        x.columns()
    );
    assert_eq!(
        columns.len() % size,
        0,
        "columns {columns:?} cut a run of {size}"
    );
    columns.len() / size
}

vectorised! {
    fn forward_rows(
        x: &[f32],
        width: usize,
        columns: &Range<usize>,
        weight: &[f32],
        epsilon: f32,
        y: &mut [f32],
        inverse_rms: &mut [f32],
    ) {
        let size = weight.len();
        let runs = |row: Range<usize>| row.step_by(size);
        let mut inverses = inverse_rms.iter_mut();
        for (x, y) in x.chunks(width).zip(y.chunks_mut(width)) {
            for (at, inverse) in runs(columns.clone()).zip(inverses.by_ref()) {
                let (x, y) = (&x[at..at + size], &mut y[at..at + size]);
                *inverse = 1.0 / (dot(x, x) / size as f32 + epsilon).sqrt();
                for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                    *y = x * *inverse * weight;
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn backward_rows(
        x: &[f32],
        width: usize,
        columns: &Range<usize>,
        weight: &[f32],
        inverse_rms: &[f32],
        grad_y: &[f32],
        grad_x: &mut [f32],
        mode: Mode,
        partial: &mut [f32],
    ) {
        let size = weight.len();
        let mut inverses = inverse_rms.iter();
        let mut scaled = vec![0.0; size];
        let rows = x.chunks(width).zip(grad_y.chunks(width)).zip(grad_x.chunks_mut(width));
        for (row, ((x, grad_y), grad_x)) in rows.enumerate() {
            let sums = &mut partial[row / BLOCK_ROWS * size..][..size];
            for (at, &inverse) in columns.clone().step_by(size).zip(inverses.by_ref()) {
                let (x, grad_y) = (&x[at..at + size], &grad_y[at..at + size]);
                for i in 0..size {
                    sums[i] += grad_y[i] * x[i] * inverse;
                    scaled[i] = grad_y[i] * weight[i];
                }
                let slope = dot(&scaled, x) * inverse * inverse * inverse / size as f32;
                let grad_x = &mut grad_x[at..at + size];
                for ((grad_x, x), scaled) in grad_x.iter_mut().zip(x).zip(&scaled) {
                    let old = if mode == Mode::Add { *grad_x } else { 0.0 };
                    *grad_x = old + (scaled * inverse - x * slope);
                }
            }
        }
    }
}
