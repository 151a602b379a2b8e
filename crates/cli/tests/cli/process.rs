//! The binary, run in a folder of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An empty folder of this test's own, in which the binary runs.
pub(crate) fn place(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

pub(crate) fn enigma(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enigma"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// The binary as it runs on its own; what it says is kept.
pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enigma"));
    command.current_dir(folder).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// Standard output of a run that must succeed.
pub(crate) fn success(folder: &Path, arguments: &[&str]) -> String {
    let output = enigma(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("readable")))
        .collect();
    names.sort();
    names
}

/// The only line of a refusal, after the word `error:`; nothing may have been written.
pub(crate) fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let before = entries(folder);
    let output = enigma(folder, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert_eq!(entries(folder), before, "{arguments:?} left something");
    let line = stderr.strip_suffix('\n').expect("a line ends");
    assert!(!line.contains('\n'), "more than one line: {stderr}");
    line.strip_prefix("error: ")
        .expect("it says error")
        .to_owned()
}
