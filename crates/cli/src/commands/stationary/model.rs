//! Reference probabilities of given answers from a real model.

use math::Key;
use model::Workload;
use policy::{Batch, Row, Scorer, TextCodec};

use super::said;
use super::show::probability;
use crate::arguments::{ModelArguments, StationaryArguments};
use crate::data::Conversation;
use crate::error::{Failure, InputError};
use crate::machine::{self, Room};
use crate::terminal::Screen;

/// The model's probability of each text after the question, `exp Σ_t logprob`, made to sum to 1
/// over the texts: the law of its answer given that it is one of them.
///
/// # Errors
/// Where the model or a text is wrong, or the model's numbers are not finite.
pub(super) fn reference(
    arguments: &StationaryArguments,
    texts: &[String],
    screen: &Screen,
) -> Result<Vec<f64>, Failure> {
    let model = arguments.model.clone().expect("the caller has a model");
    let question = arguments.question.clone();
    let question =
        question.ok_or_else(|| said("--question is missing; expected it with --model"))?;
    let named = ModelArguments {
        model,
        base: None,
        chat: arguments.chat,
        chat_template: None,
    };
    let opened = machine::open_arguments(&named, named.chat)?;
    let codec = &opened.tokenizer;
    let prompt = Conversation::Raw(question);
    let prompt = if named.chat {
        prompt.in_chat(None)
    } else {
        prompt
    };
    let prefix = prompt
        .encode(codec)
        .map_err(|error| InputError::refused("--question", &error))?;
    if prefix.is_empty() {
        return Err(said("--question is empty; expected text").into());
    }
    let context = opened.config.max_position_embeddings;
    let rows = rows(codec, prefix.len(), context, texts)?;
    let batch = Batch {
        prefixes: vec![prefix],
        rows,
        temperature: 1.0,
    };
    let workload = Workload::untrained([], 0, batch.computed_tokens());
    let room = Room {
        bytes: opened.config.card_inference_bytes(&workload),
        lower: "give fewer --answers",
    };
    let device = machine::device(&arguments.machine, &room)?;
    let policy = opened.weights(&device, Key::new(0));
    let policy = policy.map_err(|error| InputError::refused(&named.model, &error))?;
    let signals = policy
        .signals(&batch)
        .map_err(|error| InputError::refused(&named.model, &error))?;
    let sums: Vec<f64> = signals.logprobs_nt.iter().map(|t| math::sum(t)).collect();
    let all = math::log_sum_exp(&sums).exp();
    screen.line(screen.dim(&format!(
        "reference: {} gives these answers a probability of {} in all; the rest is left out",
        named.model,
        probability(all)
    )));
    Ok(math::softmax(&sums))
}

/// A row for each text, distinct and within the context.
fn rows(
    codec: &dyn TextCodec,
    prompt: usize,
    context: usize,
    texts: &[String],
) -> Result<Vec<Row>, InputError> {
    let mut rows: Vec<Row> = Vec::new();
    for text in texts {
        let tokens_t = codec
            .encode(text)
            .map_err(|error| InputError::refused("--answers", &error))?;
        let found = prompt + tokens_t.len();
        if tokens_t.is_empty() {
            return Err(said("--answers has an empty text; expected text"));
        }
        if found > context {
            return Err(said(format!(
                "question and answer have {found} tokens; expected at most {context}, the context"
            )));
        }
        if rows.iter().any(|row| row.tokens_t == tokens_t) {
            return Err(said(format!(
                "--answers has `{text}` twice; expected it once"
            )));
        }
        rows.push(Row {
            prefix: 0,
            tokens_t,
            reasoning: None,
        });
    }
    Ok(rows)
}
