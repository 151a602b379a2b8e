//! What stops a run, what does not, and what is then said.

use objective::ScaleRewards;
use policy::{Policy, TabularPolicy};
use rollout::WeightedGrader;
use trainer::{Settings, Training};

use crate::task::{Pieces, bandit, grader, settings, task};

const ANSWERS: Pieces = Pieces(&["a", "b"]);

fn wide(beta: f64) -> Settings {
    Settings {
        questions_per_step: 4,
        num_generations: 8,
        ..settings(beta)
    }
}

#[track_caller]
fn check(policy: &mut dyn Policy, graders: &mut [WeightedGrader], s: &Settings, expected: &str) {
    let task = task(4);
    let mut training = Training::new(&ANSWERS, &task, s).expect("a valid task");
    let found = training
        .step(policy, graders, 0, &mut ())
        .expect_err("stopped");
    assert_eq!(found.to_string(), expected);
}

#[test]
fn completions_whose_grader_fails_are_counted_and_the_step_goes_on_with_the_others() {
    let (settings, task) = (wide(0.0), task(4));
    let mut calls = 0;
    let mut graders = grader(move |text| {
        calls += 1;
        (calls % 4 > 0).then(|| f64::from(text == "a"))
    });
    let mut policy = bandit(0.5);
    let mut training = Training::new(&ANSWERS, &task, &settings).expect("a valid task");
    let record = training
        .step(&mut policy, &mut graders, 0, &mut ())
        .expect("goes on");
    assert!((record.metrics["ungraded"] - 8.0).abs() < 1e-12);
    assert!(policy.start_probabilities(0)[0] > 0.51);
    let completions = training.completions(&graders);
    let ungraded = completions
        .iter()
        .filter(|c| c.reward.is_none() && c.advantage.is_none());
    assert_eq!((completions.len(), ungraded.count()), (32, 8));
}

#[test]
fn a_step_in_which_nothing_is_graded_changes_nothing() {
    let (settings, task) = (wide(0.1), task(4));
    let mut policy = bandit(0.3);
    let mut training = Training::new(&ANSWERS, &task, &settings).expect("a valid task");
    let record = training
        .step(&mut policy, &mut grader(|_| None), 0, &mut ())
        .expect("goes on");
    assert!((record.metrics["ungraded"] - 32.0).abs() < 1e-12);
    assert!((policy.start_probabilities(0)[0] - 0.3).abs() < 1e-15);
}

#[test]
fn a_grade_that_is_no_number_is_counted_and_teaches_nothing() {
    let (settings, task) = (wide(0.0), task(4));
    let mut graders = grader(|_| Some(f64::NAN));
    let mut policy = bandit(0.3);
    let mut training = Training::new(&ANSWERS, &task, &settings).expect("settings that fit");
    let record = training
        .step(&mut policy, &mut graders, 0, &mut ())
        .expect("a step");
    let count = record.metrics["ungraded/by_text/not_finite"];
    assert!(
        (count - record.metrics["ungraded"]).abs() < 1e-12 && count > 0.0,
        "{count}"
    );
    assert!((policy.start_probabilities(0)[0] - 0.3).abs() < 1e-15);
}

#[test]
fn numbers_that_are_not_finite_stop_the_run_and_name_their_term() {
    let mut broken = TabularPolicy::new(2, &[vec![f64::NAN, 0.0]], &[]);
    let mut calls = 0;
    let mut graders = grader(move |_| {
        calls += 1;
        Some(f64::from(calls % 2))
    });
    let expected = "step 1: the value of the term grpo is not finite; \
                    the policy still holds the parameters after 0 updates";
    check(&mut broken, &mut graders, &wide(0.0), expected);
}

#[test]
fn a_gradient_that_overflows_in_the_parameters_stops_the_run_and_changes_nothing() {
    let mut settings = wide(0.0);
    settings.advantages.scale = ScaleRewards::None;
    let mut policy = bandit(0.5);
    let mut graders = grader(|text| Some(if text == "a" { 1e200 } else { 0.0 }));
    let expected = "step 1: the norm of the gradient in the parameters is inf; \
                    the policy still holds the parameters after 0 updates";
    check(&mut policy, &mut graders, &settings, expected);
    assert!((policy.start_probabilities(0)[0] - 0.5).abs() < 1e-15);
}

#[test]
fn settings_that_the_task_does_not_allow_are_named() {
    let refused = |settings: &Settings| {
        let found = Training::new(&ANSWERS, &task(4), settings)
            .err()
            .expect("refused");
        found.to_string()
    };
    let too_many = Settings {
        questions_per_step: 5,
        ..wide(0.0)
    };
    let expected = "questions_per_step is 5, expected 1 to 4, the questions of the task";
    assert_eq!(refused(&too_many), expected);
    let mut greedy = wide(0.0);
    greedy.sampling.temperature = 0.0;
    assert_eq!(
        refused(&greedy),
        "temperature is 0, expected a positive one"
    );
    let mut contrasted = wide(0.0);
    contrasted.objective.sami_weight = 0.5;
    let expected = "sami_weight is 0.5, expected 0, as the task has no principles";
    assert_eq!(refused(&contrasted), expected);
}
