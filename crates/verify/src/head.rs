//! Log-probabilities against the whole matrix of logits, which training never holds.

use policy::{Batch, Row};

use crate::{Bench, Finding, VerifyError};

/// Nats. Two orders of summation of logits of size 10 to 30 in `f32`, whose spacing is 2e-6 there.
const TOLERANCE: f64 = 1e-4;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let policy = &mut bench.own.policy;
    policy.set_parameters(&bench.start);
    let (prefix, samples) = (&bench.played.prefixes_g[0], &bench.played.samples_g[0]);
    let (mut worst, mut tokens) = (0.0_f64, 0);
    for (sample, temperature) in samples.iter().zip([1.0, 0.7, 1.3]) {
        let row = Row {
            prefix: 0,
            tokens_t: sample.tokens_t.clone(),
            reasoning: None,
        };
        let batch = Batch {
            prefixes: vec![prefix.clone()],
            rows: vec![row],
            temperature,
        };
        let found_t = policy.signals(&batch)?.logprobs_nt.remove(0);
        let logits_tv = policy.logits_tv(prefix, &sample.tokens_t)?;
        let pairs = found_t.iter().zip(&logits_tv).zip(&sample.tokens_t);
        for ((found, logits_v), &token) in pairs {
            let scaled = logits_v.iter().map(|logit| (logit / temperature).exp());
            let expected = logits_v[token as usize] / temperature - scaled.sum::<f64>().ln();
            let distance = (found - expected).abs();
            worst = if distance > worst || distance.is_nan() {
                distance
            } else {
                worst
            };
            tokens += 1;
        }
    }
    let detail = format!("nats, largest of {tokens} tokens at three temperatures; f32");
    Ok(vec![Finding::new("", worst, TOLERANCE, detail)])
}
