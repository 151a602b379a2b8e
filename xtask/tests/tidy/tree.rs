//! The files of the repository, as git lists them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that git tracks or would track.
pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Paths from the root that git tracks, and those it does not ignore; deleted ones are left out.
pub(crate) fn paths() -> Vec<String> {
    let arguments = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ];
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root())
        .output();
    let output = output.expect("git is installed");
    assert!(
        output.status.success(),
        "run the tidy tests in a git checkout: {output:?}"
    );
    let listed = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut paths: Vec<String> = listed
        .split_terminator('\0')
        .filter(|p| root().join(p).is_file())
        .map(str::to_owned)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Whether a path is that of a Rust file.
pub(crate) fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// The Rust files.
pub(crate) fn rust_files() -> Vec<File> {
    let rust = paths().into_iter().filter(|path| is_rust(path));
    rust.map(|path| File {
        text: read(&path),
        path,
    })
    .collect()
}

/// The part of a Rust file that is not its unit tests, which come last.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// The text of a file by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| {
        panic!("{path}: {error}; if the file is missing, a tidy test needs it: write it")
    })
}

/// Fails with all violations, one a line.
pub(crate) fn report(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
