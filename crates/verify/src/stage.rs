//! A policy between the step and the real one, which keeps what passes through.

use std::cell::RefCell;

use policy::{
    Batch, Finish, Policy, PolicyError, Probe, Request, Row, Sample, SampleProgress, Sampler,
    SamplingOptions, Scorer, Signals, UpdateReport,
};
use ranks::{RankError, Ranks};

/// Signals of a batch under parameters that somebody holds.
pub(crate) type Score<'a> = dyn Fn(&Batch) -> Result<Signals, PolicyError> + 'a;

/// Who answers the step.
pub(crate) enum Actor<'a> {
    /// A policy with its backward pass.
    Learner(&'a mut dyn Probe),
    /// Values alone: the policy and its reference.
    Speaker(&'a Score<'a>, &'a Score<'a>),
}

/// What the step is given for completions.
pub(crate) enum Lines<'a> {
    /// Whatever the policy samples.
    Free,
    /// These tokens, one list a request, as if just drawn.
    Prepared(&'a [Vec<Vec<u32>>]),
    /// These samples, log-probabilities and all.
    Kept(&'a [Vec<Sample>]),
}

/// The prefix of each request, and what it was given.
#[derive(Default)]
pub(crate) struct Sampled {
    pub(crate) prefixes_g: Vec<Vec<u32>>,
    pub(crate) samples_g: Vec<Vec<Sample>>,
}

/// Stands in for the policy in one step; nothing is updated.
pub(crate) struct Stage<'a> {
    actor: Actor<'a>,
    lines: Lines<'a>,
    /// What was last sampled.
    pub(crate) sampled: RefCell<Sampled>,
    /// Every batch of a forward pass, with its signals.
    pub(crate) forwards: Vec<(Batch, Signals)>,
    /// Every gradient in signals that came back.
    pub(crate) backwards: Vec<Signals>,
    /// The gradient in the parameters.
    pub(crate) gradient: Vec<f64>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(actor: Actor<'a>, lines: Lines<'a>) -> Self {
        Self {
            actor,
            lines,
            sampled: RefCell::default(),
            forwards: Vec::new(),
            backwards: Vec::new(),
            gradient: Vec::new(),
        }
    }

    /// Samples of given tokens, with the log-probabilities they have now.
    fn spoken(
        &self,
        requests: &[Request],
        lines: &[Vec<Vec<u32>>],
        temperature: f64,
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let row = |(prefix, tokens_t): (usize, &Vec<u32>)| Row {
            prefix,
            tokens_t: tokens_t.clone(),
            reasoning: None,
        };
        let rows = lines.iter().enumerate();
        let rows = rows.flat_map(|(prefix, lines)| lines.iter().map(move |line| (prefix, line)));
        let batch = Batch {
            prefixes: requests
                .iter()
                .map(|request| request.prefix.clone())
                .collect(),
            rows: rows.map(row).collect(),
            temperature,
        };
        let mut scored = self.signals(&batch)?.logprobs_nt.into_iter();
        let mut sample = |tokens_t: &Vec<u32>| Sample {
            tokens_t: tokens_t.clone(),
            logprobs_t: scored.next().unwrap_or_default(),
            entropies_t: vec![0.0; tokens_t.len()],
            finish: Finish::Stop,
        };
        Ok(lines
            .iter()
            .map(|lines| lines.iter().map(&mut sample).collect())
            .collect())
    }
}

impl Sampler for Stage<'_> {
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let samples = match (&self.lines, &self.actor) {
            (Lines::Kept(samples), _) => samples.to_vec(),
            (Lines::Prepared(lines), _) => self.spoken(requests, lines, options.temperature)?,
            (Lines::Free, Actor::Learner(policy)) => policy.sample(requests, options, progress)?,
            (Lines::Free, Actor::Speaker(..)) => unreachable!("a speaker is given its lines"),
        };
        let prefixes = requests.iter().map(|request| request.prefix.clone());
        *self.sampled.borrow_mut() = Sampled {
            prefixes_g: prefixes.collect(),
            samples_g: samples.clone(),
        };
        Ok(samples)
    }
}

impl Scorer for Stage<'_> {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        match &self.actor {
            Actor::Learner(policy) => policy.signals(batch),
            Actor::Speaker(now, _) => now(batch),
        }
    }
}

impl Policy for Stage<'_> {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        match &self.actor {
            Actor::Learner(policy) => policy.reference_signals(batch),
            Actor::Speaker(_, reference) => reference(batch),
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        let signals = match &mut self.actor {
            Actor::Learner(policy) => policy.forward(batch)?,
            Actor::Speaker(now, _) => now(batch)?,
        };
        self.forwards.push((batch.clone(), signals.clone()));
        Ok(signals)
    }

    fn backward(&mut self, gradient: &Signals) {
        if let Actor::Learner(policy) = &mut self.actor {
            policy.backward(gradient);
        }
        self.backwards.push(gradient.clone());
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        match &mut self.actor {
            Actor::Learner(policy) => policy.sum_gradient(ranks),
            Actor::Speaker(..) => Ok(()),
        }
    }

    fn update(&mut self, _: f64) -> UpdateReport {
        if let Actor::Learner(policy) = &self.actor {
            self.gradient = policy.gradient();
        }
        UpdateReport {
            grad_norm: math::norm(&self.gradient),
        }
    }
}
