//! Size and soundness of a matrix.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::{dot, vectorised};

/// Entries whose squares are summed in `f32` before they join the `f64` total; fixed, so that
/// the sum does not depend on the number of threads.
const BLOCK: usize = 1024;

/// The sum of the squares of all entries, in a fixed order of summation.
pub fn squared(matrix: &Matrix) -> f64 {
    let cpu = match matrix.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::norms::squared(card, matrix),
    };
    let values = matrix.values();
    let part = cpu
        .threads()
        .part_rows(values.len(), 1)
        .next_multiple_of(BLOCK);
    let mut sums = vec![0.0; values.len().div_ceil(BLOCK)];
    let parts = values.chunks(part).zip(sums.chunks_mut(part / BLOCK));
    cpu.threads()
        .for_each(parts, |(values, sums)| square_blocks(values, sums));
    sums.iter().map(|sum| f64::from(*sum)).sum()
}

/// Whether no entry is infinite or NaN.
pub fn is_finite(matrix: &Matrix) -> bool {
    let cpu = match matrix.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::norms::is_finite(card, matrix),
    };
    let values = matrix.values();
    let part = cpu.threads().part_rows(values.len(), 1);
    let mut finite = vec![true; values.len().div_ceil(part)];
    let parts = values.chunks(part).zip(&mut finite);
    cpu.threads()
        .for_each(parts, |(values, finite)| *finite = all_finite(values));
    finite.into_iter().all(|finite| finite)
}

vectorised! {
    fn square_blocks(values: &[f32], sums: &mut [f32]) {
        for (values, sum) in values.chunks(BLOCK).zip(sums) {
            *sum = dot(values, values);
        }
    }

    fn all_finite(values: &[f32]) -> bool {
        values.chunks(BLOCK).all(|block| block.iter().fold(true, |all, x| all & x.is_finite()))
    }
}
