//! Mean of the rows of each span.

use std::ops::Range;

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;

/// `points[r, :]` is the mean of `hidden[spans[r], :]`; no span may be empty.
pub fn forward(hidden_nd: &Matrix, spans: &[Range<usize>], points_rd: &mut Matrix) {
    let width = hidden_nd.columns();
    points_rd.expect_shape("points", spans.len(), width);
    expect_spans(spans, hidden_nd.rows());
    if let Device::Cuda(card) = hidden_nd.device() {
        return cuda::rows::pool(card, hidden_nd, spans, points_rd);
    }
    for (point, span) in points_rd.values_mut().chunks_mut(width).zip(spans) {
        let rows = &hidden_nd.values()[span.start * width..span.end * width];
        point.fill(0.0);
        for row in rows.chunks(width) {
            point.iter_mut().zip(row).for_each(|(point, x)| *point += x);
        }
        for point in point.iter_mut() {
            *point /= span.len() as f32;
        }
    }
}

/// Adds the gradient in the hidden states; spans may overlap.
pub fn backward(spans: &[Range<usize>], grad_points_rd: &Matrix, grad_hidden_nd: &mut Matrix) {
    let width = grad_hidden_nd.columns();
    grad_points_rd.expect_shape("grad_points", spans.len(), width);
    expect_spans(spans, grad_hidden_nd.rows());
    if let Device::Cuda(card) = grad_points_rd.device() {
        return cuda::rows::pool_backward(card, spans, grad_points_rd, grad_hidden_nd);
    }
    for (grad, span) in grad_points_rd.values().chunks(width).zip(spans) {
        let rows = &mut grad_hidden_nd.values_mut()[span.start * width..span.end * width];
        for row in rows.chunks_mut(width) {
            row.iter_mut()
                .zip(grad)
                .for_each(|(x, grad)| *x += grad / span.len() as f32);
        }
    }
}

fn expect_spans(spans: &[Range<usize>], rows: usize) {
    for span in spans {
        assert!(!span.is_empty(), "span {span:?} has no rows to average");
        assert!(span.end <= rows, "span {span:?} of {rows} rows");
    }
}
