//! The map of low rank, and dropout.

use kernel::low_rank::Map;
use kernel::{Device, Matrix, Mode, dropout, low_rank};

use crate::check::{assert_close, assert_gradient, device, hashed, hashed_on, weigh, wide};

const COLUMN: usize = 3;
const SCALE: f32 = 0.7;

/// `(x A B) · scale` in `f64`, row after row.
fn definition(x: &[f64], down: &[f64], up: &[f64], rank: usize) -> Vec<f64> {
    let (inputs, outputs) = (down.len() / rank, up.len() / rank);
    let times = |x: &[f64], w: &[f64], columns: usize| -> Vec<f64> {
        let entry = |j: usize| {
            x.iter()
                .zip(w[j..].iter().step_by(columns))
                .map(|(x, w)| x * w)
        };
        (0..columns).map(|j| entry(j).sum()).collect()
    };
    let row = |x: &[f64]| times(&times(x, down, rank), up, outputs);
    x.chunks(inputs)
        .flat_map(row)
        .map(|y| y * f64::from(SCALE))
        .collect()
}

/// Columns `COLUMN..COLUMN + width` of a matrix.
fn columns(matrix: &Matrix, width: usize) -> Vec<f64> {
    let rows = wide(matrix);
    let part = |row: &[f64]| row[COLUMN..COLUMN + width].to_vec();
    rows.chunks(matrix.columns()).flat_map(part).collect()
}

/// Values, and gradients in input, `A` and `B`.
fn run(device: &Device, [n, i, o, rank]: [usize; 4]) -> [Matrix; 4] {
    let of = |seed, rows, columns| hashed_on(device, seed, rows, columns, 1.0);
    let (x, down_ik, up_ko) = (of(1, n, i), of(2, i, rank), of(3, rank, o));
    let map = Map {
        down_ik: &down_ik,
        up_ko: &up_ko,
        scale: SCALE,
        column: COLUMN,
    };
    let (mut inner, mut grad_inner) = (device.zeros(n, rank), device.zeros(n, rank));
    let mut y = device.zeros(n, o + 2 * COLUMN);
    low_rank::forward(&x, &map, &mut inner, &mut y);
    let grad_y = of(4, n, o + 2 * COLUMN);
    let (mut grad_x, mut grad_down) = (device.zeros(n, i), device.zeros(i, rank));
    let mut grad_up = device.zeros(rank, o);
    low_rank::backward(
        &x,
        &map,
        &grad_y,
        [&mut inner, &mut grad_inner],
        &mut grad_x,
        &mut grad_down,
        &mut grad_up,
    );
    [y, grad_x, grad_down, grad_up]
}

const SHAPES: [[usize; 4]; 4] = [
    [5, 20, 17, 4],
    [300, 33, 200, 8],
    [64, 24, 40, 1],
    [40, 10, 12, 40],
];

#[test]
fn a_map_of_low_rank_equals_its_definition_in_its_columns_and_is_nothing_elsewhere() {
    for shape in SHAPES {
        let [n, i, o, rank] = shape;
        let [y, ..] = run(&device(), shape);
        let (x, down, up) = (
            hashed(1, n, i, 1.0),
            hashed(2, i, rank, 1.0),
            hashed(3, rank, o, 1.0),
        );
        let expected = definition(&wide(&x), &wide(&down), &wide(&up), rank);
        assert_close("y", &columns(&y, o), &expected, 2e-6);
        let width = o + 2 * COLUMN;
        let outside = |c: usize| !(COLUMN..COLUMN + o).contains(&c);
        let touched = y
            .to_vec()
            .iter()
            .enumerate()
            .any(|(at, y)| outside(at % width) && *y != 0.0);
        assert!(!touched, "columns outside the map");
    }
}

#[test]
fn gradients_of_a_map_of_low_rank_agree_with_finite_differences() {
    for shape in SHAPES {
        let [n, i, o, rank] = shape;
        let [_, grad_x, grad_down, grad_up] = run(&device(), shape);
        let (x, down, up) = (
            hashed(1, n, i, 1.0),
            hashed(2, i, rank, 1.0),
            hashed(3, rank, o, 1.0),
        );
        let weights = columns(&hashed(4, n, o + 2 * COLUMN, 1.0), o);
        let weights = device().matrix(n, o, weights.iter().map(|&w| w as f32).collect());
        let (x_wide, down_wide, up_wide) = (wide(&x), wide(&down), wide(&up));
        let loss = |x: &[f64], a: &[f64], b: &[f64]| weigh(&definition(x, a, b, rank), &weights);
        assert_gradient("x", |x| loss(x, &down_wide, &up_wide), &x, &grad_x, 1e-5);
        assert_gradient("A", |a| loss(&x_wide, a, &up_wide), &down, &grad_down, 1e-5);
        assert_gradient("B", |b| loss(&x_wide, &down_wide, b), &up, &grad_up, 1e-5);
    }
}

#[test]
fn a_merged_weight_does_what_weight_and_map_did() {
    let (n, i, o, rank) = (9, 14, 11, 3);
    let (x, down_ik, up_ko) = (
        hashed(1, n, i, 1.0),
        hashed(2, i, rank, 1.0),
        hashed(3, rank, o, 1.0),
    );
    let map = Map {
        down_ik: &down_ik,
        up_ko: &up_ko,
        scale: SCALE,
        column: COLUMN,
    };
    let mut weight = hashed(5, i, o + 2 * COLUMN, 1.0);
    let (mut apart, mut merged) = (
        device().zeros(n, weight.columns()),
        device().zeros(n, weight.columns()),
    );
    kernel::linear::forward(&x, &weight, None, &mut apart, Mode::Write);
    low_rank::forward(&x, &map, &mut device().zeros(n, rank), &mut apart);
    low_rank::merge(&map, &mut weight);
    kernel::linear::forward(&x, &weight, None, &mut merged, Mode::Write);
    assert_close("merged", &wide(&merged), &wide(&apart), 1e-6);
}

#[test]
fn dropout_drops_its_share_and_scales_the_rest_to_the_same_mean() {
    let (rows, width) = (200, 300);
    let ones = device().matrix(rows, width, vec![1.0; rows * width]);
    let keys: Vec<u64> = (0..rows as u64).collect();
    for (probability, tolerance) in [(0.0, 0.0), (0.05, 4e-3), (0.5, 1e-2)] {
        let mask = dropout::Mask {
            keys_n: &keys,
            stream: 1,
            probability,
        };
        let mut y = device().zeros(rows, width);
        dropout::apply(&ones, &mask, &mut y, Mode::Write);
        let y = wide(&y);
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / y.len() as f64;
        let (share, mean) = (
            f64::from(probability),
            y.iter().sum::<f64>() / y.len() as f64,
        );
        assert!((dropped - share).abs() <= tolerance, "{dropped} of {share}");
        assert!(
            (mean - 1.0).abs() <= 2.0 * tolerance,
            "mean {mean} at {share}"
        );
    }
}

#[test]
fn a_mask_is_named_by_key_stream_and_column_and_not_by_the_place_of_its_row() {
    let (width, probability) = (4000, 0.5);
    let row = |key: u64, stream: u64| {
        let mask = dropout::Mask {
            keys_n: &[7, key, 8],
            stream,
            probability,
        };
        let mut y = device().zeros(3, width);
        dropout::apply(
            &device().matrix(3, width, vec![1.0; 3 * width]),
            &mask,
            &mut y,
            Mode::Write,
        );
        y.to_vec()[width..2 * width].to_vec()
    };
    let same = |(a, b): &(&f32, &f32)| a.to_bits() == b.to_bits();
    let agree = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(same).count() as f64;
    let first = row(5, 0);
    assert_eq!(first, row(5, 0));
    for other in [row(6, 0), row(5, 1), row(5 ^ 1 << 40, 0)] {
        let share = agree(&first, &other) / width as f64;
        assert!((share - 0.5).abs() < 0.04, "masks agree in {share}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_map_or_a_mask() {
    let all = |threads| {
        let device = Device::cpu(Some(threads));
        let mut results: Vec<Matrix> = SHAPES.into_iter().flat_map(|s| run(&device, s)).collect();
        results.extend(run(&device, [700, 128, 384, 8]));
        let (x, keys) = (
            hashed_on(&device, 1, 700, 90, 1.0),
            (0..700).collect::<Vec<u64>>(),
        );
        let mask = dropout::Mask {
            keys_n: &keys,
            stream: 3,
            probability: 0.1,
        };
        let mut y = hashed_on(&device, 2, 700, 90, 1.0);
        dropout::apply(&x, &mask, &mut y, Mode::Add);
        results.push(y);
        let bits = |m: Matrix| {
            m.to_vec()
                .into_iter()
                .map(f32::to_bits)
                .collect::<Vec<u32>>()
        };
        results.into_iter().map(bits).collect::<Vec<_>>()
    };
    let expected = all(1);
    for threads in [2, 5] {
        for (index, (found, expected)) in all(threads).iter().zip(&expected).enumerate() {
            assert!(found == expected, "result {index} with {threads} threads");
        }
    }
}
