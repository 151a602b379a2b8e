//! The readers of the workspace, fuzzed for long one after the other.
//!
//! Each is a test of the usual suite, which `FUZZ_SECONDS` makes long (`crates/fuzz`). A limit on
//! memory turns a length that is believed unseen into a failure.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// KiB of address space of a reader.
const MEMORY_KIB: usize = 8 << 20;

/// A reader and its test.
struct Reader {
    name: &'static str,
    /// Package and target.
    target: [&'static str; 4],
    test: &'static str,
}

const MODEL: [&str; 4] = ["--package", "model", "--test", "fuzz"];
const PRINCIPLE: [&str; 4] = ["--package", "principle", "--test", "fuzz"];
const CLI: [&str; 4] = ["--package", "enigma", "--bin", "enigma"];

const READERS: [Reader; 13] = [
    reader(
        "safetensors",
        MODEL,
        "damaged_safetensors_are_refused_or_read",
    ),
    reader(
        "index",
        MODEL,
        "a_damaged_index_of_shards_is_refused_or_read",
    ),
    reader(
        "config",
        MODEL,
        "a_damaged_configuration_is_refused_or_read",
    ),
    reader(
        "tokenizer_config",
        MODEL,
        "a_damaged_tokenizer_configuration_is_refused_or_read",
    ),
    reader("tokenizer", MODEL, "a_damaged_tokenizer_is_refused_or_read"),
    reader(
        "chat_template",
        MODEL,
        "a_damaged_chat_template_is_refused_or_rendered",
    ),
    reader(
        "constitution",
        PRINCIPLE,
        "a_damaged_constitution_is_refused_or_read",
    ),
    reader(
        "recipe",
        CLI,
        "recipe::fuzz::a_damaged_recipe_is_refused_or_read",
    ),
    reader(
        "jsonl",
        CLI,
        "data::fuzz::damaged_json_lines_are_refused_or_read",
    ),
    reader("json", CLI, "data::fuzz::damaged_json_is_refused_or_read"),
    reader("csv", CLI, "data::fuzz::a_damaged_table_is_refused_or_read"),
    reader(
        "parquet",
        CLI,
        "data::fuzz::damaged_parquet_is_refused_or_read",
    ),
    reader(
        "jsonl.gz",
        CLI,
        "data::fuzz::damaged_gzip_is_refused_or_read",
    ),
];

const fn reader(name: &'static str, target: [&'static str; 4], test: &'static str) -> Reader {
    Reader { name, target, test }
}

/// Fuzzes the readers whose name contains `only` for so many seconds each, and gives a table.
///
/// # Errors
/// The same table, where a reader failed.
pub(crate) fn fuzz(seconds: u64, only: &str, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    let readers: Vec<&Reader> = READERS.iter().filter(|r| r.name.contains(only)).collect();
    if readers.is_empty() {
        let known = READERS.map(|reader| reader.name).join(", ");
        return Err(format!(
            "no reader is named {only}; expected one of {known}"
        ));
    }
    let mut table = format!("{:<18}{:>12}{:>8}  faults\n", "reader", "cases", "s");
    let mut is_sound = true;
    for (number, reader) in (1..).zip(&readers) {
        say(&format!(
            "{number}/{} {}, {seconds} s",
            readers.len(),
            reader.name
        ));
        let output = run(reader, seconds)?;
        let row = row(reader.name, &text(&output), &folder());
        is_sound &= row.ends_with("none");
        say(&row);
        let _ = writeln!(table, "{row}");
    }
    let table = table.trim_end().to_owned();
    if is_sound { Ok(table) } else { Err(table) }
}

/// Where cases lie: in memory, where the system has a folder there.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn run(reader: &Reader, seconds: u64) -> Result<Output, String> {
    let failed = |error: std::io::Error| format!("cargo: {error}");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(&cargo);
    let built = build.args(["test", "--no-run"]).args(reader.target);
    let built = built.output().map_err(failed)?;
    if !built.status.success() {
        return Err(text(&built));
    }
    let mut limited = Command::new("sh");
    let script = format!("ulimit -v {MEMORY_KIB} 2>/dev/null; exec \"$@\"");
    limited.args(["-c", &script, "sh", &cargo, "test"]);
    limited
        .args(reader.target)
        .args(["--", "--exact", reader.test, "--nocapture"]);
    limited.env("FUZZ_SECONDS", seconds.to_string());
    limited.env("RUST_BACKTRACE", "0").env("TMPDIR", folder());
    limited.output().map_err(failed)
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a reader's test said, as a row of the table.
fn row(name: &str, said: &str, folder: &Path) -> String {
    let start = format!("fuzz {name}: ");
    let tally = said.lines().find_map(|line| line.split_once(&start));
    let counts = tally.map(|(_, tally)| tally.split(|c: char| !c.is_ascii_digit()));
    let counts: Vec<&str> = counts.map_or(Vec::new(), |c| c.filter(|c| !c.is_empty()).collect());
    if let [cases, seconds, _slowest] = counts[..] {
        return format!("{name:<18}{cases:>12}{seconds:>8}  none");
    }
    let told = |line: &&str| line.contains(" panics at case ") || line.contains(" s to read ");
    let fault = said.lines().find(told).map_or_else(
        || {
            format!(
                "ended the process, kept in {}/fuzz-{name}",
                folder.display()
            )
        },
        str::to_owned,
    );
    format!("{name:<18}{:>12}{:>8}  {fault}", "", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, expected: &str) {
        let found = row("csv", said, Path::new("/memory"));
        let words: Vec<&str> = found.split_whitespace().collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn a_fault_is_told_whether_it_panicked_or_ended_the_process() {
        let sound = "test a ... fuzz csv: 120 cases in 60 s, the slowest 3 ms\nok";
        check(sound, "csv 120 60 none");
        let panic = "csv panics at case 3 of seed 0, kept in /memory/fuzz-csv";
        check(
            &format!("thread main panicked\n{panic}\n"),
            &format!("csv {panic}"),
        );
        check(
            "memory allocation of 9 bytes failed",
            "csv ended the process, kept in /memory/fuzz-csv",
        );
    }
}
