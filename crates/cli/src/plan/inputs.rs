//! Which texts a plan is made from, by the keys that name them.

use std::path::PathBuf;

use crate::data::Source;
use crate::machine::PLAIN;
use crate::nano;
use crate::recipe::{ModelSection, PrincipleSection};

/// The sources of data, principles and template; the sections are resolved.
pub(super) fn inputs(
    model: &ModelSection,
    principles: Option<&PrincipleSection>,
    data: Vec<(&str, Source)>,
) -> Vec<(String, Source)> {
    let data = data
        .into_iter()
        .map(|(key, source)| (key.to_owned(), source));
    let mut inputs: Vec<(String, Source)> = data.collect();
    for (index, word) in principles.iter().flat_map(|p| p.files.iter().enumerate()) {
        let source = nano::constitution(word);
        let source = source.unwrap_or_else(|| Source::File(PathBuf::from(word)));
        inputs.push((format!("principles.files[{index}]"), source));
    }
    if let Some(file) = model.chat_template.as_ref().filter(|word| *word != PLAIN) {
        let source = Source::File(PathBuf::from(file));
        inputs.push(("model.chat_template".to_owned(), source));
    }
    if model.base.is_some() {
        // An adapter's own files, beside those of its base.
        let source = Source::File(PathBuf::from(&model.path));
        inputs.push(("model.adapter".to_owned(), source));
    }
    inputs
}
