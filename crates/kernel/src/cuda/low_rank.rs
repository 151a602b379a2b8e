//! Maps of low rank beside linear maps.

use super::Cuda;
use super::product::{Operand, multiply};
use crate::low_rank::Map;
use crate::matrix::{Matrix, Mode};
use crate::scale;

/// `inner = scale · x A`.
pub(crate) fn project(cuda: &Cuda, x_ni: &Matrix, map: &Map, inner_nk: &mut Matrix) {
    let (x, down) = (Operand::new(x_ni), Operand::weight(map.down_ik));
    let columns = 0..map.down_ik.columns();
    multiply(cuda, &x, &down, (&mut *inner_nk, columns), Mode::Write);
    scale::by(inner_nk, map.scale);
}

/// Adds `inner B` to the map's columns of `y`.
pub(crate) fn expand(cuda: &Cuda, map: &Map, inner_nk: &Matrix, y_no: &mut Matrix) {
    let (inner, up) = (Operand::new(inner_nk), Operand::weight(map.up_ko));
    multiply(cuda, &inner, &up, (y_no, map.columns()), Mode::Add);
}

/// [`crate::low_rank::backward`], once `inner` is there.
pub(crate) fn backward(
    cuda: &Cuda,
    x_ni: &Matrix,
    map: &Map,
    grad_y_no: &Matrix,
    [inner_nk, grad_inner_nk]: [&mut Matrix; 2],
    grad_x_ni: &mut Matrix,
    [grad_down_ik, grad_up_ko]: [&mut Matrix; 2],
) {
    let (inputs, rank) = (x_ni.columns(), map.down_ik.columns());
    let (down, up) = (Operand::weight(map.down_ik), Operand::weight(map.up_ko));
    let grad_y = Operand::new(grad_y_no).columns(map.columns());
    let inner = Operand::new(inner_nk).transposed();
    let columns = 0..grad_up_ko.columns();
    multiply(cuda, &inner, &grad_y, (grad_up_ko, columns), Mode::Add);
    let target = (&mut *grad_inner_nk, 0..rank);
    multiply(cuda, &grad_y, &up.transposed(), target, Mode::Write);
    scale::by(grad_inner_nk, map.scale);
    let grad_inner = Operand::new(grad_inner_nk);
    let x = Operand::new(x_ni).transposed();
    multiply(cuda, &x, &grad_inner, (grad_down_ik, 0..rank), Mode::Add);
    let target = (grad_x_ni, 0..inputs);
    multiply(cuda, &grad_inner, &down.transposed(), target, Mode::Add);
}
