//! Which tokens count: every sampled one in the policy gradient, and nothing else; in the contrast
//! and the points the fewest tokens that hold the reasoning.

use std::ops::Range;

use policy::Row;

use crate::{Bench, Finding, VerifyError};

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    Ok(vec![scored(bench), reasoning(bench), gradient(bench)?])
}

/// Rows that are no sampled completion under its own prompt, and samples without a row.
fn scored(bench: &Bench) -> Finding {
    let played = &bench.played;
    let samples = played.prefixes_g.iter().zip(&played.samples_g);
    let mut missing = 0;
    for (prefix, samples) in samples {
        for sample in samples {
            let is_own = |row: &&Row| {
                played.batch.prefixes[row.prefix] == *prefix && row.tokens_t == sample.tokens_t
            };
            missing += usize::from(played.batch.rows.iter().filter(is_own).count() != 1);
        }
    }
    let detail = "samples that are not exactly one row under their prompt";
    Finding::new("rows", missing as f64, 0.0, detail)
}

/// Rows whose reasoning is not the fewest tokens whose text holds it.
fn reasoning(bench: &Bench) -> Finding {
    let codec = bench.own.codec;
    let text = |tokens_t: &[u32]| codec.pieces(tokens_t).concat();
    let mut wrong = 0;
    let mut rows = 0;
    for row in &bench.played.batch.rows {
        let whole = text(&row.tokens_t);
        let expected = between(&whole, "<reasoning>", "</reasoning>");
        rows += usize::from(expected.is_some());
        wrong += match (expected, &row.reasoning) {
            (None, None) => 0,
            (Some(expected), Some(span)) => {
                let start = text(&row.tokens_t[..span.start]).len();
                let end = text(&row.tokens_t[..span.end]).len();
                let inner = text(&row.tokens_t[..=span.start]).len()
                    ..text(&row.tokens_t[..span.end - 1]).len();
                usize::from(!fits(&expected, &(start..end), &inner))
            }
            _ => 1,
        };
    }
    let detail = format!("of {rows} rows with reasoning, those whose tokens miss or exceed it");
    Finding::new("reasoning", wrong as f64, 0.0, detail)
}

/// Whether a span of bytes holds another, and would not without its first or its last token.
fn fits(expected: &Range<usize>, span: &Range<usize>, inner: &Range<usize>) -> bool {
    span.start <= expected.start
        && span.end >= expected.end
        && inner.start > expected.start
        && inner.end < expected.end
}

/// The bytes between two tags of a text, without the white space at their ends.
fn between(text: &str, open: &str, close: &str) -> Option<Range<usize>> {
    let start = text.find(open)? + open.len();
    let inside = &text[start..start + text[start..].find(close)?];
    let start = start + inside.len() - inside.trim_start().len();
    Some(start..start + inside.trim().len())
}

/// Tokens whose gradient of the policy term is not `−A·ratio/N`, where `N` counts the tokens of all
/// completions.
fn gradient(bench: &mut Bench) -> Result<Finding, VerifyError> {
    let parts = crate::play::Parts::Grpo;
    let play = bench.play()?;
    let played = play.learn(bench.own.policy, &bench.start, parts, usize::MAX)?;
    let tokens: usize = played
        .samples_g
        .iter()
        .flatten()
        .map(|s| s.tokens_t.len())
        .sum();
    let mut expected = played.signals.zeros_like();
    let mut completions = played.completions.iter();
    for (prefix, samples) in played.prefixes_g.iter().zip(&played.samples_g) {
        for sample in samples {
            let advantage = completions.next().and_then(|c| c.advantage).unwrap_or(0.0);
            let is_own = |row: &Row| {
                played.batch.prefixes[row.prefix] == *prefix && row.tokens_t == sample.tokens_t
            };
            if let Some(row) = played.batch.rows.iter().position(is_own) {
                expected.logprobs_nt[row].fill(-advantage / tokens as f64);
            }
        }
    }
    let size = expected.norm();
    expected.add_scaled(-1.0, &played.signal_gradient);
    let detail = "of −A/N a token at ratio 1, relative; rounding of the ratio in f32";
    Ok(Finding::new(
        "gradient",
        expected.norm() / size,
        1e-4,
        detail,
    ))
}
