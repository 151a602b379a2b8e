//! `enigma models inspect`: what a model is, what it takes, and what of it is not supported.

use model::{Config, Inspection};
use serde_json::{Value, json};

use super::describe::describe;
use super::memory::{Memory, memory};
use crate::arguments::InspectArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::range::some;
use crate::terminal::{Screen, output};

/// Looks at the model and says what it found; a model that is not supported is no error.
///
/// # Errors
/// Where there is no model, a file is damaged, or an argument is out of range.
pub(super) fn inspect(arguments: &InspectArguments, screen: &Screen) -> Result<(), Failure> {
    for (name, value) in [
        ("--rows", arguments.rows),
        ("--tokens", arguments.tokens),
        ("--rank", arguments.rank),
    ] {
        some(name, value).map_err(InputError::from)?;
    }
    let source = machine::source("MODEL", &arguments.model, None)?;
    let found =
        Inspection::open(&source).map_err(|error| InputError::refused(&arguments.model, &error))?;
    let memory = found
        .config
        .as_ref()
        .map(|config| memory(config, arguments));
    if arguments.json {
        output(&object(&found, memory, arguments).to_string())?;
        return Ok(());
    }
    for line in describe(&found, memory, arguments, screen) {
        output(&line)?;
    }
    Ok(())
}

fn object(found: &Inspection, memory: Option<Memory>, arguments: &InspectArguments) -> Value {
    let tokenizer = found.tokenizer.as_ref().map(|facts| {
        let template = facts.template.as_ref().map(|template| {
            json!({
                "takes_system": template.refuses_system.is_none(),
                "generation_prompt": template.generation_prompt,
            })
        });
        let special = facts.special.iter();
        let special = special.map(|(name, text)| (name.clone(), json!(text)));
        json!({
            "ids": facts.ids,
            "special_tokens": Value::Object(special.collect()),
            "end_tokens": facts.end_tokens,
            "chat_template": template,
        })
    });
    let memory_bytes = memory.map(|memory| {
        json!({ "train_full": memory.full, "train_lora": memory.lora, "sample": memory.sample })
    });
    json!({
        "model": arguments.model,
        "family": found.family,
        "parameters": found.config.as_ref().map(Config::parameters),
        "tie_word_embeddings": found.config.as_ref().map(|config| config.tie_word_embeddings),
        "config": found.sizes,
        "stored": found.stored,
        "tokenizer": tokenizer,
        "batch": {
            "rows": arguments.rows,
            "tokens": arguments.tokens,
            "prompt_tokens": arguments.prompt_tokens,
        },
        "lora": memory.map(|memory| {
            json!({
                "r": arguments.rank,
                "target_modules": "all-linear",
                "parameters": memory.adapters,
            })
        }),
        "memory_bytes": memory_bytes,
        "unsupported": found.unsupported,
    })
}
