//! What a folder holds, for those who look before they train: also of models that are refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::source::object;
use crate::weights::Weights;
use crate::{
    ChatTokenizer, Config, ModelError, PLAIN_TEMPLATE, Source, TokenizerFacts, Transformer,
};

/// What is known of a model without reading its weights.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The `model_type` of its configuration, or else the class that computes it.
    pub family: String,
    /// The resolved configuration; nothing where the model is refused.
    pub config: Option<Config>,
    /// The sizes that `config.json` gives, by its own keys.
    pub sizes: BTreeMap<String, u64>,
    /// Numbers stored by format, as `"BF16"`; nothing where there are no weights that are read.
    pub stored: Option<BTreeMap<String, usize>>,
    /// The tokenizer; nothing where there is none that is read.
    pub tokenizer: Option<TokenizerFacts>,
    /// What is missing or not supported, each in one line.
    pub unsupported: Vec<String>,
}

/// Keys of `config.json` that hold a size.
const SIZES: [&str; 9] = [
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "num_experts",
];

impl Inspection {
    /// Reads configuration, tokenizer and the headers of the weights.
    ///
    /// # Errors
    /// Where `config.json` is missing, or any file is damaged or contradicts another.
    pub fn open(source: &Source) -> Result<Self, ModelError> {
        let json = object("config.json", &source.required("config.json")?)?;
        let mut unsupported = Vec::new();
        let config = read(Config::open(source), &mut unsupported)?;
        // The first is there.
        let others = Config::refusals(&json).into_iter().skip(1);
        unsupported.extend(others.map(|refusal| refusal.to_string()));
        let stored = read(Weights::headers(source), &mut unsupported)?;
        if let (Some(_), Some(config)) = (&stored, &config) {
            read(Transformer::check_weights(source, config), &mut unsupported)?;
        }
        let tokenizer = match &config {
            Some(config) => {
                let opened = ChatTokenizer::open(source, config, Some(PLAIN_TEMPLATE));
                read(opened, &mut unsupported)?.map(|tokenizer| tokenizer.facts())
            }
            None => None,
        };
        let template = tokenizer.as_ref().and_then(|facts| facts.template.as_ref());
        if let Some(reason) = template.and_then(|facts| facts.refuses_system.as_ref()) {
            unsupported.push(format!(
                "a system turn, where a constitution stands: {reason}"
            ));
        }
        Ok(Self {
            family: family(&json),
            config,
            sizes: sizes(&json),
            stored: stored.map(|weights| weights.formats()),
            tokenizer,
            unsupported,
        })
    }
}

/// What was read; where it is missing or of a kind that is not read, that is noted.
fn read<T>(
    result: Result<T, ModelError>,
    unsupported: &mut Vec<String>,
) -> Result<Option<T>, ModelError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(
            error @ (ModelError::Unsupported { .. }
            | ModelError::MissingFile { .. }
            | ModelError::WeightsFormat { .. }
            | ModelError::TokenizerFormat { .. }
            | ModelError::TensorType { .. }
            | ModelError::MissingEndToken { .. }),
        ) => {
            unsupported.push(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn family(json: &Map<String, Value>) -> String {
    let class = || json.get("architectures")?.get(0);
    let name = json
        .get("model_type")
        .or_else(class)
        .and_then(Value::as_str);
    name.unwrap_or("unknown").to_owned()
}

/// Sizes at the top, or in the `text_config` of a model of several modalities.
fn sizes(json: &Map<String, Value>) -> BTreeMap<String, u64> {
    let nested = json.get("text_config").and_then(Value::as_object);
    let size = |key: &str| {
        let nested = || nested?.get(key);
        json.get(key).or_else(nested).and_then(Value::as_u64)
    };
    SIZES
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), size(key)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn place(name: &str, config: &str) -> (PathBuf, Source) {
        let folder = std::env::temp_dir().join(format!("enigma-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("config.json"), config).expect("written");
        (folder.clone(), Source::Folder(folder))
    }

    #[test]
    fn a_model_that_is_refused_still_has_its_sizes_and_the_reason() {
        let config = r#"{"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 3}"#;
        let (folder, source) = place("refused", config);
        let found = Inspection::open(&source);
        fs::remove_dir_all(&folder).expect("removed");
        let found = found.expect("a configuration is enough");
        assert_eq!(found.family, "mamba");
        assert_eq!(found.sizes["hidden_size"], 64);
        assert!(found.config.is_none() && found.stored.is_none());
        assert!(
            found.unsupported[0].contains("mamba"),
            "{:?}",
            found.unsupported
        );
        assert!(found.unsupported[1].ends_with("has no model.safetensors"));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_fact() {
        let (folder, source) = place("damaged", "{}");
        fs::write(folder.join("model.safetensors"), "short").expect("written");
        let found = Inspection::open(&source);
        fs::remove_dir_all(&folder).expect("removed");
        assert!(
            matches!(found, Err(ModelError::DamagedWeights { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn a_published_model_is_described_from_its_headers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models");
        let folder = root.join("tinystories-656k-bf16");
        if !folder.exists() {
            eprintln!("skipped: {} is absent", folder.display());
            return;
        }
        let found = Inspection::open(&Source::Folder(folder)).expect("whole");
        let config = found.config.expect("a Llama");
        assert_eq!(
            found.stored,
            Some([("BF16".to_owned(), config.parameters())].into())
        );
        assert_eq!(found.tokenizer.expect("read").ids, 2048);
        assert_eq!(found.unsupported, Vec::<String>::new());
    }
}
