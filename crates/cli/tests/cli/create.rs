//! `enigma principles create` as scripts meet it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::process::{place, refusal, success, text};

const POLICY: &str = "# Reports\n\nEvery report should name the source of each number.\n\n\
                      - Verify every figure before you quote it.\n- Be clear.\n\n\
                      The agent must not guess. It should ask.\n";

fn policy(folder: &Path) {
    fs::write(folder.join("policy.md"), POLICY).expect("the folder is ours");
}

#[test]
fn a_policy_becomes_a_constitution_that_says_where_each_rule_stands() {
    let folder = place("create-rules");
    policy(&folder);
    let arguments = [
        "principles",
        "create",
        "--from=policy.md",
        "--out=p.toml",
        "--json",
    ];
    let object: Value = serde_json::from_str(&success(&folder, &arguments)).expect("one object");
    let principles = object["principles"].as_array().expect("a list");
    let found: Vec<_> = principles
        .iter()
        .map(|p| {
            (
                p["line"].as_u64(),
                p["rule"].as_str(),
                p["negatives"][0].as_str(),
            )
        })
        .collect();
    let expected = [
        (
            3,
            "sources_reduced",
            "Every report should name the source of hardly any number.",
        ),
        (
            5,
            "sources_reduced",
            "Verify hardly any figure before you quote it.",
        ),
        (6, "opposite_quality", "Be vague."),
        (8, "negation", "The agent must guess."),
    ];
    let expected = expected.map(|(line, rule, negative)| (Some(line), Some(rule), Some(negative)));
    assert_eq!(found, expected);
    assert_eq!(object["passed_over"][0]["line"], 8);
    let file = fs::read_to_string(folder.join("p.toml")).expect("it was written");
    assert!(file.contains("source = \"policy.md:5\""), "{file}");
    let score = [
        "principles",
        "score",
        "--model=nano",
        "--principles=p.toml",
        "--prompts=nano",
    ];
    let score = [
        &score[..],
        &["--prompts-max=20", "--max-completion-length=8"],
    ]
    .concat();
    success(&folder, &score);
}

#[test]
fn what_cannot_be_drafted_from_is_refused_with_a_reason() {
    let folder = place("create-refusals");
    policy(&folder);
    fs::write(folder.join("empty.md"), "The sky is blue.\n").expect("the folder is ours");
    let create =
        |arguments: &[&str]| refusal(&folder, &[&["principles", "create"], arguments].concat());
    let cases: [(&[&str], &str); 6] = [
        (&["--from=no.md"], "no.md"),
        (&["--from=empty.md"], "no rule with a matched negative"),
        (&["--from=policy.md", "--max=0"], "--max"),
        (&["--from=policy.md", "--out=policy.md"], "policy.md"),
        (
            &["--from=policy.md", "--endpoint=ftp://x", "--model=m"],
            "--endpoint: expected an address",
        ),
        (
            &[
                "--from=policy.md",
                "--endpoint=http://a:secret@x",
                "--model=m",
            ],
            "OPENAI_API_KEY",
        ),
    ];
    for (arguments, expected) in cases {
        let line = create(arguments);
        assert!(
            line.contains(expected),
            "{line:?} does not say {expected:?}"
        );
        assert!(!line.contains("secret"), "{line:?}");
    }
}

/// Answers requests one after the other, each with a status line and a body; gives what it was
/// sent.
fn serve(answers: Vec<(&'static str, String)>) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let serving = thread::spawn(move || {
        let answered = answers.into_iter().map(|(status, body)| {
            let (stream, _) = listener.accept().expect("a client");
            answer(stream, status, &body)
        });
        answered.collect()
    });
    (port, serving)
}

fn answer(mut stream: TcpStream, status: &str, body: &str) -> String {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request");
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        head += &line;
        if line.trim().is_empty() {
            break;
        }
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).expect("a body");
    let size = body.len();
    let response =
        format!("HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}");
    stream
        .write_all(response.as_bytes())
        .expect("the client listens");
    head + &text(&sent)
}

fn content(content: &str) -> String {
    json!({"choices": [{"message": {"role": "assistant", "content": content}}]}).to_string()
}

fn propose(folder: &Path, port: u16) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_enigma"))
        .current_dir(folder)
        .args([
            "principles",
            "create",
            "--from=policy.md",
            "--out=p.toml",
            "--json",
        ])
        .args([
            &format!("--endpoint=http://127.0.0.1:{port}/v1"),
            "--model=proposer",
        ])
        .env("OPENAI_API_KEY", "sk-secret")
        .output()
        .expect("the binary runs")
}

#[test]
fn proposals_pass_the_same_checks_and_the_key_stays_in_its_header() {
    let folder = place("create-endpoint");
    policy(&folder);
    let proposals = json!([
        {"line": 3, "positive": "Name the source of each number in a report.",
         "negatives": ["Hide the source of each number in a report."]},
        {"line": 5, "positive": "Paint every wall of the house in green.",
         "negatives": ["Paint hardly any wall of the house in green."]},
        {"line": 6, "positive": "Be clear.", "negatives": ["Write whatever comes to mind first."]},
        {"rule": "no proposal"},
    ]);
    let (port, serving) = serve(vec![
        ("503 Busy", String::new()),
        (
            "200 OK",
            content(&format!("Here they are:\n```json\n{proposals}\n```")),
        ),
    ]);
    let output = propose(&folder, port);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let object: Value = serde_json::from_str(&text(&output.stdout)).expect("one object");
    assert_eq!(
        object["principles"].as_array().map(Vec::len),
        Some(1),
        "{object}"
    );
    assert_eq!(object["principles"][0]["rule"], "proposed");
    assert_eq!(
        object["refused"].as_array().map(Vec::len),
        Some(3),
        "{object}"
    );
    let requests = serving.join().expect("it served");
    for request in &requests {
        assert!(request.contains("Bearer sk-secret"), "{request}");
        assert!(request.contains("3: Every report"), "{request}");
    }
    let file = fs::read_to_string(folder.join("p.toml")).expect("it was written");
    assert!(file.contains("proposed by proposer"), "{file}");
    for shown in [text(&output.stdout), text(&output.stderr), file] {
        assert!(!shown.contains("sk-secret"), "{shown}");
    }
}

#[test]
fn a_server_that_refuses_or_babbles_ends_with_one_line_and_no_file() {
    let folder = place("create-endpoint-refuses");
    policy(&folder);
    for (status, body, expected) in [
        (
            "401 Unauthorized",
            "bad key".to_owned(),
            "401 Unauthorized: bad key",
        ),
        (
            "200 OK",
            "{}".to_owned(),
            "expected choices[0].message.content",
        ),
        (
            "200 OK",
            content("I cannot."),
            "expected a JSON array of rules, found I cannot.",
        ),
    ] {
        let (port, serving) = serve(vec![(status, body)]);
        let output = propose(&folder, port);
        serving.join().expect("it served");
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            line.contains(expected),
            "{line:?} does not say {expected:?}"
        );
        assert!(
            !line.contains("sk-secret") && !folder.join("p.toml").exists(),
            "{line}"
        );
    }
}
