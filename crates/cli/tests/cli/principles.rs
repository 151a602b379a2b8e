//! `enigma principles` as scripts meet it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{enigma, place, refusal, success, text};
use crate::refusals::{filled, model, write};

/// Few prompts and short completions.
const SHORT: [&str; 6] = [
    "principles",
    "score",
    "--model=nano",
    "--prompts=nano",
    "--prompts-max=20",
    "--max-completion-length=8",
];

const VERIFICATION: &str = "--principles=nano/verification";

fn object(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&success(folder, arguments)).expect("one object")
}

#[test]
fn the_same_seed_gives_the_same_scores_whatever_is_scored_beside() {
    let folder = place("principles-seed");
    let arguments = [&SHORT[..], &[VERIFICATION, "--json"]].concat();
    let one = object(&folder, &arguments);
    let two = object(
        &folder,
        &[&arguments[..], &["--principles=nano/goodness"]].concat(),
    );
    let of = |scores: &Value| {
        let principles = scores["principles"].as_array().expect("a list").clone();
        let found = principles.into_iter().find(|p| p["id"] == "verification");
        found.expect("it is there")
    };
    assert_eq!(of(&one), of(&two));
    let other = object(&folder, &[&arguments[..], &["--seed=7"]].concat());
    assert_ne!(of(&one)["si"], of(&other)["si"]);
    let kept = fs::read_to_string(folder.join("runs/scores-1.json")).expect("it is kept");
    assert_eq!(serde_json::from_str::<Value>(&kept).expect("JSON"), one);
    for key in [
        "si",
        "si_permuted",
        "retrieval",
        "information_nats",
        "upper_nats",
    ] {
        assert!(of(&one)[key].is_f64(), "{key}: {}", of(&one));
    }
    assert!(two["tokens"].as_u64() > one["tokens"].as_u64());
}

/// Rows that follow the constitution by its words, for the questions `0..count`.
fn given(count: usize) -> (String, String) {
    let (mut prompts, mut rows) = (String::new(), String::new());
    for number in 0..count {
        let question = format!("Amy keeps {number} plums. How many plums does Amy have now?");
        prompts += &(json!({"question": question}).to_string() + "\n");
        for (constitution, style) in ["Carefully checked", "Carelessly guessed"]
            .iter()
            .enumerate()
        {
            let completion = format!("<reasoning>{style}.</reasoning><answer>{number}</answer>");
            let row = json!({
                "question": question,
                "constitution": constitution,
                "completion": completion,
            });
            rows += &(row.to_string() + "\n");
        }
    }
    (prompts, rows)
}

#[test]
fn given_completions_are_scored_instead_of_drawn_ones_and_have_no_upper_bound() {
    let folder = place("principles-given");
    let (prompts, rows) = given(25);
    write(&folder, "prompts.jsonl", prompts);
    write(&folder, "given.jsonl", rows);
    let scores = object(
        &folder,
        &[
            "principles",
            "score",
            "--model=nano",
            "--prompts=prompts.jsonl",
            "--completions=given.jsonl",
            VERIFICATION,
            "--json",
        ],
    );
    let score = &scores["principles"][0];
    assert_eq!(
        (&score["prompts"], &score["incomplete"]),
        (&json!(25), &json!(0))
    );
    assert_eq!(score["verdict"], "informative");
    assert_eq!(
        (&score["retrieval"], &score["upper_nats"]),
        (&json!(1.0), &Value::Null)
    );
    assert_eq!(scores["given"], "given.jsonl");
}

/// What is added to a short run, and what its refusal says.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["--principles=none.toml"],
        "principle \"a\" has no negative, expected at least one",
    ),
    (
        &["--principles=uneven.toml"],
        "negative 1 of principle \"a\" has 23 characters, expected 8 within 20 %; match it, or \
     go on with --allow-unmatched",
    ),
    (
        &[VERIFICATION, "--prompts-max=19"],
        "principle \"verification\" has 19 prompts to be scored on; expected 20 or more",
    ),
    (
        &[VERIFICATION, "--completions=given.jsonl"],
        "principle \"verification\" has 0 prompts to be scored on; expected 20 or more",
    ),
    (
        &[VERIFICATION, "--completions=twice.jsonl"],
        "twice.jsonl, line 39: expected one completion of each question, principle and",
    ),
    (
        &[
            VERIFICATION,
            "--principles=nano/citation",
            "--completions=given.jsonl",
        ],
        "given.jsonl, line 1: expected the key `principle`, one of verification, citation",
    ),
    (
        &[VERIFICATION, "--prompts-max=0"],
        "--prompts-max is 0; expected 1 or more",
    ),
    (
        &[VERIFICATION, "--half-width=0"],
        "--half-width is 0; expected a number above 0",
    ),
    (
        &[VERIFICATION, "--max-completion-length=256"],
        "--max-completion-length is 256; expected less than 256, the model's context",
    ),
    (
        &[VERIFICATION, "--out=few.jsonl"],
        "few.jsonl exists; expected a new file",
    ),
    (
        &[VERIFICATION, "--out=few.jsonl/a"],
        "few.jsonl/a cannot be written: few.jsonl is no",
    ),
];

#[test]
fn what_cannot_be_scored_is_one_line_and_exit_code_2() {
    let folder = place("principles-refused");
    let (prompts, rows) = given(19);
    write(&folder, "few.jsonl", &prompts);
    write(&folder, "given.jsonl", &rows);
    write(&folder, "twice.jsonl", rows.clone() + &rows);
    write(
        &folder,
        "none.toml",
        "[[principle]]\nid = \"a\"\npositive = \"b\"\n",
    );
    let uneven = "[[principle]]\nid = 'a'\npositive = 'Be calm.'\n\
                  negatives = ['Be as tense as you can.']\n";
    write(&folder, "uneven.toml", uneven);
    for (arguments, expected) in REFUSED {
        let base = SHORT.into_iter().filter(|word| {
            let name = word.split('=').next().unwrap_or_default();
            !arguments
                .iter()
                .any(|given| given.starts_with(&format!("{name}=")))
        });
        let all: Vec<&str> = base.chain(arguments.iter().copied()).collect();
        let found = refusal(&folder, &all);
        assert!(found.contains(expected), "{arguments:?}: {found}");
    }
}

/// The last line of a command that had begun; exit code 2, and nothing on standard output.
fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = enigma(folder, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    assert!(!folder.join("runs").exists(), "a failure left a file");
    stderr.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn an_interval_wider_than_asked_for_is_refused_with_the_prompts_it_takes() {
    let folder = place("principles-wide");
    let found = failure(
        &folder,
        &[&SHORT[..], &[VERIFICATION, "--half-width=0.0001"]].concat(),
    );
    assert!(
        found.contains("the index of \"verification\" on 20 prompts is known to ±"),
        "{found}"
    );
    assert!(
        found.contains("expected --half-width 0.0001 or less, which takes about "),
        "{found}"
    );
}

#[test]
fn a_model_whose_numbers_are_not_finite_scores_nothing() {
    let folder = place("principles-nan");
    let path = model(&folder).join("model.safetensors");
    let weights = fs::read(&path).expect("the copy is there");
    // The largest number of bfloat16: the model opens, and its logits overflow.
    let weights = filled(&weights, "model.norm.weight", 0x7f7f);
    fs::write(&path, weights).expect("the test's own folder");
    let arguments: Vec<&str> = SHORT
        .iter()
        .map(|&word| {
            if word == "--model=nano" {
                "--model=model"
            } else {
                word
            }
        })
        .collect();
    let found = failure(&folder, &[&arguments[..], &[VERIFICATION]].concat());
    assert!(
        found.contains("the model gives non-finite numbers in "),
        "{found}"
    );
}

/// Scores of three principles that tell, two of them in two wordings of one rule, and one that does
/// not.
fn scores() -> String {
    let wave = |period: f64| -> Vec<f64> {
        (0..40)
            .map(|n| 0.5 + 0.1 * (f64::from(n) / period).sin())
            .collect()
    };
    let score = |id: &str, si: f64, margins: Vec<f64>, verdict: &str| {
        let prompt_ids: Vec<usize> = (1..=40).collect();
        json!({
            "id": id, "si": si, "verdict": verdict, "prompts": 40, "incomplete": 0,
            "convergence": [], "prompt_ids": prompt_ids, "margins": margins,
            "positive": format!("Keep {id}."), "negatives": [format!("Drop {id}.")],
            "name": format!("To keep {id}"), "source": format!("policy.md:{id}"),
        })
    };
    json!({
        "principles": [
            score("care", 0.40, wave(3.0), "informative"),
            score("check", 0.39, wave(3.0), "informative"),
            score("calm", 0.20, wave(1.0), "informative"),
            score("good", -0.01, wave(2.0), "not distinguishable from permuted labels"),
        ],
        "tokens": 1, "forward_passes": 1, "seconds": 1.0, "model": "nano", "seed": 1,
        "given": null,
    })
    .to_string()
}

#[test]
fn a_selection_passes_over_a_second_wording_and_is_a_file_that_train_takes() {
    let folder = place("principles-select");
    write(&folder, "scores.json", scores());
    let select = ["principles", "select", "scores.json", "--size=2", "--json"];
    let chosen = object(&folder, &select);
    let ids: Vec<&Value> = (0..2).map(|n| &chosen["principles"][n]["id"]).collect();
    assert_eq!(ids, ["care", "calm"]);
    let file = fs::read_to_string(folder.join("runs/selected-1.toml")).expect("it is written");
    for kept in ["name = \"To keep calm\"", "source = \"policy.md:calm\""] {
        assert!(file.contains(kept), "{kept} is not in {file}");
    }
    let chosen = object(
        &folder,
        &[&select[..], &["--include=check", "--exclude=calm"]].concat(),
    );
    assert_eq!(chosen["principles"][0]["id"], "check");
    assert_eq!(chosen["principles"][1]["nearest"]["id"], "check");
    let dry_run = [
        "train",
        "--dry-run",
        "--json",
        "--set=principles.files=['runs/selected-1.toml']",
    ];
    let plan = object(&folder, &dry_run);
    assert!(
        plan["plan"]["principles"]["files"]
            .to_string()
            .contains("selected-1")
    );
}

#[test]
fn a_selection_that_cannot_be_made_says_which_principles_there_are() {
    let folder = place("principles-select-refused");
    write(&folder, "scores.json", scores());
    for (arguments, expected) in [
        (&["--size=0"][..], "--size is 0; expected 1 or more"),
        (
            &["--size=4"],
            "--size is 4; expected at most 3, the principles that are told from",
        ),
        (
            &["--size=2", "--include=calmer"],
            "no principle \"calmer\" in the scores; expected one of care, check, calm, good",
        ),
        (
            &["--size=1", "--include=care", "--include=calm"],
            "--size is 1; expected 2 or more, the principles of --include",
        ),
        (
            &["--size=1", "--include=care", "--exclude=care"],
            "\"care\" is given twice",
        ),
    ] {
        let base = ["principles", "select", "scores.json"];
        let found = refusal(&folder, &[&base[..], arguments].concat());
        assert!(found.contains(expected), "{arguments:?}: {found}");
    }
}

#[test]
fn a_study_that_is_none_is_refused_before_anything_is_scored() {
    let folder = place("study-refused");
    let study = |text: &str| {
        write(&folder, "study.toml", text);
        refusal(&folder, &["train", "--study=study.toml"])
    };
    for (text, expected) in [
        ("size = 3", "study study.toml: TOML parse error"),
        (
            "recipe = 'r.toml'\nprinciples = []\nsize = 0\nseeds = [1]\n[[arm]]\nname = 'a'",
            "size is 0; expected 1 or more",
        ),
        (
            "recipe = 'r.toml'\nprinciples = []\nsize = 1\nseeds = [1, 1]\n[[arm]]\nname = 'a'",
            "expected one `seeds` or more, each once, and one [[arm]] or more",
        ),
        (
            "recipe = 'r.toml'\nprinciples = []\nsize = 1\nseeds = [1]\n[[arm]]\nname = 'a'",
            "recipe is `r.toml`, which does not exist; looked for ",
        ),
    ] {
        let found = study(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}
