//! `enigma stationary` as scripts meet it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{place, refusal, success};

fn object(folder: &Path, arguments: &[&str]) -> Value {
    let stdout = success(folder, &[&["stationary", "--json"][..], arguments].concat());
    serde_json::from_str(&stdout).expect("one JSON object")
}

#[track_caller]
fn check(found: &Value, expected: &[f64], tolerance: f64) {
    let found = found.as_array().expect("a list");
    let close = found.iter().zip(expected).all(|(a, b)| {
        let a = a.as_f64().expect("a number");
        (a - b).abs() < tolerance
    });
    assert!(
        close && found.len() == expected.len(),
        "{found:?}, expected {expected:?}"
    );
}

const FOUR: [&str; 4] = ["--rewards", "0,.2,.7,1", "--reference", ".4,.3,.2,.1"];

#[test]
fn the_object_of_four_answers_holds_the_known_policy() {
    let folder = place("stationary");
    let found = object(
        &folder,
        &[&FOUR[..], &["--beta", "1", "--group", "3"]].concat(),
    );
    let expected = [0.197_787_92, 0.177_392_33, 0.202_644_56, 0.422_175_19];
    check(&found["policy"], &expected, 6e-9);
    for key in [
        "residual",
        "unique",
        "method",
        "rlhf",
        "nlhf",
        "expected_reward",
    ] {
        assert!(!found[key].is_null(), "no {key}: {found}");
    }
    let success = [
        "--success",
        ".8,.35",
        "--reference",
        ".3,.7",
        "--beta",
        ".5",
    ];
    let found = object(&folder, &[&success[..], &["--group", "inf"]].concat());
    check(&found["policy"], &[0.700_264_96, 0.299_735_04], 6e-9);
}

#[test]
fn a_file_of_preferences_is_read_as_json_or_as_lines() {
    let folder = place("stationary-pairs");
    fs::write(folder.join("wins.json"), "[[0.5, 1], [0, 0.5]]").expect("the test's own folder");
    fs::write(folder.join("margins"), "0, 1\n-1, 0\n").expect("the test's own folder");
    for file in ["wins.json", "margins"] {
        let file = ["--preference", file, "--reference", ".1,.9", "--beta", "1"];
        let found = object(&folder, &[&file[..], &["--group", "2"]].concat());
        check(
            &found["policy"],
            &[0.1_f64.sqrt(), 1.0 - 0.1_f64.sqrt()],
            1e-12,
        );
        assert!(found["rlhf"].is_null());
    }
}

#[test]
fn a_sweep_writes_its_curves_as_csv_and_svg() {
    let folder = place("stationary-sweep");
    let sweep = ["--group", "4", "--sweep", "beta=0.01..10"];
    let files = ["--out", "curve.csv", "--out", "curve.svg"];
    let stdout = success(
        &folder,
        &[&["stationary"][..], &FOUR, &sweep, &files].concat(),
    );
    assert!(stdout.contains('●') && stdout.contains("β"), "{stdout}");
    let csv = fs::read_to_string(folder.join("curve.csv")).expect("written");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines.len() > 40 && lines[0].starts_with("beta,policy_1,"),
        "{}",
        lines[0]
    );
    let svg = fs::read_to_string(folder.join("curve.svg")).expect("written");
    assert_eq!(svg.matches("<polyline").count(), 4);
    let found = object(
        &folder,
        &[&FOUR[..], &["--beta", "1", "--sweep", "group=2..9"]].concat(),
    );
    assert_eq!(found["values"].as_array().map(Vec::len), Some(8));
}

#[test]
fn a_model_gives_the_reference_of_its_answers() {
    let folder = place("stationary-model");
    let model = [
        "--model",
        "nano",
        "--question",
        "Ned keeps",
        "--answers",
        " 3, 5, 7",
    ];
    let worth = ["--rewards", "1,0,0", "--beta", ".04", "--group", "8"];
    let found = object(&folder, &[&model[..], &worth].concat());
    let reference = found["reference"].as_array().expect("a list");
    let total: f64 = reference.iter().filter_map(Value::as_f64).sum();
    assert!((total - 1.0).abs() < 1e-9, "{found}");
    assert_eq!(found["answers"], json!([" 3", " 5", " 7"]));
    assert!(found["policy"][0].as_f64() > Some(0.9), "{found}");
}

/// A recorded run of one question: two of four completions have the format at step 1.
fn record(folder: &Path) {
    let completions = folder.join("run/completions");
    fs::create_dir_all(&completions).expect("the test's own folder");
    let plan = "[grpo]\nbeta = 0.5\nscale_rewards = \"group\"\n[sampling]\nnum_generations = 4\n";
    fs::write(folder.join("run/plan.toml"), plan).expect("the test's own folder");
    let line = |sample: usize, reward: f64| {
        let completion = json!({
            "question": 7, "constitution": 0, "sample": sample, "prompt": "Why?",
            "completion": "So.", "tokens": 2, "truncated": false, "format_valid": reward > 0.0,
            "answer_right": null, "rewards": {"format": reward}, "reward": reward,
            "advantage": 0.0,
        });
        format!("{completion}\n")
    };
    let lines: String = (0..4)
        .map(|sample| line(sample, f64::from(sample < 2)))
        .collect();
    fs::write(completions.join("step-000001.jsonl"), &lines).expect("the test's own folder");
    let lines: String = (0..4)
        .map(|sample| line(sample, f64::from(sample < 3)))
        .collect();
    fs::write(completions.join("step-000010.jsonl"), &lines).expect("the test's own folder");
}

#[test]
fn a_run_says_where_it_is_heading_and_how_sure_that_is() {
    let folder = place("stationary-run");
    record(&folder);
    let found = object(&folder, &["--run", "run", "--prompt", "7"]);
    // The posterior's mean is 1/2; with TRL's deviation β acts as 0.5·√(4/3).
    let same = [
        "--rewards",
        "0,1",
        "--reference",
        ".5,.5",
        "--group",
        "4",
        "--ddof",
        "1",
    ];
    let expected = object(&folder, &[&same[..], &["--beta", "0.5"]].concat());
    assert_eq!(found["policy"], expected["policy"]);
    assert_eq!(found["latest_counts"], json!([1, 3]));
    let bound = |end: usize| found["interval"][1][end].as_f64().expect("a number");
    let heading = found["policy"][1].as_f64().expect("a number");
    assert!(
        bound(0) < heading - 0.05 && heading + 0.02 < bound(1),
        "{found}"
    );
    let table = success(&folder, &["stationary", "--run", "run", "--prompt", "7"]);
    assert!(table.contains("Assumed: beta 0.5, groups of 4"), "{table}");
    let found = refusal(&folder, &["stationary", "--run", "run", "--prompt", "8"]);
    assert!(found.contains("expected one of 7"), "{found}");
}

/// Arguments after the command, and what the refusal says.
const REFUSED: &[(&str, &str)] = &[
    (
        "--reference .5,.5 --beta 1 --group 2",
        "expected one of --rewards, --success, --preference",
    ),
    (
        "--rewards 1,0 --beta 1 --group 2",
        "expected either --reference",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --group 2",
        "--beta is missing",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1",
        "--group is missing",
    ),
    (
        "--rewards 1,0 --reference .5,.4 --beta 1 --group 2",
        "sum to 0.9, expected 1",
    ),
    (
        "--rewards 1,0 --reference 0,1 --beta 1 --group 2",
        "supp π ⊆ supp π_ref",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 0 --group 2",
        "beta is 0, expected a number above 0",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta -1 --group 2",
        "beta is -1, expected a number above",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1 --group 1",
        "group is 1, expected 2 or more",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1 --group x",
        "--group is x; expected a whole",
    ),
    (
        "--rewards 1,x --reference .5,.5 --beta 1 --group 2",
        "--rewards has `x`; expected numbers",
    ),
    (
        "--rewards 1,0 --reference .5 --beta 1 --group 2",
        "has 1 probabilities, expected 2",
    ),
    (
        "--rewards 1 --reference 1 --beta 1 --group 2",
        "has 1 answers, expected 2 or more",
    ),
    (
        "--success 1,2 --reference .5,.5 --beta 1 --group 2",
        "success probability 2 is 2",
    ),
    (
        "--preference bad --reference .5,.5 --beta 1 --group 2",
        "is antisymmetric",
    ),
    (
        "--preference good --reference .5,.5 --beta 1 --group 3",
        "expected 2: only for groups of two",
    ),
    (
        "--preference none --reference .5,.5 --beta 1 --group 2",
        "none: No such file",
    ),
    (
        "--preference words --reference .5,.5 --beta 1 --group 2",
        "words, line 2: expected a number",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1 --group 2 --out c.svg",
        "--out is given without",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --group 2 --sweep beta=2..1",
        "expected beta=LOW..HIGH",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1 --group 2 --sweep b=1..2",
        "expected beta=LOW..HIGH",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --group 2 --sweep beta=1..2 --out c.png",
        "expected a name ending in .csv or .svg",
    ),
    (
        "--rewards 1,0 --reference .5,.5 --beta 1 --group 2 --scale none --ddof 1",
        "--ddof is 1 with --scale none",
    ),
    (
        "--rewards 1,0 --model nano --answers a,b --beta 1 --group 2",
        "--question is missing",
    ),
    (
        "--rewards 1,0 --model nano --question q --beta 1 --group 2",
        "--answers is missing",
    ),
    ("--run none --prompt 1", "is not a run folder"),
    ("--run run", "--prompt is missing"),
    (
        "--run run --prompt 7 --rewards 1,0",
        "--rewards is given with --run",
    ),
    (
        "--run run --prompt 7 --beta 0",
        "beta is 0, expected a number above 0",
    ),
];

#[test]
fn every_mistake_is_one_line_with_what_was_expected() {
    let folder = place("stationary-refusals");
    record(&folder);
    for (name, text) in [
        ("bad", "0.5 0.7\n0.4 0.5\n"),
        ("good", "0.5 0.7\n0.3 0.5\n"),
        ("words", "0.5 0.7\n0.3 half\n"),
    ] {
        fs::write(folder.join(name), text).expect("the test's own folder");
    }
    for (line, expected) in REFUSED {
        let arguments: Vec<&str> = line.split(' ').collect();
        let found = refusal(&folder, &[&["stationary"][..], &arguments].concat());
        assert!(found.contains(expected), "{line}: {found}");
    }
}
