//! Runs that are killed or cannot be written: nothing is lost, and what is there is whole.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use math::Key;
use serde_json::Value;

use crate::process::{entries, place, start, success, text};
use crate::resume::{TINY, metrics, newest, tensors};

const STEPS: usize = 8;

/// Runs that are killed: four, or with `SLOW_TESTS=1` fifty.
fn kills() -> usize {
    let is_slow = std::env::var("SLOW_TESTS").is_ok_and(|value| value == "1");
    if is_slow { 50 } else { 4 }
}

fn recipe() -> Vec<&'static str> {
    let own = ["--set=run.max_steps=8", "--set=grpo.num_iterations=2"];
    [&["train"][..], &TINY, &own].concat()
}

/// Every checkpoint is whole: each file that has its final name reads.
pub(crate) fn assert_whole(run: &Path) {
    for name in entries(run)
        .iter()
        .filter(|name| name.starts_with("checkpoint-"))
    {
        let step: usize = name["checkpoint-".len()..].parse().expect("a step");
        for bytes in tensors(run, step) {
            let length = header_length(&bytes);
            let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
            let ends = header.as_object().expect("an object").values();
            let ends = ends.filter_map(|tensor| tensor["data_offsets"][1].as_u64());
            let numbers = ends.max().expect("tensors") as usize;
            assert_eq!(bytes.len(), 8 + length + numbers, "{name}");
        }
        let state = run.join(name).join("trainer_state.json");
        let state: Value =
            serde_json::from_slice(&fs::read(state).expect("a state")).expect("JSON");
        assert_eq!(state["global_step"], step);
        assert_eq!(metrics(&run.join(name)).len(), step);
    }
}

fn header_length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize
}

/// Starts `arguments` and kills it `late` after its run has a checkpoint of `step`; whether it was
/// writing one just then.
fn kill_after(folder: &Path, run: &Path, arguments: &[&str], step: usize, late: Duration) -> bool {
    let mut child = start(folder, arguments);
    let begun = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        let is_there = run.exists() && newest(run) >= step;
        assert!(begun.elapsed() < Duration::from_mins(2), "waited too long");
        if step == 0 || is_there {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    sleep(late);
    // It may have ended by itself meanwhile.
    let _ = child.kill();
    child.wait().expect("it ends");
    run.exists() && entries(run).iter().any(|name| name.ends_with(".partial"))
}

#[test]
fn runs_killed_at_any_moment_and_resumed_end_as_the_unbroken_run() {
    let folder = place("faults");
    let begun = Instant::now();
    success(&folder, &[&recipe()[..], &["--out=whole"]].concat());
    let each = begun.elapsed().div_f64(STEPS as f64 + 2.0);
    let whole = folder.join("whole");
    let (figures, weights) = (metrics(&whole), tensors(&whole, STEPS));
    let (mut saving, mut unsaved, mut lost_most) = (0, 0, 0);
    let (key, kills) = (Key::new(1), kills());
    for number in 0..kills {
        let key = key.child(number as u64);
        let (name, step) = (format!("run-{number}"), key.below(0, STEPS));
        let late = each.mul_f64(key.uniform(1) * if step == 0 { 3.0 } else { 1.0 });
        let run = folder.join(&name);
        let out = [&recipe()[..], &["--out", &name]].concat();
        saving += usize::from(kill_after(&folder, &run, &out, step, late));
        if run.exists() {
            assert_whole(&run);
        }
        let (recorded, kept) = (metrics(&run).len(), newest(&run));
        assert!(
            recorded >= kept && recorded - kept <= 1,
            "{recorded} steps, {kept} kept"
        );
        lost_most = lost_most.max(recorded - kept);
        if kept == 0 {
            unsaved += 1;
            let _ = fs::remove_dir_all(&run);
            success(&folder, &out);
        } else {
            success(&folder, &["train", "--resume", &name]);
        }
        assert_eq!(metrics(&run), figures, "run {number}");
        assert!(
            tensors(&run, STEPS) == weights,
            "run {number} has other weights"
        );
        let left = entries(&run);
        assert!(
            !left.iter().any(|name| name.ends_with(".partial")),
            "{left:?}"
        );
        fs::remove_dir_all(&run).expect("the test's own folder");
    }
    eprintln!(
        "{kills} runs of {STEPS} steps killed, {saving} while saving, {unsaved} before the first \
         save; most recorded steps lost: {lost_most}"
    );
}

/// Runs `enigma` under a shell's limit on the size of files, in blocks of 1024 bytes.
fn limited(folder: &Path, blocks: usize, arguments: &[&str]) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_enigma")])
        .args(arguments);
    command.current_dir(folder).output().expect("bash is there")
}

#[test]
fn a_disk_that_is_full_ends_the_run_in_one_line_and_what_was_kept_stays() {
    let folder = place("full");
    let out = [&recipe()[..], &["--out=run", "--set=run.max_steps=2"]].concat();
    success(&folder, &out);
    let run = folder.join("run");
    let kept = tensors(&run, 2);
    // The weights fit, twice as many moments do not.
    let more = ["train", "--resume", "run", "--set=run.max_steps=8"];
    let output = limited(&folder, 8_000, &more);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().expect("a line");
    assert!(
        last.starts_with("error: the checkpoint after step 3: "),
        "{last}"
    );
    assert!(last.contains("File too large"), "{last}");
    assert!(
        last.ends_with("last good checkpoint: run/checkpoint-2"),
        "{last}"
    );
    assert_eq!(metrics(&run).len(), 3);
    let left = entries(&run);
    assert!(
        !left.iter().any(|name| name.ends_with(".partial")),
        "{left:?}"
    );
    assert!(tensors(&run, 2) == kept);
    success(&folder, &more);
    assert_eq!(metrics(&run).len(), 8);
}

#[test]
fn a_folder_that_cannot_be_written_ends_the_run_in_one_line_and_what_was_kept_stays() {
    let folder = place("unwritable");
    let out = [&recipe()[..], &["--out=run", "--set=run.max_steps=2"]].concat();
    success(&folder, &out);
    let run = folder.join("run");
    // A folder in place of the metrics: the superuser, too, cannot write it.
    let more = ["train", "--resume", "run", "--set=run.max_steps=8"];
    fs::remove_file(run.join("metrics.jsonl")).expect("metrics");
    fs::create_dir(run.join("metrics.jsonl")).expect("the test's own folder");
    let before = entries(&run);
    let output = limited(&folder, 1 << 20, &more);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let last = stderr.lines().last().expect("a line");
    assert!(
        last.starts_with("error: ") && last.contains("metrics.jsonl"),
        "{last}"
    );
    assert_eq!(entries(&run), before);
    fs::remove_dir(run.join("metrics.jsonl")).expect("the test's own folder");
    success(&folder, &more);
    assert_eq!(
        metrics(&run).len(),
        8,
        "the checkpoint has the steps that led to it"
    );
}
