//! `enigma generate`: completions of given prompts.

use std::path::Path;
use std::sync::Arc;

use math::Key;
use model::Workload;
use policy::{Finish, Request, Sample, Sampler, SamplingOptions, TextCodec};
use serde_json::json;

use crate::arguments::GenerateArguments;
use crate::data::{self, Conversation, Place, Source};
use crate::error::{Failure, InputError};
use crate::machine::{self, Opened, Room};
use crate::range::{not_negative, require, some};
use crate::terminal::{Bars, Phase, Screen, output};

/// Draws, then prints each completion: its text, or with `--json` an object.
///
/// # Errors
/// Where an argument, the model or a prompt is wrong, or the model's numbers are not finite.
pub(crate) fn generate(arguments: &GenerateArguments, screen: &Screen) -> Result<(), Failure> {
    let mut options = sampling(arguments)?;
    let is_chat = arguments.model.chat
        || arguments.model.chat_template.is_some()
        || arguments.constitution.is_some();
    let prompts = prompts(arguments, is_chat)?;
    let opened = machine::open_arguments(&arguments.model, is_chat)?;
    options.max_completion_length = opened.max_completion_length(arguments.max_completion_length);
    let requests = requests(&opened, &prompts, &options, arguments)?;
    let drawn = requests.iter().map(|r| (r.prefix.len(), r.count));
    let workload = Workload::untrained(drawn, options.max_completion_length, 0);
    let room = Room {
        bytes: opened.config.card_inference_bytes(&workload),
        lower: "lower --num or --max-completion-length",
    };
    let device = machine::device(&arguments.machine, &room)?;
    let mut policy = opened
        .weights(&device, Key::new(0))
        .map_err(|error| InputError::refused(&arguments.model.model, &error))?;
    policy.set_end_tokens(opened.tokenizer.end_tokens());

    let mut bars = Bars::new(screen, 0);
    let drawn = policy.sample(&requests, &options, &mut |progress| {
        bars.phase(Phase::Rollout, 0, progress.finished, progress.total);
        bars.tokens(progress.tokens);
    });
    bars.finish();
    let drawn = drawn.map_err(|error| InputError::refused(&arguments.model.model, &error))?;
    for (prompt, samples) in drawn.iter().enumerate() {
        for (number, sample) in samples.iter().enumerate() {
            let text = opened.tokenizer.pieces(&sample.tokens_t).concat();
            if arguments.json {
                output(&object(prompt, number, &text, sample).to_string())?;
            } else {
                output(&text)?;
            }
        }
    }
    Ok(())
}

fn sampling(arguments: &GenerateArguments) -> Result<SamplingOptions, InputError> {
    some("--num", arguments.num)?;
    not_negative("--temperature", arguments.temperature)?;
    let max_completion_length = arguments
        .max_completion_length
        .unwrap_or(machine::LENGTH_MAX);
    some("--max-completion-length", max_completion_length)?;
    let top_p = arguments.top_p;
    require(
        top_p > 0.0 && top_p <= 1.0,
        "--top-p",
        top_p,
        "above 0, at most 1",
    )?;
    Ok(SamplingOptions {
        temperature: arguments.temperature,
        top_k: Some(arguments.top_k).filter(|&k| k > 0),
        top_p: Some(top_p).filter(|&p| p < 1.0),
        max_completion_length,
    })
}

/// The prompts with their lines; the prompt of the command line is line 1.
fn prompts(
    arguments: &GenerateArguments,
    is_chat: bool,
) -> Result<Vec<(Place, Conversation)>, InputError> {
    let in_turns = |prompt: Conversation| {
        if is_chat {
            prompt.in_chat(arguments.constitution.as_deref())
        } else {
            prompt
        }
    };
    if let Some(text) = &arguments.prompt {
        let place = Place {
            path: Arc::from(Path::new("--prompt")),
            unit: "line",
            number: 1,
        };
        return Ok(vec![(place, in_turns(Conversation::Raw(text.clone())))]);
    }
    let source = Source::File(arguments.input.clone().expect("one of the two is required"));
    let columns = ["prompt", "question"];
    let prompt = |row: Result<data::Row, InputError>| {
        let row = row?;
        let prompt = match row.fields.get("prompt") {
            Some(value) => Conversation::parse(value)
                .map_err(|reason| row.refuse(format!("`prompt`: {reason}")))?,
            None => Conversation::Raw(row.text("question")?),
        };
        Ok((row.place, in_turns(prompt)))
    };
    data::rows(&source, "train", Some(&columns), None)?
        .map(prompt)
        .collect()
}

fn requests(
    opened: &Opened,
    prompts: &[(Place, Conversation)],
    options: &SamplingOptions,
    arguments: &GenerateArguments,
) -> Result<Vec<Request>, InputError> {
    let request = |(index, (place, prompt)): (usize, &(Place, Conversation))| {
        let wrong = |reason: String| place.refuse(reason);
        let prefix = prompt
            .encode(&opened.tokenizer)
            .map_err(|error| wrong(error.to_string()))?;
        if prefix.is_empty() {
            return Err(wrong("expected a prompt, found empty text".to_owned()));
        }
        let context = opened.config.context(prefix.len());
        if prefix.len() + options.max_completion_length > context {
            let (prompt, new) = (prefix.len(), options.max_completion_length);
            return Err(wrong(format!(
                "prompt of {prompt} tokens and --max-completion-length {new}; expected at most \
                 {context} together, the model's context"
            )));
        }
        let key = Key::new(arguments.seed).child(index as u64);
        Ok(Request {
            prefix,
            count: arguments.num,
            key,
        })
    };
    prompts.iter().enumerate().map(request).collect()
}

fn object(prompt: usize, number: usize, text: &str, sample: &Sample) -> serde_json::Value {
    json!({
        "prompt": prompt,
        "sample": number,
        "completion": text,
        "completion_ids": sample.tokens_t,
        "logprobs": sample.logprobs_t,
        "finish": match sample.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
        },
    })
}
