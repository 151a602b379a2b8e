//! Programs that answer, and programs that do not.

use std::time::{Duration, Instant};

use super::*;
use crate::Question;

/// A program for the shell; here the shell is the program.
fn command(script: &str) -> Command {
    Command {
        program: ["sh", "-c", script].map(str::to_owned).to_vec(),
        working_directory: std::env::temp_dir(),
        timeout: Duration::from_secs(20),
        batch_size: 4,
        workers: 1,
        max_failures: 3,
    }
}

/// Answers each line with its own id as the reward.
const ECHO: &str = r#"sed -u -e 's/.*"id":\([0-9]*\).*/{"id": \1, "reward": \1}/'"#;

fn grade(grader: &mut CommandGrader, count: usize) -> Result<Vec<Grade>, GraderError> {
    let question = Question {
        id: 0,
        history: Vec::new(),
        text: "6 + 12?".to_owned(),
        answer: Some("18".to_owned()),
        fields: serde_json::Map::new(),
    };
    let question = &question;
    let items: Vec<Item> = vec![
        Item {
            question,
            text: "<answer>18</answer>"
        };
        count
    ];
    grader.grade(&items)
}

fn start(command: Command) -> CommandGrader {
    CommandGrader::start("judge", command).expect("a shell")
}

#[test]
fn a_program_is_kept_and_its_grades_stand_in_the_order_of_the_completions() {
    let mut grader = start(command(ECHO));
    let all = |from: usize, to: usize| (from..to).map(|id| Ok(id as f64)).collect::<Vec<_>>();
    assert_eq!(grade(&mut grader, 10), Ok(all(0, 10)));
    assert_eq!(grade(&mut grader, 3), Ok(all(10, 13)));
    assert_eq!(grader.faults(), None);
    let mut grader = start(Command {
        workers: 2,
        ..command(ECHO)
    });
    let found = grade(&mut grader, 10);
    let expected = [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(found, Ok(expected.map(Ok).to_vec()));
}

#[test]
fn answers_may_come_in_any_order_among_other_lines() {
    let reversed = r#"while read a && read b && read c; do
        echo; echo loading; echo '{"id": 2, "reward": 0.5}'; echo '{"id": 9, "reward": 1}'
        echo '{"id": 0, "reward": NaN}'; echo '{"id": 0, "reward": 1}'
        echo '{"id": 1, "reward": null}'; done"#;
    let mut grader = start(command(reversed));
    let found = grade(&mut grader, 3);
    let expected = [Err(Ungraded::NotFinite), Err(Ungraded::Null), Ok(0.5)];
    assert_eq!(found, Ok(expected.to_vec()));
    let faults = grader.faults().expect("two have no grade");
    assert_eq!(faults, "2 of 3 completions ungraded (1 null, 1 not_finite)");
}

#[test]
fn a_program_that_hangs_is_late_and_given_up_after_some_batches() {
    let hangs = Command {
        timeout: Duration::from_millis(100),
        ..command("echo I think >&2; exec sleep 1000")
    };
    let mut grader = start(hangs);
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(grade(&mut grader, 2), Ok(vec![Err(Ungraded::Late); 2]));
    }
    let error = grade(&mut grader, 2).expect_err("the third in a row");
    assert_eq!(
        error.to_string(),
        "grader judge: 3 batches in a row without a grade; no answer within 0.1 s; \
         its last words: I think"
    );
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_program_that_prints_garbage_is_malformed_long_before_its_deadline() {
    let mut grader = start(command("while read line; do echo good; done"));
    let start = Instant::now();
    assert_eq!(grade(&mut grader, 4), Ok(vec![Err(Ungraded::Malformed); 4]));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    let faults = grader.faults().expect("nothing is graded");
    let expected = "4 of 4 completions ungraded (4 malformed); at last: its answer cannot be \
                    read: good";
    assert_eq!(faults, expected);
    let mut grader = start_endless();
    assert_eq!(grade(&mut grader, 4), Ok(vec![Err(Ungraded::Malformed); 4]));
}

/// Prints without end and without being asked.
fn start_endless() -> CommandGrader {
    start(command("yes garbage"))
}

#[test]
fn a_program_that_dies_every_third_time_leaves_the_rest_graded() {
    let dies = format!("{ECHO} -e 8q; echo out of memory >&2; exit 3");
    let mut grader = start(command(&dies));
    let found: Vec<Grade> = (0..9)
        .flat_map(|_| grade(&mut grader, 4).expect("goes on"))
        .collect();
    let crashed = found
        .iter()
        .filter(|grade| **grade == Err(Ungraded::Crashed));
    assert_eq!(crashed.count(), 12, "{found:?}");
    assert_eq!(found.iter().filter(|grade| grade.is_ok()).count(), 24);
    let faults = grader.faults().expect("twelve crashed");
    let expected = "12 of 36 completions ungraded (12 crashed); at last: it ended with exit \
                    status: 3; its last words: out of memory";
    assert_eq!(faults, expected);
}

#[test]
fn what_was_answered_before_a_crash_counts() {
    let dies = r#"read a; read b; echo '{"id": 1, "reward": 2}'; exit 1"#;
    let mut grader = start(command(dies));
    let found = grade(&mut grader, 3);
    let crashed = Err(Ungraded::Crashed);
    assert_eq!(found, Ok(vec![crashed, Ok(2.0), crashed]));
}

#[test]
fn pipes_that_are_full_on_every_side_hold_nobody_up() {
    let loud = format!("head -c 300000 /dev/zero | tr '\\0' '\\n' | tee /dev/stderr; {ECHO}");
    let mut grader = start(Command {
        batch_size: 5000,
        ..command(&loud)
    });
    let found = grade(&mut grader, 5000).expect("answers");
    assert!(found.iter().all(Result::is_ok));
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let mut missing = command("");
    missing.program = vec!["no-such-grader".to_owned()];
    let Err(error) = CommandGrader::start("judge", missing) else {
        panic!("it started");
    };
    let expected = "grader judge: `no-such-grader` cannot be started: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn nothing_is_left_of_a_program_that_is_no_longer_needed() {
    let ids = |script: &str| {
        let grader = start(command(script));
        let process = grader.workers[0].process.as_ref();
        process.expect("it runs").id()
    };
    for script in [ECHO, "exec sleep 1000"] {
        let id = ids(script).to_string();
        let alive = std::process::Command::new("kill")
            .args(["-0", &id])
            .output();
        assert!(!alive.expect("kill").status.success(), "{script}");
    }
}
