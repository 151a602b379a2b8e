//! The fused AdamW update.

use kernel::adamw::{self, Settings};

use crate::check::{assert_close, cases, device, hashed, wide};

const SETTINGS: Settings = Settings {
    learning_rate: 0.01,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.1,
};

#[test]
fn five_steps_equal_those_of_torch_with_the_scale_on_the_gradient() {
    for case in cases(include_str!("fixtures/adamw.json")) {
        let (mut weight, mut first, mut second) = (
            hashed(1, 3, 7, 1.0),
            device().zeros(3, 7),
            device().zeros(3, 7),
        );
        for step in 1..=5 {
            let grad = hashed(1 + step, 3, 7, 1.0);
            adamw::update(
                &mut weight,
                &grad,
                &mut first,
                &mut second,
                &SETTINGS,
                step,
                0.25,
            );
        }
        case.expect("weight", &weight, 1e-6);
        case.expect("first", &first, 1e-6);
        case.expect("second", &second, 1e-6);
    }
}

#[test]
fn the_first_step_moves_every_weight_by_the_learning_rate_against_its_gradient() {
    let settings = Settings {
        weight_decay: 0.0,
        ..SETTINGS
    };
    let grad = hashed(2, 30, 300, 1.0);
    let (mut weight, mut first, mut second) = (
        device().zeros(30, 300),
        device().zeros(30, 300),
        device().zeros(30, 300),
    );
    adamw::update(
        &mut weight,
        &grad,
        &mut first,
        &mut second,
        &settings,
        1,
        1.0,
    );
    let sign = |grad: &f64| {
        if *grad == 0.0 {
            0.0
        } else {
            -0.01 * grad.signum()
        }
    };
    let expected: Vec<f64> = wide(&grad).iter().map(sign).collect();
    assert_close("weight", &wide(&weight), &expected, 1e-3);
}
