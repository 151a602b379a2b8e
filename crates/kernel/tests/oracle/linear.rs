//! The linear map.

use kernel::{Matrix, Mode, linear};

use crate::check::{assert_close, cases, device, hashed, wide};

#[test]
fn values_and_gradients_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/linear.json")) {
        let [n, i, o] = case.counts("shape");
        let (x, weight, bias) = (
            hashed(1, n, i, 1.0),
            hashed(2, i, o, 1.0),
            hashed(3, 1, o, 1.0),
        );
        let (mut y, grad_y) = (device().zeros(n, o), hashed(4, n, o, 1.0));
        linear::forward(&x, &weight, Some(&bias), &mut y, Mode::Write);
        case.expect("y", &y, 1e-6);
        let mut grad_x = device().zeros(n, i);
        linear::backward_input(&grad_y, &weight, &mut grad_x, Mode::Write);
        case.expect("grad_x", &grad_x, 1e-6);
        let (mut grad_weight, mut grad_bias) = (device().zeros(i, o), device().zeros(1, o));
        linear::backward_weight(&x, &grad_y, &mut grad_weight, Some(&mut grad_bias));
        case.expect("grad_weight", &grad_weight, 1e-6);
        case.expect("grad_bias", &grad_bias, 1e-6);
    }
}

/// `a b` in `f64`, with either factor transposed.
fn product(a: &Matrix, a_transposed: bool, b: &Matrix, b_transposed: bool) -> Vec<f64> {
    let shape = |m: &Matrix, t: bool| {
        if t {
            (m.columns(), m.rows())
        } else {
            (m.rows(), m.columns())
        }
    };
    let at = |m: &Matrix, t: bool, i: usize, j: usize| {
        if t {
            j * m.columns() + i
        } else {
            i * m.columns() + j
        }
    };
    let ((rows, inner), (_, columns)) = (shape(a, a_transposed), shape(b, b_transposed));
    let (a_values, b_values) = (wide(a), wide(b));
    let mut out = Vec::with_capacity(rows * columns);
    for i in 0..rows {
        for j in 0..columns {
            let term =
                |k| a_values[at(a, a_transposed, i, k)] * b_values[at(b, b_transposed, k, j)];
            out.push((0..inner).map(term).sum());
        }
    }
    out
}

#[test]
fn products_divided_by_rows_and_by_columns_equal_the_definition() {
    for (n, i, o) in [
        (300, 65, 97),
        (16, 130, 410),
        (3, 700, 100),
        (1, 512, 640),
        (129, 33, 17),
    ] {
        let context = format!("{n} x {i} x {o}");
        let (x, weight) = (hashed(1, n, i, 1.0), hashed(2, i, o, 1.0));
        let (mut y, grad_y) = (device().zeros(n, o), hashed(3, n, o, 1.0));
        linear::forward(&x, &weight, None, &mut y, Mode::Write);
        assert_close(
            &context,
            &wide(&y),
            &product(&x, false, &weight, false),
            2e-6,
        );
        let mut grad_x = device().zeros(n, i);
        linear::backward_input(&grad_y, &weight, &mut grad_x, Mode::Write);
        assert_close(
            &context,
            &wide(&grad_x),
            &product(&grad_y, false, &weight, true),
            2e-6,
        );
        let mut grad_weight = device().zeros(i, o);
        linear::backward_weight(&x, &grad_y, &mut grad_weight, None);
        assert_close(
            &context,
            &wide(&grad_weight),
            &product(&x, true, &grad_y, false),
            2e-6,
        );
    }
}

#[test]
fn adding_gives_the_old_values_plus_what_writing_gives() {
    let (x, weight, bias) = (
        hashed(1, 9, 14, 1.0),
        hashed(2, 14, 5, 1.0),
        hashed(3, 1, 5, 1.0),
    );
    for bias in [None, Some(&bias)] {
        let (mut written, mut added) = (hashed(4, 9, 5, 1.0), hashed(5, 9, 5, 1.0));
        linear::forward(&x, &weight, bias, &mut written, Mode::Write);
        linear::forward(&x, &weight, bias, &mut added, Mode::Add);
        let old = wide(&hashed(5, 9, 5, 1.0));
        let expected: Vec<f64> = wide(&written)
            .iter()
            .zip(old)
            .map(|(y, old)| y + old)
            .collect();
        assert_close("forward", &wide(&added), &expected, 1e-6);
    }
    let grad_y = hashed(6, 9, 5, 1.0);
    let (mut written, mut added) = (hashed(7, 9, 14, 1.0), hashed(8, 9, 14, 1.0));
    linear::backward_input(&grad_y, &weight, &mut written, Mode::Write);
    linear::backward_input(&grad_y, &weight, &mut added, Mode::Add);
    let old = wide(&hashed(8, 9, 14, 1.0));
    let expected: Vec<f64> = wide(&written)
        .iter()
        .zip(old)
        .map(|(y, old)| y + old)
        .collect();
    assert_close("backward_input", &wide(&added), &expected, 1e-6);
}

#[test]
#[should_panic(expected = "x is 2 x 3, expected 2 x 4")]
fn a_shape_that_does_not_fit_asserts() {
    let (x, weight) = (hashed(1, 2, 3, 1.0), hashed(2, 4, 5, 1.0));
    linear::forward(&x, &weight, None, &mut device().zeros(2, 5), Mode::Write);
}
