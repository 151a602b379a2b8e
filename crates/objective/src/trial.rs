//! Random evidence for the tests, and the gradient checker over signals.

use std::ops::Range;

use math::{GradientCheck, Key, check_gradient};
use policy::{Batch, Row, Signals};

use crate::{Contrast, Evidence, Graded, Outcome, Term};

const PROMPTS: usize = 3;
const WIDTH: usize = 4;

/// Three prompts under `k` constitutions with ragged rows: for each prompt, one gated completion
/// per constitution scored under every constitution, and one that failed its format.
pub(crate) struct Trial {
    pub(crate) signals: Signals,
    pub(crate) reference: Signals,
    batch: Batch,
    graded: Vec<Graded>,
    contrasts: Vec<Contrast>,
}

impl Trial {
    /// Policies that sampled are so far off that ratios of tokens lie at about .61, .98 and 1.65.
    pub(crate) fn new(seed: u64, k: usize) -> Self {
        let key = Key::new(seed);
        let mut trial = Self {
            signals: Signals::default(),
            reference: Signals::default(),
            batch: Batch {
                prefixes: vec![vec![1]; PROMPTS * k],
                rows: Vec::new(),
                temperature: 1.0,
            },
            graded: Vec::new(),
            contrasts: Vec::new(),
        };
        for prompt in 0..PROMPTS {
            let lengths_k: Vec<usize> = (0..k).map(|j| 4 + (5 * prompt + 3 * j) % 7).collect();
            let mut rows_kk = Vec::new();
            for i in 0..k {
                let prefix = prompt * k + i;
                let gated = lengths_k
                    .iter()
                    .map(|&t| trial.push(key, prefix, t, Some(1..t - 1)));
                rows_kk.push(gated.collect::<Vec<usize>>());
                trial.grade(key, rows_kk[i][i]);
                let failed = trial.push(key, prefix, 1 + prompt, None);
                if prompt > 0 {
                    trial.grade(key, failed);
                }
            }
            trial.contrasts.push(Contrast { rows_kk });
        }
        trial
    }

    pub(crate) fn evidence(&self) -> Evidence<'_> {
        let graded = self.graded.iter().map(|graded| graded.row);
        let tokens: usize = graded
            .clone()
            .map(|row| self.batch.rows[row].tokens_t.len())
            .sum();
        Evidence {
            batch: &self.batch,
            graded: self.graded.clone(),
            contrasts: self.contrasts.clone(),
            cloud: graded
                .filter(|&row| self.batch.rows[row].reasoning.is_some())
                .collect(),
            reference: Some(&self.reference),
            active_tokens: 1.5 * tokens as f64,
        }
    }

    /// The term's gradient at the trial's signals against differences of its value.
    pub(crate) fn check_term(&self, term: &dyn Term) -> GradientCheck {
        let at = |signals: &Signals| term.evaluate(&self.evidence(), signals).unwrap().loss;
        let gradient = at(&self.signals).gradient;
        self.check(|signals| at(signals).value, &gradient)
    }

    /// A gradient at the trial's signals against differences of `value`.
    pub(crate) fn check(
        &self,
        value: impl Fn(&Signals) -> f64,
        gradient: &Signals,
    ) -> GradientCheck {
        let value = |entries: &[f64]| {
            let mut signals = self.signals.clone();
            let rows = signals.logprobs_nt.iter_mut().chain(&mut signals.points_nd);
            rows.flatten()
                .zip(entries)
                .for_each(|(entry, &new)| *entry = new);
            value(&signals)
        };
        check_gradient(value, &entries(&self.signals), &entries(gradient))
    }

    fn push(
        &mut self,
        key: Key,
        prefix: usize,
        t: usize,
        reasoning: Option<Range<usize>>,
    ) -> usize {
        let row = self.batch.rows.len();
        let key = key.child(row as u64);
        let logprobs_t: Vec<f64> = (0..t as u64).map(|t| -0.1 - 2.0 * key.uniform(t)).collect();
        let moved = |(t, l): (usize, &f64)| l + 0.3 * key.child(1).normal(t as u64);
        let reference_t = logprobs_t.iter().enumerate().map(moved).collect();
        let width = if reasoning.is_some() { WIDTH as u64 } else { 0 };
        let point_d: Vec<f64> = (0..width).map(|d| key.child(2).normal(d)).collect();
        let moved = |(d, x): (usize, &f64)| x + 0.4 * key.child(3).normal(d as u64);
        let reference_d = point_d.iter().enumerate().map(moved).collect();
        self.signals.logprobs_nt.push(logprobs_t);
        self.signals.points_nd.push(point_d);
        self.reference.logprobs_nt.push(reference_t);
        self.reference.points_nd.push(reference_d);
        self.batch.rows.push(Row {
            prefix,
            tokens_t: vec![1; t],
            reasoning,
        });
        row
    }

    fn grade(&mut self, key: Key, row: usize) {
        let key = key.child(row as u64).child(4);
        let drift = |t: usize| [-0.5, -0.02, 0.5][key.below(t as u64, 3)];
        let logprobs_t = self.signals.logprobs_nt[row].iter().enumerate();
        let old_logprobs_t = logprobs_t.map(|(t, logprob)| logprob - drift(t)).collect();
        let advantage = key.normal(1000);
        self.graded.push(Graded {
            row,
            advantage,
            old_logprobs_t,
            importance_t: None,
        });
    }
}

/// The figure of this name.
pub(crate) fn metric(outcome: &Outcome, name: &str) -> Option<f64> {
    let found = outcome.metrics.iter().find(|(metric, _)| *metric == name);
    found.map(|&(_, value)| value)
}

fn entries(signals: &Signals) -> Vec<f64> {
    let rows = signals.logprobs_nt.iter().chain(&signals.points_nd);
    rows.flatten().copied().collect()
}
