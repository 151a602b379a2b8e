//! The shape of a decoder, resolved from Hugging Face's `config.json`.
//!
//! Whatever the engine does not compute is refused by name, so a model that opens is computed as
//! its authors meant it. The original JSON is kept and written back around what changed.

mod families;
mod read;
mod rotation;
mod value;

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{ModelError, Source, source::object, weights::Dtype};

pub use families::Family;
pub use kernel::glu::Gate;
pub use rotation::{Rotation, Scaling};

/// How a layer attends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerKind {
    /// The last keys that a query sees, its own among them; all where there is no window.
    pub window: Option<usize>,
    /// By which of the [`rotations`](Config::rotations) queries and keys turn, if they do.
    pub rotation: Option<usize>,
}

/// A decoder's shape and constants.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that families combine freely"
)]
pub struct Config {
    /// The architecture.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the query.
    pub query_heads: usize,
    /// Heads of key and value; divides [`query_heads`](Self::query_heads).
    pub key_value_heads: usize,
    /// Width of a head, even.
    pub head_size: usize,
    /// Width inside the gated MLP.
    pub intermediate_size: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Added to the mean square inside a norm.
    pub rms_norm_epsilon: f64,
    /// Added to every weight of a norm.
    pub norm_offset: f64,
    /// How positions turn queries and keys; layers name one.
    pub rotations: Vec<Rotation>,
    /// How each layer attends.
    pub layer_kinds: Vec<LayerKind>,
    /// The function inside the gated MLP.
    pub gate: Gate,
    /// What products of queries and keys are multiplied by.
    pub attention_scale: f64,
    /// What caps the scores of attention softly.
    pub attention_softcap: Option<f64>,
    /// What caps the logits softly.
    pub logit_softcap: Option<f64>,
    /// What embedded tokens are multiplied by.
    pub embedding_scale: f64,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Whether the output reads the embedding.
    pub tie_word_embeddings: bool,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub output_bias: bool,
    /// Whether each head of query and key is normed.
    pub qk_norm: bool,
    /// Whether the outputs of attention and of the MLP are normed before they join the stream.
    pub post_norms: bool,
    /// Whether query, key and value are one tensor on disk, and gate and up another.
    pub fused_projections: bool,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// The id before a text, where the model knows one.
    pub bos_token_id: Option<u32>,
    /// The ids that end a completion, by `config.json` and `generation_config.json`.
    pub eos_token_ids: Vec<u32>,
    /// How the weights are stored; [`Dtype::F32`], which holds every value of it, for `float16`.
    pub dtype: Dtype,
    original: Map<String, Value>,
    generation: Option<Map<String, Value>>,
}

/// The shape of a model that does not exist yet. Its embedding is tied, and its constants are
/// those transformers gives its family by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The architecture.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the query; divides the hidden size.
    pub query_heads: usize,
    /// Heads of key and value.
    pub key_value_heads: usize,
    /// Width inside the gated MLP.
    pub intermediate_size: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// The ids that end a completion.
    pub eos_token_ids: Vec<u32>,
}

impl Config {
    /// Reads `config.json`, and the ids that end a completion from `generation_config.json` too.
    ///
    /// # Errors
    /// Where a file is missing or not JSON, a value is missing or out of range, or the model needs
    /// something that this engine does not compute.
    pub fn open(source: &Source) -> Result<Self, ModelError> {
        let text = source.required("config.json")?;
        let generation = source.object("generation_config.json")?;
        read::resolve(object("config.json", &text)?, generation)
    }

    /// What `config.json` asks for and this engine does not compute, each by its key; nothing where
    /// it is refused for another reason.
    pub(crate) fn refusals(json: &Map<String, Value>) -> Vec<ModelError> {
        read::refusals(json.clone())
    }

    /// The configuration of a fresh model.
    ///
    /// # Errors
    /// As [`open`](Self::open), of the values.
    pub fn fresh(shape: &Shape) -> Result<Self, ModelError> {
        let head_size = shape.hidden_size.checked_div(shape.query_heads);
        let original = json!({
            "architectures": [shape.family.architecture()],
            "model_type": shape.family.model_type(),
            "hidden_size": shape.hidden_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.query_heads,
            "num_key_value_heads": shape.key_value_heads,
            "head_dim": head_size,
            "intermediate_size": shape.intermediate_size,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.max_position_embeddings,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10_000.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": true,
            "eos_token_id": shape.eos_token_ids,
            "torch_dtype": "float32",
        });
        let Value::Object(mut original) = original else {
            unreachable!("an object literal")
        };
        shape.family.complete(&mut original);
        read::resolve(original, None)
    }

    /// Writes `config.json`, and `generation_config.json` where there was one, into a folder.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn save(&self, folder: &Path, dtype: Dtype) -> Result<(), ModelError> {
        write_object(folder, "config.json", &self.to_json(dtype))?;
        match &self.generation {
            Some(generation) => write_object(folder, "generation_config.json", generation),
            None => Ok(()),
        }
    }

    /// The JSON that was read, with the number format of the weights now written.
    fn to_json(&self, dtype: Dtype) -> Map<String, Value> {
        let mut json = self.original.clone();
        let key = if json.contains_key("dtype") {
            "dtype"
        } else {
            "torch_dtype"
        };
        json.insert(key.to_owned(), json!(dtype.name()));
        json
    }

    /// Makes the embedding at least so many rows long.
    pub fn grow_vocabulary(&mut self, rows: usize) {
        self.vocabulary = self.vocabulary.max(rows);
        let key = "vocab_size".to_owned();
        self.original.insert(key, json!(self.vocabulary));
    }

    /// Ends completions at these ids from now on; they are saved too.
    pub(crate) fn set_end_tokens(&mut self, tokens: &[u32]) {
        self.eos_token_ids = tokens.to_vec();
        let value = match tokens {
            [token] => json!(token),
            tokens => json!(tokens),
        };
        for object in [Some(&mut self.original), self.generation.as_mut()]
            .into_iter()
            .flatten()
        {
            object.insert("eos_token_id".to_owned(), value.clone());
        }
    }

    /// The longest sequence, in tokens, that may follow a prompt of so many.
    ///
    /// A model with two sets of rotation factors (`LongRoPE`) turns the whole of a sequence by the
    /// set of its length. transformers changes the set in the middle of a text that grows across
    /// the limit, so that tokens already drawn would be scored by other factors than they were
    /// drawn by; here a text ends on the side of the limit on which its prompt ends.
    pub fn context(&self, prompt: usize) -> usize {
        let short = self.rotation_changes_at().filter(|limit| prompt <= *limit);
        let positions = self.max_position_embeddings;
        short.map_or(positions, |limit| limit.min(positions))
    }

    /// The longest sequence that can be scored after a prompt of so many: its last token is
    /// predicted and not read, so at the end of the positions it needs none.
    pub fn scored_context(&self, prompt: usize) -> usize {
        let context = self.context(prompt);
        context + usize::from(context == self.max_position_embeddings)
    }

    /// The row of the tables of angles that holds the first position of a sequence with a prompt
    /// of so many tokens.
    pub(crate) fn first_position(&self, prompt: usize) -> usize {
        let limit = self.rotation_changes_at();
        limit.filter(|limit| prompt > *limit).unwrap_or(0)
    }

    /// The length from which on sequences turn by another set of factors.
    pub(crate) fn rotation_changes_at(&self) -> Option<usize> {
        self.rotations.iter().find_map(Rotation::changes_at)
    }

    /// Weights of the model; a tied matrix counts once.
    pub fn parameters(&self) -> usize {
        self.count() as usize
    }

    /// As [`parameters`](Self::parameters), wide enough for sizes that nobody has checked.
    fn count(&self) -> u128 {
        let wide = |size: usize| size as u128;
        let only = |present: bool, size: u128| if present { size } else { 0 };
        let (hidden, head) = (wide(self.hidden_size), wide(self.head_size));
        let query = wide(self.query_heads) * head;
        let fused = query + 2 * wide(self.key_value_heads) * head;
        let attention = hidden * (fused + query);
        let biases = only(self.qkv_bias, fused) + only(self.output_bias, hidden);
        let norms = only(self.post_norms, 2 * hidden) + 2 * hidden + only(self.qk_norm, 2 * head);
        let mlp = 3 * hidden * wide(self.intermediate_size);
        let matrices = if self.tie_word_embeddings { 1 } else { 2 };
        matrices * wide(self.vocabulary) * hidden
            + wide(self.layers) * (attention + biases + norms + mlp)
            + hidden
    }
}

fn write_object(folder: &Path, file: &str, object: &Map<String, Value>) -> Result<(), ModelError> {
    let path = folder.join(file);
    let text = format!("{:#}\n", Value::Object(object.clone()));
    fs::write(&path, text).map_err(|source| ModelError::Io { path, source })
}

#[cfg(test)]
mod tests;
