//! Every metric that is logged has a row in docs/metrics.md.
//!
//! A metric name is recognised in the crates that log by its form: a text in lower case that opens
//! a tuple, as in `("reward", mean)`, or that holds a slash. A part that is filled in at run time,
//! as in `rewards/{grader}/mean`, is written with braces in the docs too; what is in them is free.
//! What every term logs is documented once, as in `{term}/weight`.

use std::collections::BTreeSet;

use crate::tree::{read, report, rust_files, without_tests};

const LOGGING: [&str; 3] = [
    "crates/objective/src/",
    "crates/rollout/src/",
    "crates/trainer/src/",
];

#[test]
fn every_logged_metric_is_documented() {
    let documented = documented(&read("docs/metrics.md"));
    let files = rust_files().into_iter();
    let logging = files.filter(|file| LOGGING.iter().any(|folder| file.path.starts_with(folder)));
    let found = logging.flat_map(|file| {
        let code = without_tests(&file.text);
        violations(&file.path, code, &documented)
    });
    report(&found.collect::<Vec<_>>());
}

fn violations(path: &str, code: &str, documented: &BTreeSet<String>) -> Vec<String> {
    let names = metrics(code).into_iter();
    let undocumented = names.filter(|name| {
        let plain = plain(name);
        !documented.contains(&plain) && !documented.contains(&format!("{{}}/{plain}"))
    });
    let hint = "add its row (name, unit, meaning, source) to docs/metrics.md";
    undocumented
        .map(|name| format!("{path}: metric `{name}` is not documented; {hint}"))
        .collect()
}

/// The names in the first column of the tables, in backquotes; a cell may hold several.
fn documented(text: &str) -> BTreeSet<String> {
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(plain)
        .collect()
}

/// A name without what stands in braces.
fn plain(name: &str) -> String {
    let mut parts = name.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "{}" + part.split_once('}').map_or("", |(_, rest)| rest)
    })
}

/// The metric names of some code, in order, without repeats.
fn metrics(code: &str) -> BTreeSet<String> {
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let texts: Vec<&str> = code.split('"').collect();
    let mut found = BTreeSet::new();
    for index in (1..texts.len().saturating_sub(1)).step_by(2) {
        let [before, text, after] = [texts[index - 1], texts[index], texts[index + 1]];
        let after = after.strip_prefix(".to_owned()").unwrap_or(after);
        let in_tuple = opens_tuple(before) && after.trim_start().starts_with(',');
        if is_name(text) && (in_tuple || text.contains('/')) {
            found.insert(text.to_owned());
        }
    }
    found
}

fn opens_tuple(before: &str) -> bool {
    let callee = before.trim_end().strip_suffix('(');
    callee
        .is_some_and(|text| !text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '!'))
}

fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
    starts
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/{}".contains(c))
}

fn check(code: &str, expected: &[&str]) {
    let found = metrics(code);
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_name_that_opens_a_tuple_is_a_metric() {
    check(
        "vec![(\"kl\", value), (\n    \"reward\",\n    mean,\n)]",
        &["kl", "reward"],
    );
}

#[test]
fn a_name_with_a_slash_is_a_metric_wherever_it_stands() {
    check("format!(\"rewards/{name}/mean\")", &["rewards/{name}/mean"]);
}

#[test]
fn arguments_sentences_and_comments_are_no_metrics() {
    let code = "directions(\"policy\", x); panic!(\"a or b\");\n// (\"kl\", 2)";
    check(code, &[]);
}

#[test]
fn a_documented_name_may_call_its_part_otherwise() {
    let documented = documented("| `kl` | nats |\n| `rewards/{grader}/mean` | 1 |\n");
    assert_eq!(
        violations("a.rs", "format!(\"rewards/{name}/mean\")", &documented),
        [""; 0]
    );
    let found = violations("a.rs", "format!(\"rewards/{name}/std\")", &documented);
    assert!(
        found[0].starts_with("a.rs: metric `rewards/{name}/std`"),
        "{found:?}"
    );
}

#[test]
fn what_every_term_logs_is_documented_once() {
    let documented = documented("| `{term}/weight`, `{term}/loss` | – |\n");
    assert_eq!(
        violations("a.rs", "(\"weight\", term.weight)", &documented),
        [""; 0]
    );
    assert_eq!(
        violations("a.rs", "(\"norm\".to_owned(), x)", &documented).len(),
        1
    );
}
