//! The figures of a run over its steps: where it began, and where it is.

use record::StepRecord;

use crate::ReportError;

/// What is looked at: the whole run, of which the first quarter is set against the last, or a step.
pub(crate) struct Course<'a> {
    steps: &'a [StepRecord],
    plan: toml::Table,
    /// Whether there are quarters to compare.
    pub(crate) is_run: bool,
}

/// Runs of fewer steps have no trend.
const STEPS_MIN: usize = 8;

impl<'a> Course<'a> {
    /// The course of a run, or of one step of it.
    ///
    /// # Errors
    /// Where the plan is not TOML, or the step is not on record.
    pub(crate) fn new(
        plan: &str,
        steps: &'a [StepRecord],
        step: Option<usize>,
    ) -> Result<Self, ReportError> {
        let plan = plan
            .parse()
            .map_err(|error: toml::de::Error| ReportError::Plan {
                reason: error.message().to_owned(),
            })?;
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return Err(ReportError::NoSteps);
        };
        let steps = match step {
            None => steps,
            Some(asked) => {
                let at = steps.iter().position(|record| record.step == asked);
                let at = at.ok_or(ReportError::NoStep {
                    asked,
                    first: first.step,
                    last: last.step,
                })?;
                &steps[at..=at]
            }
        };
        let is_run = step.is_none() && steps.len() >= STEPS_MIN;
        Ok(Self {
            steps,
            plan,
            is_run,
        })
    }

    /// Steps looked at.
    pub(crate) fn steps(&self) -> &[StepRecord] {
        self.steps
    }

    /// A number of the plan, by section and key.
    pub(crate) fn planned(&self, section: &str, key: &str) -> Option<f64> {
        let value = self.plan.get(section)?.get(key)?;
        value
            .as_float()
            .or_else(|| value.as_integer().map(|number| number as f64))
    }

    /// The mean of a metric over the last quarter, or over all steps where there are no quarters;
    /// steps without the figure are left out.
    pub(crate) fn now(&self, metric: &str) -> Option<f64> {
        mean(self.quarter(true), metric)
    }

    /// The mean over the first quarter; none where there are no quarters.
    pub(crate) fn before(&self, metric: &str) -> Option<f64> {
        mean(self.is_run.then(|| self.quarter(false))?, metric)
    }

    /// The mean over all steps looked at.
    pub(crate) fn mean(&self, metric: &str) -> Option<f64> {
        mean(self.steps, metric)
    }

    /// The largest size of a metric.
    pub(crate) fn largest(&self, metric: &str) -> Option<f64> {
        values(self.steps, metric).map(f64::abs).reduce(f64::max)
    }

    /// The sum over all steps looked at.
    pub(crate) fn sum(&self, metric: &str) -> Option<f64> {
        values(self.steps, metric).reduce(|a, b| a + b)
    }

    /// The share of the steps with a figure where it holds something.
    pub(crate) fn share(&self, metric: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
        let values: Vec<f64> = values(self.steps, metric).collect();
        let held = values.iter().filter(|&&value| holds(value)).count();
        (!values.is_empty()).then(|| held as f64 / values.len() as f64)
    }

    /// The step since which a metric has been at `least` or more in every run of five steps; none
    /// where it is not so at the end.
    pub(crate) fn since(&self, metric: &str, least: f64) -> Option<usize> {
        let known: Vec<(usize, f64)> = self
            .steps
            .iter()
            .filter_map(|record| {
                let value = record.metrics.get(metric).copied()?;
                value.is_finite().then_some((record.step, value))
            })
            .collect();
        let windows = known.windows(5.min(known.len().max(1)));
        let held = |window: &&[(usize, f64)]| {
            window.iter().map(|(_, value)| value).sum::<f64>() / window.len() as f64 >= least
        };
        windows
            .rev()
            .take_while(held)
            .last()
            .map(|window| window[0].0)
    }

    /// What the figures of [`now`](Self::now) are means over.
    pub(crate) fn span(&self) -> String {
        let last = self.steps[self.steps.len() - 1].step;
        if self.is_run {
            return format!("in steps {} to {last}", self.quarter(true)[0].step);
        }
        match self.steps.len() {
            1 => format!("at step {last}"),
            _ => format!("in steps {} to {last}", self.steps[0].step),
        }
    }

    fn quarter(&self, is_last: bool) -> &[StepRecord] {
        if !self.is_run {
            return self.steps;
        }
        let length = self.steps.len() / 4;
        if is_last {
            &self.steps[self.steps.len() - length..]
        } else {
            &self.steps[..length]
        }
    }
}

fn values(steps: &[StepRecord], metric: &str) -> impl Iterator<Item = f64> {
    let values = steps
        .iter()
        .filter_map(move |record| record.metrics.get(metric).copied());
    values.filter(|value| value.is_finite())
}

fn mean(steps: &[StepRecord], metric: &str) -> Option<f64> {
    let values: Vec<f64> = values(steps, metric).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
