//! `vocab.json` and `merges.txt`, as GPT-2 and Qwen store a tokenizer without `tokenizer.json`:
//! the two are put together into the `tokenizer.json` that they stand for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{SPECIAL_TOKENS, content, described};
use crate::{ModelError, Source, source::object};

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const ADDED: &str = "added_tokens.json";
const SENTENCE_PIECE: &str = "tokenizer.model";
/// What both classes end a text with where no file says otherwise.
const END: &str = "<|endoftext|>";

/// How a class of transformers splits text before merging.
struct Class {
    name: &'static str,
    /// A regular expression of its own, behind NFC; GPT-2's stands in the byte splitter itself.
    split: Option<&'static str>,
    /// Whether a text begins with the token that ends one.
    begins: bool,
}

/// # Source
/// `models/{gpt2,qwen2}/tokenization_*.py` of transformers 5.
const CLASSES: [Class; 2] = [
    Class {
        name: "GPT2Tokenizer",
        split: None,
        begins: true,
    },
    Class {
        name: "Qwen2Tokenizer",
        split: Some(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        )),
        begins: false,
    },
];

/// What the two files stand for.
pub(super) struct Assembled {
    /// `tokenizer.json`.
    pub(super) text: String,
    /// The named special tokens of a class where no file names others.
    pub(super) special: Vec<(&'static str, &'static str)>,
}

/// Puts a tokenizer together.
///
/// # Errors
/// Where a file is missing, not valid, or of a class that is split in another way.
pub(super) fn assemble(
    source: &Source,
    settings: &Map<String, Value>,
) -> Result<Assembled, ModelError> {
    let files = (source.text(VOCABULARY)?, source.text(MERGES)?);
    let (Some(vocabulary), Some(merges)) = files else {
        if source.has(SENTENCE_PIECE) {
            return Err(unread(source, SENTENCE_PIECE.to_owned()));
        }
        return Err(ModelError::MissingFile {
            place: source.place(),
            file: super::TOKENIZER,
        });
    };
    let class = class(source, settings)?;
    let vocabulary = object(VOCABULARY, &vocabulary)?;
    let prefix = settings.get("add_prefix_space") == Some(&Value::Bool(true));
    let added = added_tokens(source, settings, &vocabulary)?;
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": class.split.map(|_| json!({ "type": "NFC" })),
        "pre_tokenizer": class.pre_tokenizer(prefix),
        "post_processor": null,
        "decoder": byte_level(false, true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocabulary,
            "merges": pairs(&merges)?,
        },
    });
    let mut special = vec![("eos_token", END)];
    special.extend(class.begins.then_some(("bos_token", END)));
    Ok(Assembled {
        text: json.to_string(),
        special,
    })
}

impl Class {
    fn pre_tokenizer(&self, prefix: bool) -> Value {
        let Some(pattern) = self.split else {
            return byte_level(prefix, true);
        };
        let split = json!({
            "type": "Split",
            "pattern": { "Regex": pattern },
            "behavior": "Isolated",
            "invert": false,
        });
        json!({ "type": "Sequence", "pretokenizers": [split, byte_level(prefix, false)] })
    }
}

fn byte_level(prefix: bool, splits: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": true,
        "use_regex": splits,
    })
}

/// The class by its name in `tokenizer_config.json`; GPT-2's where there is none.
fn class(source: &Source, settings: &Map<String, Value>) -> Result<&'static Class, ModelError> {
    let name = settings.get("tokenizer_class").and_then(Value::as_str);
    let name = name.map_or(CLASSES[0].name, |name| name.trim_end_matches("Fast"));
    let known = CLASSES.iter().find(|class| class.name == name);
    known.ok_or_else(|| {
        let names = CLASSES.map(|class| class.name).join(" and ");
        let found = format!("{VOCABULARY} and {MERGES} of {name}, which are read for {names}");
        unread(source, found)
    })
}

fn unread(source: &Source, found: String) -> ModelError {
    ModelError::TokenizerFormat {
        place: source.place(),
        found,
    }
}

/// One merge a line, the two parts with a space between; the first line may be a comment.
fn pairs(merges: &str) -> Result<Vec<(&str, &str)>, ModelError> {
    let is_merge = |(at, line): &(usize, &str)| {
        let is_comment = *at == 0 && line.starts_with("#version");
        !is_comment && !line.is_empty()
    };
    let lines = merges.lines().enumerate().filter(is_merge);
    lines
        .map(|(at, line)| {
            line.split_once(' ').ok_or_else(|| ModelError::Json {
                file: MERGES.to_owned(),
                reason: format!("line {} is {line:?}, expected two parts", at + 1),
            })
        })
        .collect()
}

/// Tokens beside the vocabulary, by id: those that a file lists, and the named special ones.
fn added_tokens(
    source: &Source,
    settings: &Map<String, Value>,
    vocabulary: &Map<String, Value>,
) -> Result<Vec<Value>, ModelError> {
    let map = source.object(SPECIAL_TOKENS)?;
    let mut special: Vec<String> = super::special_tokens(settings, map.as_ref())
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    for holder in [Some(settings), map.as_ref()].into_iter().flatten() {
        let more = holder
            .get("additional_special_tokens")
            .and_then(Value::as_array);
        let text = |token: &Value| content(token).map(str::to_owned);
        special.extend(more.into_iter().flatten().filter_map(text));
    }
    special.push(END.to_owned());

    let mut tokens: BTreeMap<u64, Value> = BTreeMap::new();
    if let Some(known) = settings
        .get("added_tokens_decoder")
        .and_then(Value::as_object)
    {
        for (id, described) in known {
            if let (Ok(id), true) = (id.parse(), described.is_object()) {
                tokens.insert(id, described.clone());
            }
        }
    } else {
        for (text, id) in source.object(ADDED)?.unwrap_or_default() {
            let entry = described(&text, special.contains(&text));
            tokens.extend(id.as_u64().map(|id| (id, entry)));
        }
    }
    for text in &special {
        let id = vocabulary.get(text).and_then(Value::as_u64);
        if let Some(id) = id {
            tokens.entry(id).or_insert_with(|| described(text, true));
        }
    }
    let with_id = |(id, mut entry): (u64, Value)| {
        entry["id"] = json!(id);
        entry
    };
    Ok(tokens.into_iter().map(with_id).collect())
}
