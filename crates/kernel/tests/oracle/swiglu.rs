//! The gated activation.

use kernel::swiglu;

use crate::check::{assert_gradient, cases, device, hashed, weigh};

#[test]
fn values_and_gradients_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/swiglu.json")) {
        let [n, width] = case.counts("shape");
        let (x, grad_y) = (hashed(1, n, 2 * width, 8.0), hashed(2, n, width, 1.0));
        let (mut y, mut grad_x) = (device().zeros(n, width), device().zeros(n, 2 * width));
        swiglu::forward(&x, &mut y);
        case.expect("y", &y, 1e-6);
        swiglu::backward(&x, &grad_y, &mut grad_x);
        case.expect("grad_x", &grad_x, 1e-6);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (n, width) = (70, 33);
    let (x, grad_y) = (hashed(1, n, 2 * width, 4.0), hashed(2, n, width, 1.0));
    let mut grad_x = device().zeros(n, 2 * width);
    swiglu::backward(&x, &grad_y, &mut grad_x);
    let loss = |x: &[f64]| {
        let act = |row: &[f64]| {
            let (gate, up) = row.split_at(width);
            let act = |(gate, up): (&f64, &f64)| gate / (1.0 + (-gate).exp()) * up;
            gate.iter().zip(up).map(act).collect::<Vec<_>>()
        };
        weigh(
            &x.chunks(2 * width).flat_map(act).collect::<Vec<_>>(),
            &grad_y,
        )
    };
    assert_gradient("x", loss, &x, &grad_x, 1e-5);
}

#[test]
fn gates_far_from_zero_close_or_open_without_nan() {
    let x = device().matrix(1, 6, vec![-1e4, -100.0, 1e4, 2.0, 2.0, 2.0]);
    let mut y = device().zeros(1, 3);
    swiglu::forward(&x, &mut y);
    assert_eq!(y.to_vec(), [-0.0, -0.0, 2e4]);
    let mut grad_x = device().zeros(1, 6);
    let ones = device().matrix(1, 3, vec![1.0; 3]);
    swiglu::backward(&x, &ones, &mut grad_x);
    assert_eq!(grad_x.to_vec(), [-0.0, -0.0, 2.0, -0.0, -0.0, 1e4]);
}
