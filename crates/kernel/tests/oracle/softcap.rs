//! Soft-capped logits, and multiplication by a number.

use kernel::{scale, softcap};

use crate::check::{assert_close, device, hashed, wide};

#[test]
fn capped_logits_equal_the_definition_and_never_pass_the_cap() {
    let before = hashed(1, 70, 1003, 128.0);
    let mut logits = before.clone();
    softcap::apply(&mut logits, 30.0);
    let cap = |x: &f64| 30.0 * (x / 30.0).tanh();
    let expected: Vec<f64> = wide(&before).iter().map(cap).collect();
    assert_close("logits", &wide(&logits), &expected, 1e-6);
    assert!(wide(&logits).iter().all(|x| x.abs() <= 30.0));
}

#[test]
fn a_small_logit_hardly_feels_the_cap() {
    let mut logits = device().matrix(1, 3, vec![1e-6, -1e-3, 0.0]);
    softcap::apply(&mut logits, 50.0);
    for (found, expected) in wide(&logits).iter().zip([1e-6, -1e-3, 0.0]) {
        assert!(
            (found - expected).abs() <= 1e-7 * f64::abs(expected),
            "{found}"
        );
    }
}

#[test]
fn scaling_multiplies_every_entry() {
    let mut x = hashed(1, 90, 101, 1.0);
    let expected: Vec<f64> = wide(&x).iter().map(|x| 1.75 * x).collect();
    scale::by(&mut x, 1.75);
    assert_close("x", &wide(&x), &expected, 1e-6);
}
