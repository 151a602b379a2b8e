//! Attention of a batch over its tree of segments.

use std::ops::Range;

use super::softmax::Softmax;
use super::{Heads, Layout, QUERY_ROWS, Rule, pack, transpose};
use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::product::{Target, View};

/// A block of rows of one segment, for the query heads of one key head.
struct Part<'a> {
    segment: usize,
    rows: Range<usize>,
    head: usize,
    out: Target<'a>,
    log_sum_exp: Target<'a>,
}

/// `out = softmax(score(q, k)) v` for every query head, and the logarithm of the sum of
/// exponentials of each row's scores, `[n, query heads]`.
pub fn forward(
    layout: &Layout,
    heads: &Heads,
    rule: &Rule,
    qkv_nc: &Matrix,
    out_nq: &mut Matrix,
    log_sum_exp: &mut Matrix,
) {
    let rows = layout.rows();
    qkv_nc.expect_shape("qkv", rows, heads.columns());
    out_nq.expect_shape("out", rows, heads.query_columns());
    log_sum_exp.expect_shape("log_sum_exp", rows, heads.query);
    let cpu = match qkv_nc.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            let sums = log_sum_exp;
            return cuda::attention::forward(card, layout, heads, rule, qkv_nc, out_nq, sums);
        }
    };
    let parts = parts(layout, heads, out_nq.target(), log_sum_exp.target());
    cpu.threads().for_each(parts.into_iter(), |part| {
        forward_part(layout, heads, rule, qkv_nc.view(), part);
    });
}

fn parts<'a>(
    layout: &Layout,
    heads: &Heads,
    out: Target<'a>,
    log_sum_exp: Target<'a>,
) -> Vec<Part<'a>> {
    let (mut blocks, mut segments) = (Vec::new(), Vec::new());
    for (index, segment) in layout.segments().iter().enumerate() {
        for start in segment.rows().step_by(QUERY_ROWS) {
            blocks.push(start..(start + QUERY_ROWS).min(segment.rows().end));
            segments.push(index);
        }
    }
    let (out_columns, queries) = (heads.query_ranges(), heads.queries());
    let sum_columns: Vec<_> = (0..heads.key_value)
        .map(|i| i * queries..(i + 1) * queries)
        .collect();
    let mut parts = Vec::with_capacity(blocks.len() * heads.key_value);
    let targets = out
        .divide_rows(&blocks)
        .zip(log_sum_exp.divide_rows(&blocks));
    for ((rows, segment), (out, sums)) in blocks.iter().zip(segments).zip(targets) {
        let targets = out
            .divide_columns(&out_columns)
            .zip(sums.divide_columns(&sum_columns));
        for (head, (out, log_sum_exp)) in targets.enumerate() {
            parts.push(Part {
                segment,
                rows: rows.clone(),
                head,
                out,
                log_sum_exp,
            });
        }
    }
    parts
}

fn forward_part(layout: &Layout, heads: &Heads, rule: &Rule, qkv: View, mut part: Part) {
    let (rows, head, queries, size) = (part.rows, part.head, heads.queries(), heads.size);
    let query = qkv.block(rows.clone(), heads.query_ranges()[head].clone());
    let query_t = transpose(&pack(query, rule.scale), size);
    let query_t = View::new(&query_t, query_t.len() / size);
    let key_columns = &heads.key_ranges(heads.query_columns())[head];
    let value_columns = &heads.value_ranges(heads.query_columns())[head];
    let mut softmax = Softmax::new(rows.len() * queries, size, rule.softcap);
    for source in layout.ancestors(part.segment).chain([part.segment]) {
        let (keys, sight) = rule.seen(layout, heads, (part.segment, &rows), source);
        let key = qkv.block(keys.clone(), key_columns.clone());
        let value = qkv.block(keys, value_columns.clone());
        softmax.attend(query_t, key, value, sight);
    }
    for row in 0..rows.len() {
        let heads = row * queries..(row + 1) * queries;
        softmax.write_values(heads.clone(), part.out.row(row));
        softmax.write_log_sums(heads, part.log_sum_exp.row(row));
    }
}
