//! `enigma models inspect`: what a model is, what it takes, and what of it is not supported.

use model::{Config, Inspection, LoraOptions, TargetModules, Trained, Workload};
use serde_json::{Value, json};

use super::describe::describe;
use crate::arguments::InspectArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::range::some;
use crate::terminal::{Screen, output};

/// Memory of a model at a batch, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Weights that LoRA trains.
    pub(super) adapters: usize,
    /// AdamW on all weights, with the frozen reference.
    pub(super) full: usize,
    /// AdamW on LoRA's.
    pub(super) lora: usize,
    /// Completions alone.
    pub(super) sample: usize,
}

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

fn memory(config: &Config, arguments: &InspectArguments) -> Memory {
    let InspectArguments {
        rows,
        tokens,
        prompt_tokens,
        rank,
        ..
    } = *arguments;
    let workload = Workload {
        computed_tokens: rows * (prompt_tokens + tokens),
        completions: rows,
        max_completion_length: tokens,
        prompt_tokens: rows * prompt_tokens,
        gradient_checkpointing: false,
        sampling_dtype: model::Dtype::F32,
    };
    let options = lora(rank);
    let full = Trained::Full {
        keeps_reference: true,
    };
    Memory {
        adapters: config.lora_parameters(&options),
        full: config.training_bytes(&workload, full),
        lora: config.training_bytes(&workload, Trained::Lora(&options)),
        sample: config.sampling_bytes(&workload),
    }
}

/// Adapters beside every linear module.
fn lora(rank: usize) -> LoraOptions {
    LoraOptions {
        r: rank,
        lora_alpha: 2.0 * rank as f64,
        lora_dropout: 0.0,
        target_modules: TargetModules::AllLinear,
        use_rslora: false,
    }
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
