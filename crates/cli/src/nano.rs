//! What comes with the binary: the model nano, its questions and constitutions, and the recipe that
//! `enigma train` runs without another. The only file that embeds anything.

use std::path::PathBuf;

use crate::data::Source;
use crate::recipe::RecipeText;

/// The word that names what is built in, in place of a path.
pub(crate) const NANO: &str = "nano";

/// The built-in recipe.
pub(crate) fn recipe() -> RecipeText {
    RecipeText {
        name: NANO.to_owned(),
        title: "nano (built in)".to_owned(),
        folder: None,
        text: include_str!("../../../recipes/nano.toml").to_owned(),
    }
}

/// The built-in model.
pub(crate) fn model() -> model::Source {
    model::Source::Embedded(model::Embedded {
        config: include_str!("../../../assets/nano/model/config.json"),
        tokenizer: include_str!("../../../assets/nano/model/tokenizer.json"),
        tokenizer_config: include_str!("../../../assets/nano/model/tokenizer_config.json"),
        weights: include_bytes!("../../../assets/nano/model/model.safetensors"),
    })
}

/// Questions to train on.
pub(crate) fn questions() -> Source {
    let text = include_str!("../../../assets/nano/questions.jsonl");
    Source::BuiltIn {
        path: PathBuf::from("nano/questions.jsonl"),
        text,
    }
}

/// Questions to evaluate on.
pub(crate) fn held_out() -> Source {
    let text = include_str!("../../../assets/nano/heldout.jsonl");
    Source::BuiltIn {
        path: PathBuf::from("nano/heldout.jsonl"),
        text,
    }
}

/// The constitution that `word` names, as in `nano/verification`.
pub(crate) fn constitution(word: &str) -> Option<Source> {
    let text = match word.strip_prefix("nano/")? {
        "citation" => include_str!("../../../assets/nano/constitutions/citation.toml"),
        "goodness" => include_str!("../../../assets/nano/constitutions/goodness.toml"),
        "patience" => include_str!("../../../assets/nano/constitutions/patience.toml"),
        "verification" => include_str!("../../../assets/nano/constitutions/verification.toml"),
        _ => return None,
    };
    Some(Source::BuiltIn {
        path: PathBuf::from(word),
        text,
    })
}
