//! A run that is broken off and taken up again is the unbroken run, bit for bit.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use objective::ScaleRewards;
use policy::TabularPolicy;
use ranks::{RankError, Ranks};
use record::{Position, RunFolder, TrainerState};
use rollout::WeightedGrader;
use trainer::{
    Example, Keeper, NotKept, Observer, Schedule, Settings, SftSettings, TrainError, Training, sft,
    train,
};

use crate::laws::{bits, logprobs};
use crate::record::Scratch;
use crate::task::{REASONING, all_terms, format_grader, grader, principled, reasoner};

/// Keeps policies in memory and positions on disk, and stops after a step.
struct Memory {
    run: RunFolder,
    policies: BTreeMap<usize, TabularPolicy>,
    last: usize,
    stop_after: usize,
    is_full: bool,
}

impl Memory {
    fn new(run: &RunFolder, stop_after: usize) -> Self {
        Self {
            run: run.clone(),
            policies: BTreeMap::new(),
            last: 0,
            stop_after,
            is_full: false,
        }
    }
}

impl Observer for Memory {
    fn step(&mut self, record: &record::StepRecord) {
        self.last = record.step;
    }
}

impl Keeper<TabularPolicy> for Memory {
    fn is_stopped(&mut self) -> Result<bool, RankError> {
        Ok(self.last >= self.stop_after)
    }

    fn keep(&mut self, policy: &TabularPolicy, position: &Position) -> Result<(), NotKept> {
        if self.is_full {
            return Err("No space left on device".into());
        }
        let state = TrainerState {
            position: position.clone(),
            ..TrainerState::default()
        };
        self.run
            .write_checkpoint(&state, |_| Ok::<(), record::RecordError>(()))?;
        self.policies.insert(position.global_step, policy.clone());
        Ok(())
    }
}

fn settings(num_iterations: usize, micro_batch_tokens: usize) -> Settings {
    Settings {
        steps: 20,
        num_iterations,
        micro_batch_tokens,
        learning_rate: 0.1,
        lr_scheduler_type: Schedule::Cosine,
        warmup_steps: 3,
        save_steps: 0,
        log_completions_steps: 5,
        questions_per_step: 3,
        ..all_terms()
    }
}

/// The format, and a grader that gives no number to some.
fn graders() -> Vec<WeightedGrader> {
    let mut graders = format_grader();
    graders.extend(grader(|text| {
        let is_graded = !text.ends_with('b');
        Some(if is_graded { 0.5 } else { f64::NAN })
    }));
    graders
}

fn go_on(policy: &mut TabularPolicy, position: Position, settings: &Settings, keeper: &mut Memory) {
    let (task, run) = (principled(8), keeper.run.clone());
    let graders = &mut graders();
    let mut training = Training::new(&REASONING, &task, settings)
        .and_then(|training| training.resume(policy, graders, position))
        .expect("a position of this run");
    train(policy, &mut training, graders, Some(&run), keeper).expect("a run");
}

#[test]
fn twenty_steps_are_any_number_of_them_a_kill_and_the_rest() {
    for (num_iterations, micro_batch_tokens) in [(1, usize::MAX), (2, usize::MAX), (3, 40)] {
        let settings = settings(num_iterations, micro_batch_tokens);
        let name = format!("unbroken-{num_iterations}");
        let (_scratch, run) = Scratch::run(&name);
        let mut unbroken = reasoner();
        let mut whole = Memory::new(&run, usize::MAX);
        go_on(&mut unbroken, Position::default(), &settings, &mut whole);
        let (steps, bound) = (run.steps().expect("written"), logprobs(&unbroken));
        for kept in [7, 9, 10] {
            let settings = Settings {
                save_steps: kept,
                ..settings.clone()
            };
            let (_scratch, run) = Scratch::run(&format!("broken-{num_iterations}-{kept}"));
            let mut first = Memory::new(&run, kept + 2);
            go_on(&mut reasoner(), Position::default(), &settings, &mut first);
            let checkpoints = run.checkpoints().expect("listed");
            let checkpoint = &checkpoints[0];
            run.rewind(checkpoint).expect("whole");
            let position = checkpoint.state().expect("whole").position;
            let is_inside = kept % num_iterations > 0;
            assert_eq!(position.pending_rollout.is_some(), is_inside);
            let mut policy = first.policies.remove(&kept).expect("kept");
            let mut second = Memory::new(&run, usize::MAX);
            go_on(&mut policy, position, &settings, &mut second);
            let place = format!("{num_iterations} iterations, kept {kept}");
            assert_eq!(
                bits(&run.steps().expect("written")),
                bits(&steps),
                "{place}"
            );
            assert_eq!(logprobs(&policy), bound, "{place}");
            for step in [5, 10, 15, 20] {
                assert_eq!(
                    run.completions(step).expect("written"),
                    whole.run.completions(step).expect("written"),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn supervised_steps_are_any_number_of_them_a_kill_and_the_rest() {
    let example = |token: u32| Example {
        prefix: vec![token % 4],
        tokens_t: vec![token % 3, 1],
    };
    let examples: Vec<Example> = (0..10).map(example).collect();
    let settings = SftSettings {
        seed: 3,
        steps: 8,
        batch_size: 4,
        learning_rate: 0.3,
        lr_scheduler_type: Schedule::Linear,
        warmup_steps: 2,
        micro_batch_tokens: 5,
        save_steps: 3,
    };
    let trained = |policy: &mut TabularPolicy, position, keeper: &mut Memory| {
        let run = keeper.run.clone();
        let (alone, run) = (Ranks::alone(), Some(&run));
        sft(policy, &examples, &settings, position, &alone, run, keeper).expect("a run")
    };
    let (_scratch, run) = Scratch::run("sft-unbroken");
    let mut unbroken = reasoner();
    let whole = trained(
        &mut unbroken,
        Position::default(),
        &mut Memory::new(&run, usize::MAX),
    );
    let steps = run.steps().expect("written");
    let (_scratch, run) = Scratch::run("sft-broken");
    let mut first = Memory::new(&run, 5);
    trained(&mut reasoner(), Position::default(), &mut first);
    let kept: Vec<usize> = first.policies.keys().copied().collect();
    assert_eq!(kept, [3, 5], "every third step, and where it was stopped");
    let checkpoint = &run.checkpoints().expect("listed")[0];
    run.rewind(checkpoint).expect("whole");
    let mut policy = first.policies.remove(&3).expect("kept");
    let position = checkpoint.state().expect("whole").position;
    let mut second = Memory::new(&run, usize::MAX);
    assert_eq!(trained(&mut policy, position, &mut second), whole);
    assert_eq!(bits(&run.steps().expect("written")), bits(&steps));
    assert_eq!(logprobs(&policy), logprobs(&unbroken));
}

/// A run whose gradient overflows from the third rollout on.
fn broken(keeper: &mut Memory) -> TrainError {
    let mut settings = Settings {
        save_steps: 0,
        ..settings(2, usize::MAX)
    };
    settings.advantages.scale = ScaleRewards::None;
    let (task, run) = (principled(8), keeper.run.clone());
    let mut training = Training::new(&REASONING, &task, &settings).expect("a valid task");
    let seen = Rc::new(Cell::new(0));
    let graded_a_rollout = 3 * 2 * 12;
    let mut graders: Vec<WeightedGrader> = grader(move |text| {
        seen.set(seen.get() + 1);
        let grade = f64::from(text.len() as u32);
        let is_wild = seen.get() > 2 * graded_a_rollout;
        Some(if is_wild {
            grade * 1e200
        } else {
            grade / 100.0
        })
    });
    let policy = &mut reasoner();
    train(policy, &mut training, &mut graders, Some(&run), keeper).expect_err("stopped")
}

#[test]
fn a_step_that_fails_leaves_the_position_of_before_it() {
    let (_scratch, run) = Scratch::run("fails");
    let mut keeper = Memory::new(&run, usize::MAX);
    let found = broken(&mut keeper).to_string();
    assert!(found.starts_with("step 5: "), "{found}");
    let checkpoints = run.checkpoints().expect("listed");
    assert_eq!(checkpoints.len(), 1);
    let position = checkpoints[0].state().expect("whole").position;
    let steps = run.steps().expect("written");
    assert_eq!((position.global_step, steps.len()), (4, 4));
    let tokens = steps[3].metrics["num_tokens"] as u64;
    assert_eq!(position.num_input_tokens_seen, tokens);
    assert_eq!(position.pending_rollout, None);
}

#[test]
fn a_policy_that_cannot_be_kept_ends_the_run_and_says_so() {
    let (_scratch, run) = Scratch::run("full");
    let mut keeper = Memory::new(&run, 3);
    keeper.is_full = true;
    let found = broken(&mut keeper).to_string();
    assert_eq!(
        found,
        "the checkpoint after step 3: No space left on device"
    );
    assert_eq!(run.steps().expect("written").len(), 3);
    keeper.stop_after = usize::MAX;
    let found = broken(&mut keeper).to_string();
    let expected = "; but they cannot be kept: No space left on device";
    assert!(found.ends_with(expected), "{found}");
}

#[test]
fn a_position_of_another_run_is_refused_by_name() {
    let settings = settings(2, usize::MAX);
    let (task, policy) = (principled(8), reasoner());
    let (_scratch, run) = Scratch::run("other");
    let mut keeper = Memory::new(&run, 3);
    go_on(&mut reasoner(), Position::default(), &settings, &mut keeper);
    let checkpoints = run.checkpoints().expect("listed");
    let inside = checkpoints[0].state().expect("whole").position;
    let refused = |change: &dyn Fn(&mut Position)| {
        let mut position = inside.clone();
        change(&mut position);
        let training = Training::new(&REASONING, &task, &settings).expect("a valid task");
        let found = training.resume(&policy, &graders(), position);
        found.err().expect("refused").to_string()
    };
    let groups = |position: &mut Position, change: &dyn Fn(&mut record::GroupRecord)| {
        let groups = position.pending_rollout.as_mut().expect("inside a rollout");
        change(&mut groups[0]);
    };
    let none =
        "the position after step 3: no pending rollout, expected one with num_iterations = 2";
    assert_eq!(refused(&|p| p.pending_rollout = None), none);
    let some =
        "the position after step 4: a pending rollout, expected none with num_iterations = 2";
    assert_eq!(refused(&|p| p.global_step = 4), some);
    let question = refused(&|p| groups(p, &|group| group.question = 3));
    assert_eq!(
        question,
        "the position after step 3: question 3 of a rollout of 3"
    );
    let short = refused(&|p| groups(p, &|group| group.completions[0].logprobs.truncate(0)));
    assert!(
        short.contains("log-probabilities of a completion, expected"),
        "{short}"
    );
    let long = refused(&|p| groups(p, &|group| group.completions[0].reasoning = Some([0, 99])));
    assert!(
        long.contains("reasoning [0, 99] of a completion of"),
        "{long}"
    );
}
