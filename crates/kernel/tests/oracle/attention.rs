//! Attention over a tree of segments.

use kernel::attention::{self, Heads, Layout, Rule, Segment};
use kernel::{Device, Matrix};

use crate::check::{assert_close, assert_gradient, cases, device, hashed, weigh, wide};

/// Segments of these lengths and parents, one after another.
pub(crate) fn layout(segments: &[(usize, Option<usize>)]) -> Layout {
    let mut start = 0;
    let segment = |&(length, parent): &(usize, Option<usize>)| {
        start += length;
        Segment {
            start: start - length,
            length,
            parent,
        }
    };
    Layout::new(segments.iter().map(segment).collect())
}

/// The output, the logarithms of sums, and the gradient for hashed output gradients.
pub(crate) fn run(
    device: &Device,
    layout: &Layout,
    heads: &Heads,
    rule: &Rule,
    qkv: &Matrix,
    grad_out: &Matrix,
) -> [Matrix; 3] {
    let n = qkv.rows();
    let mut out = device.zeros(n, heads.query * heads.size);
    let mut sums = device.zeros(n, heads.query);
    attention::forward(layout, heads, rule, qkv, &mut out, &mut sums);
    let mut grad = device.zeros(n, qkv.columns());
    grad.fill(3.0);
    attention::backward(layout, heads, rule, qkv, &out, &sums, grad_out, &mut grad);
    [out, sums, grad]
}

/// Attention row by row, by its definition.
fn definition(layout: &Layout, heads: &Heads, rule: &Rule, qkv: &[f64]) -> Vec<f64> {
    let (size, width) = (heads.size, heads.columns());
    let segments = layout.segments();
    let mut out = Vec::new();
    for segment in segments {
        let mut above = Vec::new();
        let mut parent = segment.parent;
        while let Some(index) = parent {
            above.splice(0..0, segments[index].rows());
            parent = segments[index].parent;
        }
        for row in segment.rows() {
            let before: Vec<usize> = above.iter().copied().chain(segment.start..=row).collect();
            let window = rule.window.unwrap_or(usize::MAX).min(before.len());
            let seen = &before[before.len() - window..];
            for head in 0..heads.query {
                let key = (heads.query + head * heads.key_value / heads.query) * size;
                let value = key + heads.key_value * size;
                let query = &qkv[row * width + head * size..][..size];
                let score = |at: &usize| {
                    let key = &qkv[at * width + key..][..size];
                    let product: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                    let score = product * f64::from(rule.scale);
                    match rule.softcap.map(f64::from) {
                        Some(cap) => cap * (score / cap).tanh(),
                        None => score,
                    }
                };
                let weights: Vec<f64> = seen.iter().map(|at| score(at).exp()).collect();
                let total: f64 = weights.iter().sum();
                let entry = |i: usize| {
                    let term = |(at, w): (&usize, &f64)| w * qkv[at * width + value + i];
                    seen.iter().zip(&weights).map(term).sum::<f64>() / total
                };
                out.extend((0..size).map(entry));
            }
        }
    }
    out
}

#[test]
fn values_and_gradients_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/attention.json")) {
        let [query, key_value, size] = case.counts("heads");
        let heads = Heads {
            query,
            key_value,
            size,
        };
        let lengths = case.values("lengths");
        let parents = case.values("parents");
        let segment = |(length, parent): (&f64, &f64)| {
            (
                *length as usize,
                (*parent >= 0.0).then_some(*parent as usize),
            )
        };
        let segments: Vec<_> = lengths.iter().zip(&parents).map(segment).collect();
        let layout = layout(&segments);
        let qkv = hashed(1, layout.rows(), heads.columns(), 2.0);
        let grad_out = hashed(2, layout.rows(), query * size, 1.0);
        let rule = Rule {
            scale: case.values("scale")[0] as f32,
            softcap: case.values("softcap").first().map(|cap| *cap as f32),
            window: case.values("window").first().map(|window| *window as usize),
        };
        let [out, sums, grad] = run(&device(), &layout, &heads, &rule, &qkv, &grad_out);
        case.expect("out", &out, 2e-6);
        case.expect("log_sum_exp", &sums, 2e-6);
        case.expect("grad_qkv", &grad, 5e-6);
    }
}

/// Without and with a cap; windows shorter and longer than a block of keys and of queries.
pub(crate) fn rules(heads: &Heads) -> Vec<Rule> {
    let plain = Rule::plain(heads);
    let bent = Rule {
        scale: 0.7,
        softcap: Some(0.8),
        window: None,
    };
    let windows = [1, 5, 32, 50, 100].map(Some);
    let within = |rule: Rule| windows.map(|window| Rule { window, ..rule });
    [vec![plain, bent], within(plain).into(), within(bent).into()].concat()
}

#[test]
fn segments_longer_than_a_block_equal_the_definition_and_its_finite_differences() {
    let heads = Heads {
        query: 4,
        key_value: 2,
        size: 5,
    };
    for segments in [
        vec![(201, None)],
        vec![(64, None), (128, None), (129, None)],
        vec![
            (140, None),
            (70, Some(0)),
            (1, Some(0)),
            (65, Some(1)),
            (30, Some(0)),
        ],
    ] {
        let layout = layout(&segments);
        let qkv = hashed(1, layout.rows(), heads.columns(), 2.0);
        let grad_out = hashed(2, layout.rows(), 20, 1.0);
        for rule in rules(&heads) {
            let [out, _, grad] = run(&device(), &layout, &heads, &rule, &qkv, &grad_out);
            let context = format!("{segments:?} by {rule:?}");
            let defined = |qkv: &[f64]| definition(&layout, &heads, &rule, qkv);
            assert_close(&context, &wide(&out), &defined(&wide(&qkv)), 2e-6);
            let loss = |qkv: &[f64]| weigh(&defined(qkv), &grad_out);
            assert_gradient(&context, loss, &qkv, &grad, 1e-5);
        }
    }
}

/// Rows of a matrix, one range after another.
fn pick(matrix: &Matrix, ranges: &[std::ops::Range<usize>]) -> Matrix {
    let mut picked = device().zeros(
        ranges.iter().map(ExactSizeIterator::len).sum(),
        matrix.columns(),
    );
    let mut at = 0;
    for range in ranges {
        picked.copy_rows(at, matrix, range.clone());
        at += range.len();
    }
    picked
}

#[test]
fn a_shared_prompt_gives_what_each_completion_gives_with_a_prompt_of_its_own() {
    let heads = Heads {
        query: 6,
        key_value: 3,
        size: 8,
    };
    let (prompt, completions) = (0..90, [90..131, 131..200, 200..203]);
    let segments = [(90, None), (41, Some(0)), (69, Some(0)), (3, Some(0))];
    let qkv = hashed(1, 203, heads.columns(), 2.0);
    let mut grad_out = hashed(2, 203, 48, 1.0);
    // The prompt's own outputs have no gradient, so that separate prompts do not count it often.
    grad_out.copy_rows(0, &device().zeros(90, 48), 0..90);
    for rule in rules(&heads) {
        let run = |layout: &Layout, qkv: &Matrix, grad_out: &Matrix| {
            run(&device(), layout, &heads, &rule, qkv, grad_out)
        };
        let [out, sums, grad] = run(&layout(&segments), &qkv, &grad_out);
        let mut prompt_grad = vec![0.0; 90 * heads.columns()];
        for completion in &completions {
            let rows = [prompt.clone(), completion.clone()];
            let apart = layout(&[(90 + completion.len(), None)]);
            let [own_out, own_sums, own_grad] =
                run(&apart, &pick(&qkv, &rows), &pick(&grad_out, &rows));
            let after = 90..90 + completion.len();
            for (shared, own, tolerance) in [
                (&out, &own_out, 2e-6),
                (&sums, &own_sums, 2e-6),
                (&grad, &own_grad, 1e-5),
            ] {
                let shared = pick(shared, std::slice::from_ref(completion));
                let own = pick(own, std::slice::from_ref(&after));
                assert_close("completion", &wide(&shared), &wide(&own), tolerance);
            }
            let own = wide(&own_grad);
            prompt_grad
                .iter_mut()
                .zip(own)
                .for_each(|(sum, grad)| *sum += grad);
        }
        let shared = pick(&grad, std::slice::from_ref(&prompt));
        assert_close("prompt", &wide(&shared), &prompt_grad, 1e-5);
    }
}

#[test]
fn scores_of_thousands_neither_overflow_nor_vanish() {
    let heads = Heads {
        query: 1,
        key_value: 1,
        size: 4,
    };
    let qkv = hashed(1, 150, heads.columns(), 256.0);
    let grad_out = hashed(2, 150, 4, 1.0);
    let (rule, layout) = (Rule::plain(&heads), layout(&[(150, None)]));
    let [out, sums, grad] = run(&device(), &layout, &heads, &rule, &qkv, &grad_out);
    for matrix in [&out, &sums, &grad] {
        assert!(kernel::norm::is_finite(matrix), "{matrix:?} is not finite");
    }
    let largest = wide(&out)
        .iter()
        .fold(0.0_f64, |largest, x| largest.max(x.abs()));
    assert!(largest > 100.0, "outputs vanished: largest {largest}");
}

#[test]
#[should_panic(expected = "segment 1 starts at 4, expected 3")]
fn segments_that_leave_a_gap_assert() {
    Layout::new(vec![
        Segment {
            start: 0,
            length: 3,
            parent: None,
        },
        Segment {
            start: 4,
            length: 3,
            parent: None,
        },
    ]);
}

#[test]
#[should_panic(expected = "segment 0 comes before its parent")]
fn a_parent_after_its_child_asserts() {
    layout(&[(2, Some(1)), (2, None)]);
}
