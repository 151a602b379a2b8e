//! No file of the repository is larger than 4 MiB.

use std::fs;

use crate::tree::{paths, report, root};

const BYTES_MAX: u64 = 4 << 20;

#[test]
fn no_file_is_over_4_mib() {
    let sized = paths().into_iter().map(|path| {
        let bytes = fs::metadata(root().join(&path))
            .expect("listed files exist")
            .len();
        (path, bytes)
    });
    report(
        &sized
            .filter_map(|(path, bytes)| violation(&path, bytes))
            .collect::<Vec<_>>(),
    );
}

fn violation(path: &str, bytes: u64) -> Option<String> {
    let what_to_do = "make it with a script at run time, or shrink it";
    (bytes > BYTES_MAX).then(|| format!("{path}: {bytes} bytes, at most {BYTES_MAX}; {what_to_do}"))
}

#[test]
fn exactly_4_mib_is_allowed_and_one_byte_more_is_not() {
    assert_eq!(violation("a.bin", 4_194_304), None);
    let found = violation("a.bin", 4_194_305);
    assert!(found.is_some_and(|message| message.starts_with("a.bin: 4194305 bytes")));
}
