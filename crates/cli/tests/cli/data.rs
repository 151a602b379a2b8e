//! Data of users: what is read, counted, left out and refused.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{enigma, place, refusal, success, text};

/// The counts of a dry run, and its notes.
fn counted(folder: &Path, assignments: &[&str]) -> (Value, String) {
    let arguments = [&["train", "--dry-run", "--json"][..], assignments].concat();
    let output = enigma(folder, &arguments);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{assignments:?}: {stderr}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    (object["data"].clone(), stderr)
}

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the test's own folder");
    fs::write(path, content).expect("the test's own folder");
}

/// Ten questions, of which two repeat another and one has no answer.
fn table() -> String {
    let mut table = "question,answer\n".to_owned();
    for n in [0, 1, 2, 3, 4, 5, 6, 7, 7, 7] {
        let answer = if n == 3 { String::new() } else { n.to_string() };
        writeln!(table, "{n} + 0?,{answer}").expect("memory");
    }
    table
}

#[test]
fn what_repeats_lacks_an_answer_or_is_held_out_too_is_counted_and_left_out_on_demand() {
    let folder = place("counts");
    write(&folder, "data/train.csv", &table());
    write(
        &folder,
        "data/test.jsonl",
        r#"{"prompt": "0 + 0?", "answer": 0}"#,
    );
    let own = ["--set=data.questions=.", "--set=data.held_out=."];
    let own = [&own[..], &["--set=rewards.answer=1"]].concat();
    let (found, notes) = counted(&folder, &own);
    let split = |rows: u64, duplicates: u64, without: u64, used: u64| {
        json!({"rows": rows, "over_long": 0, "duplicates": duplicates, "without_answer": without,
            "used": used})
    };
    let held_out = split(1, 0, 0, 1);
    let expected = json!({"questions": split(10, 2, 1, 10), "held_out": held_out, "overlap": 1});
    assert_eq!(found, expected);
    for note in [
        "2 questions to train on repeat the prompt of another; data.duplicates = \"drop\" leaves",
        "1 questions to train on repeat the prompt of a held-out one; data.duplicates",
        "1 of 10 questions to train on have no answer; their completions stay ungraded",
    ] {
        assert!(notes.contains(note), "no {note}: {notes}");
    }
    let (found, notes) = counted(
        &folder,
        &[
            &own[..],
            &[
                "--set=data.duplicates=drop",
                "--set=run.questions_per_step=1",
            ],
        ]
        .concat(),
    );
    let expected = json!({"questions": split(10, 2, 1, 7), "held_out": held_out, "overlap": 1});
    assert_eq!(found, expected);
    assert!(notes.contains("of another; they are left out"), "{notes}");
}

#[test]
fn a_held_out_part_is_drawn_by_the_seed_and_by_nothing_else() {
    let folder = place("split");
    write(&folder, "q.csv", &table());
    let recipe = |size: &str, seed: &str| {
        let recipe = format!(
            "[model]\npath = 'nano'\n[data]\nquestions = 'q.csv'\ntest_size = {size}\n\
             [principles]\nfiles = ['nano/patience']\n[run]\nseed = {seed}\n\
             questions_per_step = 2\n[sampling]\nmax_completion_length = 64\n"
        );
        write(&folder, "r.toml", &recipe);
        counted(&folder, &["r.toml"]).0
    };
    for (size, held_out) in [("0.25", 3), ("4", 4), ("0.01", 1)] {
        let found = recipe(size, "1");
        assert_eq!(found["held_out"]["used"], held_out, "{size}");
        assert_eq!(found["questions"]["used"], 10 - held_out, "{size}");
    }
    // Which rows are held out shows in what repeats.
    let seeds: Vec<String> = (0..8)
        .map(|seed| recipe("0.5", &seed.to_string()).to_string())
        .collect();
    assert!(seeds.iter().any(|found| *found != seeds[0]), "{seeds:?}");
    assert_eq!(recipe("0.5", "0").to_string(), seeds[0]);
}

#[test]
fn over_long_prompts_are_counted_where_a_limit_leaves_them_out() {
    let folder = place("long");
    let long = format!("{}{} + 0?,9\n", table(), "7 + ".repeat(60));
    write(&folder, "q.csv", &long);
    let own = [
        "--set=data.questions=q.csv",
        "--set=data.max_prompt_length=100",
    ];
    let (found, notes) = counted(&folder, &own);
    assert_eq!(found["questions"]["over_long"], 1);
    assert_eq!(found["questions"]["used"], 10);
    let note = "1 questions to train on exceed data.max_prompt_length; they are left out";
    assert!(notes.contains(note), "{notes}");
}

#[test]
fn every_mistake_in_data_is_one_line() {
    let folder = place("data");
    write(&folder, "q.csv", "question,reply\n1 + 1?,2\n2 + 2?,4\n");
    write(&folder, "empty/validation.jsonl", "{}");
    for (assignments, expected) in [
        (
            &["data.test_size=0.5"][..],
            "data.held_out is there beside data.test_size; expected one",
        ),
        (
            &["data.questions=empty"],
            "empty has no file of the split `train`, as `train.jsonl` or",
        ),
        (&["data.questions=empty"], "found: validation.jsonl"),
        (&["data.duplicates=maybe"], "expected `keep` or `drop`"),
        (
            &["data.prompt_column=text"],
            "line 1: expected the key `text`, found: ",
        ),
        (
            &[
                "data.questions=q.csv",
                "rewards.answer=1",
                "run.questions_per_step=1",
            ],
            "q.csv has an answer; name its column in data.answer_column",
        ),
    ] {
        let set = assignments
            .iter()
            .flat_map(|assignment| ["--set", assignment]);
        let arguments: Vec<&str> = ["train"].into_iter().chain(set).collect();
        let found = refusal(&folder, &arguments);
        assert!(found.contains(expected), "{assignments:?}: {found}");
    }
    let recipe = "[model]\npath = 'nano'\n[data]\nquestions = 'q.csv'\n\
                  [principles]\nfiles = ['nano/patience']\n\
                  [sampling]\nmax_completion_length = 64\n";
    write(&folder, "r.toml", recipe);
    for (size, expected) in [
        (
            None,
            "data.held_out is missing, and data.test_size too; expected one of the two",
        ),
        (
            Some("data.test_size=2"),
            "data.test_size holds 2 of 2 questions out; expected one",
        ),
        (
            Some("data.test_size=1.5"),
            "data.test_size is 1.5; expected a share between 0 and 1",
        ),
        (
            Some("data.test_size=0"),
            "data.test_size is 0; expected a share between 0 and 1",
        ),
    ] {
        let set = size.into_iter().flat_map(|size| ["--set", size]);
        let arguments: Vec<&str> = ["train", "r.toml"].into_iter().chain(set).collect();
        let found = refusal(&folder, &arguments);
        assert!(found.contains(expected), "{size:?}: {found}");
    }
}

#[test]
fn examples_of_parquet_are_imitated() {
    let folder = place("imitate");
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/data/fixtures/zstd.parquet"
    );
    let recipe = format!("[model]\npath = 'nano'\n[data]\nexamples = '{fixture}'\n");
    write(&folder, "r.toml", &recipe);
    let found = refusal(&folder, &["sft", "r.toml"]);
    let expected = "zstd.parquet, row 1: no `completion`; expected `prompt` and `completion`";
    assert!(found.contains(expected), "{found}");
    let row = json!({"prompt": "a", "completion": "b"}).to_string();
    write(&folder, "d/train/0.jsonl", &format!("{row}\n{row}\n"));
    write(
        &folder,
        "r.toml",
        "[model]\npath = 'nano'\n[data]\nexamples = 'd'\n",
    );
    let own = [
        "--set=run.per_device_train_batch_size=1",
        "--dry-run",
        "--json",
    ];
    for (policy, left) in [("keep", 2), ("drop", 1)] {
        let set = format!("--set=data.duplicates={policy}");
        let found = success(&folder, &[&["sft", "r.toml", &set][..], &own].concat());
        let found: Value = serde_json::from_str(&found).expect("one JSON object");
        assert_eq!(found["budget"]["examples"], left, "{policy}");
    }
}
