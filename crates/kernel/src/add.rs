//! Residual addition.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::vectorised;

/// `y += x`, entry by entry.
pub fn into(x_nd: &Matrix, y_nd: &mut Matrix) {
    x_nd.expect_shape("x", y_nd.rows(), y_nd.columns());
    let cpu = match x_nd.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::elements::add(card, x_nd, y_nd),
    };
    let part = cpu.threads().part_rows(x_nd.values().len(), 1);
    let parts = x_nd
        .values()
        .chunks(part)
        .zip(y_nd.values_mut().chunks_mut(part));
    cpu.threads().for_each(parts, |(x, y)| add(x, y));
}

vectorised! {
    fn add(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
}
