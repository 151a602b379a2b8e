//! How the learning rate moves with the step.

use std::f64::consts::PI;

/// The course of the learning rate after its warm-up; transformers' `lr_scheduler_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Stays at the top.
    Constant,
    /// Falls in a straight line to 0 after the last step.
    Linear,
    /// Falls along half a cosine to 0 after the last step.
    Cosine,
}

impl Schedule {
    /// The share of the top learning rate at `step` (from 0) of `steps`, in `[0, 1]`: a linear
    /// warm-up from 0 over `warmup_steps`, then this course.
    ///
    /// # Source
    /// transformers `optimization.py`: `get_constant_schedule_with_warmup`,
    /// `get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup`.
    pub fn factor(self, step: usize, steps: usize, warmup_steps: usize) -> f64 {
        if step < warmup_steps {
            return step as f64 / warmup_steps as f64;
        }
        let done = (step - warmup_steps) as f64 / steps.saturating_sub(warmup_steps).max(1) as f64;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - done).max(0.0),
            Self::Cosine => (0.5 * (1.0 + (PI * done).cos())).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scripts/reference/schedules.py`, transformers 5.23.0: the rates of ten steps as one line of
    /// text, so that they stand as the script printed them.
    #[test]
    fn every_schedule_follows_transformers_with_and_without_a_warmup() {
        let printed = [
            (
                Schedule::Constant,
                3,
                "0.0 0.3333333333 0.6666666667 1.0 1.0 1.0 1.0 1.0 1.0 1.0",
            ),
            (
                Schedule::Linear,
                0,
                "1.0 0.9 0.8 0.7 0.6 0.5 0.4 0.3 0.2 0.1",
            ),
            (
                Schedule::Linear,
                3,
                "0.0 0.3333333333 0.6666666667 1.0 0.8571428571 0.7142857143 \
                 0.5714285714 0.4285714286 0.2857142857 0.1428571429",
            ),
            (
                Schedule::Cosine,
                0,
                "1.0 0.9755282581 0.9045084972 0.7938926261 0.6545084972 0.5 \
                 0.3454915028 0.2061073739 0.0954915028 0.0244717419",
            ),
            (
                Schedule::Cosine,
                3,
                "0.0 0.3333333333 0.6666666667 1.0 0.950484434 0.8117449009 \
                 0.611260467 0.388739533 0.1882550991 0.049515566",
            ),
        ];
        for (schedule, warmup_steps, rates) in printed {
            let rates: Vec<f64> = rates.split(' ').map(|r| r.parse().unwrap()).collect();
            for (step, expected) in rates.iter().enumerate() {
                let found = schedule.factor(step, rates.len(), warmup_steps);
                let at = format!("{schedule:?} at {step}: {found}, expected {expected}");
                assert!((found - expected).abs() < 1e-9, "{at}");
            }
        }
    }

    #[test]
    fn a_warmup_longer_than_the_run_never_reaches_the_top() {
        let last = Schedule::Cosine.factor(4, 5, 8);
        assert!((last - 0.5).abs() < 1e-15, "{last}");
    }
}
