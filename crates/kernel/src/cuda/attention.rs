//! Attention over a tree of segments, and over a cache of keys and values.

use std::sync::Arc;

use super::buffer::Buffer;
use super::compile::{PROGRAMS, Program, TENSOR_BACKWARD_COLUMNS_MAX};
use super::launch::{Launch, THREADS};
use super::{Cuda, Precision};
use crate::attention::{Heads, Layout, RowSpans, Rule};
use crate::matrix::Matrix;

/// Threads of a warp.
const WARP: usize = 32;
/// In place of a segment or of a window that is not there.
const NONE: u32 = u32::MAX;
/// Keys of one block of scores in the forward, as `FORWARD_KEYS`.
const FORWARD_KEYS: usize = 32;
/// Warps of a block of `attention_cached`, and the query heads it computes.
const CACHED_WARPS: usize = 8;
const CACHED_QUERIES: usize = 4;
/// Queries of a block of `attention_cached_shared`, as `SHARED_QUERIES`.
const SHARED_QUERIES: usize = CACHED_WARPS * CACHED_QUERIES;
/// Keys of a part at least, and parts of shared keys at most: several blocks then share a long
/// prompt, each with enough to do.
const PART_KEYS_MIN: usize = 256;
const PARTS_MAX: usize = 16;

/// The program for heads of this size, and the columns that its tiles hold.
fn program(heads: &Heads) -> (Program, usize) {
    let fits = |program: &Program| match *program {
        Program::Attention(columns) if heads.size <= columns => Some((*program, columns)),
        _ => None,
    };
    let found = PROGRAMS.iter().find_map(fits);
    found.unwrap_or_else(|| panic!("heads of {} entries, at most 256 on a card", heads.size))
}

/// Rows of a tile on tensor cores, the rows that come at a time, and threads of a block, as
/// `TENSOR_ROWS`, `TENSOR_STEP` and `TENSOR_THREADS`.
const TENSOR_ROWS: usize = 64;
const TENSOR_STEP: usize = 32;
const TENSOR_THREADS: usize = 128;

/// Words of a row of a tile, and of a column of a turned one, as `PAIRS` and `TURNED_PAIRS`.
fn tensor_words(columns: usize) -> (usize, usize) {
    (columns / 2 + 4, columns * (TENSOR_STEP / 2 + 4))
}

/// Rows of a tile of the forward, as `FORWARD_ROWS`.
fn forward_rows(columns: usize) -> usize {
    if columns > 128 { 32 } else { 64 }
}

/// Rows, and keys, of a tile of the backward, as `BACKWARD_ROWS`.
fn backward_rows(columns: usize) -> usize {
    if columns > 128 { 16 } else { 32 }
}

/// First row, end, parent and first position of every segment.
fn segments(cuda: &Cuda, layout: &Layout) -> Arc<Buffer<u32>> {
    let segments = layout.segments().iter().zip(layout.positions());
    let four = segments.flat_map(|(segment, position)| {
        let parent = segment.parent.map_or(NONE, |parent| parent as u32);
        let rows = segment.rows();
        [rows.start as u32, rows.end as u32, parent, *position as u32]
    });
    cuda.table(&four.collect::<Vec<_>>())
}

/// Segment and first row of every tile, and how many there are. Long segments come last in a
/// batch as often as first, so tiles keep the order of rows.
fn tiles(cuda: &Cuda, layout: &Layout, rows: usize) -> (Arc<Buffer<u32>>, usize) {
    let segments = layout.segments().iter().enumerate();
    let tiles = segments.flat_map(|(index, segment)| {
        let starts = segment.rows().step_by(rows);
        starts.flat_map(move |start| [index as u32, start as u32])
    });
    let tiles: Vec<u32> = tiles.collect();
    (cuda.table(&tiles), tiles.len() / 2)
}

/// For each segment itself and all below it: where they start in a list, and the list.
fn below(cuda: &Cuda, layout: &Layout) -> [Arc<Buffer<u32>>; 2] {
    let count = layout.segments().len();
    let mut below: Vec<Vec<u32>> = (0..count).map(|index| vec![index as u32]).collect();
    for index in 0..count {
        for ancestor in layout.ancestors(index) {
            below[ancestor].push(index as u32);
        }
    }
    let mut starts = vec![0];
    starts.extend(below.iter().scan(0, |end, list| {
        *end += list.len() as u32;
        Some(*end)
    }));
    [starts, below.concat()].map(|list| cuda.table(&list))
}

/// What every kernel of attention is told last.
fn facts<'a>(launch: Launch<'a>, heads: &Heads, rule: &Rule) -> Launch<'a> {
    let launch = launch
        .size(heads.query)
        .size(heads.key_value)
        .size(heads.size);
    launch
        .number(rule.scale)
        .number(rule.softcap.unwrap_or(0.0))
}

fn window(rule: &Rule) -> u32 {
    let window = rule
        .window
        .map_or(NONE, |w| u32::try_from(w).unwrap_or(NONE));
    assert!(window > 0, "a window must hold the query's own key");
    window
}

/// [`crate::attention::forward`].
pub(crate) fn forward(
    cuda: &Cuda,
    layout: &Layout,
    heads: &Heads,
    rule: &Rule,
    qkv_nc: &Matrix,
    out_nq: &mut Matrix,
    log_sum_exp: &mut Matrix,
) {
    let (program, columns) = program(heads);
    let on_tensor_cores = cuda.precision() == Precision::Bfloat16;
    let (name, rows, words, threads) = if on_tensor_cores {
        let (row, turned) = tensor_words(columns);
        let words = (TENSOR_ROWS + TENSOR_STEP) * row + turned;
        (
            "attention_forward_tensor",
            TENSOR_ROWS,
            words,
            TENSOR_THREADS,
        )
    } else {
        let rows = forward_rows(columns);
        let words = (rows + FORWARD_KEYS) * (columns + 1) + rows * (FORWARD_KEYS + 1);
        ("attention_forward", rows, words, THREADS)
    };
    let (tiles, count) = tiles(cuda, layout, rows);
    let launch = cuda.kernel(program, name).read(qkv_nc.card().values());
    let launch = launch.write(out_nq.card_mut().values_mut());
    let launch = launch.write(log_sum_exp.card_mut().values_mut());
    let segments = segments(cuda, layout);
    let launch = launch.read(&segments).read(&tiles);
    let launch = facts(launch, heads, rule).word(window(rule));
    launch.run(
        [count, heads.query, 1],
        [threads, 1],
        words * size_of::<f32>(),
    );
}

/// [`crate::attention::backward`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    cuda: &Cuda,
    layout: &Layout,
    heads: &Heads,
    rule: &Rule,
    qkv_nc: &Matrix,
    out_nq: &Matrix,
    log_sum_exp: &Matrix,
    grad_out_nq: &Matrix,
    grad_qkv_nc: &mut Matrix,
) {
    let (program, columns) = program(heads);
    let count = layout.rows() * heads.query;
    let mut inner = Buffer::<f32>::unset(cuda, count);
    let launch = cuda.kernel(program, "attention_inner");
    let launch = launch
        .read(out_nq.card().values())
        .read(grad_out_nq.card().values());
    let launch = launch.write(&mut inner).size(count).size(heads.size);
    launch.run([count.div_ceil(THREADS / WARP), 1, 1], [THREADS, 1], 0);

    let plan = backward_plan(cuda, columns);
    let (tiles, tile_count) = tiles(cuda, layout, plan.rows);
    let segments = segments(cuda, layout);
    let reads = |name| {
        let launch = cuda.kernel(program, name).read(qkv_nc.card().values());
        let launch = launch.read(log_sum_exp.card().values()).read(&inner);
        launch.read(grad_out_nq.card().values())
    };
    let [name, key_name] = plan.names;
    let [shared, key_shared] = plan.words.map(|words| words * size_of::<f32>());
    let launch = reads(name).write(grad_qkv_nc.card_mut().values_mut());
    let launch = facts(launch.read(&segments).read(&tiles), heads, rule).word(window(rule));
    launch.run([tile_count, heads.query, 1], [plan.threads, 1], shared);

    let [starts, members] = below(cuda, layout);
    let launch = reads(key_name).write(grad_qkv_nc.card_mut().values_mut());
    let launch = launch
        .read(&segments)
        .read(&tiles)
        .read(&starts)
        .read(&members);
    let launch = facts(launch, heads, rule).word(window(rule));
    launch.run(
        [tile_count, heads.key_value, 1],
        [plan.threads, 1],
        key_shared,
    );
}

/// The kernels for the gradients in queries and in keys, the rows of their tiles, their threads and
/// the words of shared memory of each.
struct BackwardPlan {
    names: [&'static str; 2],
    rows: usize,
    threads: usize,
    words: [usize; 2],
}

fn backward_plan(cuda: &Cuda, columns: usize) -> BackwardPlan {
    let fits = columns <= TENSOR_BACKWARD_COLUMNS_MAX;
    if fits && cuda.precision() == Precision::Bfloat16 {
        let (row, turned) = tensor_words(columns);
        let tiles = 2 * (TENSOR_ROWS + TENSOR_STEP) * row;
        return BackwardPlan {
            names: [
                "attention_backward_query_tensor",
                "attention_backward_key_tensor",
            ],
            rows: TENSOR_ROWS,
            threads: TENSOR_THREADS,
            words: [tiles + turned, tiles + 2 * turned + 2 * TENSOR_STEP],
        };
    }
    let rows = backward_rows(columns);
    let (tile, block) = (rows * (columns + 1), rows * (rows + 1));
    BackwardPlan {
        names: ["attention_backward_query", "attention_backward_key"],
        rows,
        threads: THREADS,
        words: [4 * tile + block, 4 * tile + 2 * block],
    }
}

/// [`crate::attention::append`].
pub(crate) fn append(cuda: &Cuda, heads: &Heads, qkv_rc: &Matrix, cache: &mut Matrix, at: &[u32]) {
    let width = 2 * heads.key_value * heads.size;
    let count = at.len() * width;
    let launch = cuda.core("append_rows").read(qkv_rc.card().values());
    let at = cuda.table(at);
    let launch = launch.write(cache.card_mut().values_mut()).read(&at);
    let launch = launch.size(count).size(heads.columns());
    launch.size(heads.query_columns()).size(width).over(count);
}

/// What decoded rows see of the cache: keys that neighbours share come in parts.
#[derive(Default)]
struct Seen {
    /// Of each part: first row and rows that share it, start and end of its keys, its place.
    parts: Vec<u32>,
    /// Of each row: start and end of keys that are not in parts, twice, and the number of parts.
    spans: Vec<u32>,
    /// The most parts of a row, and rows of a part.
    parts_max: usize,
    rows_max: usize,
}

impl Seen {
    fn new(spans: &[RowSpans]) -> Seen {
        let mut seen = Seen::default();
        for rows in spans.chunk_by(|a, b| a.shared == b.shared) {
            let keys = &rows[0].shared;
            let (first, count) = (seen.spans.len() / 5, rows.len());
            let step = keys.len().div_ceil(PARTS_MAX).max(PART_KEYS_MIN);
            let starts = keys.clone().step_by(step.next_multiple_of(WARP));
            let mut parts = 0;
            for (place, start) in starts.enumerate().filter(|_| count > 1) {
                let end = keys.end.min(start + step.next_multiple_of(WARP));
                let part = [first, count, start, end, place];
                seen.parts.extend(part.map(|number| number as u32));
                parts = place + 1;
            }
            seen.parts_max = seen.parts_max.max(parts);
            seen.rows_max = seen.rows_max.max(if parts > 0 { count } else { 0 });
            for RowSpans { shared, own } in rows {
                let alone = if parts > 0 { 0..0 } else { shared.clone() };
                let span = [alone.start, alone.end, own.start, own.end, parts];
                seen.spans.extend(span.map(|number| number as u32));
            }
        }
        seen
    }
}

/// [`crate::attention::cached`], of spans that a window has cut.
///
/// # Source
/// Juravsky et al., arXiv 2402.05099, section 3: what rows share is read once for all of them.
pub(crate) fn cached(
    cuda: &Cuda,
    heads: &Heads,
    rule: &Rule,
    qkv_rc: &Matrix,
    cache: &Matrix,
    spans: &[RowSpans],
    [out_rq, log_sum_exp_rh]: [&mut Matrix; 2],
) {
    let (program, columns) = program(heads);
    let (rows, queries) = (spans.len(), heads.query / heads.key_value);
    let seen = Seen::new(spans);
    let reads = |name| {
        let launch = cuda.kernel(program, name).read(qkv_rc.card().values());
        launch.read(cache.card().values())
    };
    let count = seen.parts_max * rows * heads.query * (heads.size + 2);
    let mut states = Buffer::<f32>::unset(cuda, count);
    if seen.parts_max > 0 {
        let parts = cuda.table(&seen.parts);
        let launch = reads("attention_cached_shared").read(&parts);
        let launch = facts(launch.write(&mut states).size(rows), heads, rule);
        let words = (SHARED_QUERIES + 2 * WARP) * (columns + 1);
        let turns = (seen.rows_max * queries).div_ceil(SHARED_QUERIES);
        let grid = [seen.parts.len() / 5, heads.key_value, turns];
        launch.run(grid, [THREADS, 1], words * size_of::<f32>());
    }
    let spans = cuda.table(&seen.spans);
    let launch = reads("attention_cached").read(&spans);
    let launch = launch.read(&states).write(out_rq.card_mut().values_mut());
    let launch = launch.write(log_sum_exp_rh.card_mut().values_mut());
    let turns = queries.div_ceil(CACHED_QUERIES);
    let shared = CACHED_WARPS * CACHED_QUERIES * (columns + 2) * size_of::<f32>();
    let grid = [rows, heads.key_value, turns];
    facts(launch, heads, rule).run(grid, [THREADS, 1], shared);
}
