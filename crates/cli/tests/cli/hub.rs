//! Models by their id, from a hub that this test serves: `huggingface.co` as far as a client sees
//! it, with a connection that breaks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::process::{place, text};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one model, `org/tiny`, and one that needs a token, `org/gated`.
struct Hub {
    endpoint: String,
    /// What was asked for: path and range.
    asked: Arc<Mutex<Vec<String>>>,
}

/// What the threads of the hub share.
struct Served {
    files: BTreeMap<String, Vec<u8>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Connections that are still to break in the middle of the weights.
    breaks: Mutex<usize>,
}

impl Hub {
    fn start(breaks: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let served = Arc::new(Served {
            files: files(),
            asked: Arc::clone(&asked),
            breaks: Mutex::new(breaks),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = Arc::clone(&served);
                // A client that goes away is part of what is tested.
                std::thread::spawn(move || stream.and_then(|stream| served.serve(stream)));
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("whole"))
    }
}

/// The built-in model as a repository, with a file that nobody needs.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/nano/model");
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ];
    let read = |name: &str| {
        (
            name.to_owned(),
            fs::read(folder.join(name)).expect("an asset"),
        )
    };
    let mut files: BTreeMap<_, _> = names.map(read).into();
    files.insert("pytorch_model.bin".to_owned(), vec![0; 64]);
    files
}

impl Served {
    /// One request a connection.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let range = headers.get("range").cloned().unwrap_or_default();
        self.asked
            .lock()
            .expect("whole")
            .push(format!("{path} {range}"));
        let is_known = headers
            .get("authorization")
            .is_some_and(|who| who == "Bearer secret");
        if path.contains("org/gated") && !is_known {
            return answer(&mut stream, "401 Unauthorized", "", b"{}");
        }
        let path = path.replace("org/gated", "org/tiny");
        if path == "/api/models/org/tiny/revision/main" {
            let files = self.files.keys().map(|name| json!({ "rfilename": name }));
            let info = json!({ "sha": COMMIT, "siblings": files.collect::<Vec<_>>() });
            return answer(&mut stream, "200 OK", "", info.to_string().as_bytes());
        }
        let name = path
            .strip_prefix("/org/tiny/resolve/main/")
            .unwrap_or_default();
        match self.files.get(name) {
            Some(content) => self.file(&mut stream, name, content, &range),
            None => answer(&mut stream, "404 Not Found", "", b"{}"),
        }
    }

    fn file(
        &self,
        stream: &mut TcpStream,
        name: &str,
        content: &[u8],
        range: &str,
    ) -> std::io::Result<()> {
        let (from, to) = range
            .trim_start_matches("bytes=")
            .split_once('-')
            .unwrap_or(("0", ""));
        let from: usize = from.parse().unwrap_or(0);
        if from >= content.len() {
            return answer(stream, "416 Range Not Satisfiable", "", b"");
        }
        let to = to.parse().map_or(content.len(), |last: usize| last + 1);
        let part = &content[from..to];
        let headers = format!(
            "ETag: \"{name}-tag\"\r\nX-Repo-Commit: {COMMIT}\r\n\
             Content-Range: bytes {from}-{}/{}\r\n",
            to - 1,
            content.len()
        );
        let mut breaks = self.breaks.lock().expect("whole");
        if name == "model.safetensors" && part.len() > 1 && *breaks > 0 {
            *breaks -= 1;
            let head = head("206 Partial Content", &headers, part.len());
            stream.write_all(head.as_bytes())?;
            return stream.write_all(&part[..part.len() / 2]);
        }
        answer(stream, "206 Partial Content", &headers, part)
    }
}

fn head(status: &str, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(head(status, headers, body.len()).as_bytes())?;
    stream.write_all(body)
}

/// The binary under these variables alone, with a cache in its folder.
fn enigma(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enigma"));
    for (name, _) in std::env::vars() {
        if name.starts_with("HF_") || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .env("HF_HOME", folder.join("hf"))
        .args(arguments);
    command
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs")
}

fn inspected(folder: &Path, variables: &[(&str, &str)], id: &str) -> Value {
    let output = enigma(folder, variables, &["models", "inspect", id, "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn refused(folder: &Path, variables: &[(&str, &str)], id: &str) -> String {
    let output = enigma(folder, variables, &["models", "inspect", id]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let line = stderr.strip_prefix("error: ").expect("only an error");
    assert_eq!(line.lines().count(), 1, "{stderr}");
    line.trim_end().to_owned()
}

/// The repository's folder in the cache.
fn cached(folder: &Path) -> PathBuf {
    folder.join("hf/hub/models--org--tiny")
}

#[test]
fn a_broken_download_goes_on_where_it_broke_off_and_is_then_found_offline() {
    let folder = place("hub-resume");
    let hub = Hub::start(2);
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let found = inspected(&folder, &online, "org/tiny");
    assert_eq!(found["model"], format!("org/tiny@{COMMIT}"));
    assert_eq!(found["unsupported"], json!([]));
    let weights = files()["model.safetensors"].clone();
    let asked = hub.asked();
    let half = weights.len() / 2;
    let resumed = format!("/org/tiny/resolve/main/model.safetensors bytes={half}-");
    assert!(asked.contains(&resumed), "{asked:?}");
    assert!(
        !asked.iter().any(|path| path.contains("pytorch_model.bin")),
        "{asked:?}"
    );
    let snapshot = cached(&folder).join("snapshots").join(COMMIT);
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).expect("fetched"),
        weights
    );
    assert_eq!(
        fs::read_to_string(cached(&folder).join("refs/main")).expect("a ref"),
        COMMIT
    );

    inspected(&folder, &online, "org/tiny");
    assert_eq!(
        hub.asked(),
        ["/api/models/org/tiny/revision/main "],
        "nothing twice"
    );
    let offline = [
        ("HF_ENDPOINT", "http://127.0.0.1:1"),
        ("HF_HUB_OFFLINE", "1"),
    ];
    assert_eq!(
        inspected(&folder, &offline, "org/tiny")["parameters"],
        found["parameters"]
    );
    inspected(&folder, &offline, &format!("org/tiny@{COMMIT}"));
    let unreachable = [("HF_ENDPOINT", "http://127.0.0.1:1")];
    inspected(&folder, &unreachable, "org/tiny");
}

#[test]
fn what_came_before_a_failure_is_kept_for_the_next_command() {
    let folder = place("hub-kept");
    // More breaks than one command bears.
    let hub = Hub::start(5);
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let output = enigma(&folder, &online, &["models", "inspect", "org/tiny"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("model.safetensors was not fetched"),
        "{stderr}"
    );
    hub.asked();
    inspected(&folder, &online, "org/tiny");
    let asked = hub.asked();
    let weights = asked
        .iter()
        .filter(|path| path.contains("model.safetensors"));
    assert!(
        weights.clone().all(|path| !path.ends_with("bytes=0-")),
        "{asked:?}"
    );

    // A part that is whole already, as a crash before its last name leaves it.
    let blobs = cached(&folder).join("blobs");
    let blob = blobs.join("model.safetensors-tag");
    fs::rename(&blob, blobs.join("model.part")).expect("a part");
    fs::rename(blobs.join("model.part"), blob.with_extension("part")).expect("a part");
    fs::remove_dir_all(cached(&folder).join("snapshots")).expect("ours");
    inspected(&folder, &online, "org/tiny");
}

#[test]
fn a_model_that_cannot_be_had_is_told_in_one_line() {
    let folder = place("hub-refused");
    let hub = Hub::start(0);
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let unreachable = [("HF_ENDPOINT", "http://127.0.0.1:1")];
    let offline = [("HF_HUB_OFFLINE", "1")];
    for (variables, id, expected) in [
        (&online[..], "org/none", "has no such model or revision"),
        (&online, "org/tiny@v9", "has no such model or revision"),
        (
            &online,
            "org/gated",
            "private or gated; check the name or set HF_TOKEN",
        ),
        (
            &unreachable,
            "org/tiny",
            "http://127.0.0.1:1 cannot be reached (",
        ),
        (&offline, "org/tiny", "it is not in the cache"),
    ] {
        let line = refused(&folder, variables, id);
        assert!(line.contains(expected), "{id}: {line}");
        assert!(
            line.contains(&format!("MODEL is `{id}`, which is no folder")),
            "{line}"
        );
    }
    assert!(!folder.join("hf").exists(), "a refusal writes nothing");
    let with_token = [online[0], ("HF_TOKEN", "secret")];
    inspected(&folder, &with_token, "org/gated");
    fs::write(folder.join("token"), "secret\n").expect("written");
    fs::remove_dir_all(folder.join("hf")).expect("ours");
    inspected(
        &folder,
        &[online[0], ("HF_TOKEN_PATH", "token")],
        "org/gated",
    );
}

#[test]
fn a_recipe_names_a_model_of_the_hub_and_its_plan_pins_the_commit() {
    let folder = place("hub-recipe");
    let hub = Hub::start(0);
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let dry = [
        "train",
        "--dry-run",
        "--json",
        "--set",
        "model.path=org/tiny",
    ];
    let output = enigma(&folder, &online, &dry);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(plan["plan"]["model"]["path"], format!("org/tiny@{COMMIT}"));
}

/// The layout is what `snapshot_download` of `huggingface_hub` 2.4 left from such a hub.
#[cfg(unix)]
#[test]
fn a_cache_that_the_python_client_laid_out_is_used_as_it_is() {
    let folder = place("hub-python");
    let repository = cached(&folder);
    let snapshot = repository.join("snapshots").join(COMMIT);
    for place in ["blobs", "refs", "trees"] {
        fs::create_dir_all(repository.join(place)).expect("the test's own folder");
    }
    fs::create_dir_all(&snapshot).expect("the test's own folder");
    fs::write(repository.join("refs/main"), COMMIT).expect("written");
    fs::write(
        repository.join("trees").join(format!("{COMMIT}.json")),
        "[]",
    )
    .expect("written");
    for (name, content) in files() {
        let blob = format!("{name}-tag");
        fs::write(repository.join("blobs").join(&blob), content).expect("written");
        let link = Path::new("../../blobs").join(blob);
        std::os::unix::fs::symlink(link, snapshot.join(name)).expect("linked");
    }
    let before = crate::process::entries(&repository.join("blobs"));
    let offline = [("HF_HUB_OFFLINE", "1")];
    inspected(&folder, &offline, "org/tiny");
    let hub = Hub::start(0);
    inspected(
        &folder,
        &[("HF_ENDPOINT", hub.endpoint.as_str())],
        "org/tiny",
    );
    assert_eq!(
        hub.asked(),
        ["/api/models/org/tiny/revision/main "],
        "nothing is fetched again"
    );
    assert_eq!(crate::process::entries(&repository.join("blobs")), before);
}
