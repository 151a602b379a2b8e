//! Attention of decoded rows over a cache of keys and values.

use std::ops::Range;

use super::softmax::{Sight, Softmax};
use super::{Heads, Rule, pack, transpose};
use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::product::{Target, View};

/// Decoded rows of one part that share a prefix, at most: enough to read the prefix seldom, few
/// enough to leave parts for every thread.
const ROWS_MAX: usize = 8;

/// Queries that read a shared prefix side by side in the lanes of vectors, at least; fewer read it
/// one by one.
const LANES_MIN: usize = 6;

/// The cache rows that one decoded row sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSpans {
    /// Rows of a prefix that neighbouring decoded rows may share; may be empty.
    pub shared: Range<usize>,
    /// Rows of its own.
    pub own: Range<usize>,
}

impl RowSpans {
    /// The last so many rows.
    fn last(&self, count: usize) -> RowSpans {
        let own = self.own.len().min(count);
        let shared = self.shared.len().min(count - own);
        RowSpans {
            shared: self.shared.end - shared..self.shared.end,
            own: self.own.end - own..self.own.end,
        }
    }
}

/// Writes the keys and values of row `r` to slot `at[r]` of the cache, a matrix
/// `[slots, 2 · key_value · size]` whose inner order is this module's: it is read by [`cached`]
/// alone.
pub fn append(heads: &Heads, qkv_rc: &Matrix, cache: &mut Matrix, at: &[u32]) {
    let (start, width) = (heads.query_columns(), 2 * heads.key_value * heads.size);
    qkv_rc.expect_shape("qkv", at.len(), heads.columns());
    cache.expect_shape("cache", cache.rows(), width);
    let outside = at.iter().find(|at| **at as usize >= cache.rows());
    assert!(outside.is_none(), "slot {outside:?} of {}", cache.rows());
    if let Device::Cuda(card) = qkv_rc.device() {
        return cuda::attention::append(card, heads, qkv_rc, cache, at);
    }
    let slots = cache.rows();
    for (row, &at) in qkv_rc.values().chunks(heads.columns()).zip(at) {
        // Of each head all slots, so that what one query reads lies side by side.
        for (head, entries) in row[start..].chunks(heads.size).enumerate() {
            let place = (head * slots + at as usize) * heads.size;
            cache.values_mut()[place..][..heads.size].copy_from_slice(entries);
        }
    }
}

/// `out[r] = softmax(score(q, k)) v` over the cache rows of `spans[r]`, of which a window leaves
/// the last, and for each query head the logarithm of the sum of the scores' exponentials; rows
/// with the same shared span cost least when they are neighbours.
pub fn cached(
    heads: &Heads,
    rule: &Rule,
    qkv_rc: &Matrix,
    cache: &Matrix,
    spans: &[RowSpans],
    out_rq: &mut Matrix,
    log_sum_exp_rh: &mut Matrix,
) {
    qkv_rc.expect_shape("qkv", spans.len(), heads.columns());
    cache.expect_shape("cache", cache.rows(), 2 * heads.key_value * heads.size);
    out_rq.expect_shape("out", spans.len(), heads.query_columns());
    log_sum_exp_rh.expect_shape("log_sum_exp", spans.len(), heads.query);
    let blind = spans
        .iter()
        .find(|spans| spans.shared.is_empty() && spans.own.is_empty());
    assert!(blind.is_none(), "a decoded row sees no cache row");
    let end = spans
        .iter()
        .map(|spans| spans.shared.end.max(spans.own.end))
        .max();
    assert!(
        end <= Some(cache.rows()),
        "spans to {end:?} of {} slots",
        cache.rows()
    );
    let near: Option<Vec<_>> = rule
        .window
        .map(|window| spans.iter().map(|spans| spans.last(window)).collect());
    let spans = near.as_deref().unwrap_or(spans);
    let cpu = match qkv_rc.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            let out = [out_rq, log_sum_exp_rh];
            return cuda::attention::cached(card, heads, rule, qkv_rc, cache, spans, out);
        }
    };
    let groups = groups(spans);
    let (columns, queries) = (heads.query_ranges(), heads.queries());
    let sums: Vec<_> = (0..heads.key_value)
        .map(|head| head * queries..(head + 1) * queries)
        .collect();
    let targets = out_rq.target().divide_rows(&groups);
    let targets = targets.zip(log_sum_exp_rh.target().divide_rows(&groups));
    let parts = groups.iter().zip(targets).flat_map(|(rows, (out, sum))| {
        let heads = out.divide_columns(&columns).zip(sum.divide_columns(&sums));
        let heads = heads.enumerate();
        heads.map(move |(head, out)| (rows.clone(), head, out))
    });
    cpu.threads().for_each(parts, |(rows, head, out)| {
        let query = qkv_rc.view().block(rows.clone(), columns[head].clone());
        let cache = View::new(cache.values(), heads.size);
        cached_part(heads, rule, head, query, cache, &spans[rows], out);
    });
}

/// Ranges of neighbouring rows with the same shared span.
fn groups(spans: &[RowSpans]) -> Vec<Range<usize>> {
    let mut start = 0;
    let same = spans
        .chunk_by(|a, b| a.shared == b.shared)
        .flat_map(|rows| rows.chunks(ROWS_MAX));
    let range = |rows: &[RowSpans]| {
        start += rows.len();
        start - rows.len()..start
    };
    same.map(range).collect()
}

/// Some rows with the same shared span, for the query heads of one key head.
fn cached_part(
    heads: &Heads,
    rule: &Rule,
    head: usize,
    query: View,
    cache: View,
    spans: &[RowSpans],
    (mut out, mut log_sums): (Target, Target),
) {
    let (queries, size) = (heads.queries(), heads.size);
    let query = pack(query, rule.scale);
    let slots = cache.rows() / (2 * heads.key_value);
    let block = |head: usize, keys: &Range<usize>| {
        let first = head * slots;
        cache.block(first + keys.start..first + keys.end, 0..size)
    };
    let seen = |keys: &Range<usize>| (block(head, keys), block(heads.key_value + head, keys));
    let all = spans.len() * queries;
    let mut softmax = Softmax::new(all, size, rule.softcap);
    let together = all >= LANES_MIN;
    if together && !spans[0].shared.is_empty() {
        let query_t = transpose(&query, size);
        let query_t = View::new(&query_t, query_t.len() / size);
        let (key, value) = seen(&spans[0].shared);
        softmax.attend(query_t, key, value, Sight::all(all));
    }
    for (row, spans) in spans.iter().enumerate() {
        let heads = row * queries..(row + 1) * queries;
        let query = View::new(&query, size).block(heads.clone(), 0..size);
        let alone = if together { None } else { Some(&spans.shared) };
        for keys in alone.into_iter().chain([&spans.own]) {
            let (key, value) = seen(keys);
            softmax.attend_few(heads.clone(), query, key, value);
        }
        softmax.write_values(heads.clone(), out.row(row));
        softmax.write_log_sums(heads, log_sums.row(row));
    }
}
