//! Multiplication by one number.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::vectorised;

/// `x *= by`, entry by entry.
pub fn by(x_nd: &mut Matrix, by: f32) {
    let cpu = match x_nd.device().clone() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::elements::scale(&card, x_nd, by),
    };
    let part = cpu.threads().part_rows(x_nd.values().len(), 1);
    let parts = x_nd.values_mut().chunks_mut(part);
    cpu.threads().for_each(parts, |x| multiply(x, by));
}

vectorised! {
    fn multiply(x: &mut [f32], by: f32) {
        for x in x {
            *x *= by;
        }
    }
}
