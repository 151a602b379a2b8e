//! Operations on entries.

use super::Cuda;
use super::buffer::Buffer;
use crate::adamw::Factors;
use crate::dropout::Mask;
use crate::glu::Gate;
use crate::matrix::{Matrix, Mode};

fn entries(matrix: &Matrix) -> usize {
    matrix.rows() * matrix.columns()
}

fn adds(mode: Mode) -> u32 {
    u32::from(mode == Mode::Add)
}

/// The first `length` values in bfloat16.
pub(super) fn halved(cuda: &Cuda, values: &Buffer<f32>, length: usize) -> Buffer<u16> {
    let mut half = Buffer::unset(cuda, length);
    let launch = cuda.core("cast_to_bfloat16");
    launch
        .read(values)
        .write(&mut half)
        .size(length)
        .over(length);
    half
}

/// Sets every value.
pub(crate) fn fill(cuda: &Cuda, x: &mut Matrix, value: f32) {
    let count = entries(x);
    let values = x.card_mut().values_mut();
    if value.to_bits() == 0 {
        return values.clear();
    }
    let launch = cuda.core("fill");
    launch.write(values).number(value).size(count).over(count);
}

/// `y += x`.
pub(crate) fn add(cuda: &Cuda, x: &Matrix, y: &mut Matrix) {
    let count = entries(x);
    let launch = cuda.core("add_into").read(x.card().values());
    launch
        .write(y.card_mut().values_mut())
        .size(count)
        .over(count);
}

/// `x *= by`.
pub(crate) fn scale(cuda: &Cuda, x: &mut Matrix, by: f32) {
    let count = entries(x);
    let launch = cuda.core("scale_by").write(x.card_mut().values_mut());
    launch.number(by).size(count).over(count);
}

/// `x = cap · tanh(x / cap)`.
pub(crate) fn softcap(cuda: &Cuda, x: &mut Matrix, cap: f32) {
    let count = entries(x);
    let launch = cuda.core("softcap_apply").write(x.card_mut().values_mut());
    launch.number(cap).size(count).over(count);
}

/// Every row becomes the bias, or has it added.
pub(super) fn bias(cuda: &Cuda, bias: &Matrix, y: &mut Matrix, mode: Mode) {
    let (count, columns) = (entries(y), y.columns());
    let launch = cuda.core("bias_rows").read(bias.card().values());
    let launch = launch.write(y.card_mut().values_mut());
    launch
        .size(count)
        .size(columns)
        .word(adds(mode))
        .over(count);
}

fn kind(gate: Gate) -> u32 {
    match gate {
        Gate::Silu => 0,
        Gate::GeluTanh => 1,
    }
}

/// [`crate::glu::forward`].
pub(crate) fn glu_forward(cuda: &Cuda, gate: Gate, gate_up: &Matrix, act: &mut Matrix) {
    let (count, width) = (entries(act), act.columns());
    let launch = cuda.core("glu_forward").read(gate_up.card().values());
    let launch = launch.write(act.card_mut().values_mut());
    launch.size(count).size(width).word(kind(gate)).over(count);
}

/// [`crate::glu::backward`].
pub(crate) fn glu_backward(cuda: &Cuda, gate: Gate, gate_up: &mut Matrix, grad_act: &Matrix) {
    let (count, width) = (entries(grad_act), grad_act.columns());
    let launch = cuda.core("glu_backward").read(grad_act.card().values());
    let launch = launch.write(gate_up.card_mut().values_mut());
    launch.size(count).size(width).word(kind(gate)).over(count);
}

/// [`crate::dropout::apply`], with the limit under which bits drop an entry.
pub(crate) fn dropout(
    cuda: &Cuda,
    x: &Matrix,
    mask: &Mask,
    (limit, keep): (u32, f32),
    y: &mut Matrix,
    mode: Mode,
) {
    let count = entries(x);
    let keys = Buffer::from_slice(cuda, mask.keys_n);
    let launch = cuda.core("dropout_apply").read(x.card().values());
    let launch = launch
        .read(&keys)
        .long(mask.stream)
        .word(limit)
        .number(keep);
    let launch = launch.write(y.card_mut().values_mut()).size(count);
    launch.size(x.columns()).word(adds(mode)).over(count);
}

/// [`crate::adamw::update`].
pub(crate) fn adamw(
    cuda: &Cuda,
    weight: &mut Matrix,
    grad: &Matrix,
    [first, second]: [&mut Matrix; 2],
    factors: &Factors,
) {
    let count = entries(weight);
    let launch = cuda.core("adamw_update");
    let launch = launch.write(weight.card_mut().values_mut());
    let launch = launch.read(grad.card().values());
    let launch = launch.write(first.card_mut().values_mut());
    let launch = launch.write(second.card_mut().values_mut()).size(count);
    let launch = launch.number(factors.beta1).number(factors.beta2);
    let launch = launch.number(factors.epsilon).number(factors.grad_scale);
    let launch = launch.number(factors.keep).number(factors.step_size);
    launch.number(factors.root_correction).over(count);
}

/// Where the columns that turn are, and how.
pub(crate) struct Turn {
    pub(crate) first: usize,
    pub(crate) heads: usize,
    pub(crate) size: usize,
    pub(crate) sign: f32,
}

/// [`crate::rope::rotate`].
pub(crate) fn rotate(
    cuda: &Cuda,
    (cosines, sines): (&Matrix, &Matrix),
    positions: &[u32],
    x: &mut Matrix,
    turn: &Turn,
) {
    let (half, width) = (cosines.columns(), x.columns());
    let count = x.rows() * turn.heads * half;
    let positions = cuda.table(positions);
    let launch = cuda.core("rope_rotate").read(cosines.card().values());
    let launch = launch.read(sines.card().values()).read(&positions);
    let launch = launch.write(x.card_mut().values_mut()).size(count);
    let launch = launch.size(width).size(turn.first).size(turn.heads);
    launch
        .size(turn.size)
        .size(half)
        .number(turn.sign)
        .over(count);
}
