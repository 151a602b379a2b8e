//! Rows picked out of a matrix, and their gradient put back.

use crate::matrix::Matrix;

/// `out[m, :] = x[indices[m], :]`.
pub fn gather(x_nd: &Matrix, indices: &[u32], out_md: &mut Matrix) {
    let width = x_nd.columns();
    out_md.expect_shape("out", indices.len(), width);
    for (out, &index) in out_md.values_mut().chunks_mut(width).zip(indices) {
        out.copy_from_slice(&x_nd.values()[index as usize * width..][..width]);
    }
}

/// `grad_x[indices[m], :] += grad_out[m, :]`, for every row in order.
pub fn scatter_add(indices: &[u32], grad_out_md: &Matrix, grad_x_nd: &mut Matrix) {
    let width = grad_x_nd.columns();
    grad_out_md.expect_shape("grad_out", indices.len(), width);
    for (grad, &index) in grad_out_md.values().chunks(width).zip(indices) {
        let target = &mut grad_x_nd.values_mut()[index as usize * width..][..width];
        target
            .iter_mut()
            .zip(grad)
            .for_each(|(target, grad)| *target += grad);
    }
}
