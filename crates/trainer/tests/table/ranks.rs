//! Several ranks make the run of one, up to the rounding of sums.

use std::net::TcpListener;
use std::thread;

use policy::{Policy, Scorer, TabularPolicy};
use ranks::{Place, RankError, Ranks};
use record::{Position, StepRecord};
use trainer::{
    EvaluationSettings, Example, Keeper, NotKept, Observer, Schedule, Settings, SftSettings,
    Training, evaluate, sft, train,
};

use crate::laws::logprobs;
use crate::task::{REASONING, all_terms, format_grader, principled, reasoner, separate_terms};

/// What each of so many ranks, met over the loopback interface, makes of `work`.
fn each<T: Send>(size: usize, work: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let work = &work;
    let start = |rank| {
        let address = ("127.0.0.1".to_owned(), port);
        let place = Place {
            rank,
            size,
            address,
            local_size: size,
            local_rank: rank,
        };
        let ranks = Ranks::connect(&place, &mut |_| ()).expect("all come");
        work(&ranks)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || start(rank)))
            .collect();
        let ends = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ends.map(|end| end.expect("no panic")).collect()
    })
}

/// What a rank has after some steps.
#[derive(Clone)]
struct Made {
    records: Vec<StepRecord>,
    logprobs: Vec<f64>,
    /// After the first of two updates with its rollout.
    pending: Position,
}

fn settings(micro_batch_tokens: usize, terms: Settings) -> Settings {
    Settings {
        num_iterations: 2,
        learning_rate: 0.2,
        micro_batch_tokens,
        ..terms
    }
}

/// The run's steps from a position on, whose parameters `policy` has.
fn made(ranks: &Ranks, policy: &mut TabularPolicy, position: Position, s: &Settings) -> Made {
    let (task, graders) = (principled(8), &mut format_grader());
    let start = position.global_step;
    let training = Training::new(&REASONING, &task, s).expect("a valid task");
    let training = training.among(ranks).resume(policy, graders, position);
    let mut training = training.expect("a position of this run");
    let (mut records, mut pending) = (Vec::new(), Position::default());
    for updates in start..s.steps {
        let record = training.step(policy, graders, updates, &mut ());
        records.push(record.expect("all are there"));
        if updates == start {
            pending = training.position();
        }
    }
    Made {
        records,
        logprobs: logprobs(policy),
        pending,
    }
}

/// The largest difference of a figure of two runs that no clock says, against the larger.
fn apart(a: &[StepRecord], b: &[StepRecord]) -> f64 {
    let figures = |records: &[StepRecord]| -> Vec<(String, f64)> {
        let metrics = records.iter().flat_map(|record| record.metrics.clone());
        let is_time = |name: &str| name.ends_with("_time") || name.ends_with("_per_second");
        metrics.filter(|(name, _)| !is_time(name)).collect()
    };
    let (a, b) = (figures(a), figures(b));
    assert_eq!(a.len(), b.len(), "other figures");
    let difference = |((name, x), (other, y)): (&(String, f64), &(String, f64))| {
        assert_eq!(name, other);
        if x.to_bits() == y.to_bits() {
            return 0.0;
        }
        (x - y).abs() / x.abs().max(y.abs()).max(1.0)
    };
    a.iter().zip(&b).map(difference).fold(0.0, f64::max)
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn any_number_of_ranks_makes_the_run_of_one_and_all_hold_the_same_bits() {
    let (all, separate) = (all_terms(), separate_terms());
    for (micro_batch_tokens, terms) in [(usize::MAX, all.clone()), (40, all), (40, separate)] {
        let settings = settings(micro_batch_tokens, terms);
        let run = |ranks: &Ranks| made(ranks, &mut reasoner(), Position::default(), &settings);
        let one = run(&Ranks::alone());
        let moved = largest_difference(&one.logprobs, &logprobs(&reasoner()));
        assert!(moved > 0.05, "the run does not move the policy: {moved}");
        // With seven, one has no question of the six.
        for size in [2, 3, 7] {
            let ranks = each(size, run);
            for (rank, made) in ranks.iter().enumerate() {
                let place = format!("rank {rank} of {size}, slices of {micro_batch_tokens}");
                assert!(made.logprobs == ranks[0].logprobs, "{place}: other bits");
                let figures = apart(&made.records, &one.records);
                assert!(figures < 1e-12, "{place}: figures are {figures} apart");
                let found = largest_difference(&made.logprobs, &one.logprobs);
                assert!(found < 1e-12, "{place}: {found} nats apart");
            }
        }
    }
}

#[test]
fn a_question_gives_the_same_completions_whichever_rank_rolls_it_out() {
    let settings = settings(usize::MAX, all_terms());
    let run = |ranks: &Ranks| made(ranks, &mut reasoner(), Position::default(), &settings).pending;
    let one = run(&Ranks::alone());
    assert!(
        one.pending_rollout
            .as_ref()
            .is_some_and(|groups| groups.len() == 12)
    );
    for pending in each(3, run) {
        assert_eq!(pending, one);
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks_even_inside_a_rollout() {
    let (whole, first) = (
        settings(40, all_terms()),
        Settings {
            steps: 1,
            ..settings(40, all_terms())
        },
    );
    let unbroken = made(
        &Ranks::alone(),
        &mut reasoner(),
        Position::default(),
        &whole,
    );
    let broken = each(2, |ranks| {
        let mut policy = reasoner();
        let pending = made(ranks, &mut policy, Position::default(), &first).pending;
        (policy, pending)
    });
    let (policy, position) = &broken[0];
    for size in [1, 3] {
        let ends = each(size, |ranks| {
            made(ranks, &mut policy.clone(), position.clone(), &whole)
        });
        for made in ends {
            let figures = apart(&made.records, &unbroken.records[1..]);
            assert!(figures < 1e-12, "{size} ranks: {figures}");
            let found = largest_difference(&made.logprobs, &unbroken.logprobs);
            assert!(found < 1e-12, "{size} ranks: {found} nats apart");
        }
    }
}

/// Holds policies together, and keeps how many it was given.
struct Agreed<'a> {
    ranks: &'a Ranks,
    kept: usize,
}

impl Observer for Agreed<'_> {}

impl Keeper<TabularPolicy> for Agreed<'_> {
    fn agree(&mut self, policy: &TabularPolicy) -> Result<(), RankError> {
        let bytes = logprobs(policy).into_iter().flat_map(f64::to_le_bytes);
        self.ranks.agree("weights", &bytes.collect::<Vec<_>>())
    }

    fn keep(&mut self, _: &TabularPolicy, _: &Position) -> Result<(), NotKept> {
        self.kept += 1;
        Ok(())
    }
}

#[test]
fn policies_that_have_come_apart_are_not_kept_and_the_rank_is_named() {
    let settings = Settings {
        save_steps: 2,
        ..settings(usize::MAX, all_terms())
    };
    let ends = each(3, |ranks| {
        let (mut policy, task) = (reasoner(), principled(8));
        if ranks.rank() == 2 {
            let batch = policy::Batch {
                prefixes: vec![vec![0]],
                rows: vec![policy::Row {
                    prefix: 0,
                    tokens_t: vec![0],
                    reasoning: None,
                }],
                temperature: 1.0,
            };
            let mut gradient = policy.signals(&batch).expect("known").zeros_like();
            gradient.logprobs_nt[0][0] = 1e-9;
            policy.forward(&batch).expect("known");
            policy.backward(&gradient);
            policy.update(1.0);
        }
        let training = Training::new(&REASONING, &task, &settings).expect("a valid task");
        let mut keeper = Agreed { ranks, kept: 0 };
        let graders = &mut format_grader();
        let ended = train(
            &mut policy,
            &mut training.among(ranks),
            graders,
            None,
            &mut keeper,
        );
        (ended.expect_err("they differ").to_string(), keeper.kept)
    });
    for (found, kept) in ends {
        assert!(
            found.starts_with("step 2: rank 2 has other weights than rank 0: "),
            "{found}"
        );
        assert_eq!(kept, 0);
    }
}

#[test]
fn an_evaluation_by_several_ranks_is_that_of_one() {
    let settings = EvaluationSettings {
        seed: 9,
        questions: 5,
        samples: 8,
        sampling: all_terms().sampling,
        bootstrap_resamples: 50,
        drift: Some(objective::SinkhornDrift {
            options: transport::Options::default(),
        }),
        micro_batch_tokens: 64,
    };
    let mut policy = reasoner();
    made(
        &Ranks::alone(),
        &mut policy,
        Position::default(),
        &self::settings(40, all_terms()),
    );
    let evaluated = |ranks: &Ranks| {
        let (task, graders) = (principled(8), &mut format_grader());
        let policy = policy.clone();
        evaluate(
            &policy,
            &REASONING,
            &task,
            graders,
            &settings,
            ranks,
            &mut (),
        )
        .expect("finite")
    };
    let one = evaluated(&Ranks::alone());
    assert!(one.evaluation.s_epsilon.is_some_and(|drift| drift > 0.0));
    for found in each(3, evaluated) {
        assert_eq!(found, one);
    }
}

#[test]
fn supervised_steps_of_several_ranks_are_those_of_one() {
    let example = |token: u32| Example {
        prefix: vec![token % 4],
        tokens_t: vec![token % 3, 1, token % 2],
    };
    let examples: Vec<Example> = (0..10).map(example).collect();
    let settings = SftSettings {
        seed: 3,
        steps: 8,
        batch_size: 5,
        learning_rate: 0.3,
        lr_scheduler_type: Schedule::Linear,
        warmup_steps: 2,
        micro_batch_tokens: 5,
        save_steps: 3,
    };
    let trained = |ranks: &Ranks| {
        let mut policy = reasoner();
        let (from, mut keeper) = (Position::default(), Agreed { ranks, kept: 0 });
        let made = sft(
            &mut policy,
            &examples,
            &settings,
            from,
            ranks,
            None,
            &mut keeper,
        );
        (made.expect("a run"), keeper.kept, logprobs(&policy))
    };
    let one = trained(&Ranks::alone());
    // With six, one has no example of the five.
    for size in [2, 6] {
        for (made, kept, logprobs) in each(size, trained) {
            assert_eq!((made, kept), (one.0, 3));
            let found = largest_difference(&logprobs, &one.2);
            assert!(found < 1e-12, "{size} ranks: {found} nats apart");
        }
    }
}
