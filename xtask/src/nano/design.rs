//! What the generator's own probabilities promise, before anything is trained.
//!
//! For two constitutions of opposite polarity and a completion written under one of them, a model
//! that knows the generator has `Δ = mean over reasoning tokens of ln p(token | own) −
//! ln p(token | other)`. Every token but the style words is equally likely under both, so Δ is the
//! evidence of the style words divided by the number of reasoning tokens, and the contrast over
//! constitutions bounds the mutual information by `ln 2 − E ln(1 + e^−Δ)` nats.

use serde::Serialize;
use tokenizers::Tokenizer;

use super::row::Row;
use super::style::{PRINCIPLES, Principle};
use super::tokenizer::prompt;

/// The figures of one principle.
#[derive(Debug, Serialize)]
pub(crate) struct PrincipleDesign {
    /// Its name.
    pub(crate) name: &'static str,
    /// Share of its style words that follow the constitution.
    pub(crate) followed: f64,
    /// Mean Δ in nats a token.
    pub(crate) evidence_nats: f64,
    /// Bound on the information about which of the two constitutions was given, in nats.
    pub(crate) bound_nats: f64,
}

/// The figures of the data.
#[derive(Debug, Serialize)]
pub(crate) struct Design {
    /// Rows that were counted.
    pub(crate) rows: usize,
    /// Entries of the vocabulary.
    pub(crate) vocabulary: usize,
    /// Mean tokens of a prompt, turn markers included.
    pub(crate) prompt_tokens: f64,
    /// Mean tokens of a reasoning, without its tags.
    pub(crate) reasoning_tokens: f64,
    /// Mean tokens of a completion, without the end of its turn.
    pub(crate) completion_tokens: f64,
    /// The most tokens of prompt and completion together, with the end of the turn.
    pub(crate) tokens_max: usize,
    /// Share of completions in the strict format.
    pub(crate) sound: f64,
    /// Share of reasonings that arrive at the right answer.
    pub(crate) right: f64,
    /// By principle.
    pub(crate) principles: Vec<PrincipleDesign>,
}

/// The figures of `rows` under a tokenizer.
///
/// # Errors
/// Where the tokenizer cannot encode a text.
pub(crate) fn measure(rows: &[Row], tokenizer: &Tokenizer) -> tokenizers::Result<Design> {
    let count = |text: &str| tokenizer.encode(text, false).map(|encoding| encoding.len());
    let mut lengths_n = Vec::with_capacity(rows.len());
    for row in rows {
        let lengths = [
            count(&prompt(row))?,
            count(&row.reasoning.text)?,
            count(&row.completion)?,
        ];
        lengths_n.push(lengths);
    }
    let mean_length = |index: usize| mean(lengths_n.iter().map(|lengths| lengths[index] as f64));
    let principles = PRINCIPLES.iter().map(|principle| {
        let own = rows.iter().zip(&lengths_n);
        let own = own.filter(|(row, _)| row.principle.name == principle.name);
        measure_principle(principle, own.map(|(row, lengths)| (row, lengths[1])))
    });
    Ok(Design {
        rows: rows.len(),
        vocabulary: tokenizer.get_vocab_size(true),
        prompt_tokens: mean_length(0),
        reasoning_tokens: mean_length(1),
        completion_tokens: mean_length(2),
        tokens_max: lengths_n
            .iter()
            .map(|[p, _, c]| p + c + 1)
            .max()
            .unwrap_or(0),
        sound: share(rows, |row| row.fault.is_none()),
        right: share(rows, |row| row.reasoning.answer == row.story.answer()),
        principles: principles.collect(),
    })
}

fn measure_principle<'a>(
    principle: &Principle,
    rows: impl Iterator<Item = (&'a Row, usize)>,
) -> PrincipleDesign {
    let (mut followed_n, mut evidence_n) = (Vec::new(), Vec::new());
    for (row, tokens) in rows {
        let text = &row.reasoning.text;
        followed_n.extend(principle.follows(row.polarity, text));
        evidence_n.push(principle.evidence(row.polarity, text) / tokens as f64);
    }
    let bound = evidence_n
        .iter()
        .map(|delta| 2_f64.ln() - (-delta).exp().ln_1p());
    PrincipleDesign {
        name: principle.name,
        followed: math::mean(&followed_n),
        evidence_nats: math::mean(&evidence_n),
        bound_nats: mean(bound),
    }
}

fn share(rows: &[Row], holds: impl Fn(&Row) -> bool) -> f64 {
    mean(rows.iter().map(|row| f64::from(u8::from(holds(row)))))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    math::mean(&values.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nano::tokenizer::tests::trained;

    #[test]
    fn clear_principles_can_be_told_apart_and_the_vague_one_cannot() {
        let (rows, tokenizer) = trained();
        let design = measure(rows, tokenizer).unwrap();
        let [clear @ .., vague] = design.principles.as_slice() else {
            panic!("no principles")
        };
        for principle in clear {
            assert!(
                (0.25..=0.9).contains(&principle.evidence_nats),
                "{principle:?}"
            );
            assert!((0.1..=0.4).contains(&principle.bound_nats), "{principle:?}");
        }
        assert!(vague.bound_nats < 0.02, "{vague:?}");
    }

    #[test]
    fn prompts_and_completions_are_short_and_imperfect_as_designed() {
        let (rows, tokenizer) = trained();
        let design = measure(rows, tokenizer).unwrap();
        assert!(
            design.prompt_tokens < 45.0 && design.tokens_max < 160,
            "{design:?}"
        );
        assert!(
            (30.0..=50.0).contains(&design.reasoning_tokens),
            "{design:?}"
        );
        assert!((0.5..=0.6).contains(&design.sound), "{design:?}");
        assert!((0.8..=0.95).contains(&design.right), "{design:?}");
    }
}
