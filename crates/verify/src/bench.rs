//! What checks are made on.

use math::Key;
use policy::{Probe, TextCodec};

use crate::play::{Parts, Play, Played};
use crate::{Decoder, VerifyError};

/// A policy with what it takes to train it.
pub struct Subject<'a> {
    /// The policy, which is its own reference.
    pub policy: &'a mut dyn Probe,
    /// Its text.
    pub codec: &'a dyn TextCodec,
    /// The longest sequence it takes, in tokens.
    pub context: usize,
}

/// How the policy's updates follow gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The gradient is scaled down to this global norm; 0 never scales.
    pub max_grad_norm: f64,
}

/// The subjects, and what checks share.
pub struct Bench<'a> {
    /// The user's policy.
    pub(crate) own: Subject<'a>,
    /// A policy small enough for `f64`.
    pub(crate) tiny: Subject<'a>,
    /// The tiny policy's forward pass in `f64`.
    pub(crate) decoder: &'a Decoder,
    /// The user's optimiser.
    pub(crate) adamw: AdamW,
    /// Where the user's policy started.
    pub(crate) start: Vec<f64>,
    /// A place near it, where terms that compare with the reference have something to say.
    pub(crate) moved: Vec<f64>,
    /// The real step there on prepared completions, with every term.
    pub(crate) played: Played,
}

/// How far the moved policy is from its reference, as a share of the parameters' norm.
const MOVED: f64 = 0.05;

impl<'a> Bench<'a> {
    /// Prepares the subjects: one step on prepared completions.
    ///
    /// # Errors
    /// Where the step cannot be made at all.
    pub fn new(
        own: Subject<'a>,
        tiny: Subject<'a>,
        decoder: &'a Decoder,
        adamw: AdamW,
    ) -> Result<Self, VerifyError> {
        let start = own.policy.parameters();
        let moved = beside(&start);
        let played = Play::new(&own)?.samples_at(own.policy, &start)?;
        let played = played.learn(own.policy, &moved, Parts::All, usize::MAX)?;
        Ok(Self {
            own,
            tiny,
            decoder,
            adamw,
            start,
            moved,
            played,
        })
    }

    /// The prepared step of the user's policy.
    pub(crate) fn play(&mut self) -> Result<Play<'a>, VerifyError> {
        Play::new(&self.own)?.samples_at(self.own.policy, &self.start)
    }
}

/// Parameters a little beside the given ones, in a random direction.
pub(crate) fn beside(start: &[f64]) -> Vec<f64> {
    let key = Key::new(7);
    let deviation = MOVED * math::norm(start) / (start.len() as f64).sqrt();
    let shifted = |(i, value): (usize, &f64)| value + deviation * key.normal(i as u64);
    start.iter().enumerate().map(shifted).collect()
}
