//! The gated activations.

use kernel::glu::{self, Gate};

use crate::check::{assert_close, assert_gradient, cases, device, hashed, weigh, wide};

#[test]
fn values_and_gradients_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/glu.json")) {
        let gate = match case.name.as_str() {
            "silu" => Gate::Silu,
            _ => Gate::GeluTanh,
        };
        let [n, width] = case.counts("shape");
        let (x, grad_y) = (hashed(1, n, 2 * width, 8.0), hashed(2, n, width, 1.0));
        let mut y = device().zeros(n, width);
        glu::forward(gate, &x, &mut y);
        case.expect("y", &y, 1e-6);
        let mut grad_x = x.clone();
        glu::backward(gate, &mut grad_x, &grad_y);
        case.expect("grad_x", &grad_x, 1e-6);
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    let angle = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    0.5 * x * (1.0 + angle.tanh())
}

#[test]
fn values_equal_the_definition_and_gradients_its_finite_differences() {
    let (n, width) = (70, 33);
    let (x, grad_y) = (hashed(1, n, 2 * width, 4.0), hashed(2, n, width, 1.0));
    for (gate, activate) in [
        (Gate::Silu, silu as fn(f64) -> f64),
        (Gate::GeluTanh, gelu as fn(f64) -> f64),
    ] {
        let acts = |x: &[f64]| {
            let act = |row: &[f64]| {
                let (gates, ups) = row.split_at(width);
                let act = |(gate, up): (&f64, &f64)| activate(*gate) * up;
                gates.iter().zip(ups).map(act).collect::<Vec<_>>()
            };
            x.chunks(2 * width).flat_map(act).collect::<Vec<_>>()
        };
        let mut y = device().zeros(n, width);
        glu::forward(gate, &x, &mut y);
        assert_close(&format!("{gate:?}"), &wide(&y), &acts(&wide(&x)), 1e-6);
        let mut grad_x = x.clone();
        glu::backward(gate, &mut grad_x, &grad_y);
        let loss = |x: &[f64]| weigh(&acts(x), &grad_y);
        assert_gradient(&format!("{gate:?}"), loss, &x, &grad_x, 1e-5);
    }
}

#[test]
fn gates_far_from_zero_close_or_open_without_nan() {
    let x = device().matrix(1, 6, vec![-1e4, -100.0, 1e4, 2.0, 2.0, 2.0]);
    let ones = device().matrix(1, 3, vec![1.0; 3]);
    for gate in [Gate::Silu, Gate::GeluTanh] {
        let mut y = device().zeros(1, 3);
        glu::forward(gate, &x, &mut y);
        assert_eq!(y.to_vec(), [-0.0, -0.0, 2e4], "{gate:?}");
        let mut grad_x = x.clone();
        glu::backward(gate, &mut grad_x, &ones);
        let expected = [-0.0, -0.0, 2.0, -0.0, -0.0, 1e4];
        assert_eq!(grad_x.to_vec(), expected, "{gate:?}");
    }
}
