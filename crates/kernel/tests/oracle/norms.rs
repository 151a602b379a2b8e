//! Normalisation of rows and of heads, and the norms of a matrix.

use kernel::{Norm, head_norm, norm, rms_norm};

use crate::check::{assert_close, assert_gradient, cases, device, hashed, weigh, wide};

/// A norm whose weights are factors.
fn plain(epsilon: f32) -> Norm {
    Norm {
        epsilon,
        offset: 0.0,
    }
}

#[test]
fn values_and_gradients_of_rows_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/rms_norm.json")) {
        if case.name == "heads" {
            continue;
        }
        let [n, d] = case.counts("shape");
        let rule = Norm {
            epsilon: case.values("epsilon")[0] as f32,
            offset: f32::from(case.name == "offset"),
        };
        let (x, weight, grad_y) = (
            hashed(1, n, d, 1.0),
            hashed(2, 1, d, 1.0),
            hashed(3, n, d, 1.0),
        );
        let (mut y, mut inverse) = (device().zeros(n, d), device().zeros(n, 1));
        rms_norm::forward(&x, &weight, rule, &mut y, &mut inverse);
        case.expect("y", &y, 1e-6);
        let (mut grad_x, mut grad_weight) = (device().zeros(n, d), device().zeros(1, d));
        rms_norm::backward(
            &x,
            &weight,
            rule,
            &inverse,
            &grad_y,
            &mut grad_x,
            &mut grad_weight,
        );
        case.expect("grad_x", &grad_x, 1e-6);
        case.expect("grad_weight", &grad_weight, 1e-6);
    }
}

#[test]
fn values_and_gradients_of_heads_equal_those_of_torch_and_leave_other_columns() {
    let mut cases = cases(include_str!("fixtures/rms_norm.json"));
    let case = cases.swap_remove(cases.iter().position(|case| case.name == "heads").unwrap());
    let [n, heads, size, start, width] = case.counts("shape");
    let columns = start..start + heads * size;
    let (x, weight) = (hashed(1, n, width, 1.0), hashed(2, 1, size, 1.0));
    let (mut y, mut inverse) = (device().zeros(n, width), device().zeros(n, heads));
    y.fill(7.0);
    head_norm::forward(
        &x,
        columns.clone(),
        &weight,
        plain(1e-6),
        &mut y,
        &mut inverse,
    );
    let (inside, outside) = split(&wide(&y), width, &columns);
    assert_close("y", &inside, &case.values("y"), 1e-6);
    assert!(
        outside.iter().all(|y| (y - 7.0).abs() < 1e-9),
        "columns beside the heads changed"
    );

    let (grad_y, mut grad_x) = (hashed(3, n, width, 1.0), device().zeros(n, width));
    grad_x.fill(7.0);
    let mut grad_weight = device().zeros(1, size);
    head_norm::backward(
        &x,
        columns.clone(),
        &weight,
        plain(1e-6),
        &inverse,
        &grad_y,
        &mut grad_x,
        &mut grad_weight,
    );
    let (inside, outside) = split(&wide(&grad_x), width, &columns);
    let (expected, _) = split(&case.values("grad_x"), width, &columns);
    assert_close("grad_x", &inside, &expected, 1e-6);
    assert!(
        outside.iter().all(|y| (y - 7.0).abs() < 1e-9),
        "columns beside the heads changed"
    );
    case.expect("grad_weight", &grad_weight, 1e-6);
}

fn split(values: &[f64], width: usize, columns: &std::ops::Range<usize>) -> (Vec<f64>, Vec<f64>) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (index, value) in values.iter().enumerate() {
        if columns.contains(&(index % width)) {
            &mut inside
        } else {
            &mut outside
        }
        .push(*value);
    }
    (inside, outside)
}

#[test]
fn gradients_agree_with_finite_differences_over_many_blocks_of_rows() {
    let (n, d) = (150, 24);
    let rule = Norm {
        epsilon: 1e-3,
        offset: 1.0,
    };
    let (x, weight, grad_y) = (
        hashed(1, n, d, 1.0),
        hashed(2, 1, d, 1.0),
        hashed(3, n, d, 1.0),
    );
    let (mut y, mut inverse) = (device().zeros(n, d), device().zeros(n, 1));
    rms_norm::forward(&x, &weight, rule, &mut y, &mut inverse);
    let (mut grad_x, mut grad_weight) = (device().zeros(n, d), device().zeros(1, d));
    rms_norm::backward(
        &x,
        &weight,
        rule,
        &inverse,
        &grad_y,
        &mut grad_x,
        &mut grad_weight,
    );
    let loss = |x: &[f64], weight: &[f64]| {
        let row = |x: &[f64]| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / d as f64;
            let inverse = 1.0 / (mean + f64::from(rule.epsilon)).sqrt();
            x.iter()
                .zip(weight)
                .map(|(x, w)| x * inverse * (1.0 + w))
                .collect::<Vec<_>>()
        };
        weigh(&x.chunks(d).flat_map(row).collect::<Vec<_>>(), &grad_y)
    };
    let (x_wide, weight_wide) = (wide(&x), wide(&weight));
    assert_gradient("x", |x| loss(x, &weight_wide), &x, &grad_x, 1e-5);
    assert_gradient(
        "weight",
        |weight| loss(&x_wide, weight),
        &weight,
        &grad_weight,
        1e-5,
    );
}

#[test]
fn backward_adds_to_the_gradient_in_the_rows() {
    let (x, weight, grad_y) = (
        hashed(1, 4, 9, 1.0),
        hashed(2, 1, 9, 1.0),
        hashed(3, 4, 9, 1.0),
    );
    let (mut y, mut inverse) = (device().zeros(4, 9), device().zeros(4, 1));
    rms_norm::forward(&x, &weight, plain(1e-5), &mut y, &mut inverse);
    let (mut once, mut twice) = (device().zeros(4, 9), device().zeros(4, 9));
    let mut grad_weight = device().zeros(1, 9);
    let mut add_to = |grad_x: &mut _| {
        let rule = plain(1e-5);
        rms_norm::backward(
            &x,
            &weight,
            rule,
            &inverse,
            &grad_y,
            grad_x,
            &mut grad_weight,
        );
    };
    add_to(&mut once);
    add_to(&mut twice);
    add_to(&mut twice);
    let doubled: Vec<f64> = wide(&once).iter().map(|x| 2.0 * x).collect();
    assert_close("grad_x", &wide(&twice), &doubled, 1e-6);
}

#[test]
fn the_squared_norm_of_ones_is_their_number_and_one_bad_entry_is_found() {
    let mut matrix = device().zeros(501, 37);
    matrix.fill(1.0);
    assert!(
        (norm::squared(&matrix) - 501.0 * 37.0).abs() < 1e-9,
        "{}",
        norm::squared(&matrix)
    );
    assert!(norm::is_finite(&matrix));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = matrix.to_vec();
        values[17_000] = bad;
        matrix.write(&values);
        assert!(!norm::is_finite(&matrix), "{bad} passed for finite");
        matrix.fill(1.0);
    }
}
