//! A table of logits passes every check that a table can be asked, and a table with a fault fails
//! the check that is there for it.

use std::cell::Cell;

use policy::{
    Batch, Message, Policy, PolicyError, Probe, Request, Role, Sample, SampleProgress, Sampler,
    SamplingOptions, Scorer, Signals, TabularPolicy, TextCodec, TextError, UpdateReport,
};
use ranks::{RankError, Ranks};
use verify::{AdamW, Bench, Decoder, Finding, Subject, TINY, checks};

/// What completions are made of; the last ends them.
const ALPHABET: &str = " <>/+=:.,0123456789ABDFINUabcdefghijklmnoprstuvwxy|";

/// A token a character; the constitution is the table's context.
struct Characters;

impl TextCodec for Characters {
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let system = messages.iter().find(|message| message.role == Role::System);
        let context = system.map_or(0, |message| 1 + u32::from(message.content.starts_with('N')));
        let question = messages
            .last()
            .map_or(0, |message| message.content.len() as u32);
        Ok(vec![question, context])
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let id = |c| ALPHABET.find(c).expect("a character of the alphabet") as u32;
        Ok(text.chars().map(id).collect())
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        let piece = |&token: &u32| {
            let ends = self.end_tokens().contains(&token);
            let found = ALPHABET.chars().nth(token as usize).filter(|_| !ends);
            found.map(String::from).unwrap_or_default()
        };
        tokens_t.iter().map(piece).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[50]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    FlippedGradient,
    MissingLastToken,
    StaleSampling,
    DroppedChunk,
    SharedPrefix,
    LastSliceOnly,
    ShortPoints,
    Chance,
}

/// A table with a fault.
struct Faulty {
    table: TabularPolicy,
    fault: Fault,
    calls: Cell<f64>,
    pending: Option<Batch>,
}

impl Faulty {
    fn spoilt(&self, batch: &Batch, mut signals: Signals) -> Signals {
        self.calls.set(self.calls.get() + 1.0);
        let rows = batch
            .rows
            .iter()
            .zip(&mut signals.logprobs_nt)
            .zip(&mut signals.points_nd);
        for ((row, logprobs_t), point_d) in rows {
            match self.fault {
                Fault::DroppedChunk => logprobs_t.iter_mut().for_each(|logprob| *logprob += 0.3),
                Fault::SharedPrefix if batch.prefixes.len() < batch.rows.len() => {
                    logprobs_t[0] -= 0.01;
                }
                Fault::Chance => logprobs_t[0] -= 1e-9 * self.calls.get(),
                Fault::ShortPoints => {
                    let length = row.reasoning.as_ref().map_or(1.0, |span| span.len() as f64);
                    for x in point_d {
                        *x *= 1.0 - 0.5 / length;
                    }
                }
                _ => {}
            }
        }
        signals
    }
}

impl Sampler for Faulty {
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let mut samples = self.table.sample(requests, options, progress)?;
        if self.fault == Fault::StaleSampling {
            for sample in samples.iter_mut().flatten() {
                sample
                    .logprobs_t
                    .iter_mut()
                    .skip(1)
                    .for_each(|logprob| *logprob -= 0.01);
            }
        }
        Ok(samples)
    }
}

impl Scorer for Faulty {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        Ok(self.spoilt(batch, self.table.signals(batch)?))
    }
}

impl Policy for Faulty {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        Ok(self.spoilt(batch, self.table.reference_signals(batch)?))
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.pending = Some(batch.clone());
        let signals = self.table.forward(batch)?;
        Ok(self.spoilt(batch, signals))
    }

    fn backward(&mut self, gradient: &Signals) {
        let mut given = gradient.clone();
        let batch = self
            .pending
            .take()
            .expect("a backward pass follows a forward pass");
        match self.fault {
            Fault::FlippedGradient => {
                given = given.zeros_like();
                given.add_scaled(-1.0, gradient);
            }
            Fault::MissingLastToken => {
                let last = |row: &mut Vec<f64>| row.last_mut().map(|entry| *entry = 0.0);
                given.logprobs_nt.iter_mut().for_each(|row| {
                    last(row);
                });
            }
            Fault::LastSliceOnly if batch.rows.len() < 8 => given = given.zeros_like(),
            _ => {}
        }
        self.table.backward(&given);
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        self.table.sum_gradient(ranks)
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        self.table.update(learning_rate)
    }
}

impl Probe for Faulty {
    fn parameters(&self) -> Vec<f64> {
        self.table.parameters()
    }

    fn set_parameters(&mut self, values: &[f64]) {
        self.table.set_parameters(values);
    }

    fn gradient(&self) -> Vec<f64> {
        self.table.gradient()
    }

    fn logits_tv(&self, prefix: &[u32], tokens_t: &[u32]) -> Result<Vec<Vec<f64>>, PolicyError> {
        self.table.logits_tv(prefix, tokens_t)
    }
}

fn faulty(fault: Fault) -> Faulty {
    let vocabulary = ALPHABET.chars().count();
    let wave = |c: usize| {
        (0..vocabulary)
            .map(|v| ((7 * v + 3 * c) as f64).sin())
            .collect()
    };
    let logits_cv: Vec<Vec<f64>> = (0..3).map(wave).collect();
    let mut table = TabularPolicy::new(vocabulary, &logits_cv, Characters.end_tokens());
    let waves = (0..table.parameters().len()).map(|i| (0.37 * i as f64).sin());
    table.set_parameters(&waves.collect::<Vec<f64>>());
    table.freeze();
    Faulty {
        table,
        fault,
        calls: Cell::new(0.0),
        pending: None,
    }
}

/// The findings that fail, of the check of that name or of all that a table can be asked: it has no
/// AdamW, and the tiny decoder is another.
fn failing(fault: Fault, only: &str) -> Vec<String> {
    let (mut own, mut tiny) = (faulty(fault), faulty(Fault::None));
    let subject = |policy| Subject {
        policy,
        codec: &Characters,
        context: 60,
    };
    let adamw = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        max_grad_norm: 0.0,
    };
    let decoder = Decoder::new(TINY, &[]);
    let mut bench = Bench::new(subject(&mut own), subject(&mut tiny), &decoder, adamw)
        .expect("a step can be made");
    let asked = checks()
        .into_iter()
        .filter(|check| !["optimizer", "reference", "bandit"].contains(&check.name))
        .filter(|check| check.name.starts_with(only));
    let mut failing = Vec::new();
    for check in asked {
        let findings = (check.run)(&mut bench).expect("the check can be made");
        let failed = findings
            .into_iter()
            .filter(|finding| !Finding::passes(finding));
        failing.extend(failed.map(|f| format!("{}/{} {:.1e}", check.name, f.name, f.figure)));
    }
    failing
}

#[test]
fn a_table_without_a_fault_passes_every_check() {
    let found = failing(Fault::None, "");
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn each_fault_fails_the_check_that_is_there_for_it() {
    for (fault, check) in [
        (Fault::FlippedGradient, "gradient/grpo"),
        (Fault::MissingLastToken, "gradient/kl"),
        (Fault::StaleSampling, "on-policy/sampled"),
        (Fault::DroppedChunk, "head/"),
        (Fault::SharedPrefix, "prefix/signals"),
        (Fault::LastSliceOnly, "micro-batch/gradient"),
        (Fault::ShortPoints, "points/"),
        (Fault::Chance, "determinism/"),
    ] {
        let name = check.split('/').next().unwrap_or_default();
        let found = failing(fault, name);
        assert!(
            found.iter().any(|name| name.starts_with(check)),
            "{fault:?}: {found:?}"
        );
    }
}
