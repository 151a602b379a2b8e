//! Log-probabilities without logits.

use kernel::head::{self, Settings};

use crate::check::{assert_close, assert_gradient, cases, device, hashed, weigh, wide};

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

#[test]
fn scores_and_gradients_equal_those_of_torch() {
    for case in cases(include_str!("fixtures/head.json")) {
        let [m, d, v] = case.counts("shape");
        let settings = Settings {
            inverse_temperature: case.values("inverse_temperature")[0] as f32,
            softcap: case.values("softcap").first().map(|cap| *cap as f32),
        };
        let targets: Vec<u32> = case.values("targets").iter().map(|x| *x as u32).collect();
        let (hidden, weight) = (hashed(1, m, d, 2.0), hashed(2, d, v, 2.0));
        let scores = head::forward(&hidden, &weight, &targets, settings);
        assert_close(
            "logprobs",
            &widen(&scores.logprobs_m),
            &case.values("logprobs"),
            1e-6,
        );
        let sums = &scores.log_sum_exp_m;
        assert_close(
            "log_sum_exp",
            &widen(sums),
            &case.values("log_sum_exp"),
            1e-6,
        );
        let grad = hashed(3, 1, m, 1.0).to_vec();
        let (mut grad_hidden, mut grad_weight) = (device().zeros(m, d), device().zeros(d, v));
        head::backward(
            &hidden,
            &weight,
            &targets,
            settings,
            sums,
            &grad,
            &mut grad_hidden,
            Some(&mut grad_weight),
        );
        case.expect("grad_hidden", &grad_hidden, 2e-6);
        case.expect("grad_weight", &grad_weight, 2e-6);
    }
}

/// The log-probabilities of the targets.
fn definition(hidden: &[f64], weight: &[f64], targets: &[u32], settings: Settings) -> Vec<f64> {
    let by = f64::from(settings.inverse_temperature);
    let cap = |x: f64| match settings.softcap.map(f64::from) {
        Some(cap) => cap * (x / cap).tanh(),
        None => x,
    };
    let d = hidden.len() / targets.len();
    let v = weight.len() / d;
    let row = |(hidden, target): (&[f64], &u32)| {
        let mut logits = vec![0.0; v];
        for (x, weight) in hidden.iter().zip(weight.chunks(v)) {
            logits
                .iter_mut()
                .zip(weight)
                .for_each(|(logit, w)| *logit += x * w);
        }
        let logits: Vec<f64> = logits.into_iter().map(|logit| by * cap(logit)).collect();
        logits[*target as usize] - logits.iter().map(|x| x.exp()).sum::<f64>().ln()
    };
    hidden.chunks(d).zip(targets).map(row).collect()
}

#[test]
fn a_vocabulary_of_several_chunks_equals_the_definition_and_its_finite_differences() {
    let (m, d, v) = (70, 6, 5001);
    let (hidden, weight) = (hashed(1, m, d, 1.0), hashed(2, d, v, 1.0));
    let (hidden_wide, weight_wide) = (wide(&hidden), wide(&weight));
    let targets: Vec<u32> = (0..m as u32).map(|i| i * 997 % v as u32).collect();
    let grad = hashed(3, 1, m, 1.0);
    for softcap in [None, Some(1.5)] {
        let settings = Settings {
            inverse_temperature: 1.25,
            softcap,
        };
        let scores = head::forward(&hidden, &weight, &targets, settings);
        let expected = definition(&hidden_wide, &weight_wide, &targets, settings);
        assert_close("logprobs", &widen(&scores.logprobs_m), &expected, 1e-6);
        let (mut grad_hidden, mut grad_weight) = (device().zeros(m, d), device().zeros(d, v));
        head::backward(
            &hidden,
            &weight,
            &targets,
            settings,
            &scores.log_sum_exp_m,
            &grad.to_vec(),
            &mut grad_hidden,
            Some(&mut grad_weight),
        );
        let loss = |hidden: &[f64], weight: &[f64]| {
            weigh(&definition(hidden, weight, &targets, settings), &grad)
        };
        let in_hidden = |x: &[f64]| loss(x, &weight_wide);
        assert_gradient("hidden", in_hidden, &hidden, &grad_hidden, 1e-5);
        let in_weight = |w: &[f64]| loss(&hidden_wide, w);
        assert_gradient("weight", in_weight, &weight, &grad_weight, 1e-5);
    }
}

#[test]
fn logits_of_thousands_keep_a_finite_score() {
    let (hidden, weight) = (hashed(1, 3, 4, 64.0), hashed(2, 4, 2000, 64.0));
    let settings = Settings {
        inverse_temperature: 1.0,
        softcap: None,
    };
    let scores = head::forward(&hidden, &weight, &[0, 1500, 1999], settings);
    assert!(
        scores.logprobs_m.iter().all(|x| x.is_finite() && *x <= 0.0),
        "{scores:?}"
    );
    let nothing = head::forward(&device().zeros(0, 4), &weight, &[], settings);
    assert!(nothing.logprobs_m.is_empty());
}
