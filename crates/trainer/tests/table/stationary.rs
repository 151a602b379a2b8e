//! What the real step converges to, held against the theory of GRPO's stationary policies.

use std::cell::Cell;

use policy::{
    Batch, Finish, Policy, PolicyError, Request, Sample, SampleProgress, Sampler, SamplingOptions,
    Scorer, Signals, TabularPolicy, UpdateReport,
};
use ranks::{RankError, Ranks};
use trainer::{Schedule, Settings, Training};

use crate::task::{Pieces, bandit, grader, settings, task};

/// A bandit whose pairs of answers are spread evenly over their law instead of drawn from it, so
/// that a step's gradient is near its expectation: with 1e5 pairs, chance alone would leave the
/// last probability uncertain by 1e-3.
struct Spread {
    table: TabularPolicy,
    pairs: Cell<f64>,
}

/// The steps of the additive recurrence in two dimensions: powers of the root of x³ = x + 1.
const STEPS: [f64; 2] = [0.754_877_666_246_692_7, 0.569_840_290_998_053_3];

impl Sampler for Spread {
    fn sample(
        &self,
        requests: &[Request],
        _: &SamplingOptions,
        _: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let probabilities = self.table.start_probabilities(0);
        let pair = |_: &Request| {
            let pair = self.pairs.replace(self.pairs.get() + 1.0);
            let answer = |step: f64| {
                let token = usize::from((pair * step).fract() >= probabilities[0]);
                Sample {
                    tokens_t: vec![token as u32],
                    logprobs_t: vec![probabilities[token].ln()],
                    entropies_t: vec![0.0],
                    finish: Finish::Length,
                }
            };
            STEPS.map(answer).to_vec()
        };
        Ok(requests.iter().map(pair).collect())
    }
}

impl Scorer for Spread {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.signals(batch)
    }
}

impl Policy for Spread {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.reference_signals(batch)
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.table.forward(batch)
    }

    fn backward(&mut self, gradient: &Signals) {
        self.table.backward(gradient);
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        self.table.sum_gradient(ranks)
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        self.table.update(learning_rate)
    }
}

/// Trains on pairs where the first answer is always the better one.
#[track_caller]
fn check(beta: f64, reference: f64, expected: f64) {
    let settings = Settings {
        steps: 100,
        questions_per_step: 200,
        learning_rate: 4.0,
        lr_scheduler_type: Schedule::Linear,
        ..settings(beta)
    };
    let (task, codec) = (task(settings.questions_per_step), Pieces(&["a", "b"]));
    let mut graders = grader(|text| Some(f64::from(text == "a")));
    let mut policy = Spread {
        table: bandit(reference),
        pairs: Cell::new(0.0),
    };
    let mut training = Training::new(&codec, &task, &settings).expect("a valid task");
    for step in 0..settings.steps {
        training
            .step(&mut policy, &mut graders, step, &mut ())
            .expect("finite");
    }
    let found = policy.table.start_probabilities(0)[0];
    assert!(
        (found - expected).abs() < 1e-3,
        "beta {beta}: {found}, expected {expected}"
    );
}

/// Vojnović and Yun (arXiv 2502.18548), equation 14, with γ = 1.
#[test]
fn groups_of_two_settle_where_the_theory_says_whatever_they_start_from() {
    check(0.5, 0.5, 0.809_016_994);
    check(1.0, 0.5, 0.5_f64.sqrt());
    check(2.0, 0.5, 0.618_033_989);
    check(0.5, 0.1, 0.585_410_197);
    check(1.0, 0.1, 0.316_227_766);
    check(2.0, 0.1, 0.170_820_393);
}
