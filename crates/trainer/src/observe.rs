//! Who watches a run.

use policy::SampleProgress;
use record::StepRecord;

/// Hears how a run proceeds; every method does nothing unless it is written.
pub trait Observer {
    /// The rollout of `step` goes on.
    fn rollout(&mut self, step: usize, progress: SampleProgress) {
        let _ = (step, progress);
    }

    /// `done` of `passes` passes over the slices of the batch of `step` are made.
    fn update(&mut self, step: usize, done: usize, passes: usize) {
        let _ = (step, done, passes);
    }

    /// A step is finished and recorded.
    fn step(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// The rollout of an evaluation goes on.
    fn evaluation(&mut self, progress: SampleProgress) {
        let _ = progress;
    }
}

/// Nobody watches.
impl Observer for () {}
