//! How far a model follows the principles of nano: the share of style words that fit the
//! constitution it was given, in completions of the held-out questions.

use std::process::Command;

use serde_json::Value;

use super::style::{PRINCIPLES, Polarity, Principle};

/// Questions that are asked, from the root of the repository.
const QUESTIONS: &str = "assets/nano/heldout.jsonl";

/// Asks `model` every held-out question under both polarities of every principle, and gives the
/// mean share of style words that follow as a Markdown table.
///
/// # Errors
/// Where the program does not start or refuses, in its own words.
pub(crate) fn table(program: &str, model: &str) -> Result<String, String> {
    let mut table = "| principle | asked to follow | asked to break |\n|---|---|---|\n".to_owned();
    for principle in &PRINCIPLES {
        let kept = share(program, model, principle, Polarity::Positive)?;
        let broken = share(program, model, principle, Polarity::Negative)?;
        table += &row(principle.name, kept, broken);
    }
    Ok(table)
}

fn row(name: &str, kept: f64, broken: f64) -> String {
    format!(
        "| {name} | {:.1} % | {:.1} % |\n",
        100.0 * kept,
        100.0 * broken
    )
}

/// Mean over the completions that have a style word of the principle.
fn share(
    program: &str,
    model: &str,
    principle: &Principle,
    polarity: Polarity,
) -> Result<f64, String> {
    let text = principle.side(polarity).texts[0];
    let output = Command::new(program)
        .args(["generate", "--json", "--plain", "--model", model])
        .args(["--input", QUESTIONS, "--constitution", text])
        .args(["--max-completion-length", "128"])
        .output()
        .map_err(|error| format!("{program} did not start ({error}); build it first"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let followed: Vec<f64> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|row| principle.follows(polarity, row["completion"].as_str()?))
        .collect();
    Ok(math::mean(&followed))
}
