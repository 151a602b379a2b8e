//! A policy small enough to have known answers: a table of logits.
//!
//! The next token depends on the prefix's last token (the context) and on the token before it, so
//! one-token completions are bandits and longer ones are Markov chains steered by their context.
//! Axes: `c` contexts, `s` states (start, then each token), `v` vocabulary.

use math::{log_softmax, softmax};
use ranks::{RankError, Ranks};

use crate::{
    Batch, Finish, Policy, PolicyError, Probe, Request, Row, Sample, SampleProgress, Sampler,
    SamplingOptions, Scorer, Signals, UpdateReport,
};

/// A table of logits, trained by plain gradient descent.
///
/// The hidden state after reading a token is the row of logits that it leads to, so points have the
/// width of the vocabulary.
#[derive(Clone, Debug)]
pub struct TabularPolicy {
    vocabulary: usize,
    end_tokens: Vec<u32>,
    /// `[c, s, v]`, the last axis contiguous.
    logits: Vec<f64>,
    reference: Vec<f64>,
    gradient: Vec<f64>,
    /// The batch of the forward pass that no backward pass has used yet.
    pending: Option<Batch>,
}

impl TabularPolicy {
    /// A policy over `vocabulary` tokens whose start logits under context `c` are
    /// `start_logits_cv[c]`; after the first token every continuation is equally likely.
    ///
    /// # Panics
    /// If there is no context, or a row has not one logit for each token.
    pub fn new(vocabulary: usize, start_logits_cv: &[Vec<f64>], end_tokens: &[u32]) -> Self {
        assert!(
            !start_logits_cv.is_empty(),
            "a table needs at least one context"
        );
        let mut logits = Vec::new();
        for row in start_logits_cv {
            assert_eq!(
                row.len(),
                vocabulary,
                "a context has one logit for each token"
            );
            logits.extend_from_slice(row);
            logits.extend(std::iter::repeat_n(0.0, vocabulary * vocabulary));
        }
        Self {
            vocabulary,
            end_tokens: end_tokens.to_vec(),
            reference: logits.clone(),
            gradient: vec![0.0; logits.len()],
            logits,
            pending: None,
        }
    }

    /// The probabilities of the first token under a context.
    ///
    /// # Panics
    /// If there is no such context.
    pub fn start_probabilities(&self, context: u32) -> Vec<f64> {
        let at = self.state(context, None);
        softmax(&self.logits[at..at + self.vocabulary])
    }

    /// Makes the policy as it is now its own reference.
    pub fn freeze(&mut self) {
        self.reference.clone_from(&self.logits);
    }

    /// Offset of the logits that follow `last` (nothing: the start) under a context.
    fn state(&self, context: u32, last: Option<u32>) -> usize {
        let state = last.map_or(0, |token| token as usize + 1);
        (context as usize * (self.vocabulary + 1) + state) * self.vocabulary
    }

    fn check(&self, prefix: &[u32], tokens_t: &[u32]) -> Result<u32, PolicyError> {
        let contexts = self.logits.len() / ((self.vocabulary + 1) * self.vocabulary);
        let context = *prefix.last().expect("a prefix is not empty");
        if context as usize >= contexts {
            return Err(PolicyError::UnknownToken {
                token: context,
                vocabulary: contexts,
            });
        }
        match tokens_t
            .iter()
            .find(|&&token| token as usize >= self.vocabulary)
        {
            Some(&token) => Err(PolicyError::UnknownToken {
                token,
                vocabulary: self.vocabulary,
            }),
            None => Ok(context),
        }
    }

    /// For each token of a row, the offset of the logits it was drawn from.
    fn states_t(&self, context: u32, row: &Row) -> Vec<usize> {
        let before = std::iter::once(None).chain(row.tokens_t.iter().copied().map(Some));
        before
            .take(row.tokens_t.len())
            .map(|last| self.state(context, last))
            .collect()
    }

    fn score(&self, logits: &[f64], batch: &Batch) -> Result<Signals, PolicyError> {
        let mut signals = Signals::default();
        for row in &batch.rows {
            let context = self.check(&batch.prefixes[row.prefix], &row.tokens_t)?;
            let states_t = self.states_t(context, row);
            let logprob = |(&token, &at): (&u32, &usize)| {
                let scaled: Vec<f64> = logits[at..at + self.vocabulary]
                    .iter()
                    .map(|l| l / batch.temperature)
                    .collect();
                log_softmax(&scaled)[token as usize]
            };
            signals
                .logprobs_nt
                .push(row.tokens_t.iter().zip(&states_t).map(logprob).collect());
            let mut point_d = Vec::new();
            if let Some(span) = &row.reasoning {
                point_d = vec![0.0; self.vocabulary];
                for token in &row.tokens_t[span.clone()] {
                    let at = self.state(context, Some(*token));
                    for (sum, logit) in point_d.iter_mut().zip(&logits[at..]) {
                        *sum += logit / span.len() as f64;
                    }
                }
            }
            signals.points_nd.push(point_d);
        }
        Ok(signals)
    }

    fn draw(&self, context: u32, request: &Request, index: usize, o: &SamplingOptions) -> Sample {
        let key = request.key.child(index as u64);
        let mut sample = Sample {
            tokens_t: Vec::new(),
            logprobs_t: Vec::new(),
            entropies_t: Vec::new(),
            finish: Finish::Length,
        };
        while sample.tokens_t.len() < o.max_completion_length {
            let at = self.state(context, sample.tokens_t.last().copied());
            let scaled: Vec<f64> = self.logits[at..at + self.vocabulary]
                .iter()
                .map(|l| l / o.temperature)
                .collect();
            let logprobs_v = log_softmax(&scaled);
            let token = pick(&logprobs_v, key.uniform(sample.tokens_t.len() as u64));
            sample.tokens_t.push(token);
            sample.logprobs_t.push(logprobs_v[token as usize]);
            sample
                .entropies_t
                .push(-logprobs_v.iter().map(|l| l.exp() * l).sum::<f64>());
            if self.end_tokens.contains(&token) {
                sample.finish = Finish::Stop;
                break;
            }
        }
        sample
    }
}

/// The token at which the cumulative probability passes `uniform`.
fn pick(logprobs_v: &[f64], uniform: f64) -> u32 {
    let mut cumulative = 0.0;
    for (token, logprob) in logprobs_v.iter().enumerate() {
        cumulative += logprob.exp();
        if uniform < cumulative {
            return token as u32;
        }
    }
    logprobs_v.len() as u32 - 1
}

impl Sampler for TabularPolicy {
    /// # Panics
    /// At a temperature that is not positive, and with top-k or top-p: a table has neither.
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        assert!(
            options.temperature > 0.0,
            "a table samples at a positive temperature"
        );
        assert!(
            options.top_k.is_none() && options.top_p.is_none(),
            "a table does not truncate"
        );
        let total = requests.iter().map(|request| request.count).sum();
        let (mut tokens, mut finished) = (0, 0);
        let mut groups = Vec::with_capacity(requests.len());
        for request in requests {
            let context = self.check(&request.prefix, &[])?;
            let group: Vec<Sample> = (0..request.count)
                .map(|i| self.draw(context, request, i, options))
                .collect();
            tokens += group
                .iter()
                .map(|sample| sample.tokens_t.len())
                .sum::<usize>();
            finished += group.len();
            progress(SampleProgress {
                tokens,
                finished,
                total,
            });
            groups.push(group);
        }
        Ok(groups)
    }
}

impl Scorer for TabularPolicy {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.score(&self.logits, batch)
    }
}

impl Policy for TabularPolicy {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.score(&self.reference, batch)
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        let signals = self.signals(batch)?;
        self.pending = Some(batch.clone());
        Ok(signals)
    }

    fn backward(&mut self, gradient: &Signals) {
        let batch = self
            .pending
            .take()
            .expect("a backward pass follows a forward pass");
        assert_eq!(
            gradient.logprobs_nt.len(),
            batch.rows.len(),
            "one gradient for each row"
        );
        for (index, row) in batch.rows.iter().enumerate() {
            let context = *batch.prefixes[row.prefix]
                .last()
                .expect("a prefix is not empty");
            let states_t = self.states_t(context, row);
            for ((&token, &at), g) in row
                .tokens_t
                .iter()
                .zip(&states_t)
                .zip(&gradient.logprobs_nt[index])
            {
                let scaled: Vec<f64> = self.logits[at..at + self.vocabulary]
                    .iter()
                    .map(|l| l / batch.temperature)
                    .collect();
                let scale = g / batch.temperature;
                for (entry, probability) in self.gradient[at..].iter_mut().zip(softmax(&scaled)) {
                    *entry -= scale * probability;
                }
                self.gradient[at + token as usize] += scale;
            }
            let Some(span) = &row.reasoning else { continue };
            for token in &row.tokens_t[span.clone()] {
                let at = self.state(context, Some(*token));
                for (entry, g) in self.gradient[at..]
                    .iter_mut()
                    .zip(&gradient.points_nd[index])
                {
                    *entry += g / span.len() as f64;
                }
            }
        }
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        ranks.all_reduce(&mut self.gradient)
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        let grad_norm = math::norm(&self.gradient);
        if grad_norm.is_finite() {
            for (logit, g) in self.logits.iter_mut().zip(&self.gradient) {
                *logit -= learning_rate * g;
            }
        }
        self.gradient.fill(0.0);
        UpdateReport { grad_norm }
    }
}

impl Probe for TabularPolicy {
    fn parameters(&self) -> Vec<f64> {
        self.logits.clone()
    }

    fn set_parameters(&mut self, values: &[f64]) {
        assert_eq!(values.len(), self.logits.len(), "one value a logit");
        self.logits.copy_from_slice(values);
        self.gradient.fill(0.0);
        self.pending = None;
    }

    fn gradient(&self) -> Vec<f64> {
        self.gradient.clone()
    }

    fn logits_tv(&self, prefix: &[u32], tokens_t: &[u32]) -> Result<Vec<Vec<f64>>, PolicyError> {
        let context = self.check(prefix, tokens_t)?;
        let row = Row {
            prefix: 0,
            tokens_t: tokens_t.to_vec(),
            reasoning: None,
        };
        let logits = |at: usize| self.logits[at..at + self.vocabulary].to_vec();
        let states_t = self.states_t(context, &row);
        Ok(states_t.into_iter().map(logits).collect())
    }
}

#[cfg(test)]
mod tests {
    use math::{Key, check_gradient};

    use super::*;

    fn policy() -> TabularPolicy {
        let mut policy = TabularPolicy::new(3, &[vec![0.1, -0.4, 0.8], vec![0.0, 0.5, -0.2]], &[2]);
        let key = Key::new(5);
        for (i, logit) in policy.logits.iter_mut().enumerate() {
            *logit += 0.5 * key.normal(i as u64);
        }
        policy
    }

    fn batch() -> Batch {
        let row = |prefix, tokens: &[u32], reasoning| Row {
            prefix,
            tokens_t: tokens.to_vec(),
            reasoning,
        };
        Batch {
            prefixes: vec![vec![0], vec![1]],
            rows: vec![row(0, &[0, 1, 1, 2], Some(0..3)), row(1, &[1, 2], None)],
            temperature: 0.7,
        }
    }

    #[test]
    fn the_gradient_agrees_with_differences_in_every_logit() {
        let mut policy = policy();
        let signals = policy.forward(&batch()).expect("known tokens");
        let mut weights = signals.zeros_like();
        let rows = weights.logprobs_nt.iter_mut().chain(&mut weights.points_nd);
        for (i, entry) in rows.flatten().enumerate() {
            *entry = Key::new(9).normal(i as u64);
        }
        policy.backward(&weights);
        let inner = |logits: &[f64]| {
            let signals = policy.score(logits, &batch()).expect("known tokens");
            let pairs = signals.logprobs_nt.iter().zip(&weights.logprobs_nt);
            let points = signals.points_nd.iter().zip(&weights.points_nd);
            pairs.chain(points).map(|(a, b)| math::dot(a, b)).sum()
        };
        let check = check_gradient(inner, &policy.logits, &policy.gradient);
        assert!(check.error < 1e-9, "{check:?}");
    }

    #[test]
    fn sampled_logprobs_are_those_of_scoring_and_follow_the_probabilities() {
        let policy = policy();
        let options = SamplingOptions {
            temperature: 0.7,
            top_k: None,
            top_p: None,
            max_completion_length: 4,
        };
        let request = Request {
            prefix: vec![0],
            count: 20_000,
            key: Key::new(1),
        };
        let group = &policy
            .sample(&[request], &options, &mut |_| {})
            .expect("valid")[0];
        let row = |sample: &Sample| Row {
            prefix: 0,
            tokens_t: sample.tokens_t.clone(),
            reasoning: None,
        };
        let rows = group.iter().map(row).collect();
        let batch = Batch {
            prefixes: vec![vec![0]],
            rows,
            temperature: 0.7,
        };
        let scored = policy.signals(&batch).expect("valid");
        for (sample, logprobs_t) in group.iter().zip(&scored.logprobs_nt) {
            assert_eq!(&sample.logprobs_t, logprobs_t);
        }
        let share = group.iter().filter(|s| s.tokens_t[0] == 1).count() as f64 / 20_000.0;
        let expected = scored_start(&policy, 0.7)[1];
        assert!(
            (share - expected).abs() < 0.012,
            "{share} against {expected}"
        );
    }

    fn scored_start(policy: &TabularPolicy, temperature: f64) -> Vec<f64> {
        let logits: Vec<f64> = policy.logits[..3].iter().map(|l| l / temperature).collect();
        softmax(&logits)
    }
}
