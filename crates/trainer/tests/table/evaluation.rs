//! Figures on held-out questions.

use objective::SinkhornDrift;
use policy::TabularPolicy;
use ranks::Ranks;
use record::Evaluation;
use trainer::{Evaluated, EvaluationSettings, Settings, Task, evaluate};

use crate::task::{Pieces, REASONING, all_terms, format_grader, principled, reasoner, run};

fn evaluated(
    policy: &TabularPolicy,
    codec: &Pieces,
    task: &Task,
    drift: Option<SinkhornDrift>,
) -> Evaluated {
    let settings = EvaluationSettings {
        seed: 9,
        questions: 10,
        samples: 8,
        sampling: all_terms().sampling,
        bootstrap_resamples: 200,
        drift,
        micro_batch_tokens: 64,
    };
    evaluate(
        policy,
        codec,
        task,
        &mut format_grader(),
        &settings,
        &Ranks::alone(),
        &mut (),
    )
    .expect("finite")
}

#[test]
fn rates_are_those_of_the_completions_and_lie_inside_their_intervals() {
    let mut task = principled(12);
    for (question, answer) in task.held_out.iter_mut().zip(["1", "2"].into_iter().cycle()) {
        question.answer = Some(answer.to_owned());
    }
    let Evaluated {
        evaluation,
        completions,
    } = evaluated(&reasoner(), &REASONING, &task, None);
    // Ten of twelve questions, two principles, two constitutions.
    assert_eq!((evaluation.completions, completions.len()), (320, 320));
    let share = |is: &dyn Fn(&record::CompletionRecord) -> bool| {
        completions
            .iter()
            .filter(|completion| is(completion))
            .count() as f64
            / 320.0
    };
    let inside = |found: Option<f64>, interval: Option<[f64; 2]>, expected: f64| {
        let (found, [low, high]) = (found.expect("measured"), interval.expect("measured"));
        assert!(
            (found - expected).abs() < 1e-12,
            "{found}, expected {expected}"
        );
        assert!(low < found && found < high, "{found} in {low} to {high}");
    };
    let Evaluation {
        format_valid,
        format_valid_interval,
        ..
    } = evaluation;
    inside(
        format_valid,
        format_valid_interval,
        share(&|c| c.format_valid),
    );
    let Evaluation {
        accuracy,
        accuracy_interval,
        ..
    } = evaluation;
    let right = share(&|c| c.answer_right == Some(true));
    inside(accuracy, accuracy_interval, right);
    // Half of the ten questions are never answered right, the others mostly: 32 completions of one
    // say little more than one would. As many independent ones would have a width of about 0.1.
    let [low, high] = accuracy_interval.expect("measured");
    assert!(high - low > 0.25, "{low} to {high} around {right}");
    assert!(
        completions
            .iter()
            .all(|c| c.reward == Some(f64::from(c.format_valid)))
    );
}

/// Either of two reasonings of one token, and then the answer.
const EITHER: Pieces = Pieces(&[
    "<reasoning>a",
    "</reasoning><answer>1</answer>",
    "<reasoning>b",
]);

/// Bounds over constitutions and completions where a principle's two constitutions have these
/// logits of the first token.
fn bounds(positive: [f64; 3], negative: [f64; 3]) -> [f64; 2] {
    let logits_cv = [positive, negative, positive, negative].map(|row| row.to_vec());
    let policy = TabularPolicy::new(3, &logits_cv, &[1]);
    let found = evaluated(&policy, &EITHER, &principled(10), None).evaluation;
    assert!(found.contrasts > 10, "{} contrasts", found.contrasts);
    [found.bound_constitutions_nats, found.bound_completions_nats].map(|b| b.expect("some"))
}

#[test]
fn constitutions_that_change_nothing_bound_nothing() {
    let found = bounds([1.0, -9.0, 1.0], [1.0, -9.0, 1.0]);
    assert!(found.iter().all(|bound| bound.abs() < 1e-12), "{found:?}");
}

/// Each constitution has a token of its own, that is `e⁸` times as likely under it as under the
/// other: `M` is `[[x, x − 8], [x − 8, x]]`.
#[test]
fn opposed_constitutions_bound_nearly_the_logarithm_of_two() {
    let found = bounds([8.0, -9.0, 0.0], [0.0, -9.0, 8.0]);
    let expected = 2.0_f64.ln() - (-8.0_f64).exp().ln_1p();
    assert!(
        found.iter().all(|bound| (bound - expected).abs() < 1e-12),
        "{found:?}"
    );
}

#[test]
fn an_untrained_policy_has_not_drifted_and_a_trained_one_has() {
    let task = principled(8);
    let mut policy = reasoner();
    let drift = Some(all_terms().objective.transport);
    let before = evaluated(&policy, &REASONING, &task, drift).evaluation;
    let [kl, moved] = [before.kl_reference, before.s_epsilon].map(|figure| figure.expect("some"));
    assert!(kl.abs() < 1e-15 && moved.abs() < 1e-9, "{kl} {moved}");
    let unmeasured = evaluated(&policy, &REASONING, &task, None).evaluation;
    assert_eq!(
        (unmeasured.kl_reference, unmeasured.s_epsilon),
        (None, None)
    );
    assert_eq!(
        unmeasured.bound_constitutions_nats,
        before.bound_constitutions_nats
    );
    run(
        &mut policy,
        &task,
        &Settings {
            steps: 20,
            ..all_terms()
        },
    );
    let after = evaluated(&policy, &REASONING, &task, drift).evaluation;
    let [kl, moved] = [after.kl_reference, after.s_epsilon].map(|figure| figure.expect("some"));
    assert!(kl > 1e-3 && moved > 1e-6, "{kl} {moved}");
    assert!(
        after.format_valid > before.format_valid,
        "{after:?} {before:?}"
    );
}

#[test]
fn drift_whose_transport_is_not_solved_is_left_out() {
    let task = principled(8);
    let mut policy = reasoner();
    run(&mut policy, &task, &all_terms());
    let options = transport::Options {
        epsilon: transport::Epsilon::RelativeToMeanCost(1e-4),
        tolerance: 0.0,
        iterations_max: 1,
    };
    let found = evaluated(&policy, &REASONING, &task, Some(SinkhornDrift { options })).evaluation;
    assert!(found.kl_reference.is_some(), "{found:?}");
    assert_eq!(found.s_epsilon, None);
}
