//! Why a model could not be opened, read or written.

use std::{io, path::PathBuf};

/// A mistake in what was given to this crate; one line each.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file that a model needs is not there.
    #[error("{place} has no {file}")]
    MissingFile {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        file: &'static str,
    },
    /// A file is not the JSON it should be.
    #[error("{file} is not valid: {reason}")]
    Json {
        /// The file.
        file: String,
        /// The parser's words.
        reason: String,
    },
    /// A key of `config.json` is absent, of the wrong type or out of range.
    #[error("config.json: {key} is {found}, expected {expected}")]
    ConfigValue {
        /// The key.
        key: &'static str,
        /// Its value; `missing` if there is none.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The model needs something that this engine does not compute.
    #[error("config.json: {what} is not supported")]
    Unsupported {
        /// The key and its value.
        what: String,
    },
    /// A key of `adapter_config.json` has a value that is not valid or not computed.
    #[error("adapter_config.json: {key} is {found}, expected {expected}")]
    AdapterValue {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An adapter is asked for beside a module that the model lacks.
    #[error("target_modules names {found}; the model's modules are {known}")]
    UnknownModule {
        /// The name.
        found: String,
        /// The names that there are.
        known: String,
    },
    /// There are weights, but not in safetensors.
    #[error(
        "{place} has no model.safetensors but {found}, which is not read; convert it with \
         transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )]
    WeightsFormat {
        /// Where they were looked for.
        place: String,
        /// What was found instead.
        found: &'static str,
    },
    /// A safetensors file whose header contradicts the format or the file's length.
    #[error("{file} is damaged: {reason}")]
    DamagedWeights {
        /// The file.
        file: String,
        /// What contradicts what.
        reason: String,
    },
    /// A tensor that the configuration asks for is not in the weights.
    #[error(
        "the weights have no {name}, expected of shape {expected:?}{}",
        others(*missing, instead.as_deref())
    )]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Its shape by the configuration.
        expected: Vec<usize>,
        /// How many are missing, this one among them.
        missing: usize,
        /// A tensor that the configuration does not know.
        instead: Option<String>,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{name} has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a number format that is not read.
    #[error("{name} is stored as {found}, expected F32, BF16 or F16")]
    TensorType {
        /// The tensor.
        name: String,
        /// Its number format.
        found: String,
    },
    /// A weight is infinite or not a number.
    #[error("{name} holds {value} at position {position}, expected finite weights")]
    NotFinite {
        /// The tensor.
        name: String,
        /// What was found.
        value: f32,
        /// Where, counted in row-major order.
        position: usize,
    },
    /// The weights hold tensors that the configuration does not know.
    #[error("the weights hold {count} tensors the configuration does not know, such as {first}")]
    ExtraTensors {
        /// How many.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// Two matrices are said to be one but differ.
    #[error("tie_word_embeddings is true, but {input} and {output} differ")]
    TiedMatricesDiffer {
        /// The matrix of the input.
        input: &'static str,
        /// The matrix of the output.
        output: &'static str,
    },
    /// `tokenizer.json` cannot be read, or describes a tokenizer this crate cannot follow.
    #[error("tokenizer.json: {reason}")]
    Tokenizer {
        /// Why.
        reason: String,
    },
    /// There is no `tokenizer.json`, and what stands in its place is not read.
    #[error(
        "{place} has no tokenizer.json but {found}; make one with transformers: \
         AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )]
    TokenizerFormat {
        /// Where it was looked for.
        place: String,
        /// What was found instead.
        found: String,
    },
    /// The tokenizer can produce ids that have no embedding.
    #[error("the tokenizer has {ids} ids, the embedding {rows} rows")]
    VocabularyMismatch {
        /// One more than the largest id.
        ids: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// There is no chat template, and none was given instead.
    #[error("{place} has no chat template; choose one by name, such as \"plain\"")]
    MissingTemplate {
        /// Where it was looked for.
        place: String,
    },
    /// The chat template does not parse.
    #[error("the chat template is not valid: {reason}")]
    Template {
        /// The parser's words.
        reason: String,
    },
    /// Nothing says which id ends a completion.
    #[error("{place} names no token that ends a completion (eos_token_id)")]
    MissingEndToken {
        /// Where it was looked for.
        place: String,
    },
}

/// The end of a message that names one of several tensors.
fn others(missing: usize, instead: Option<&str>) -> String {
    let more = match missing {
        0 | 1 => String::new(),
        missing => format!(", nor {} others", missing - 1),
    };
    let instead = instead.map_or(String::new(), |name| format!("; they have {name} instead"));
    more + &instead
}
