//! The three contracts of a policy: it samples, it scores, it learns.

use ranks::{RankError, Ranks};

use crate::{Batch, Request, Sample, SampleProgress, SamplingOptions, Signals};

/// Draws completions. An engine behind a network interface is this and no more.
pub trait Sampler {
    /// For each request, its completions in the order of their numbers.
    ///
    /// The same call gives the same tokens. A key gives the same ones beside other requests too, up
    /// to the rounding of probabilities. `progress` is called now and then.
    ///
    /// # Errors
    /// Where a prefix is too long for the policy, or the policy's numbers are not finite.
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError>;
}

/// Scores given completions.
pub trait Scorer {
    /// The signals of every row, without keeping what a gradient would need.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError>;
}

/// A policy that can be trained.
///
/// One step is a [`roll_out`](Self::roll_out), [`forward`](Self::forward),
/// [`backward`](Self::backward) (once for each slice of the batch, gradients add up), one
/// [`sum_gradient`](Self::sum_gradient) and one [`update`](Self::update).
pub trait Policy: Sampler + Scorer {
    /// As [`Scorer::signals`], but under the frozen policy that training started from.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError>;

    /// Draws as [`Sampler::sample`] completions to learn from. What is computed of the first
    /// requests may be kept, of at most so many tokens, until the next update: a
    /// [`forward`](Self::forward) of them alone, before any other, then has less to do and gives
    /// the same up to rounding.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    fn roll_out(
        &mut self,
        requests: &[Request],
        options: &SamplingOptions,
        _tokens_max: usize,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        self.sample(requests, options, progress)
    }

    /// The signals of every row; what [`backward`](Self::backward) needs is kept.
    ///
    /// A policy may compute them otherwise than [`Scorer::signals`] (by dropout); until the next
    /// update, a row's are the same whatever it is run beside, up to rounding.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError>;

    /// Adds the gradient of a loss in the parameters, given its gradient in the signals of the last
    /// [`forward`](Self::forward), which is used up.
    ///
    /// # Panics
    /// Without a forward before it, or if the shapes differ from its signals.
    fn backward(&mut self, gradient: &Signals);

    /// Adds up the gradient gathered by all ranks of a run: each then has the same, to the bit. A
    /// rank without a backward pass brings zeros.
    ///
    /// # Errors
    /// Where a rank is lost; the gradient is then worth nothing.
    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError>;

    /// Descends along the gathered gradient at this learning rate, and clears it.
    ///
    /// Where the gradient is not finite, nothing changes but that it is cleared; the report's norm
    /// says so.
    fn update(&mut self, learning_rate: f64) -> UpdateReport;
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateReport {
    /// Global norm of the gradient before clipping; not finite if the update was refused.
    pub grad_norm: f64,
}

/// Why a policy could not answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// Prefix and completion together exceed what the policy can attend to.
    #[error(
        "prompt of {prompt} tokens and {completion} new tokens exceed the context of {context}"
    )]
    ContextExceeded {
        /// Tokens of the prefix.
        prompt: usize,
        /// Tokens of the completion, or the most that were asked for.
        completion: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// The policy produced NaN or infinite numbers.
    #[error("the model gives non-finite numbers in {place}")]
    NotFinite {
        /// Where it was noticed.
        place: String,
    },
    /// A token id outside the vocabulary.
    #[error("token id {token} is outside the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id found.
        token: u32,
        /// Ids are below this.
        vocabulary: usize,
    },
}
