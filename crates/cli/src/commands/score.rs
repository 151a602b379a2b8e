//! `enigma score`: the log-probability of every token of given completions.

use std::collections::HashMap;

use math::Key;
use model::{Transformer, Workload};
use policy::{Batch, PolicyError, Row, Scorer, Signals, TextCodec};
use serde_json::{Value, json};

use crate::arguments::ScoreArguments;
use crate::data::{self, Conversation, Source, completion};
use crate::error::{Failure, InputError};
use crate::machine::{self, Opened, Room};
use crate::terminal::{Bars, Phase, Screen, Table, output};

/// Tokens computed at once.
const TOKENS_MAX: usize = 8192;

/// Scores at temperature 1 and prints a row's `completion_ids` and `logprobs` (nats), or a table.
///
/// Text is encoded with nothing added: no token before a raw prompt, none after a completion.
///
/// # Errors
/// Where the model or a row is wrong, or the model's numbers are not finite.
pub(crate) fn score(arguments: &ScoreArguments, screen: &Screen) -> Result<(), Failure> {
    let source = Source::File(arguments.input.clone());
    let rows = data::rows(&source, "train", None, None)?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let is_chat = arguments.model.chat || arguments.model.chat_template.is_some();
    let opened = machine::open_arguments(&arguments.model, is_chat)?;
    let ids = rows
        .iter()
        .map(|row| ids(row, &opened, is_chat).map_err(|reason| row.refuse(reason)));
    let batch = batch(ids.collect::<Result<Vec<_>, _>>()?);
    let workload = Workload::untrained([], 0, batch.computed_tokens().min(TOKENS_MAX));
    let room = Room {
        bytes: opened.config.card_inference_bytes(&workload),
        lower: "end what else holds its memory",
    };
    let device = machine::device(&arguments.machine, &room)?;
    let policy = opened
        .weights(&device, Key::new(0))
        .map_err(|error| InputError::refused(&arguments.model.model, &error))?;
    let signals = signals(&policy, &batch, screen)
        .map_err(|error| InputError::refused(&arguments.model.model, &error))?;
    if arguments.json {
        for (row, logprobs_t) in batch.rows.iter().zip(&signals.logprobs_nt) {
            let object = json!({"completion_ids": row.tokens_t, "logprobs": logprobs_t});
            output(&object.to_string())?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["line", "tokens", "nats", "nats/token"]);
    for (row, logprobs_t) in rows.iter().zip(&signals.logprobs_nt) {
        let (tokens, nats) = (logprobs_t.len(), math::sum(logprobs_t));
        let mean = nats / tokens as f64;
        table.row(vec![
            row.place.number.to_string(),
            tokens.to_string(),
            format!("{nats:.4}"),
            format!("{mean:.4}"),
        ]);
    }
    for line in table.lines(screen) {
        output(&line)?;
    }
    Ok(())
}

/// Token ids of a row's prompt and completion, checked against the model.
fn ids(row: &data::Row, opened: &Opened, is_chat: bool) -> Result<(Vec<u32>, Vec<u32>), String> {
    let codec = &opened.tokenizer;
    let (prompt, tokens_t) = match (row.fields.get("prompt_ids"), row.fields.get("prompt")) {
        (Some(prompt), None) => (id_list("prompt_ids", Some(prompt))?, {
            id_list("completion_ids", row.fields.get("completion_ids"))?
        }),
        (None, Some(prompt)) => {
            let prompt = Conversation::parse(prompt).map_err(|e| format!("`prompt`: {e}"))?;
            let prompt = if is_chat {
                prompt.in_chat(None)
            } else {
                prompt
            };
            let value = row
                .fields
                .get("completion")
                .ok_or("no `completion` beside `prompt`")?;
            let text = completion(value).map_err(|e| format!("`completion`: {e}"))?;
            let encode = |text: &str| codec.encode(text).map_err(|e| e.to_string());
            (
                prompt.encode(codec).map_err(|e| e.to_string())?,
                encode(&text)?,
            )
        }
        _ => return Err("expected either `prompt` or `prompt_ids`".to_owned()),
    };
    if prompt.is_empty() || tokens_t.is_empty() {
        return Err("expected one token or more in prompt and completion".to_owned());
    }
    let (vocabulary, context) = (
        opened.config.vocabulary,
        opened.config.scored_context(prompt.len()),
    );
    if let Some(id) = prompt
        .iter()
        .chain(&tokens_t)
        .find(|&&id| id as usize >= vocabulary)
    {
        return Err(format!(
            "token id {id}; expected ids below {vocabulary}, the vocabulary"
        ));
    }
    let found = prompt.len() + tokens_t.len();
    if found > context {
        return Err(format!(
            "{found} tokens; expected at most {context}, by the context"
        ));
    }
    Ok((prompt, tokens_t))
}

fn id_list(key: &str, value: Option<&Value>) -> Result<Vec<u32>, String> {
    let value = value.ok_or_else(|| format!("no `{key}` beside `prompt_ids`"))?;
    serde_json::from_value(value.clone()).map_err(|_| format!("`{key}`: expected a list of ids"))
}

/// One batch in which equal prompts are one prefix.
fn batch(rows: Vec<(Vec<u32>, Vec<u32>)>) -> Batch {
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut batch = Batch {
        prefixes: Vec::new(),
        rows: Vec::new(),
        temperature: 1.0,
    };
    for (prompt, tokens_t) in rows {
        let next = batch.prefixes.len();
        let prefix = *known.entry(prompt).or_insert_with_key(|prompt| {
            batch.prefixes.push(prompt.clone());
            next
        });
        batch.rows.push(Row {
            prefix,
            tokens_t,
            reasoning: None,
        });
    }
    batch
}

fn signals(policy: &Transformer, batch: &Batch, screen: &Screen) -> Result<Signals, PolicyError> {
    let (mut done, total) = (0, batch.slices(TOKENS_MAX).len());
    let mut bars = Bars::new(screen, 0);
    let signals = batch.scored(TOKENS_MAX, |slice| {
        bars.phase(Phase::Evaluation, 0, done, total);
        done += 1;
        policy.signals(slice)
    });
    bars.finish();
    signals
}
