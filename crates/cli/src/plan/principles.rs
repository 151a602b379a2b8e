//! Constitution files into principles.

use std::path::Path;

use principle::{Constitution, Principle};

use crate::data::{Source, find};
use crate::error::InputError;
use crate::nano;
use crate::recipe::PrincipleSection;

/// The principles of all files, the section with absolute paths, and what a reader should know of
/// negatives that are not matched in length.
///
/// # Errors
/// Where a file is missing, is no constitution, or two files share an id.
pub(super) fn principles(
    section: &PrincipleSection,
    folder: Option<&Path>,
) -> Result<(PrincipleSection, Vec<Principle>, Vec<String>), InputError> {
    let mut files = Vec::new();
    let mut principles: Vec<Principle> = Vec::new();
    let mut warnings = Vec::new();
    for word in &section.files {
        let source = match nano::constitution(word) {
            Some(source) => source,
            None => Source::File(find("principles.files", word, folder)?),
        };
        let constitution = constitution(&source)?;
        let place = source.path().display();
        warnings.extend(
            constitution
                .mismatches()
                .iter()
                .map(|found| format!("{place}: {found}")),
        );
        for principle in constitution.principles {
            if principles.iter().any(|known| known.id == principle.id) {
                return Err(InputError::Refused {
                    context: place.to_string(),
                    reason: format!("principle {:?} is in another file too", principle.id),
                });
            }
            principles.push(principle);
        }
        files.push(match source {
            Source::File(path) => path.display().to_string(),
            Source::BuiltIn { .. } => word.clone(),
        });
    }
    Ok((PrincipleSection { files }, principles, warnings))
}

/// TOML, or JSON where the file's name ends so; a SAMI file is named by its stem.
fn constitution(source: &Source) -> Result<Constitution, InputError> {
    let text = source.text()?;
    let path = source.path();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let parsed = match path.extension() {
        Some(ending) if ending == "json" => Constitution::from_json(&text, &stem),
        _ => Constitution::from_toml(&text),
    };
    parsed.map_err(|error| InputError::refused(path.display(), &error))
}
