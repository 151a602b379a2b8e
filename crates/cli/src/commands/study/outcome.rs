//! What a run of a study came to.

use record::{StepRecord, Summary};

use super::plan::StudyRun;

/// Steps whose mean share of valid formats decides when training has learnt the format.
const WINDOW: usize = 5;

/// The share of valid formats that counts as learnt.
const LEARNT: f64 = 0.95;

/// The figures of a run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The set of principles.
    pub(super) set: &'static str,
    /// The arm.
    pub(super) arm: String,
    /// The seed.
    pub(super) seed: u64,
    /// Mean index of the set.
    pub(super) si: f64,
    /// In the order of [`FIGURES`]; NaN where there is none.
    pub(super) figures: [f64; 6],
}

/// A figure's title, and its key in the file.
pub(super) const FIGURES: [(&str, &str); 6] = [
    ("format after", "format_valid"),
    ("right answers", "accuracy"),
    ("bound after, nats", "bound_constitutions_nats"),
    ("gain of the bound", "bound_gain_nats"),
    ("reward deviation", "reward_deviation"),
    ("steps to 95 %", "steps_to_format"),
];

impl Outcome {
    /// Reads a finished run.
    pub(super) fn new(run: &StudyRun, summary: &Summary, steps: &[StepRecord]) -> Self {
        let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let after = number(summary.after.bound_constitutions_nats);
        let before = number(summary.before.bound_constitutions_nats);
        Self {
            set: run.set,
            arm: run.arm.clone(),
            seed: run.seed,
            si: run.si,
            figures: [
                number(summary.after.format_valid),
                number(summary.after.accuracy),
                after,
                after - before,
                deviation(&curve(steps, "reward")),
                steps_to_format(&curve(steps, "format_valid")),
            ],
        }
    }
}

fn curve(steps: &[StepRecord], metric: &str) -> Vec<f64> {
    let value = |step: &StepRecord| step.metrics.get(metric).copied().unwrap_or(f64::NAN);
    steps.iter().map(value).collect()
}

/// Standard deviation of the reward over the second half of the steps: how unsteady training is
/// once the format is mostly learnt.
fn deviation(rewards: &[f64]) -> f64 {
    math::variance(&rewards[rewards.len() / 2..], 1).sqrt()
}

/// The first step from which five steps have 95 % valid formats in the mean; one more than there
/// are steps where none does.
fn steps_to_format(shares: &[f64]) -> f64 {
    let mut windows = shares.windows(WINDOW);
    let learnt = windows.position(|window| math::mean(window) >= LEARNT);
    learnt.map_or(shares.len() + 1, |step| step + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_learnt_from_the_first_of_five_steps_that_hold_it_in_the_mean() {
        let mut shares = vec![0.5, 1.0, 0.5, 1.0, 1.0, 1.0, 0.9, 0.95];
        assert!((steps_to_format(&shares) - 4.0).abs() < 1e-12);
        shares.truncate(7);
        assert!((steps_to_format(&shares) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn the_first_half_of_the_steps_does_not_count_as_unsteady() {
        assert!(deviation(&[0.0, 0.4, 0.8, 0.8]).abs() < 1e-12);
    }
}
