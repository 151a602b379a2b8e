//! The data of the built-in model: word problems with worked reasoning under constitutions that ask
//! for opposite styles, imperfect on purpose, and a tokenizer for them.
//!
//! Everything is drawn from one seed by name, so the same arguments give the same files. Start at
//! [`write`]; the text is made in [`story`], [`reasoning`] (with [`style`]) and [`faults`].

mod design;
mod faults;
mod following;
mod model_folder;
mod reasoning;
mod row;
mod story;
mod style;
mod tokenizer;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use math::Key;
use serde_json::{Value, json};

use design::Design;
pub(crate) use following::table as following;
use row::{Row, question_json, questions};
use style::{PRINCIPLES, Polarity, Principle};

/// Questions kept out of the training rows, for evaluation.
const HELDOUT: usize = 200;
/// Questions for reinforcement learning.
const QUESTIONS: usize = 600;
/// Rows that the tokenizer is trained on and the design is measured on.
const TOKENIZER_ROWS: usize = 4000;

/// The head of the TOML files.
const SOURCE: &str =
    "# Written by `cargo xtask nano-data`; each style's words are in lexicon.json.\n";

/// Why the data could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NanoError {
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The tokenizer could not be trained or used.
    #[error("the tokenizer fails: {0}")]
    Tokenizer(#[from] tokenizers::Error),
}

/// Writes all files of the built-in model but its weights into `folder`, and gives the figures of
/// the data: `train.jsonl` with `rows` rows, `heldout.jsonl` and `questions.jsonl`,
/// `principles.toml` with every wording of every principle, `constitutions/` with one principle a
/// file as the model was taught to read them, `lexicon.json`, `design.json`, and `model-init/`.
///
/// # Errors
/// Where a file cannot be written or the tokenizer fails.
pub(crate) fn write(folder: &Path, seed: u64, rows: usize) -> Result<Design, NanoError> {
    let root = Key::new(seed);
    let heldout = questions(root.child(0), HELDOUT, &BTreeSet::new());
    let excluded: BTreeSet<String> = heldout.iter().map(|story| story.question.clone()).collect();
    let training = questions(root.child(1), QUESTIONS, &excluded);
    let row = |index| Row::draw(root.child(2).child(index), &excluded);

    let sample: Vec<Row> = (0..TOKENIZER_ROWS as u64).map(row).collect();
    let tokenizer = tokenizer::train(&sample)?;
    let design = design::measure(&sample, &tokenizer)?;

    save(
        folder,
        "train.jsonl",
        &lines((0..rows as u64).map(|index| row(index).json())),
    )?;
    save(
        folder,
        "heldout.jsonl",
        &lines(heldout.iter().map(question_json)),
    )?;
    save(
        folder,
        "questions.jsonl",
        &lines(training.iter().map(question_json)),
    )?;
    save(folder, "lexicon.json", &pretty(&lexicon()))?;
    save(folder, "design.json", &pretty(&json!(design)))?;
    write_principles(folder)?;

    let folder = folder.join("model-init");
    for (name, value) in model_folder::configurations(&tokenizer) {
        save(&folder, name, &pretty(&value))?;
    }
    save(
        &folder,
        "tokenizer.json",
        &(tokenizer.to_string(true)? + "\n"),
    )?;
    Ok(design)
}

/// All wordings together, to be scored; and one principle a file, as the model was taught it.
fn write_principles(folder: &Path) -> Result<(), NanoError> {
    let all: Vec<String> = PRINCIPLES
        .iter()
        .flat_map(|p| [entry(p, 0), entry(p, 1)])
        .collect();
    save(
        folder,
        "principles.toml",
        &(SOURCE.to_owned() + &all.concat()),
    )?;
    let folder = folder.join("constitutions");
    PRINCIPLES.iter().try_for_each(|principle| {
        let text = SOURCE.to_owned() + &entry(principle, 0);
        save(&folder, &format!("{}.toml", principle.name), &text)
    })
}

/// A wording of a principle with its matched negative, as TOML.
fn entry(principle: &Principle, wording: usize) -> String {
    let [positive, negative] = Polarity::BOTH.map(|side| principle.side(side).texts[wording]);
    let id = format!("{}{}", principle.name, ["", "-reworded"][wording]);
    format!(
        "\n[[principle]]\nid = \"{id}\"\npositive = \"{positive}\"\n\
         negatives = [\"{negative}\"]\n"
    )
}

/// For each principle, the style words of both polarities.
fn lexicon() -> Value {
    let entries = PRINCIPLES.iter().map(|principle| {
        let [positive, negative] =
            Polarity::BOTH.map(|polarity| principle.side(polarity).words().collect::<Vec<_>>());
        (
            principle.name.to_owned(),
            json!({"positive": positive, "negative": negative}),
        )
    });
    Value::Object(entries.collect())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    let lines: Vec<String> = values.map(|value| format!("{value}\n")).collect();
    lines.concat()
}

fn save(folder: &Path, name: &str, text: &str) -> Result<(), NanoError> {
    let path = folder.join(name);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
    written.map_err(|source| NanoError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_are_those_that_seed_1_writes() {
        let folder = std::env::temp_dir().join(format!("nano-data-{}", std::process::id()));
        write(&folder, 1, 2).unwrap();
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/nano");
        let constitutions = PRINCIPLES
            .iter()
            .map(|p| format!("constitutions/{}.toml", p.name));
        let others = [
            "principles.toml",
            "lexicon.json",
            "heldout.jsonl",
            "questions.jsonl",
        ];
        for name in others.map(str::to_owned).into_iter().chain(constitutions) {
            let written = fs::read_to_string(folder.join(&name)).unwrap();
            let committed = fs::read_to_string(assets.join(&name)).unwrap();
            let hint = "run `cargo xtask nano-data` and copy the file to assets/nano";
            assert!(written == committed, "{name} has changed: {hint}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
