//! Drawing tokens.

use kernel::sample::{self, Draw, Options};

use crate::check::{assert_close, cases, device, hashed, is_card, uniform};

const PLAIN: Options = Options {
    temperature: 1.0,
    top_k: None,
    top_p: None,
};

#[test]
fn frequencies_logprobs_and_entropy_equal_those_of_transformers_processors() {
    // A draw takes an emulated card long.
    let draws_each = if is_card() { 60 } else { 4000 };
    for case in cases(include_str!("fixtures/sample.json")) {
        let options = Options {
            temperature: case.values("temperature")[0] as f32,
            top_k: case.values("top_k").first().map(|x| *x as usize),
            top_p: case.values("top_p").first().map(|x| *x as f32),
        };
        let logits = hashed(1, 3, 150, 8.0);
        let mut counts = vec![0.0; 3 * 150];
        for i in 0..draws_each {
            let draws = sample::draw(
                &logits,
                &options,
                &[(i as f64 + 0.5) / draws_each as f64; 3],
            );
            for (row, draw) in draws.into_iter().enumerate() {
                let at = row * 150 + draw.token as usize;
                counts[at] += 1.0 / draws_each as f64;
                let (logprob, entropy) = (case.values("logprobs")[at], case.values("entropy")[row]);
                let found = [f64::from(draw.logprob), f64::from(draw.entropy)];
                assert_close(&case.name, &found, &[logprob, entropy], 2e-6);
            }
        }
        let expected = case.values("probabilities");
        for (token, (count, expected)) in counts.iter().zip(&expected).enumerate() {
            let error = (count - expected).abs();
            assert!(
                error < 1.1 / draws_each as f64,
                "{}: {token} {count} {expected}",
                case.name
            );
            assert!(
                *expected > 0.0 || *count == 0.0,
                "{}: {token} was cut",
                case.name
            );
        }
    }
}

#[test]
fn temperature_zero_takes_the_first_greatest_logit_under_the_plain_softmax() {
    let logits = device().matrix(1, 4, vec![0.0, 2.0, 2.0, 1.0]);
    let greedy = Options {
        temperature: 0.0,
        ..PLAIN
    };
    let Draw { token, logprob, .. } = sample::draw(&logits, &greedy, &[0.99])[0];
    let total = 1.0 + 2.0 * 2.0_f32.exp() + 1.0_f32.exp();
    assert_eq!(token, 1);
    assert!((logprob - (2.0 - total.ln())).abs() < 1e-6, "{logprob}");
}

#[test]
fn a_nucleus_larger_than_the_first_search_keeps_its_mass() {
    let v = 3000;
    let logits = device().matrix(1, v, (0..v).map(|i| uniform(5, i) * 0.5).collect());
    let options = Options {
        top_p: Some(0.5),
        ..PLAIN
    };
    let mut sorted: Vec<f64> = logits.to_vec().iter().map(|x| f64::from(*x)).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = sorted.iter().map(|x| x.exp()).sum();
    let mut mass = 0.0;
    let least = sorted.iter().find(|x| {
        mass += x.exp() / total;
        mass >= 0.5
    });
    for i in 0..500 {
        let token = sample::draw(&logits, &options, &[f64::from(i) / 500.0])[0].token;
        let logit = f64::from(logits.to_vec()[token as usize]);
        assert!(
            logit >= *least.unwrap(),
            "token {token} of logit {logit} is below {least:?}"
        );
    }
}

#[test]
fn the_ends_of_the_unit_interval_draw_the_first_and_the_last_likely_token() {
    let mut logits = vec![0.0; 2500];
    (logits[0], logits[2499]) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    let logits = device().matrix(1, 2500, logits);
    let token = |uniform: f64| sample::draw(&logits, &PLAIN, &[uniform])[0].token;
    assert_eq!((token(0.0), token(1.0 - 1e-16)), (1, 2498));
}
