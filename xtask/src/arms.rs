//! The four arms of the objective on the built-in run: policy gradient alone, with mutual
//! information, with transport, with both; each over the same seeds.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Name, then the settings that make the arm.
const ARMS: [(&str, &[&str]); 4] = [
    ("GRPO", &["sami.weight=0", "transport.weight=0"]),
    ("+SAMI", &["transport.weight=0"]),
    ("+OT", &["sami.weight=0"]),
    ("+SAMI+OT", &[]),
];

/// Column title, side of the summary, key.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("format before", "before", "format_valid"),
    ("format after", "after", "format_valid"),
    ("accuracy before", "before", "accuracy"),
    ("accuracy after", "after", "accuracy"),
    ("bound gain, nats", "gain", "bound_constitutions_nats"),
    ("S_ε", "after", "s_epsilon"),
    ("KL, nats/token", "after", "kl_reference"),
];

/// Why the arms could not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArmsError {
    /// The program did not start.
    #[error("{program} did not start ({source}); build it with `cargo build --release`")]
    Start {
        /// What was run.
        program: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A run failed.
    #[error("{arm}, seed {seed}: {reason}")]
    Run {
        /// The arm.
        arm: &'static str,
        /// The seed.
        seed: u64,
        /// The last line it said.
        reason: String,
    },
}

/// Runs every arm over seeds `1..=seeds` into folders below `out`, and gives the table as Markdown:
/// mean ± sample standard deviation over the seeds.
pub(crate) fn compare(
    program: &str,
    out: &Path,
    seeds: u64,
    said: &mut dyn FnMut(&str),
) -> Result<String, ArmsError> {
    let mut table = header();
    for (arm, settings) in ARMS {
        let mut summaries = Vec::new();
        for seed in 1..=seeds {
            let summary = run(program, out, arm, settings, seed)?;
            said(&format!(
                "{arm}, seed {seed}: {} s",
                figure(&summary, "", "seconds")
            ));
            summaries.push(summary);
        }
        table += &row(arm, &summaries);
    }
    Ok(table)
}

fn run(
    program: &str,
    out: &Path,
    arm: &'static str,
    settings: &[&str],
    seed: u64,
) -> Result<Value, ArmsError> {
    let mut command = Command::new(program);
    let folder = out.join(format!("{arm}-{seed}").replace('+', "_"));
    command
        .args(["train", "--json", "--plain", "--out"])
        .arg(folder);
    command.args(["--set", &format!("run.seed={seed}")]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let start = |source| ArmsError::Start {
        program: program.to_owned(),
        source,
    };
    let output = command.output().map_err(start)?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let words = String::from_utf8_lossy(&output.stderr);
        let reason = words
            .lines()
            .next_back()
            .unwrap_or("it said nothing")
            .to_owned();
        ArmsError::Run { arm, seed, reason }
    })
}

fn header() -> String {
    let titles = COLUMNS.map(|(title, ..)| title).join(" | ");
    format!(
        "| arm | {titles} |\n|---|{}\n",
        "---|".repeat(COLUMNS.len())
    )
}

fn row(arm: &str, summaries: &[Value]) -> String {
    let cell = |(_, side, key): (&str, &str, &str)| {
        let values: Vec<f64> = summaries
            .iter()
            .map(|summary| figure(summary, side, key))
            .collect();
        spread(&values)
    };
    format!("| {arm} | {} |\n", COLUMNS.map(cell).join(" | "))
}

/// A figure of a summary; the gain is after less before. NaN where it was not measured.
fn figure(summary: &Value, side: &str, key: &str) -> f64 {
    let at = |side: &str| summary[side][key].as_f64().unwrap_or(f64::NAN);
    match side {
        "" => summary[key].as_f64().unwrap_or(f64::NAN),
        "gain" => at("after") - at("before"),
        side => at(side),
    }
}

fn spread(values: &[f64]) -> String {
    let (mean, deviation) = (math::mean(values), math::variance(values, 1).sqrt());
    if mean.abs() < 1e-3 {
        return format!("{mean:.1e} ± {deviation:.0e}");
    }
    format!("{mean:.3} ± {deviation:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_holds_mean_and_spread_over_the_seeds() {
        let summary = |before: f64, after: f64| {
            json!({
                "before": {"format_valid": 0.5, "bound_constitutions_nats": before},
                "after": {"format_valid": 1.0, "bound_constitutions_nats": after},
            })
        };
        let row = row("arm", &[summary(0.1, 0.4), summary(0.2, 0.7)]);
        assert!(
            row.starts_with("| arm | 0.500 ± 0.000 | 1.000 ± 0.000 | NaN"),
            "{row}"
        );
        assert!(row.contains("| 0.400 ± 0.141 |"), "{row}");
    }
}
