//! Damaged data sets: none may make a reader panic.

use std::fs;
use std::path::Path;

use ::fuzz::fuzz;

use super::{Columns, Form, Source, examples, questions, rows};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/data/fixtures/");

/// Reads a file as questions, as examples and as it is.
fn read(path: &Path) {
    let source = Source::File(path.to_owned());
    if let Ok(rows) = rows(&source, "train", None, None) {
        rows.take_while(Result::is_ok).for_each(drop);
    }
    if let Ok(asked) = questions(&source, "train", &Columns::default(), None) {
        asked.take_while(Result::is_ok).for_each(drop);
    }
    let form = Form {
        reasoning_tag: "think",
        answer_tag: Some("answer"),
        instruction: "",
        constitutions: &[],
    };
    if let Ok(exemplars) = examples(&source, "train", None, &form) {
        exemplars.take_while(Result::is_ok).for_each(drop);
    }
}

fn fuzz_file(reader: &str, seeds: &[Vec<u8>], words: &[&str]) {
    let name = format!("enigma-fuzz-{}.{reader}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fuzz(reader, seeds, words, |bytes| {
        fs::write(&path, bytes).expect("the test's own file");
        read(&path);
    });
    let _ = fs::remove_file(path);
}

const KEYS: [&str; 12] = [
    "prompt",
    "question",
    "answer",
    "completion",
    "role",
    "content",
    "user",
    "assistant",
    "####",
    "data",
    "<<",
    ">>",
];

const LINES: &str = r#"{"question": "How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}
{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "answer": 7}

{"prompt": "p", "completion": [{"role": "assistant", "content": "c"}]}
"#;

const LIST: &str = r#"[{"question": "How many?", "answer": "a\n#### 7"},
    {"prompt": "p", "answer": null},
    {"prompt": "p", "completion": "c", "other": {"deep": [1, 2.5e3, true]}}]"#;

const OBJECT: &str = r#"{"data": [{"question": "How many?", "answer": "7"}], "version": 1}"#;

const TABLE: &str = "question,answer,\"other\"\n\"How, \"\"many\"\"?\",\"3\n#### 7\",x\nq,7,\n";

#[test]
fn damaged_json_lines_are_refused_or_read() {
    fuzz_file("jsonl", &[LINES.into()], &KEYS);
}

#[test]
fn damaged_json_is_refused_or_read() {
    fuzz_file("json", &[LIST.into(), OBJECT.into()], &KEYS);
}

#[test]
fn a_damaged_table_is_refused_or_read() {
    fuzz_file(
        "csv",
        &[TABLE.into()],
        &["\"\"", "\r", "\r\n", "question", "####"],
    );
}

#[test]
fn damaged_parquet_is_refused_or_read() {
    let files = ["none", "snappy", "zstd", "gzip", "lz4", "datasets"];
    let read = |name| fs::read(format!("{FIXTURES}{name}.parquet")).expect("a fixture");
    fuzz_file(
        "parquet",
        &files.map(read),
        &["PAR1", "\u{15}", "\u{19}", "\u{1c}", "prompt"],
    );
}

#[test]
fn damaged_gzip_is_refused_or_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, LINES.as_bytes()).expect("memory");
    fuzz_file("jsonl.gz", &[packed.finish().expect("memory")], &[]);
}
