//! Attention of decoded rows over a cache of keys and values.

use std::ops::Range;

use super::Heads;
use crate::matrix::Matrix;

/// The cache rows that one decoded row sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSpans {
    /// Rows of a prefix that neighbouring decoded rows may share; may be empty.
    pub shared: Range<usize>,
    /// Rows of its own.
    pub own: Range<usize>,
}

/// Writes the keys and values of row `r` to row `at[r]` of the cache,
/// `[slots, 2 · key_value · size]`.
pub fn append(heads: &Heads, qkv_rc: &Matrix, cache: &mut Matrix, at: &[u32]) {
    let (start, width) = (heads.query_columns(), 2 * heads.key_value * heads.size);
    qkv_rc.expect_shape("qkv", at.len(), heads.columns());
    cache.expect_shape("cache", cache.rows(), width);
    for (row, &at) in qkv_rc.values().chunks(heads.columns()).zip(at) {
        cache.values_mut()[at as usize * width..][..width].copy_from_slice(&row[start..]);
    }
}

/// `out[r] = softmax(q kᵀ / √size) v` over the cache rows of `spans[r]`; rows with the same
/// shared span cost least when they are neighbours.
pub fn cached(
    heads: &Heads,
    qkv_rc: &Matrix,
    cache: &Matrix,
    spans: &[RowSpans],
    out_rq: &mut Matrix,
) {
    let (size, width) = (heads.size, 2 * heads.key_value * heads.size);
    qkv_rc.expect_shape("qkv", spans.len(), heads.columns());
    cache.expect_shape("cache", cache.rows(), width);
    out_rq.expect_shape("out", spans.len(), heads.query_columns());
    let scale = 1.0 / (size as f32).sqrt();
    out_rq.fill(0.0);
    for (row, spans) in spans.iter().enumerate() {
        for head in 0..heads.query {
            let key = head * heads.key_value / heads.query * size;
            let value = key + heads.key_value * size;
            let query = &qkv_rc.values()[row * heads.columns() + head * size..][..size];
            let seen: Vec<usize> = spans.shared.clone().chain(spans.own.clone()).collect();
            let keys = seen.iter().map(|at| &cache.values()[at * width + key..][..size]);
            let score = |key: &[f32]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>();
            let scores: Vec<f32> = keys.map(|key| score(key) * scale).collect();
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.iter().map(|x| (x - max).exp()).sum();
            let out = &mut out_rq.values_mut()[(row * heads.query + head) * size..][..size];
            for (at, score) in seen.iter().zip(scores) {
                let weight = (score - max).exp() / sum;
                let value = &cache.values()[at * width + value..][..size];
                out.iter_mut().zip(value).for_each(|(out, v)| *out += weight * v);
            }
        }
    }
}
