//! Rust files are short, narrow and say what they are for.

use crate::tree::{report, rust_files};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

#[test]
fn every_rust_file_is_short_narrow_and_has_a_header() {
    let files = rust_files();
    let found: Vec<String> = files
        .iter()
        .flat_map(|f| violations(&f.path, &f.text))
        .collect();
    report(&found);
}

fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!(
            "{path}: {lines} lines, at most {LINES_MAX}; split it by meaning"
        ));
    }
    for (line, number) in text.lines().zip(1..) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            found.push(format!(
                "{path}:{number}: {columns} columns, at most {COLUMNS_MAX}; break the line"
            ));
        }
    }
    if !text.starts_with("//! ") {
        found.push(format!(
            "{path}: no header; begin with `//!` and what the module is for"
        ));
    }
    found
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(violations("a.rs", text), expected);
}

#[test]
fn a_short_file_with_a_header_is_tidy() {
    check("//! Sums.\n\nfn sum() {}\n", &[]);
}

#[test]
fn a_file_without_header_is_named() {
    check(
        "fn sum() {}\n",
        &["a.rs: no header; begin with `//!` and what the module is for"],
    );
}

#[test]
fn a_wide_line_is_named_by_its_number_and_counted_in_characters() {
    let text = format!("//! Sums.\n// {}\n// {}\n", "é".repeat(97), "é".repeat(98));
    check(&text, &["a.rs:3: 101 columns, at most 100; break the line"]);
}

#[test]
fn a_long_file_is_named_with_its_length() {
    let text = "//! Sums.\n".repeat(501);
    check(
        &text,
        &["a.rs: 501 lines, at most 500; split it by meaning"],
    );
}
