//! Token embedding from a table stored as the head's weight, one column a token.

use crate::matrix::Matrix;

/// `out[n, :] = table[:, ids[n]]`.
pub fn forward(table_dv: &Matrix, ids: &[u32], out_nd: &mut Matrix) {
    let (width, vocabulary) = (table_dv.rows(), table_dv.columns());
    out_nd.expect_shape("out", ids.len(), width);
    let table = table_dv.values();
    for (row, &id) in out_nd.values_mut().chunks_mut(width).zip(ids) {
        for (j, value) in row.iter_mut().enumerate() {
            *value = table[j * vocabulary + id as usize];
        }
    }
}

/// `grad_table[:, ids[n]] += grad_out[n, :]`, for every row in order.
pub fn backward(ids: &[u32], grad_out_nd: &Matrix, grad_table_dv: &mut Matrix) {
    let (width, vocabulary) = (grad_table_dv.rows(), grad_table_dv.columns());
    grad_out_nd.expect_shape("grad_out", ids.len(), width);
    let table = grad_table_dv.values_mut();
    for (row, &id) in grad_out_nd.values().chunks(width).zip(ids) {
        for (j, value) in row.iter().enumerate() {
            table[j * vocabulary + id as usize] += value;
        }
    }
}
