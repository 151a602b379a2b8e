//! Rows and columns picked by number, spans of rows, linear maps.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Cuda;
use super::buffer::Buffer;
use super::elements;
use super::launch::THREADS;
use super::norms::sum_columns;
use super::product::{Operand, multiply, multiply_rounded};
use super::table::Grouped;
use crate::matrix::{Matrix, Mode};

/// [`crate::embedding::forward`].
pub(crate) fn embed(cuda: &Cuda, table_dv: &Matrix, ids: &[u32], out_nd: &mut Matrix) {
    let (width, vocabulary) = (table_dv.rows(), table_dv.columns());
    let count = ids.len() * width;
    let ids = cuda.table(ids);
    let launch = cuda
        .core("embedding_forward")
        .read(table_dv.card().values());
    let launch = launch.read(&ids).write(out_nd.card_mut().values_mut());
    launch.size(count).size(width).size(vocabulary).over(count);
}

/// [`crate::embedding::backward`].
pub(crate) fn embed_backward(
    cuda: &Cuda,
    ids: &[u32],
    grad_out_nd: &Matrix,
    grad_table_dv: &mut Matrix,
) {
    let (width, vocabulary) = (grad_table_dv.rows(), grad_table_dv.columns());
    let grouped = Grouped::new(cuda, ids);
    let launch = cuda.core("embedding_backward").read(&grouped.targets);
    let launch = launch.read(&grouped.starts).read(&grouped.members);
    let launch = launch.read(grad_out_nd.card().values());
    let launch = launch.write(grad_table_dv.card_mut().values_mut());
    let launch = launch.size(width).size(vocabulary);
    launch.run([grouped.count, width.div_ceil(THREADS), 1], [THREADS, 1], 0);
}

/// [`crate::rows::gather`].
pub(crate) fn gather(cuda: &Cuda, x_nd: &Matrix, indices: &[u32], out_md: &mut Matrix) {
    let width = x_nd.columns();
    let count = indices.len() * width;
    let indices = cuda.table(indices);
    let launch = cuda.core("gather_rows").read(x_nd.card().values());
    let launch = launch.read(&indices).write(out_md.card_mut().values_mut());
    launch.size(count).size(width).over(count);
}

/// [`crate::rows::scatter_add`].
pub(crate) fn scatter(cuda: &Cuda, indices: &[u32], grad_out: &Matrix, grad_x: &mut Matrix) {
    let width = grad_x.columns();
    let grouped = Grouped::new(cuda, indices);
    let launch = cuda.core("scatter_rows").read(&grouped.targets);
    let launch = launch.read(&grouped.starts).read(&grouped.members);
    let launch = launch.read(grad_out.card().values());
    let launch = launch.write(grad_x.card_mut().values_mut()).size(width);
    launch.run([grouped.count, width.div_ceil(THREADS), 1], [THREADS, 1], 0);
}

/// Starts and ends of spans, one after another.
fn bounds(spans: &[Range<usize>]) -> Vec<u32> {
    let bounds = spans.iter().flat_map(|span| [span.start, span.end]);
    bounds.map(|bound| bound as u32).collect()
}

/// [`crate::pool::forward`].
pub(crate) fn pool(cuda: &Cuda, hidden: &Matrix, spans: &[Range<usize>], points: &mut Matrix) {
    let width = hidden.columns();
    let table = cuda.table(&bounds(spans));
    let launch = cuda.core("pool_forward").read(hidden.card().values());
    let launch = launch.read(&table).write(points.card_mut().values_mut());
    let launch = launch.size(width);
    launch.run([spans.len(), width.div_ceil(THREADS), 1], [THREADS, 1], 0);
}

/// [`crate::pool::backward`].
pub(crate) fn pool_backward(
    cuda: &Cuda,
    spans: &[Range<usize>],
    grad_points: &Matrix,
    grad_hidden: &mut Matrix,
) {
    let (width, count) = (
        grad_hidden.columns(),
        grad_hidden.rows() * grad_hidden.columns(),
    );
    let table = cuda.table(&bounds(spans));
    let launch = cuda.core("pool_backward").read(&table);
    let launch = launch.read(grad_points.card().values());
    let launch = launch.write(grad_hidden.card_mut().values_mut());
    launch.size(count).size(width).size(spans.len()).over(count);
}

/// [`crate::linear::forward`].
pub(crate) fn linear(
    cuda: &Cuda,
    x_ni: &Matrix,
    weight_io: &Matrix,
    bias_1o: Option<&Matrix>,
    y_no: &mut Matrix,
    mode: Mode,
) {
    let (x, weight) = (Operand::new(x_ni), Operand::weight(weight_io));
    let columns = 0..weight_io.columns();
    let mode = begin(cuda, bias_1o, y_no, mode);
    multiply(cuda, &x, &weight, (y_no, columns), mode);
}

/// [`crate::linear::backward_input`].
pub(crate) fn linear_input(
    cuda: &Cuda,
    grad_y_no: &Matrix,
    weight_io: &Matrix,
    grad_x_ni: &mut Matrix,
    mode: Mode,
) {
    let (grad_y, weight) = (Operand::new(grad_y_no), Operand::weight(weight_io));
    let columns = 0..weight_io.rows();
    multiply(
        cuda,
        &grad_y,
        &weight.transposed(),
        (grad_x_ni, columns),
        mode,
    );
}

/// [`crate::linear::backward_weight`].
pub(crate) fn linear_weight(
    cuda: &Cuda,
    x_ni: &Matrix,
    grad_y_no: &Matrix,
    grad_weight_io: &mut Matrix,
    grad_bias_1o: Option<&mut Matrix>,
) {
    let (x, grad_y) = (Operand::new(x_ni).transposed(), Operand::new(grad_y_no));
    let columns = 0..grad_y_no.columns();
    multiply(cuda, &x, &grad_y, (grad_weight_io, columns), Mode::Add);
    if let Some(grad_bias) = grad_bias_1o {
        let shape = (grad_y_no.rows(), grad_y_no.columns());
        sum_columns(cuda, grad_y_no.card().values(), shape, grad_bias);
    }
}

/// A weight rounded to bfloat16 ([`crate::bf16`]).
#[derive(Clone)]
pub(crate) struct Rounded {
    cuda: Cuda,
    values: Arc<Buffer<u16>>,
}

impl fmt::Debug for Rounded {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "a rounded weight on {:?}", self.cuda)
    }
}

impl Rounded {
    pub(crate) fn new(cuda: &Cuda, weight_io: &Matrix) -> Rounded {
        let length = weight_io.rows() * weight_io.columns();
        let values = elements::halved(cuda, weight_io.card().values(), length);
        Rounded {
            cuda: cuda.clone(),
            values: Arc::new(values),
        }
    }

    /// [`crate::bf16::forward`].
    pub(crate) fn forward(
        &self,
        x_ni: &Matrix,
        bias_1o: Option<&Matrix>,
        y_no: &mut Matrix,
        mode: Mode,
    ) {
        let mode = begin(&self.cuda, bias_1o, y_no, mode);
        multiply_rounded(&self.cuda, x_ni, &self.values, y_no, mode);
    }
}

/// Puts the bias where a product is to be added.
fn begin(cuda: &Cuda, bias_1o: Option<&Matrix>, y_no: &mut Matrix, mode: Mode) -> Mode {
    let Some(bias) = bias_1o else {
        return mode;
    };
    elements::bias(cuda, bias, y_no, mode);
    Mode::Add
}
