//! What a run is made from, by digest: so that a run is not taken up again with other data.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::Source;
use crate::error::InputError;

/// Endings of the files of a model's folder that are read.
const MODEL_FILES: [&str; 3] = ["json", "jinja", "safetensors"];
/// Bytes that are read at once.
const PART_BYTES: usize = 1 << 20;

/// The SHA-256 digest of each input, as `sha256sum` prints it, by the key of the recipe that names
/// it; of a model each file has its own.
///
/// # Errors
/// Where a file cannot be read.
pub(crate) fn digests(
    model: &model::Source,
    files: &[(String, Source)],
) -> Result<BTreeMap<String, String>, InputError> {
    let mut found = BTreeMap::new();
    let mut add = |name: String, digest: String| drop(found.insert(name, digest));
    match model {
        model::Source::Embedded(embedded) => {
            let texts = [
                ("config.json", embedded.config),
                ("tokenizer.json", embedded.tokenizer),
                ("tokenizer_config.json", embedded.tokenizer_config),
            ];
            for (name, text) in texts {
                add(model_file(name), of_bytes(text.as_bytes()));
            }
            add(model_file("model.safetensors"), of_bytes(embedded.weights));
        }
        model::Source::Folder(folder) => {
            for name in model_files(folder).map_err(|error| unreadable(folder, &error))? {
                add(model_file(&name), of_file(&folder.join(&name))?);
            }
        }
    }
    for (name, source) in files {
        match source {
            Source::File(path) => {
                for (file, path) in files_of(name, path)? {
                    add(file, of_file(&path)?);
                }
            }
            Source::BuiltIn { text, .. } => add(name.clone(), of_bytes(text.as_bytes())),
        }
    }
    Ok(found)
}

/// The file at a path, or those below the folder there, each with its name.
fn files_of(name: &str, path: &Path) -> Result<Vec<(String, PathBuf)>, InputError> {
    if !path.is_dir() {
        return Ok(vec![(name.to_owned(), path.to_owned())]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut files = Vec::new();
    for entry in entries.map_err(|error| unreadable(path, &error))? {
        let below = format!("{name}/{}", entry.file_name().to_string_lossy());
        files.extend(files_of(&below, &entry.path())?);
    }
    Ok(files)
}

fn model_file(name: &str) -> String {
    format!("model.path/{name}")
}

fn model_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_file() && MODEL_FILES.contains(&ending.as_ref()) {
            let name = path.file_name().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn of_file(path: &Path) -> Result<String, InputError> {
    let digest = || {
        let (mut file, mut digest) = (File::open(path)?, Sha256::new());
        let mut part = vec![0; PART_BYTES];
        loop {
            match file.read(&mut part)? {
                0 => return Ok(hexadecimal(&digest.finalize())),
                read => digest.update(&part[..read]),
            }
        }
    };
    digest().map_err(|error: io::Error| unreadable(path, &error))
}

fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes text");
    }
    digits
}

fn unreadable(path: &Path, error: &io::Error) -> InputError {
    InputError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example: the digest of "abc".
    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes(b"abc"), expected);
    }
}
