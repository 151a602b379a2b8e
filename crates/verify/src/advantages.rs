//! Rewards to advantages, by the formula written out.

use crate::{Bench, Finding, VerifyError};

/// Both sides are `f64` on a handful of rewards.
const TOLERANCE: f64 = 1e-12;

#[expect(clippy::unnecessary_wraps, reason = "checks share one type")]
pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let completions = &bench.played.completions;
    let mut worst = 0.0_f64;
    let mut compared = 0;
    for group in
        completions.chunk_by(|a, b| (a.question, a.constitution) == (b.question, b.constitution))
    {
        let rewards: Vec<f64> = group.iter().filter_map(|c| c.reward).collect();
        let count = rewards.len() as f64;
        let mean = rewards.iter().sum::<f64>() / count;
        let squares: f64 = rewards.iter().map(|r| (r - mean) * (r - mean)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        for completion in group {
            let expected = completion.reward.map(|r| (r - mean) / (deviation + 1e-4));
            let distance = match (completion.advantage, expected) {
                (Some(found), Some(expected)) => (found - expected).abs(),
                (None, None) => 0.0,
                _ => f64::INFINITY,
            };
            // `max` would drop a NaN.
            worst = if distance > worst || distance.is_nan() {
                distance
            } else {
                worst
            };
            compared += 1;
        }
    }
    let detail = format!("largest difference of {compared} advantages; f64 on both sides");
    Ok(vec![Finding::new("", worst, TOLERANCE, detail)])
}
