//! The gradient of attention over a tree of segments.
//!
//! A part is one segment and one key head. Its gradients in the keys and values of ancestors go
//! to a buffer of its own; the buffers are added up afterwards in segment order, so that no two
//! parts write the same entry and the bits do not depend on the threads.

use std::ops::Range;

use super::softmax::{Sight, key_blocks, lanes};
use super::{Heads, Layout, QUERY_ROWS, Rule, pack, scale, transpose};
use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::product::{Target, View};
use crate::softcap;
use crate::tile::{Source, multiply_small};
use crate::vector::{dot, exp, vectorised};

/// The gradients of one segment, for one key head.
struct Part<'a> {
    segment: usize,
    head: usize,
    query: Target<'a>,
    key: Target<'a>,
    value: Target<'a>,
    /// Gradients in the keys of the ancestors, nearest first.
    keys_above: Vec<f32>,
    /// Gradients in their values.
    values_above: Vec<f32>,
}

/// What the backward reads.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    layout: &'a Layout,
    heads: &'a Heads,
    rule: &'a Rule,
    qkv: View<'a>,
    out: View<'a>,
    log_sum_exp: View<'a>,
    grad_out: View<'a>,
}

/// Overwrites the gradient in queries, keys and values, from the forward's output and logarithms
/// of sums.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    layout: &Layout,
    heads: &Heads,
    rule: &Rule,
    qkv_nc: &Matrix,
    out_nq: &Matrix,
    log_sum_exp: &Matrix,
    grad_out_nq: &Matrix,
    grad_qkv_nc: &mut Matrix,
) {
    let rows = layout.rows();
    qkv_nc.expect_shape("qkv", rows, heads.columns());
    out_nq.expect_shape("out", rows, heads.query_columns());
    log_sum_exp.expect_shape("log_sum_exp", rows, heads.query);
    grad_out_nq.expect_shape("grad_out", rows, heads.query_columns());
    grad_qkv_nc.expect_shape("grad_qkv", rows, heads.columns());
    let cpu = match qkv_nc.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::attention::backward(
                card,
                layout,
                heads,
                rule,
                qkv_nc,
                out_nq,
                log_sum_exp,
                grad_out_nq,
                grad_qkv_nc,
            );
        }
    };
    let inputs = Inputs {
        layout,
        heads,
        rule,
        qkv: qkv_nc.view(),
        out: out_nq.view(),
        log_sum_exp: log_sum_exp.view(),
        grad_out: grad_out_nq.view(),
    };
    let mut parts_hs = parts(layout, heads, grad_qkv_nc.target());
    cpu.threads()
        .for_each(parts_hs.iter_mut().flatten(), |part| {
            backward_part(inputs, part);
        });
    cpu.threads().for_each(parts_hs.iter_mut(), |parts| {
        add_up(layout, heads.size, parts);
    });
}

/// The parts of each head, in segment order.
fn parts<'a>(layout: &Layout, heads: &Heads, grad: Target<'a>) -> Vec<Vec<Part<'a>>> {
    let rows: Vec<_> = layout.segments().iter().map(super::Segment::rows).collect();
    let mut parts_hs: Vec<_> = (0..heads.key_value).map(|_| Vec::new()).collect();
    for (segment, grad) in grad.divide_rows(&rows).enumerate() {
        let (query, rest) = grad.split_columns(heads.query_columns());
        let (key, value) = rest.split_columns(heads.key_value * heads.size);
        let (query_columns, columns) = (heads.query_ranges(), heads.key_ranges(0));
        let keys = key
            .divide_columns(&columns)
            .zip(value.divide_columns(&columns));
        let targets = query.divide_columns(&query_columns).zip(keys);
        for (head, (query, (key, value))) in targets.enumerate() {
            let (keys_above, values_above) = (Vec::new(), Vec::new());
            let part = Part {
                segment,
                head,
                query,
                key,
                value,
                keys_above,
                values_above,
            };
            parts_hs[head].push(part);
        }
    }
    parts_hs
}

fn backward_part(inputs: Inputs, part: &mut Part) {
    let Inputs { layout, heads, .. } = inputs;
    let (segments, size) = (layout.segments(), heads.size);
    let own = segments[part.segment].rows();
    let sources: Vec<_> = layout
        .ancestors(part.segment)
        .chain([part.segment])
        .collect();
    let rows_of = |source: &usize| segments[*source].length;
    let above = sources.iter().map(rows_of).sum::<usize>() - own.len();
    let mut grad_keys = vec![0.0; (above + own.len()) * size];
    let mut grad_values = vec![0.0; (above + own.len()) * size];
    let mut scratch = Scratch::default();
    for start in own.clone().step_by(QUERY_ROWS) {
        let rows = start..(start + QUERY_ROWS).min(own.end);
        let mut block = Block::new(inputs, part.head, rows.clone());
        let mut at = 0;
        for &source in &sources {
            let first = segments[source].start;
            let here = (part.segment, &rows);
            let (keys, sight) = inputs.rule.seen(layout, heads, here, source);
            let into = (at + keys.start - first) * size..(at + keys.end - first) * size;
            let grads = (&mut grad_keys[into.clone()], &mut grad_values[into]);
            block.meet(inputs, part.head, keys, sight, grads, &mut scratch);
            at += segments[source].length;
        }
        let width = part.query.row(0).len();
        for (row, grad) in (rows.start - own.start..).zip(block.grad_query.chunks(width)) {
            scale(grad, inputs.rule.scale, part.query.row(row));
        }
    }
    for row in 0..own.len() {
        let at = (above + row) * size;
        part.key.row(row).copy_from_slice(&grad_keys[at..at + size]);
        part.value
            .row(row)
            .copy_from_slice(&grad_values[at..at + size]);
    }
    grad_keys.truncate(above * size);
    grad_values.truncate(above * size);
    (part.keys_above, part.values_above) = (grad_keys, grad_values);
}

/// Blocks of scores: a row a key, a column a query.
#[derive(Default)]
struct Scratch {
    weights: Vec<f32>,
    /// Gradients in the scores.
    slopes: Vec<f32>,
    /// How steep the cap is at each score.
    bends: Vec<f32>,
}

/// Adds what each segment left for its ancestors.
fn add_up(layout: &Layout, size: usize, parts: &mut [Part]) {
    for segment in 0..parts.len() {
        let (above, parts) = parts.split_at_mut(segment);
        let (keys, values) = (&parts[0].keys_above, &parts[0].values_above);
        let mut from = keys.chunks(size).zip(values.chunks(size));
        for ancestor in layout.ancestors(segment) {
            let part = &mut above[ancestor];
            for (row, (key, value)) in (0..part.key.rows()).zip(from.by_ref()) {
                add(key, part.key.row(row));
                add(value, part.value.row(row));
            }
        }
    }
}

/// Some rows of queries of one key head, packed, and the gradient in them.
struct Block {
    query: Vec<f32>,
    query_t: Vec<f32>,
    grad_out: Vec<f32>,
    grad_out_t: Vec<f32>,
    log_sum_exp: Vec<f32>,
    /// `Σ grad_out · out` of each query.
    inner: Vec<f32>,
    grad_query: Vec<f32>,
}

impl Block {
    fn new(inputs: Inputs, head: usize, rows: Range<usize>) -> Block {
        let Inputs { heads, .. } = inputs;
        let (queries, columns) = (heads.queries(), &heads.query_ranges()[head]);
        let query = pack(
            inputs.qkv.block(rows.clone(), columns.clone()),
            inputs.rule.scale,
        );
        let grad_out = pack(inputs.grad_out.block(rows.clone(), columns.clone()), 1.0);
        let heads_of = head * queries..(head + 1) * queries;
        let mut log_sum_exp = pack(inputs.log_sum_exp.block(rows.clone(), heads_of), 1.0);
        let out = pack(inputs.out.block(rows, columns.clone()), 1.0);
        log_sum_exp.resize(lanes(log_sum_exp.len()), 0.0);
        let mut inner = vec![0.0; log_sum_exp.len()];
        inner_products(&grad_out, &out, heads.size, &mut inner);
        Block {
            query_t: transpose(&query, heads.size),
            grad_out_t: transpose(&grad_out, heads.size),
            grad_query: vec![0.0; query.len()],
            query,
            grad_out,
            log_sum_exp,
            inner,
        }
    }

    /// Adds the gradients that pass between these queries and some keys and values.
    fn meet(
        &mut self,
        inputs: Inputs,
        head: usize,
        rows: Range<usize>,
        sight: Sight,
        (grad_keys, grad_values): (&mut [f32], &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let Inputs { heads, qkv, .. } = inputs;
        let (size, lanes) = (heads.size, self.inner.len());
        let queries = self.query.len() / size;
        let key_columns = &heads.key_ranges(heads.query_columns())[head];
        let value_columns = &heads.value_ranges(heads.query_columns())[head];
        for keys in key_blocks(rows.len()) {
            let seen_by = sight.lanes(keys.clone());
            let (first, width) = (seen_by.start, seen_by.len());
            let seeing = View::new(&self.query_t, lanes).block(0..size, seen_by.clone());
            let grads = View::new(&self.grad_out_t, lanes).block(0..size, seen_by.clone());
            let at = rows.start + keys.start..rows.start + keys.end;
            let key = qkv.block(at.clone(), key_columns.clone());
            let value = qkv.block(at, value_columns.clone());
            let Scratch {
                weights,
                slopes,
                bends,
            } = scratch;
            weights.resize(keys.len() * width, 0.0);
            slopes.resize(keys.len() * width, 0.0);
            multiply_small(
                key,
                seeing,
                &mut Target::new(weights, width),
                Mode::Write,
                Source::Cache,
            );
            multiply_small(
                value,
                grads,
                &mut Target::new(slopes, width),
                Mode::Write,
                Source::Cache,
            );
            let state = (&self.log_sum_exp[seen_by.clone()], &self.inner[seen_by]);
            if let Some(cap) = inputs.rule.softcap {
                bends.resize(weights.len(), 0.0);
                softcap::bend_with_slopes(weights, bends, cap);
                differentiate(weights, slopes, keys.start, sight, first, state);
                softcap::multiply(slopes, bends);
            } else {
                differentiate(weights, slopes, keys.start, sight, first, state);
            }
            let all = 0..keys.len();
            let count = width.min(queries - first);
            let weights = View::new(weights, width).block(all.clone(), 0..count);
            let slopes = View::new(slopes, width).block(all, 0..count);
            let here = first * size..(first + count) * size;
            let query = View::new(&self.query[here.clone()], size);
            let grad_out = View::new(&self.grad_out[here.clone()], size);
            let into = keys.start * size..keys.end * size;
            let mut grad_key = Target::new(&mut grad_keys[into.clone()], size);
            let mut grad_value = Target::new(&mut grad_values[into], size);
            let mut grad_query = Target::new(&mut self.grad_query[here], size);
            multiply_small(weights, grad_out, &mut grad_value, Mode::Add, Source::Cache);
            multiply_small(slopes, query, &mut grad_key, Mode::Add, Source::Cache);
            multiply_small(
                slopes.transposed(),
                key,
                &mut grad_query,
                Mode::Add,
                Source::Cache,
            );
        }
    }
}

vectorised! {
    /// Turns scores into weights, and gradients in weights into gradients in scores, for the keys
    /// from `start` on and the queries from `first` on.
    fn differentiate(
        weights: &mut [f32],
        slopes: &mut [f32],
        start: usize,
        sight: Sight,
        first: usize,
        state: (&[f32], &[f32]),
    ) {
        let (log_sum_exp, inner) = state;
        let lanes = inner.len();
        let rows = weights.chunks_mut(lanes).zip(slopes.chunks_mut(lanes));
        for (key, (weights, slopes)) in rows.enumerate() {
            let seeing = sight.lanes(start + key..start + key + 1);
            weights[..seeing.start - first].fill(f32::NEG_INFINITY);
            if seeing.end - first < lanes {
                weights[seeing.end - first..].fill(f32::NEG_INFINITY);
            }
            let states = log_sum_exp.iter().zip(inner);
            for ((weight, slope), (lse, inner)) in weights.iter_mut().zip(slopes).zip(states) {
                *weight = exp(*weight - lse);
                *slope = *weight * (*slope - inner);
            }
        }
    }

    fn inner_products(a: &[f32], b: &[f32], size: usize, products: &mut [f32]) {
        for ((a, b), product) in a.chunks(size).zip(b.chunks(size)).zip(products) {
            *product = dot(a, b);
        }
    }

    fn add(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}
