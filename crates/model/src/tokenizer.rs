//! Text to token ids and back, as transformers does it with the same files.
//!
//! A conversation is rendered by the chat template to text that already names its special tokens;
//! the text is encoded with nothing added. Start at [`ChatTokenizer::open`].

mod added;
mod byte_level;
mod date;
mod facts;
mod pieces;
mod template;

use std::{borrow::Cow, fs, path::Path};

use guard::guarded;
use policy::{Message, TextCodec, TextError};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::{Config, ModelError, Source};
pub use facts::{TemplateFacts, TokenizerFacts};
use pieces::Decoder;
use template::ChatTemplate;

/// A template for models without one: the turns in their order, with an empty line between two and
/// the end of a line after the last, behind the token that begins a text. [ours]
pub const PLAIN_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
     {{ message['content'] }}{{ '\\n' if loop.last else '\\n\\n' }}{% endfor %}";

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const TEMPLATE: &str = "chat_template.jinja";

/// The tokenizer of a model with its chat template.
#[derive(Debug)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    decoder: Decoder,
    template: ChatTemplate,
    /// Whether the template is the model's own.
    has_template: bool,
    end_tokens: Vec<u32>,
    files: Vec<(&'static str, Cow<'static, str>)>,
}

impl ChatTokenizer {
    /// Opens `tokenizer.json` and what stands beside it; without one, `vocab.json` and `merges.txt`
    /// of GPT-2 or Qwen. `fallback` is the Jinja source of the template to use where the model has
    /// none, such as [`PLAIN_TEMPLATE`].
    ///
    /// # Errors
    /// Where a file is missing, not valid or of a kind that is not read; where the tokenizer has
    /// ids
    /// without an embedding; where there is no template; and where nothing says how a completion
    /// ends.
    pub fn open(
        source: &Source,
        config: &Config,
        fallback: Option<&str>,
    ) -> Result<Self, ModelError> {
        let settings = source.object(TOKENIZER_CONFIG)?.unwrap_or_default();
        let (text, implied) = tokenizer_text(source, &settings)?;
        let mut files = vec![(TOKENIZER, text)];
        for file in [TOKENIZER_CONFIG, SPECIAL_TOKENS, TEMPLATE] {
            files.extend(source.text(file)?.map(|text| (file, text)));
        }
        let tokenizer = read_tokenizer(&files[0].1)?;
        check_vocabulary(&tokenizer, config.vocabulary)?;
        let mut special = special_tokens(&settings, source.object(SPECIAL_TOKENS)?.as_ref());
        for (name, text) in implied {
            let said = settings.contains_key(name);
            if !said && !special.iter().any(|(known, _)| known == name) {
                special.push((name.to_owned(), text.to_owned()));
            }
        }
        let given = files.iter().find(|(file, _)| *file == TEMPLATE);
        let own = given
            .map(|(_, text)| text.to_string())
            .or_else(|| template_of(&settings));
        let text = match own.as_deref().or(fallback) {
            Some(text) => text.to_owned(),
            None => {
                return Err(ModelError::MissingTemplate {
                    place: source.place(),
                });
            }
        };
        if own.is_none() {
            files.push((TEMPLATE, Cow::Owned(text.clone())));
        }
        let end = special.iter().find(|(name, _)| name == "eos_token");
        let end = end.and_then(|(_, text)| tokenizer.token_to_id(text));
        let mut end_tokens: Vec<u32> = end.into_iter().collect();
        let others = config.eos_token_ids.iter();
        end_tokens.extend(others.filter(|&&token| Some(token) != end));
        if end_tokens.is_empty() {
            return Err(ModelError::MissingEndToken {
                place: source.place(),
            });
        }
        Ok(Self {
            decoder: Decoder::new(&tokenizer)?,
            template: ChatTemplate::compile(&text, special)?,
            has_template: own.is_some(),
            tokenizer,
            end_tokens,
            files,
        })
    }

    /// The text of these ids, without special tokens.
    pub fn decode(&self, tokens_t: &[u32]) -> String {
        self.decoder.decode(&self.tokenizer, tokens_t)
    }

    /// The conversation under the chat template, ready for the assistant's turn, as text.
    ///
    /// # Errors
    /// Where the template refuses the conversation.
    pub fn render_text(&self, messages: &[Message]) -> Result<String, TextError> {
        self.template.render(messages, true)
    }

    /// Bytes of the files that [`save`](Self::save) writes.
    pub fn saved_bytes(&self) -> usize {
        self.files.iter().map(|(_, text)| text.len()).sum()
    }

    /// Writes the files it was opened from, unchanged but for added tokens; and the template, if it
    /// was the caller's.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        for (file, text) in &self.files {
            let path = folder.join(file);
            fs::write(&path, text.as_bytes()).map_err(|source| ModelError::Io { path, source })?;
        }
        Ok(())
    }
}

impl TextCodec for ChatTokenizer {
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        self.encode(&self.render_text(messages)?)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoded = guarded(|| self.tokenizer.encode_fast(text, false));
        match encoded.and_then(|result| result.map_err(|error| error.to_string())) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(reason) => Err(TextError::Encode { reason }),
        }
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        self.decoder.pieces(&self.tokenizer, tokens_t)
    }

    fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }
}

/// The text of `tokenizer.json`, with the special tokens that go without saying.
type TokenizerText = (Cow<'static, str>, Vec<(&'static str, &'static str)>);

fn tokenizer_text(
    source: &Source,
    settings: &Map<String, Value>,
) -> Result<TokenizerText, ModelError> {
    if let Some(text) = source.text(TOKENIZER)? {
        return Ok((text, Vec::new()));
    }
    let assembled = byte_level::assemble(source, settings)?;
    Ok((Cow::Owned(assembled.text), assembled.special))
}

/// The tokenizer alone: a cut or a padding that `tokenizer.json` asks for is for those who batch.
///
/// `tokenizers` 0.23 unwraps inside its reader, as where a decoder lacks a key (`decoders/mod.rs`).
fn read_tokenizer(text: &str) -> Result<Tokenizer, ModelError> {
    let failure = |error: tokenizers::Error| ModelError::Tokenizer {
        reason: error.to_string(),
    };
    let read = guarded(|| Tokenizer::from_bytes(text.as_bytes()));
    let read = read.map_err(|reason| ModelError::Tokenizer { reason })?;
    let mut tokenizer = read.map_err(failure)?;
    tokenizer.with_truncation(None).map_err(failure)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn check_vocabulary(tokenizer: &Tokenizer, rows: usize) -> Result<(), ModelError> {
    let ids = id_count(tokenizer);
    if ids > rows {
        return Err(ModelError::VocabularyMismatch { ids, rows });
    }
    Ok(())
}

/// One more than the largest id; ids may have gaps.
fn id_count(tokenizer: &Tokenizer) -> usize {
    let largest = tokenizer.get_vocab(true).into_values().max();
    largest.map_or(0, |id| id as usize + 1)
}

/// The named special tokens; those of `tokenizer_config.json` come first.
fn special_tokens(
    settings: &Map<String, Value>,
    map: Option<&Map<String, Value>>,
) -> Vec<(String, String)> {
    let names = ["bos_token", "eos_token", "unk_token", "pad_token"];
    let token = |name: &str| {
        let value = settings.get(name).or_else(|| map?.get(name))?;
        Some((name.to_owned(), content(value)?.to_owned()))
    };
    names.into_iter().filter_map(token).collect()
}

/// The text of a token, which may be described with its properties.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// A token of this text alone, as `tokenizer.json` and `tokenizer_config.json` describe it.
fn described(text: &str, special: bool) -> Value {
    json!({
        "content": text,
        "single_word": false,
        "lstrip": false,
        "rstrip": false,
        "normalized": false,
        "special": special,
    })
}

/// The template in `tokenizer_config.json`: a text, or a list in which one is named `default`.
fn template_of(settings: &Map<String, Value>) -> Option<String> {
    let given = settings.get("chat_template")?;
    let named = |entry: &&Value| entry["name"] == "default";
    let text = match given {
        Value::Array(entries) => entries.iter().find(named)?.get("template")?,
        text => text,
    };
    text.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
