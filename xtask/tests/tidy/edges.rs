//! The crates are the diagram: which crate may use which, and that only `kernel` may be unsafe.
//!
//! Dependencies of tests alone are free.

use std::collections::BTreeMap;

use crate::tree::{paths, read, report, rust_files, without_tests};

/// By folder, the workspace crates that a crate may depend on. `cli` is the binary `enigma`.
const ALLOWED: [(&str, &[&str]); 20] = [
    ("crates/math", &[]),
    ("crates/fuzz", &["math"]),
    ("crates/guard", &[]),
    ("crates/transport", &["math"]),
    ("crates/information", &["math"]),
    ("crates/ranks", &[]),
    ("crates/policy", &["math", "ranks"]),
    ("crates/kernel", &[]),
    (
        "crates/objective",
        &["math", "transport", "information", "policy"],
    ),
    ("crates/rollout", &["math", "policy"]),
    ("crates/principle", &["math", "information", "policy"]),
    ("crates/record", &[]),
    ("crates/plot", &[]),
    ("crates/stationary", &["math"]),
    (
        "crates/model",
        &["math", "ranks", "policy", "kernel", "guard"],
    ),
    (
        "crates/trainer",
        &[
            "objective",
            "rollout",
            "principle",
            "policy",
            "ranks",
            "record",
            "math",
            "information",
        ],
    ),
    (
        "crates/verify",
        &[
            "math",
            "transport",
            "ranks",
            "policy",
            "objective",
            "rollout",
            "principle",
            "record",
            "stationary",
            "trainer",
        ],
    ),
    ("crates/report", &["record"]),
    (
        "crates/cli",
        &[
            "math",
            "transport",
            "information",
            "ranks",
            "policy",
            "objective",
            "rollout",
            "principle",
            "record",
            "model",
            "trainer",
            "stationary",
            "verify",
            "report",
            "plot",
            "guard",
        ],
    ),
    ("xtask", &["math"]),
];

/// The only crate that may hold `unsafe`.
const UNSAFE: &str = "crates/kernel";

#[test]
fn the_edges_between_crates_are_those_of_the_table() {
    let mut found = Vec::new();
    let folders: Vec<String> = paths()
        .iter()
        .filter_map(|p| p.strip_suffix("/Cargo.toml").map(str::to_owned))
        .collect();
    for (folder, _) in ALLOWED
        .iter()
        .filter(|(folder, _)| !folders.iter().any(|f| f == folder))
    {
        found.push(format!(
            "{folder} is not there; take its row out of the table of edges"
        ));
    }
    for folder in &folders {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let sources = rust_files()
            .into_iter()
            .filter(|file| file.path.starts_with(folder));
        let code: String = sources
            .map(|file| without_tests(&file.text).to_owned())
            .collect();
        match ALLOWED.iter().find(|(name, _)| name == folder) {
            Some((_, allowed)) => found.extend(violations(folder, allowed, &manifest, &code)),
            None => found.push(format!("{folder} has no row; add it to the table of edges")),
        }
    }
    report(&found);
}

#[test]
fn unsafe_code_is_forbidden_outside_kernel() {
    let workspace = manifest(&read("Cargo.toml"));
    let lint = workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str();
    assert_eq!(
        lint,
        Some("forbid"),
        "forbid unsafe_code in the lints of the root Cargo.toml"
    );
    let inherits = |folder: &str| {
        let manifest = manifest(&read(&format!("{folder}/Cargo.toml")));
        manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            == Some(&true.into())
    };
    let others = ALLOWED
        .iter()
        .map(|(folder, _)| *folder)
        .filter(|folder| *folder != UNSAFE);
    let found = others.filter(|folder| !inherits(folder));
    let hint = "write `[lints] workspace = true` into its Cargo.toml";
    report(
        &found
            .map(|folder| format!("{folder} has lints of its own; {hint}"))
            .collect::<Vec<_>>(),
    );
}

fn violations(folder: &str, allowed: &[&str], manifest_text: &str, code: &str) -> Vec<String> {
    let crates: Vec<&str> = ALLOWED
        .iter()
        .filter_map(|(folder, _)| folder.strip_prefix("crates/"))
        .collect();
    let manifest = manifest(manifest_text);
    let dependencies: BTreeMap<String, toml::Value> = manifest
        .get("dependencies")
        .map(|table| table.clone().try_into().expect("[dependencies] is a table"))
        .unwrap_or_default();
    let mut found = Vec::new();
    for used in dependencies
        .keys()
        .filter(|name| crates.contains(&name.as_str()))
    {
        if !allowed.contains(&used.as_str()) {
            found.push(format!(
                "{folder} may not depend on {used}; move the code to a crate that may"
            ));
        } else if !names(code, used) {
            found.push(format!(
                "{folder} never uses {used}; take it out of its Cargo.toml"
            ));
        }
    }
    found
}

/// Whether `name` begins a path somewhere in the code.
fn names(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn manifest(text: &str) -> toml::Table {
    text.parse().expect("a Cargo.toml is TOML")
}

fn check(manifest: &str, code: &str, expected: &[&str]) {
    assert_eq!(
        violations("crates/rollout", &["math", "policy"], manifest, code),
        expected
    );
}

#[test]
fn an_allowed_edge_that_is_used_is_tidy() {
    let manifest = "[dependencies]\nmath.workspace = true\nserde = \"1\"";
    check(manifest, "use math::Key;", &[]);
}

#[test]
fn an_edge_outside_the_table_is_named() {
    let expected = "crates/rollout may not depend on kernel; move the code to a crate that may";
    check(
        "[dependencies]\nkernel.workspace = true",
        "use kernel::Matrix;",
        &[expected],
    );
}

#[test]
fn an_edge_that_no_code_uses_is_named() {
    let expected = "crates/rollout never uses math; take it out of its Cargo.toml";
    check(
        "[dependencies]\nmath.workspace = true",
        "use aftermath::Key;",
        &[expected],
    );
}

#[test]
fn an_edge_of_tests_alone_is_free() {
    check("[dev-dependencies]\nkernel.workspace = true", "", &[]);
}
