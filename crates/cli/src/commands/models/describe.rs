//! A model as a person reads it.

use model::{Config, Inspection, TokenizerFacts};

use super::memory::Memory;
use crate::arguments::InspectArguments;
use crate::terminal::{Screen, grouped};

/// The lines: a name and what is known under it.
pub(super) fn describe(
    found: &Inspection,
    memory: Option<Memory>,
    arguments: &InspectArguments,
    screen: &Screen,
) -> Vec<String> {
    let mut facts = vec![
        ("model", arguments.model.clone()),
        ("family", found.family.clone()),
    ];
    if let Some(config) = &found.config {
        facts.extend(shape(config));
    } else {
        let size = |(key, size): (&String, &u64)| format!("{key} {size}");
        let sizes: Vec<String> = found.sizes.iter().map(size).collect();
        facts.push(("config.json", sizes.join(" · ")));
    }
    facts.push(("weights", stored(found)));
    if let Some(tokenizer) = &found.tokenizer {
        facts.extend(spoken(tokenizer));
    }
    if let Some(memory) = memory {
        facts.extend(taken(memory, arguments));
    }
    if found.unsupported.is_empty() {
        facts.push(("unsupported", "nothing".to_owned()));
    }
    let named = |name: &str, text: &str| format!("{} {text}", screen.dim(&format!("{name:<13}")));
    let mut lines: Vec<String> = facts.iter().map(|(name, text)| named(name, text)).collect();
    let refused = found.unsupported.iter().enumerate();
    lines.extend(
        refused.map(|(index, reason)| named(if index == 0 { "unsupported" } else { "" }, reason)),
    );
    lines
}

fn shape(config: &Config) -> [(&'static str, String); 3] {
    let tied = if config.tie_word_embeddings {
        "output tied to the embedding"
    } else {
        "output of its own"
    };
    [
        (
            "parameters",
            format!("{} · {tied}", grouped(config.parameters())),
        ),
        (
            "shape",
            format!(
                "{} layers · width {}, {} inside · {} heads of {}, {} for keys and values",
                config.layers,
                config.hidden_size,
                config.intermediate_size,
                config.query_heads,
                config.head_size,
                config.key_value_heads,
            ),
        ),
        (
            "context",
            format!("{} tokens", grouped(config.max_position_embeddings)),
        ),
    ]
}

fn stored(found: &Inspection) -> String {
    let Some(formats) = &found.stored else {
        return "none".to_owned();
    };
    let format = |(name, &count): (&String, &usize)| format!("{} as {name}", grouped(count));
    let formats: Vec<String> = formats.iter().map(format).collect();
    format!("numbers stored: {}", formats.join(", "))
}

fn spoken(facts: &TokenizerFacts) -> Vec<(&'static str, String)> {
    let ends: Vec<String> = facts.end_tokens.iter().map(|text| quoted(text)).collect();
    let mut lines = vec![(
        "tokenizer",
        format!(
            "{} ids · a completion ends with {}",
            grouped(facts.ids),
            ends.join(" or ")
        ),
    )];
    let special = facts.special.iter();
    let special: Vec<String> = special
        .map(|(name, text)| format!("{name} {}", quoted(text)))
        .collect();
    if !special.is_empty() {
        lines.push(("", special.join(" · ")));
    }
    let template = match &facts.template {
        None => "none; give one as model.chat_template or --chat-template".to_owned(),
        Some(template) => {
            let system = match template.refuses_system {
                None => "takes a system turn",
                Some(_) => "takes no system turn",
            };
            let prompt = template.generation_prompt.as_deref().unwrap_or_default();
            format!("{system} · an answer follows {}", quoted(prompt))
        }
    };
    lines.push(("chat template", template));
    lines
}

fn taken(memory: Memory, arguments: &InspectArguments) -> Vec<(&'static str, String)> {
    let InspectArguments {
        rows,
        tokens,
        prompt_tokens,
        rank,
        ..
    } = arguments;
    vec![
        (
            "memory",
            format!(
                "of {rows} completions of {tokens} tokens, each after a prompt of {prompt_tokens}, \
                 computed at once in float32"
            ),
        ),
        (
            "  train all",
            format!("{} with AdamW and the reference", mebibytes(memory.full)),
        ),
        (
            "  train LoRA",
            format!(
                "{} with rank {rank} on every linear map, {} weights",
                mebibytes(memory.lora),
                grouped(memory.adapters)
            ),
        ),
        ("  generate", mebibytes(memory.sample)),
    ]
}

fn mebibytes(bytes: usize) -> String {
    format!("{:>7} MiB", grouped(bytes.div_ceil(1 << 20)))
}

/// A token's text without the characters that would command a terminal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
