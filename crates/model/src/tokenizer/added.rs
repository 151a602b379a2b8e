//! Tokens that a tokenizer is given after it was made.

use serde_json::{Map, Value, json};

use super::{
    ChatTokenizer, Decoder, TOKENIZER, TOKENIZER_CONFIG, described, id_count, read_tokenizer,
};
use crate::{ModelError, source::object};

impl ChatTokenizer {
    /// Adds tokens under the next free ids, and gives the number of ids there are now: the rows
    /// that an embedding needs. A token that is known already stays as it is.
    ///
    /// They stand for their own text and nothing around it, and decoding keeps them. They are
    /// searched for in the text before it is normalised, so that no normaliser hides them. A
    /// tokenizer that sets a space before every stretch of text between two such tokens does so
    /// only at the start of a text from now on: else `48/2` would come back as `48/ 2`.
    ///
    /// # Errors
    /// Where the tokenizer's files do not take them, or its ids have gaps before their end.
    ///
    /// # Panics
    /// If a token is empty.
    ///
    /// # Source
    /// `add_tokens` of transformers 5, on texts; there they are searched for after normalising.
    /// The space: its `legacy = false`, <https://github.com/huggingface/transformers/pull/24565>.
    pub fn add_tokens(&mut self, tokens: &[String]) -> Result<usize, ModelError> {
        let first = id_count(&self.tokenizer);
        let mut fresh: Vec<&String> = Vec::new();
        for token in tokens {
            assert!(!token.is_empty(), "a token has a text");
            if self.tokenizer.token_to_id(token).is_none() && !fresh.contains(&token) {
                fresh.push(token);
            }
        }
        if fresh.is_empty() {
            return Ok(first);
        }
        self.rewrite(TOKENIZER, |json| {
            space_only_at_the_start(json);
            let known = json.entry("added_tokens").or_insert_with(|| json!([]));
            let known = known.as_array_mut().expect("the tokenizer was read");
            for (id, token) in (first..).zip(&fresh) {
                let mut entry = described(token, false);
                entry["id"] = json!(id);
                known.push(entry);
            }
        })?;
        self.rewrite(TOKENIZER_CONFIG, |json| {
            let known = json.get_mut("added_tokens_decoder");
            if let Some(known) = known.and_then(Value::as_object_mut) {
                for (id, token) in (first..).zip(&fresh) {
                    known.insert(id.to_string(), described(token, false));
                }
            }
        })?;
        self.tokenizer = read_tokenizer(&self.files[0].1)?;
        self.decoder = Decoder::new(&self.tokenizer)?;
        for (id, token) in (first..).zip(fresh) {
            let found = self.tokenizer.token_to_id(token);
            if found != u32::try_from(id).ok() {
                let reason = format!("`{token}` has the id {found:?}, expected {id}");
                return Err(ModelError::Tokenizer { reason });
            }
        }
        Ok(id_count(&self.tokenizer))
    }

    /// Changes the object in one of the files, if there is such a file.
    fn rewrite(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), ModelError> {
        if let Some((_, text)) = self.files.iter_mut().find(|(file, _)| *file == name) {
            let mut json = object(name, text)?;
            change(&mut json);
            *text = format!("{:#}\n", Value::Object(json)).into();
        }
        Ok(())
    }
}

/// Llama's normaliser, which sets its space before every stretch of text, becomes the splitter
/// that does the same at the start alone.
fn space_only_at_the_start(json: &mut Map<String, Value>) {
    let every_stretch = json!({
        "type": "Sequence",
        "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ],
    });
    let splits = json
        .get("pre_tokenizer")
        .is_some_and(|splitter| !splitter.is_null());
    if json.get("normalizer") == Some(&every_stretch) && !splits {
        let start = json!({
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false,
        });
        json.insert("normalizer".to_owned(), Value::Null);
        json.insert("pre_tokenizer".to_owned(), start);
    }
}
