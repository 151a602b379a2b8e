//! From prompts under the constitutions of a principle to the contrasts of its metrics: draw a
//! completion under each, or take given ones, and score every one under every constitution.

use std::ops::Range;

use math::{Key, sum};
use policy::{
    Batch, PolicyError, Request, Row, SampleProgress, Sampler, SamplingOptions, Scorer, Signals,
};

use crate::contrast;
use crate::sufficiency::Contrast;

/// A question under each constitution of a principle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The question's number in the data; it names the draws.
    pub id: usize,
    /// Token ids of the prompt under each constitution, the positive one first.
    pub prefixes_k: Vec<Vec<u32>>,
}

/// A completion to be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Token ids, as drawn; not empty.
    pub tokens_t: Vec<u32>,
    /// The tokens whose mean log-probability is the entry of the matrix; never the last one. `None`
    /// where there are none: its prompt is left out.
    pub scored: Option<Range<usize>>,
}

/// The contrasts of some prompts, and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrasts {
    /// Of the prompts with something to score under every constitution, in their order.
    pub contrasts: Vec<Contrast>,
    /// Prompts left out.
    pub incomplete: usize,
    /// Tokens computed: each prompt once, each completion under each constitution.
    pub tokens: usize,
    /// Batches that were run forward.
    pub forward_passes: usize,
}

/// Draws one completion of every question under each constitution, `[q][k]`.
///
/// A draw is named by the question and by the number of the constitution alone, so a principle has
/// the same draws whatever is scored beside it, and two principles are compared on common random
/// numbers. `scored` says which tokens of a completion count.
///
/// # Errors
/// Where the sampler fails.
pub fn draw(
    sampler: &dyn Sampler,
    asked: &[Asked],
    options: &SamplingOptions,
    key: Key,
    scored: &dyn Fn(&[u32]) -> Option<Range<usize>>,
    progress: &mut dyn FnMut(SampleProgress),
) -> Result<Vec<Vec<Completion>>, PolicyError> {
    let requests_of = |asked: &Asked| {
        let key = key.child(asked.id as u64);
        let request = |(constitution, prefix): (usize, &Vec<u32>)| Request {
            prefix: prefix.clone(),
            count: 1,
            key: key.child(constitution as u64),
        };
        let prefixes = asked.prefixes_k.iter().enumerate();
        prefixes.map(request).collect::<Vec<_>>()
    };
    let requests: Vec<Request> = asked.iter().flat_map(requests_of).collect();
    let samples = sampler.sample(&requests, options, progress)?;
    let mut drawn = samples.into_iter().flatten().map(|sample| Completion {
        scored: scored(&sample.tokens_t),
        tokens_t: sample.tokens_t,
    });
    let of_question = |asked: &Asked| drawn.by_ref().take(asked.prefixes_k.len()).collect();
    Ok(asked.iter().map(of_question).collect())
}

/// Scores each question's completions under each of its constitutions, at the temperature they were
/// drawn at, in batches of at most `tokens_max` tokens.
///
/// A prompt's tokens are computed once for all `k` completions (twice where a batch ends between
/// them). `progress` hears the batches done and their number.
///
/// # Errors
/// Where the scorer fails.
///
/// # Panics
/// If there are not as many completions as prompts, or two prompts of a question are equal.
pub fn score(
    scorer: &dyn Scorer,
    asked: &[Asked],
    completions_qk: &[Vec<Completion>],
    temperature: f64,
    tokens_max: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Contrasts, PolicyError> {
    let (mut batch, prefixes_qk) = own_rows(asked, completions_qk, temperature);
    let contrast::Contrasts {
        rows_qkk,
        incomplete,
    } = contrast::rows(&mut batch, &prefixes_qk);
    let (mut done, total) = (0, batch.slices(tokens_max).len());
    let mut tokens = 0;
    let signals = batch.scored(tokens_max, |slice| {
        progress(done, total);
        done += 1;
        tokens += slice.computed_tokens();
        scorer.signals(slice)
    })?;
    let contrast = |rows_kk: &Vec<Vec<usize>>| Contrast {
        means_kk: contrast::matrix(rows_kk, &batch, &signals),
        logprobs_kk: sums(rows_kk, &signals),
    };
    Ok(Contrasts {
        contrasts: rows_qkk.iter().map(contrast).collect(),
        incomplete,
        tokens,
        forward_passes: total,
    })
}

/// A row for each completion of the questions that have something to score throughout, and the
/// prefixes of every question.
fn own_rows(
    asked: &[Asked],
    completions_qk: &[Vec<Completion>],
    temperature: f64,
) -> (Batch, Vec<Vec<usize>>) {
    assert_eq!(
        asked.len(),
        completions_qk.len(),
        "completions of each question"
    );
    let mut batch = Batch {
        prefixes: Vec::new(),
        rows: Vec::new(),
        temperature,
    };
    let mut prefixes_qk = Vec::with_capacity(asked.len());
    for (asked, completions_k) in asked.iter().zip(completions_qk) {
        assert_eq!(
            asked.prefixes_k.len(),
            completions_k.len(),
            "one completion a constitution"
        );
        let first = batch.prefixes.len();
        prefixes_qk.push((first..first + asked.prefixes_k.len()).collect());
        batch.prefixes.extend(asked.prefixes_k.iter().cloned());
        if completions_k.iter().any(|c| c.scored.is_none()) {
            continue;
        }
        let rows = completions_k.iter().enumerate();
        batch.rows.extend(rows.map(|(number, completion)| Row {
            prefix: first + number,
            tokens_t: completion.tokens_t.clone(),
            reasoning: completion.scored.clone(),
        }));
    }
    (batch, prefixes_qk)
}

/// The log-probabilities of whole completions, in nats.
fn sums(rows_kk: &[Vec<usize>], signals: &Signals) -> Vec<Vec<f64>> {
    let entry = |&row: &usize| sum(&signals.logprobs_nt[row]);
    let rows = rows_kk.iter();
    rows.map(|rows_k| rows_k.iter().map(entry).collect())
        .collect()
}
