//! Every method has a row in docs/papers.md, and every place that a row names is there.
//!
//! In the libraries, a file that cites a source under the heading `# Source` holds a method, and so
//! does a loss term.

use crate::tree::{is_rust, paths, read, report, rust_files, without_tests};

const DOCS: &str = "docs/papers.md";
const MARKS: [&str; 7] = [
    "[paper]", "[2nd]", "[SAMI]", "[TRL]", "[source]", "[ours]", "[D]",
];

#[test]
fn every_file_with_a_source_and_every_term_is_in_the_table_of_papers() {
    let table = read(DOCS);
    let files = rust_files()
        .into_iter()
        .filter(|file| is_library(&file.path));
    let found = files.flat_map(|file| undocumented(&file.path, without_tests(&file.text), &table));
    report(&found.collect::<Vec<_>>());
}

#[test]
fn every_row_of_the_table_of_papers_names_files_that_exist_and_a_mark() {
    let paths = paths();
    report(&stale(&read(DOCS), &|path| {
        paths.iter().any(|known| known == path)
    }));
}

fn is_library(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/") && !path.starts_with("crates/cli/")
}

fn undocumented(path: &str, code: &str, table: &str) -> Vec<String> {
    let cites = code
        .lines()
        .any(|line| line.trim_start_matches(['/', '!', ' ']) == "# Source");
    let is_term = code.contains("\nimpl Term for ");
    let missing = (cites || is_term) && !table.contains(&format!("`{path}`"));
    let hint = format!("add a row (method, source, mark, `{path}`) to {DOCS}");
    missing
        .then(|| format!("{path}: its method is not documented; {hint}"))
        .into_iter()
        .collect()
}

fn stale(table: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for row in table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
    {
        let places = row
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|text| is_rust(text));
        for place in places.filter(|place| !exists(place)) {
            found.push(format!(
                "{DOCS}: `{place}` is not there; correct the row `{row}`"
            ));
        }
        if !MARKS.iter().any(|mark| row.contains(mark)) {
            found.push(format!(
                "{DOCS}: a row has none of {MARKS:?}; add one to `{row}`"
            ));
        }
    }
    found
}

fn check(code: &str, table: &str, is_tidy: bool) {
    let found = undocumented("crates/a/src/b.rs", code, table);
    assert_eq!(found.is_empty(), is_tidy, "{found:?}");
}

#[test]
fn a_cited_source_or_a_term_needs_a_row() {
    check("/// # Source\n/// Someone, 1999.", "", false);
    check("//! # Source\n//! Someone, 1999.", "", false);
    check(
        "/// # Source\n",
        "| A sum | Someone | [paper] | `crates/a/src/b.rs` |",
        true,
    );
    check("\nimpl Term for Kl {", "", false);
    check("/// Sources are many.", "", true);
}

#[test]
fn a_row_with_a_lost_file_or_without_mark_is_named() {
    let table = "| A sum | Someone | [paper] | `crates/a/src/lost.rs` |\n| B | C | – | `x.rs` |";
    let found = stale(table, &|path| path == "x.rs");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("lost.rs") && found[1].contains("none of"),
        "{found:?}"
    );
}
