//! Token embedding from a table stored as the head's weight, one column a token.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;

/// Rows of the table walked together: one cache line of a row of the output.
const STRIPE: usize = 16;

/// `out[n, :] = table[:, ids[n]]`.
pub fn forward(table_dv: &Matrix, ids: &[u32], out_nd: &mut Matrix) {
    let (width, vocabulary) = (table_dv.rows(), table_dv.columns());
    out_nd.expect_shape("out", ids.len(), width);
    expect_ids(ids, vocabulary);
    let cpu = match table_dv.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::rows::embed(card, table_dv, ids, out_nd),
    };
    let part = cpu.threads().part_rows(ids.len(), 8 * width);
    let parts = ids
        .chunks(part)
        .zip(out_nd.values_mut().chunks_mut(part * width));
    cpu.threads().for_each(parts, |(ids, out)| {
        for (stripe, table) in table_dv.values().chunks(STRIPE * vocabulary).enumerate() {
            for (row, &id) in out.chunks_mut(width).zip(ids) {
                let row = &mut row[stripe * STRIPE..];
                for (value, table) in row.iter_mut().zip(table.chunks(vocabulary)) {
                    *value = table[id as usize];
                }
            }
        }
    });
}

/// `grad_table[:, ids[n]] += grad_out[n, :]`, for every row in order.
pub fn backward(ids: &[u32], grad_out_nd: &Matrix, grad_table_dv: &mut Matrix) {
    let (width, vocabulary) = (grad_table_dv.rows(), grad_table_dv.columns());
    grad_out_nd.expect_shape("grad_out", ids.len(), width);
    expect_ids(ids, vocabulary);
    let cpu = match grad_out_nd.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::rows::embed_backward(card, ids, grad_out_nd, grad_table_dv);
        }
    };
    let stripes = grad_table_dv
        .values_mut()
        .chunks_mut(STRIPE * vocabulary)
        .enumerate();
    cpu.threads().for_each(stripes, |(stripe, table)| {
        for (row, &id) in grad_out_nd.values().chunks(width).zip(ids) {
            let row = &row[stripe * STRIPE..];
            for (value, table) in row.iter().zip(table.chunks_mut(vocabulary)) {
                table[id as usize] += value;
            }
        }
    });
}

fn expect_ids(ids: &[u32], vocabulary: usize) {
    let outside = ids.iter().find(|id| **id as usize >= vocabulary);
    assert!(
        outside.is_none(),
        "token {outside:?} in a vocabulary of {vocabulary}"
    );
}
