//! Attention of a batch over its tree of segments.

use super::{Heads, Layout};
use crate::matrix::Matrix;

/// For every row, the rows it sees, in order of nearness of segments.
fn visible(layout: &Layout) -> Vec<Vec<usize>> {
    let mut visible = Vec::new();
    for (index, segment) in layout.segments().iter().enumerate() {
        let above: Vec<usize> =
            layout.ancestors(index).flat_map(|s| s.start..s.start + s.length).collect();
        for row in segment.start..segment.start + segment.length {
            visible.push(above.iter().copied().chain(segment.start..=row).collect());
        }
    }
    visible
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `out = softmax(q kᵀ / √size) v` for every query head, and the logarithm of the sum of
/// exponentials of each row's scores, `[n, query heads]`.
pub fn forward(
    layout: &Layout,
    heads: &Heads,
    qkv_nc: &Matrix,
    out_nq: &mut Matrix,
    log_sum_exp: &mut Matrix,
) {
    let (rows, width, size) = (layout.rows(), heads.columns(), heads.size);
    qkv_nc.expect_shape("qkv", rows, width);
    out_nq.expect_shape("out", rows, heads.query_columns());
    log_sum_exp.expect_shape("log_sum_exp", rows, heads.query);
    let scale = 1.0 / (size as f32).sqrt();
    let qkv = qkv_nc.values();
    out_nq.fill(0.0);
    for (row, seen) in visible(layout).iter().enumerate() {
        for head in 0..heads.query {
            let key = (heads.query + head * heads.key_value / heads.query) * size;
            let value = key + heads.key_value * size;
            let query = &qkv[row * width + head * size..][..size];
            let score = |at: &usize| dot(query, &qkv[at * width + key..][..size]) * scale;
            let scores: Vec<f32> = seen.iter().map(score).collect();
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = max + scores.iter().map(|x| (x - max).exp()).sum::<f32>().ln();
            log_sum_exp.values_mut()[row * heads.query + head] = sum;
            let out = &mut out_nq.values_mut()[(row * heads.query + head) * size..][..size];
            for (at, score) in seen.iter().zip(scores) {
                let weight = (score - sum).exp();
                let value = &qkv[at * width + value..][..size];
                out.iter_mut().zip(value).for_each(|(out, v)| *out += weight * v);
            }
        }
    }
}

/// Overwrites the gradient in queries, keys and values.
pub fn backward(
    layout: &Layout,
    heads: &Heads,
    qkv_nc: &Matrix,
    out_nq: &Matrix,
    log_sum_exp: &Matrix,
    grad_out_nq: &Matrix,
    grad_qkv_nc: &mut Matrix,
) {
    let (rows, width, size) = (layout.rows(), heads.columns(), heads.size);
    qkv_nc.expect_shape("qkv", rows, width);
    out_nq.expect_shape("out", rows, heads.query_columns());
    log_sum_exp.expect_shape("log_sum_exp", rows, heads.query);
    grad_out_nq.expect_shape("grad_out", rows, heads.query_columns());
    grad_qkv_nc.expect_shape("grad_qkv", rows, width);
    let scale = 1.0 / (size as f32).sqrt();
    let qkv = qkv_nc.values();
    grad_qkv_nc.fill(0.0);
    let grad = grad_qkv_nc.values_mut();
    for (row, seen) in visible(layout).iter().enumerate() {
        for head in 0..heads.query {
            let key = (heads.query + head * heads.key_value / heads.query) * size;
            let value = key + heads.key_value * size;
            let at_out = (row * heads.query + head) * size;
            let grad_out = &grad_out_nq.values()[at_out..][..size];
            let inner = dot(grad_out, &out_nq.values()[at_out..][..size]);
            let query = row * width + head * size;
            for at in seen {
                let (key, value) = (at * width + key, at * width + value);
                let score = dot(&qkv[query..][..size], &qkv[key..][..size]) * scale;
                let weight = (score - log_sum_exp.values()[row * heads.query + head]).exp();
                let slope = weight * (dot(grad_out, &qkv[value..][..size]) - inner) * scale;
                for i in 0..size {
                    grad[query + i] += slope * qkv[key + i];
                    grad[key + i] += slope * qkv[query + i];
                    grad[value + i] += weight * grad_out[i];
                }
            }
        }
    }
}
