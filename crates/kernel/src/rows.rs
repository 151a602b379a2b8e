//! Rows picked out of a matrix, and their gradient put back.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;

/// `out[m, :] = x[indices[m], :]`.
pub fn gather(x_nd: &Matrix, indices: &[u32], out_md: &mut Matrix) {
    let width = x_nd.columns();
    out_md.expect_shape("out", indices.len(), width);
    expect_rows(indices, x_nd.rows());
    if let Device::Cuda(card) = x_nd.device() {
        return cuda::rows::gather(card, x_nd, indices, out_md);
    }
    for (out, &index) in out_md.values_mut().chunks_mut(width).zip(indices) {
        out.copy_from_slice(&x_nd.values()[index as usize * width..][..width]);
    }
}

/// `grad_x[indices[m], :] += grad_out[m, :]`, for every row in order.
pub fn scatter_add(indices: &[u32], grad_out_md: &Matrix, grad_x_nd: &mut Matrix) {
    let width = grad_x_nd.columns();
    grad_out_md.expect_shape("grad_out", indices.len(), width);
    expect_rows(indices, grad_x_nd.rows());
    if let Device::Cuda(card) = grad_out_md.device() {
        return cuda::rows::scatter(card, indices, grad_out_md, grad_x_nd);
    }
    for (grad, &index) in grad_out_md.values().chunks(width).zip(indices) {
        let target = &mut grad_x_nd.values_mut()[index as usize * width..][..width];
        target
            .iter_mut()
            .zip(grad)
            .for_each(|(target, grad)| *target += grad);
    }
}

fn expect_rows(indices: &[u32], rows: usize) {
    let outside = indices.iter().find(|index| **index as usize >= rows);
    assert!(outside.is_none(), "row {outside:?} of {rows}");
}
