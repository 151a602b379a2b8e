//! Attention over a cache.

use std::ops::Range;

use kernel::attention::{self, Heads, RowSpans, Rule};
use kernel::{Device, Matrix};

use crate::attention::{layout, rules, run};
use crate::check::{assert_close, device, hashed, hashed_on, wide};

const HEADS: Heads = Heads {
    query: 6,
    key_value: 2,
    size: 8,
};

/// The rows of one matrix.
fn rows(matrix: &Matrix, range: Range<usize>) -> Matrix {
    let mut rows = device().zeros(range.len(), matrix.columns());
    rows.copy_rows(0, matrix, range);
    rows
}

#[test]
fn decoding_a_sequence_token_by_token_equals_attention_over_all_of_it() {
    let n = 160;
    let qkv = hashed(1, n, HEADS.columns(), 2.0);
    for rule in rules(&HEADS) {
        let grad_out = hashed(2, n, 48, 1.0);
        let [whole, whole_sums, _] = run(
            &device(),
            &layout(&[(n, None)]),
            &HEADS,
            &rule,
            &qkv,
            &grad_out,
        );
        let mut cache = device().zeros(n + 5, 2 * 2 * 8);
        let (mut out, mut sums) = (device().zeros(1, 48), device().zeros(1, 6));
        for row in 0..n {
            let step = rows(&qkv, row..row + 1);
            attention::append(&HEADS, &step, &mut cache, &[row as u32 + 5]);
            let spans = [RowSpans {
                shared: 0..0,
                own: 5..row + 6,
            }];
            attention::cached(&HEADS, &rule, &step, &cache, &spans, &mut out, &mut sums);
            let context = format!("row {row} by {rule:?}");
            for (found, whole) in [(&out, &whole), (&sums, &whole_sums)] {
                let expected = rows(whole, row..row + 1);
                assert_close(&context, &wide(found), &wide(&expected), 2e-6);
            }
        }
    }
}

/// A prompt of 37 rows with 11 completions, and one sequence apart: of the last row of each, output
/// and log-sum-exp, and those of attention over all rows.
fn decode_groups(device: &Device, rule: &Rule) -> [[Matrix; 2]; 2] {
    let mut segments = vec![(37, None)];
    segments.extend((0..11).map(|i| (3 + i, Some(0))));
    segments.push((20, None));
    let layout = layout(&segments);
    let qkv = hashed_on(device, 1, layout.rows(), HEADS.columns(), 2.0);
    let grad_out = device.zeros(layout.rows(), 48);
    let [whole, whole_sums, _] = run(device, &layout, &HEADS, rule, &qkv, &grad_out);
    let mut cache = device.zeros(layout.rows(), 2 * 2 * 8);
    let at: Vec<u32> = (0..layout.rows() as u32).collect();
    attention::append(&HEADS, &qkv, &mut cache, &at);
    let decoded: Vec<_> = layout.segments()[1..].to_vec();
    let spans = |s: &kernel::attention::Segment| RowSpans {
        shared: if s.parent.is_some() { 0..37 } else { 0..0 },
        own: s.rows(),
    };
    let spans: Vec<_> = decoded.iter().map(spans).collect();
    let mut last = device.zeros(decoded.len(), HEADS.columns());
    let empty = || {
        [
            device.zeros(decoded.len(), 48),
            device.zeros(decoded.len(), 6),
        ]
    };
    let mut expected = empty();
    for (index, segment) in decoded.iter().enumerate() {
        let row = segment.rows().end - 1;
        last.copy_rows(index, &qkv, row..row + 1);
        for (expected, whole) in expected.iter_mut().zip([&whole, &whole_sums]) {
            expected.copy_rows(index, whole, row..row + 1);
        }
    }
    let [mut out, mut sums] = empty();
    attention::cached(&HEADS, rule, &last, &cache, &spans, &mut out, &mut sums);
    [[out, sums], expected]
}

#[test]
fn rows_that_share_a_prompt_see_it_and_their_own_rows_alone() {
    for rule in rules(&HEADS) {
        let [found, expected] = decode_groups(&device(), &rule);
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(&format!("{rule:?}"), &wide(found), &wide(expected), 2e-6);
        }
    }
}

/// Cached keys of the rows below; a card reads so many shared ones in several parts.
const SLOTS: usize = 760;

/// Rows that share a prompt of 700 keys, between rows that share another and one alone.
fn shared_spans() -> Vec<RowSpans> {
    let prompts = [3..703, 3..703, 40..71, 3..703, 3..703, 3..703, 0..0];
    let own = |(row, shared): (usize, Range<usize>)| RowSpans {
        shared,
        own: 710 + row..712 + 3 * row,
    };
    prompts.into_iter().enumerate().map(own).collect()
}

#[test]
fn rows_that_share_a_long_prompt_see_what_each_would_see_alone() {
    for (query, key_value, size) in [(6, 2, 8), (2, 2, 80), (10, 1, 128), (2, 1, 256)] {
        let heads = Heads {
            query,
            key_value,
            size,
        };
        let spans = shared_spans();
        let qkv = hashed(1, spans.len(), heads.columns(), 2.0);
        let mut cache = device().zeros(SLOTS, 2 * key_value * size);
        let all: Vec<u32> = (0..SLOTS as u32).collect();
        let keys = hashed(2, SLOTS, heads.columns(), 1.0);
        attention::append(&heads, &keys, &mut cache, &all);
        for rule in &rules(&heads)[..2] {
            let see = |qkv: &Matrix, spans: &[RowSpans]| {
                let mut out = device().zeros(spans.len(), heads.query_columns());
                let mut sums = device().zeros(spans.len(), heads.query);
                attention::cached(&heads, rule, qkv, &cache, spans, &mut out, &mut sums);
                [wide(&out), wide(&sums)]
            };
            let alone = |row: usize| see(&rows(&qkv, row..row + 1), &spans[row..=row]);
            let alone: Vec<[Vec<f64>; 2]> = (0..spans.len()).map(alone).collect();
            let context = format!("{heads:?} by {rule:?}");
            for (which, found) in see(&qkv, &spans).iter().enumerate() {
                let alone: Vec<f64> = alone.iter().flat_map(|row| row[which].clone()).collect();
                assert_close(&context, found, &alone, 2e-6);
            }
        }
    }
}

#[test]
fn a_row_without_rows_of_its_own_sees_the_shared_ones_as_its_own() {
    let (qkv, cache) = (hashed(1, 1, HEADS.columns(), 2.0), hashed(2, 50, 32, 2.0));
    let out = |shared, own| {
        let (mut out, mut sums) = (device().zeros(1, 48), device().zeros(1, 6));
        let rule = Rule::plain(&HEADS);
        let spans = [RowSpans { shared, own }];
        attention::cached(&HEADS, &rule, &qkv, &cache, &spans, &mut out, &mut sums);
        [wide(&out), wide(&sums)].concat()
    };
    assert_close("out", &out(3..45, 0..0), &out(0..0, 3..45), 2e-6);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for rule in rules(&HEADS) {
        let on = |threads| {
            let [found, _] = decode_groups(&Device::cpu(Some(threads)), &rule);
            found.map(|matrix| matrix.to_vec())
        };
        assert_eq!(on(1), on(3), "{rule:?}");
    }
}

#[test]
#[should_panic(expected = "a decoded row sees no cache row")]
fn a_row_that_sees_nothing_asserts() {
    let (qkv, cache) = (device().zeros(1, HEADS.columns()), device().zeros(4, 32));
    let spans = [RowSpans {
        shared: 2..2,
        own: 0..0,
    }];
    let rule = Rule::plain(&HEADS);
    attention::cached(
        &HEADS,
        &rule,
        &qkv,
        &cache,
        &spans,
        &mut device().zeros(1, 48),
        &mut device().zeros(1, 6),
    );
}
