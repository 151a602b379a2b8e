//! Rows picked out of a matrix, put into one, and their gradient put back.

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;

/// Values that [`arrange`] copies at a time, so that they stay in a core's cache.
const ARRANGED: usize = 1 << 17;
/// Values of a cache line.
const LINE: usize = 16;

/// `out[m, :] = x[indices[m], :]`.
pub fn gather(x_nd: &Matrix, indices: &[u32], out_md: &mut Matrix) {
    let width = x_nd.columns();
    out_md.expect_shape("out", indices.len(), width);
    expect_rows(indices, x_nd.rows());
    let cpu = match x_nd.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::rows::gather(card, x_nd, indices, out_md),
    };
    let part = cpu.threads().part_rows(indices.len(), width);
    let out = out_md.values_mut().chunks_mut(part * width);
    let parts = out.zip(indices.chunks(part));
    cpu.threads().for_each(parts, |(out, indices)| {
        for (out, &index) in out.chunks_mut(width).zip(indices) {
            out.copy_from_slice(&x_nd.values()[index as usize * width..][..width]);
        }
    });
}

/// Leaves the rows `indices` of a matrix, in this order and in the matrix's own memory.
pub fn arrange(x_nd: &mut Matrix, indices: &[u32]) {
    let (rows, width) = (indices.len(), x_nd.columns());
    expect_rows(indices, x_nd.rows());
    let cpu = match x_nd.device().clone() {
        Device::Cpu(cpu) => cpu,
        device @ Device::Cuda(_) => {
            let mut arranged_md = device.zeros(rows, width);
            gather(x_nd, indices, &mut arranged_md);
            *x_nd = arranged_md;
            return;
        }
    };
    let block = (ARRANGED / rows.max(1)).clamp(LINE, width.max(LINE));
    let columns = (0..width).step_by(block);
    let columns: Vec<_> = columns.map(|at| at..(at + block).min(width)).collect();
    let blocks = x_nd.target().divide_columns(&columns);
    cpu.threads().for_each(blocks, |mut block| {
        let mut held = Vec::with_capacity(rows * block.columns());
        for &index in indices {
            held.extend_from_slice(block.row(index as usize));
        }
        for (row, values) in held.chunks(block.columns()).enumerate() {
            block.row(row).copy_from_slice(values);
        }
    });
    x_nd.resize_rows(rows);
}

/// `to[at, :] = from[row, :]` for each pair `(row, at)`, in each pair of matrices of the device.
pub fn put<'a>(
    device: &Device,
    pairs: &[(usize, usize)],
    matrices: impl Iterator<Item = (&'a mut Matrix, &'a Matrix)>,
) {
    let copy = |(to, from): (&mut Matrix, &Matrix)| {
        for &(row, at) in pairs {
            to.copy_rows(at, from, row..row + 1);
        }
    };
    match device {
        Device::Cpu(cpu) => cpu.threads().for_each(matrices, copy),
        Device::Cuda(_) => matrices.for_each(copy),
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
