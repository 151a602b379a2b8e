//! Files of every format and layout, good and bad, and what is read from them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::{Columns, Source, questions, rows};

/// Written by `scripts/reference/huggingface_data.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/data/fixtures")
        .join(name)
}

/// An empty folder of a test's own, removed after it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

fn place(name: &str) -> Folder {
    let folder = std::env::temp_dir().join(format!("enigma-data-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the test");
    Folder(folder)
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the test's own folder");
    fs::write(path, content).expect("the test's own folder");
}

/// The rows of a file or folder, or the first message about them.
fn read(path: &Path) -> Result<Vec<Map<String, Value>>, String> {
    let source = Source::File(path.to_owned());
    let rows = rows(&source, "train", None, None).map_err(|error| error.to_string())?;
    rows.map(|row| row.map(|row| row.fields).map_err(|error| error.to_string()))
        .collect()
}

fn numbers(path: &Path) -> Vec<i64> {
    let rows = read(path).expect("rows");
    let number = |row: &Map<String, Value>| row["n"].as_i64().expect("a number");
    rows.iter().map(number).collect()
}

/// The message, without the folder.
fn complaint(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    write(&path, content);
    let found = read(&path).expect_err(name);
    found.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn every_codec_of_parquet_gives_the_rows_that_pyarrow_and_datasets_read() {
    let expected = read(&fixture("rows.jsonl")).expect("rows");
    assert_eq!(expected.len(), 5);
    for codec in ["none", "snappy", "zstd", "gzip", "lz4", "datasets"] {
        let found = read(&fixture(&format!("{codec}.parquet"))).expect(codec);
        assert_eq!(found, expected, "{codec}");
    }
}

#[test]
fn only_the_columns_of_the_question_are_kept_unless_graders_read_the_others() {
    for file in ["snappy.parquet", "rows.jsonl"] {
        let read = |keeps_others| {
            let columns = Columns {
                keeps_others,
                ..Columns::default()
            };
            let source = Source::File(fixture(file));
            let rows = questions(&source, "train", &columns, Some(3)).expect("rows");
            let rows = rows.map(|asked| asked.expect("a question").question);
            rows.collect::<Vec<_>>()
        };
        let [first, _, third] = &read(false)[..] else {
            panic!("three rows were asked for");
        };
        assert_eq!(first.text, "What is 0 + 0? ☃");
        assert_eq!(first.history[0].content, "Be brief.");
        assert_eq!(first.answer.as_deref(), Some("0"));
        assert_eq!((third.id, &third.answer), (3, &None));
        assert!(first.fields.is_empty(), "{:?}", first.fields);
        let kept = &read(true)[1].fields;
        let expected = json!({"solution": "2", "level": "hard", "score": null, "count": 1,
            "tags": ["sum"], "is_checked": false});
        assert_eq!(Value::Object(kept.clone()), expected);
    }
}

#[test]
fn a_named_column_is_read_and_its_absence_is_told() {
    let folder = place("columns");
    write(&folder.join("a.jsonl"), r#"{"query": "q", "target": 2.50}"#);
    let source = Source::File(folder.join("a.jsonl"));
    let mut columns = Columns {
        prompt: Some("query".to_owned()),
        answer: Some("target".to_owned()),
        keeps_others: false,
    };
    let first = |columns: &Columns| {
        let mut rows = questions(&source, "train", columns, None).expect("a row");
        rows.next().expect("a row").map(|asked| asked.question)
    };
    let question = first(&columns).expect("a question");
    assert_eq!(
        (&*question.text, question.answer),
        ("q", Some("2.5".to_owned()))
    );
    columns.prompt = Some("quest".to_owned());
    let found = first(&columns).expect_err("no such column").to_string();
    assert!(
        found.ends_with("a.jsonl, line 1: expected the key `quest`, found: query, target"),
        "{found}"
    );
}

#[test]
fn messages_that_end_with_the_user_are_a_prompt_and_others_are_refused() {
    let folder = place("messages");
    let system = json!({"role": "system", "content": "s"});
    let user = json!({"role": "user", "content": "u"});
    let assistant = json!({"role": "assistant", "content": "a"});
    for (messages, expected) in [
        (json!([user]), None),
        (json!([system, user, assistant, user]), None),
        (
            json!([user, assistant]),
            Some("expected the user's message at the end"),
        ),
        (
            json!([user, system, user]),
            Some("expected a system message at the beginning only"),
        ),
        (json!([]), Some("expected text or a list of messages")),
        (
            json!([{"role": "tool", "content": "t"}]),
            Some("expected system, user or assistant"),
        ),
        (
            json!([{"role": "user"}]),
            Some("needs the texts `role` and `content`"),
        ),
        (json!(7), Some("expected text or a list of messages")),
    ] {
        write(
            &folder.join("a.jsonl"),
            json!({"prompt": messages}).to_string(),
        );
        let source = Source::File(folder.join("a.jsonl"));
        let found = questions(&source, "train", &Columns::default(), None);
        let found = found.expect("a row").next().expect("a row");
        match (found, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) if error.to_string().contains(expected) => {}
            (found, _) => panic!("{messages} gave {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_list_an_object_with_data_and_lines_are_all_json() {
    let folder = place("json");
    for (name, content) in [
        ("list.json", " [ {\"n\": 1},\n {\"n\": 2} ,{\"n\":3}] "),
        (
            "data.json",
            "{\"version\": 1, \"data\": [{\"n\": 1}, {\"n\": 2}, {\"n\": 3}]}",
        ),
        ("lines.json", "{\"n\": 1}\n{\"n\": 2}\n\n{\"n\": 3}\n"),
        (
            "lines.jsonl",
            "\u{feff}{\"n\": 1}\r\n{\"n\": 2}\r\n{\"n\": 3}",
        ),
        ("table.txt", "{\"n\": 1}\n{\"n\": 2}\n{\"n\": 3}"),
    ] {
        write(&folder.join(name), content);
        assert_eq!(numbers(&folder.join(name)), [1, 2, 3], "{name}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content.as_bytes()).expect("memory");
        let name = format!("{name}.gz");
        write(&folder.join(&name), packed.finish().expect("memory"));
        assert_eq!(numbers(&folder.join(&name)), [1, 2, 3], "{name}");
    }
    write(&folder.join("one.json"), "{\"n\": 7}\n");
    assert_eq!(numbers(&folder.join("one.json")), [7]);
}

#[test]
fn a_table_keeps_quoted_lines_and_reads_an_empty_cell_as_nothing() {
    let folder = place("csv");
    let table = "\u{feff}prompt,answer\n\"a \"\"b\"\",\n c\",1\nd,\n";
    write(&folder.join("a.csv"), table);
    let expected = [
        json!({"prompt": "a \"b\",\n c", "answer": "1"}),
        json!({"prompt": "d", "answer": null}),
    ];
    let found = read(&folder.join("a.csv")).expect("rows");
    assert_eq!(
        found.into_iter().map(Value::Object).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn truthful_qa_is_read_whole() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/truthfulqa/TruthfulQA.csv"
    );
    if !Path::new(path).exists() {
        eprintln!("skipped: {path} is absent");
        return;
    }
    let columns = Columns {
        prompt: Some("Question".to_owned()),
        answer: Some("Best Answer".to_owned()),
        keeps_others: true,
    };
    let source = Source::File(path.into());
    let rows = questions(&source, "train", &columns, None).expect("rows");
    let rows: Vec<_> = rows.map(|row| row.expect("a question").question).collect();
    assert_eq!(rows.len(), 813);
    assert!(
        rows.iter()
            .all(|q| q.answer.is_some() && q.fields.contains_key("Type"))
    );
}

#[test]
fn the_layouts_of_the_hub_are_found_split_by_split_in_the_order_of_their_names() {
    let folder = place("layouts");
    let row = |n: usize| format!("{{\"n\": {n}}}\n");
    for (files, expected) in [
        (&["train.jsonl", "test.jsonl"][..], &[1][..]),
        (
            &[
                "my-train_2.jsonl",
                "my-train_1.jsonl",
                "latest.jsonl",
                "trained.jsonl",
            ],
            &[2, 1],
        ),
        (
            &[
                "data/train-00001-of-00002.jsonl",
                "data/train-00000-of-00002.jsonl",
            ],
            &[2, 1],
        ),
        (
            &["train/0001.jsonl", "train/0000.jsonl", "test/0000.jsonl"],
            &[2, 1],
        ),
        (
            &["data/train/a.jsonl", "data/test/b.jsonl", "README.md"],
            &[1],
        ),
    ] {
        let _ = fs::remove_dir_all(&*folder);
        for (n, file) in files.iter().enumerate() {
            write(&folder.join(file), row(n + 1));
        }
        assert_eq!(numbers(&folder), expected, "{files:?}");
    }
    let _ = fs::remove_dir_all(&*folder);
    write(&folder.join("validation.csv"), "n\n1\n");
    let found = read(&folder).expect_err("no such split");
    assert!(
        found.contains("has no file of the split `train`"),
        "{found}"
    );
    assert!(found.ends_with("found: validation.csv"), "{found}");
}

#[test]
fn a_mistake_names_the_file_and_the_row() {
    let folder = place("mistakes");
    for (name, content, expected) in [
        (
            "a.jsonl",
            &b"{\"n\": 1}\n\n[2]"[..],
            "a.jsonl, line 3: expected a JSON object, found",
        ),
        (
            "a.jsonl",
            b"{\"n\": 1}\n{\"n\": \xff}",
            "a.jsonl, line 2: not UTF-8 at byte 7",
        ),
        (
            "a.jsonl",
            b"\n\n",
            "a.jsonl has no rows; expected one or more",
        ),
        (
            "a.json",
            b"[{\"n\": 1} {\"n\": 2}]",
            "a.json, row 2: expected `,` or `]` before it",
        ),
        (
            "a.json",
            b"[{\"n\": 1},",
            "a.json, row 2: expected a JSON object, found no more",
        ),
        (
            "a.json",
            b"[{\"n\": 1}, 2]",
            "a.json, row 2: expected a JSON object, found another",
        ),
        ("a.json", b"[{\"n\": 1}, {]", "a.json, row 2: not JSON: "),
        (
            "a.json",
            b"{\n\"rows\": []\n}",
            "a.json: expected a list of objects, or an object with",
        ),
        ("a.json", b"[]", "a.json has no rows"),
        (
            "a.csv",
            b"a,b\n1,2\n3\n",
            "a.csv, line 3: 1 values, expected 2, as the header has",
        ),
        (
            "a.csv",
            b"a,a\n1,2\n",
            "a.csv, line 1: the header names \"a\" twice",
        ),
        ("a.csv", b"a\n\xff\n", "a.csv, line 2: not UTF-8"),
        ("a.csv", b"a,b\n", "a.csv has no rows"),
        (
            "a.parquet",
            b"PAR1",
            "a.parquet: not a Parquet file that can be read",
        ),
        (
            "a.jsonl.gz",
            b"{\"n\": 1}\n{\"n\": 2}\n",
            "a.jsonl.gz: invalid gzip header",
        ),
    ] {
        let found = complaint(&folder, name, content);
        assert!(found.starts_with(expected), "{name} {content:?}: {found}");
        assert!(!found.contains('\n'), "more than one line: {found}");
    }
}

#[test]
fn a_torn_table_is_told() {
    let folder = place("torn");
    let whole = fs::read(fixture("snappy.parquet")).expect("the fixture is there");
    let torn = complaint(&folder, "torn.parquet", &whole[..whole.len() - 9]);
    assert!(
        torn.starts_with("torn.parquet: not a Parquet file"),
        "{torn}"
    );
}
