//! A map of low rank beside a linear map: `y[:, columns] += scale · x A B`.
//!
//! # Source
//! Hu et al., arXiv 2106.09685, equation 3, with the scale of PEFT.

use std::ops::Range;

use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::product::{Target, multiply_shared};
use crate::scale;

/// What stands beside some columns of a linear map.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// From the input to `k` values, the rank.
    pub down_ik: &'a Matrix,
    /// From there to the columns.
    pub up_ko: &'a Matrix,
    /// Factor of the whole map.
    pub scale: f32,
    /// The first of the output's columns that the map adds to.
    pub column: usize,
}

impl Map<'_> {
    pub(crate) fn columns(&self) -> Range<usize> {
        self.column..self.column + self.up_ko.columns()
    }
}

/// Adds the map of `x` to its columns of `y`; `inner` is left as `scale · x A`.
pub fn forward(x_ni: &Matrix, map: &Map, inner_nk: &mut Matrix, y_no: &mut Matrix) {
    let (rows, columns) = (x_ni.rows(), map.columns());
    project(x_ni, map, inner_nk);
    y_no.expect_shape("y", rows, y_no.columns());
    let cpu = match x_ni.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::low_rank::expand(card, map, inner_nk, y_no),
    };
    let (inner, up) = (inner_nk.view(), map.up_ko.view());
    let target = part(y_no.target(), columns);
    multiply_shared(cpu.threads(), inner, up, target, Mode::Add, |_, _| {});
}

/// Adds the gradients in the input, in `A` and in `B`, from the map's columns of `grad_y`.
///
/// `inner` and `grad_inner` are overwritten.
pub fn backward(
    x_ni: &Matrix,
    map: &Map,
    grad_y_no: &Matrix,
    [inner_nk, grad_inner_nk]: [&mut Matrix; 2],
    grad_x_ni: &mut Matrix,
    grad_down_ik: &mut Matrix,
    grad_up_ko: &mut Matrix,
) {
    let (rows, inputs, rank) = (x_ni.rows(), x_ni.columns(), map.down_ik.columns());
    grad_y_no.expect_shape("grad_y", rows, grad_y_no.columns());
    grad_x_ni.expect_shape("grad_x", rows, inputs);
    grad_down_ik.expect_shape("grad_a", inputs, rank);
    grad_up_ko.expect_shape("grad_b", rank, map.up_ko.columns());
    grad_inner_nk.expect_shape("grad_inner", rows, rank);
    project(x_ni, map, inner_nk);
    let cpu = match x_ni.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            let (inner, grads) = ([inner_nk, grad_inner_nk], [grad_down_ik, grad_up_ko]);
            return cuda::low_rank::backward(card, x_ni, map, grad_y_no, inner, grad_x_ni, grads);
        }
    };
    let threads = cpu.threads();
    let grad_y = grad_y_no.view().block(0..rows, map.columns());
    let inner = inner_nk.view().transposed();
    multiply_shared(
        threads,
        inner,
        grad_y,
        grad_up_ko.target(),
        Mode::Add,
        |_, _| {},
    );
    let (up, target) = (map.up_ko.view().transposed(), grad_inner_nk.target());
    multiply_shared(threads, grad_y, up, target, Mode::Write, |_, _| {});
    scale::by(grad_inner_nk, map.scale);
    let (x, grad_inner) = (x_ni.view().transposed(), grad_inner_nk.view());
    multiply_shared(
        threads,
        x,
        grad_inner,
        grad_down_ik.target(),
        Mode::Add,
        |_, _| {},
    );
    let down = map.down_ik.view().transposed();
    multiply_shared(
        threads,
        grad_inner,
        down,
        grad_x_ni.target(),
        Mode::Add,
        |_, _| {},
    );
}

/// Adds the map to its columns of a weight, which then does alone what both did.
pub fn merge(map: &Map, weight_io: &mut Matrix) {
    let mut down_ik = map.down_ik.clone();
    weight_io.expect_shape("weight", down_ik.rows(), weight_io.columns());
    scale::by(&mut down_ik, map.scale);
    let cpu = match map.down_ik.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::low_rank::expand(card, map, &down_ik, weight_io),
    };
    let target = part(weight_io.target(), map.columns());
    let (down, up) = (down_ik.view(), map.up_ko.view());
    multiply_shared(cpu.threads(), down, up, target, Mode::Add, |_, _| {});
}

/// `inner = scale · x A`.
fn project(x_ni: &Matrix, map: &Map, inner_nk: &mut Matrix) {
    let rank = map.down_ik.columns();
    map.down_ik.expect_shape("A", x_ni.columns(), rank);
    map.up_ko.expect_shape("B", rank, map.up_ko.columns());
    inner_nk.expect_shape("inner", x_ni.rows(), rank);
    let cpu = match x_ni.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => return cuda::low_rank::project(card, x_ni, map, inner_nk),
    };
    let (x, down) = (x_ni.view(), map.down_ik.view());
    multiply_shared(
        cpu.threads(),
        x,
        down,
        inner_nk.target(),
        Mode::Write,
        |_, _| {},
    );
    scale::by(inner_nk, map.scale);
}

fn part(target: Target<'_>, columns: Range<usize>) -> Target<'_> {
    let (left, _) = target.split_columns(columns.end);
    left.split_columns(columns.start).1
}
