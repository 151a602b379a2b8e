//! What a run leaves on disk.

use std::path::PathBuf;

use policy::TabularPolicy;
use record::{Position, RunFolder, StepRecord};
use trainer::{Keeper, NotKept, Observer, Settings, Training, train};

use crate::task::{REASONING, all_terms, format_grader, principled, reasoner};

/// A run folder that is removed again.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn run(name: &str) -> (Self, RunFolder) {
        let name = format!("trainer-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        let run = RunFolder::create(&path, "").expect("a new folder");
        (Self(path), run)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Keeps what it hears.
#[derive(Default)]
struct Heard {
    rollouts: Vec<usize>,
    passes: Vec<(usize, usize, usize)>,
    steps: Vec<StepRecord>,
    kept: Vec<usize>,
}

impl Observer for Heard {
    fn rollout(&mut self, step: usize, progress: policy::SampleProgress) {
        if progress.finished == progress.total {
            self.rollouts.push(step);
        }
    }

    fn update(&mut self, step: usize, done: usize, passes: usize) {
        self.passes.push((step, done, passes));
    }

    fn step(&mut self, record: &StepRecord) {
        self.steps.push(record.clone());
    }
}

impl Keeper<TabularPolicy> for Heard {
    fn keep(&mut self, _: &TabularPolicy, position: &Position) -> Result<(), NotKept> {
        self.kept.push(position.global_step);
        Ok(())
    }
}

#[test]
fn every_step_is_on_record_as_it_was_heard_and_completions_as_often_as_asked() {
    let (_scratch, run) = Scratch::run("record");
    let settings = Settings {
        log_completions_steps: 2,
        save_steps: 3,
        ..all_terms()
    };
    let (task, mut heard) = (principled(8), Heard::default());
    let mut policy = reasoner();
    let graders = &mut format_grader();
    let mut training = Training::new(&REASONING, &task, &settings).expect("a valid task");
    let trained =
        train(&mut policy, &mut training, graders, Some(&run), &mut heard).expect("a run");
    let steps = run.steps().expect("written");
    assert_eq!(steps, heard.steps);
    assert_eq!(
        steps.iter().map(|record| record.step).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!((heard.rollouts, trained.steps), (vec![1, 2, 3, 4], 4));
    assert_eq!(heard.kept, [3, 4], "every third step, and the last");
    assert_eq!(heard.passes[..2], [(1, 0, 1), (1, 1, 1)]);
    assert_eq!(trained.tokens, steps[3].metrics["num_tokens"] as u64);
    assert!(run.completions(1).is_err() && run.completions(3).is_err());
    for step in [2, 4] {
        let completions = run.completions(step).expect("written");
        assert_eq!(completions.len(), 6 * 2 * 12);
        let rewards: f64 = completions.iter().filter_map(|c| c.reward).sum();
        let mean = rewards / completions.len() as f64;
        assert!((mean - steps[step - 1].metrics["reward"]).abs() < 1e-12);
    }
}
