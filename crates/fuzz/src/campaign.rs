//! One case after the other, until the time is over or a reader fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use math::Key;

use crate::mutate::mutated;
use crate::shrink::shrunk;

/// The usual suite stops at so many cases, or at [`USUAL`], whichever comes first.
const CASES: u64 = 4000;
/// Time of a reader in the usual suite.
const USUAL: Duration = Duration::from_millis(500);
/// A case that takes longer fails: the machine may be busy, but not so busy.
const CASE_MAX: Duration = Duration::from_mins(2);

/// How long, and which cases.
struct Budget {
    time: Duration,
    cases: u64,
    seed: u64,
    /// Whether a case that ends the process is kept.
    keeps_all: bool,
}

/// What came of it.
struct Tally {
    cases: u64,
    taken: Duration,
    slowest: Duration,
}

/// Reads damaged copies of `seeds` for half a second; for `FUZZ_SECONDS` where that is set, and
/// then says on standard error how many there were. `words` are those to which the format gives a
/// meaning; `FUZZ_SEED` names other cases.
///
/// With `FUZZ_SECONDS`, each case lies in `fuzz-READER` in the folder for temporary files while it
/// is read, and so also after a fault that ends the process, such as a stack that overflows.
///
/// # Panics
/// If `read` panics or takes too long on a case, made as short as a few seconds allow; the message
/// names the file that holds it. If there are no seeds.
pub fn fuzz(reader: &str, seeds: &[Vec<u8>], words: &[&str], read: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("FUZZ_SEED").unwrap_or(0);
    let long = number("FUZZ_SECONDS").map(|seconds| Budget {
        time: Duration::from_secs(seconds),
        cases: u64::MAX,
        seed,
        keeps_all: true,
    });
    let is_long = long.is_some();
    let usual = Budget {
        time: USUAL,
        cases: CASES,
        seed,
        keeps_all: false,
    };
    let tally = campaign(reader, seeds, words, &long.unwrap_or(usual), &read);
    if is_long {
        say(&format!(
            "fuzz {reader}: {} cases in {} s, the slowest {} ms",
            tally.cases,
            tally.taken.as_secs(),
            tally.slowest.as_millis()
        ));
    }
}

fn campaign(
    reader: &str,
    seeds: &[Vec<u8>],
    words: &[&str],
    budget: &Budget,
    read: &impl Fn(&[u8]),
) -> Tally {
    for seed in seeds {
        read(seed);
    }
    let path = std::env::temp_dir().join(format!("fuzz-{reader}"));
    let key = Key::new(budget.seed);
    let start = Instant::now();
    let mut tally = Tally {
        cases: 0,
        taken: Duration::ZERO,
        slowest: Duration::ZERO,
    };
    while tally.cases < budget.cases && tally.taken < budget.time {
        let input = mutated(seeds, words, key.child(tally.cases));
        if budget.keeps_all {
            keep(&path, &input);
        }
        let begun = Instant::now();
        let panics = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| read(input))).is_err();
        if panics(&input) {
            keep(&path, &shrunk(input, panics));
            let (seed, case, path) = (budget.seed, tally.cases, path.display());
            panic!("{reader} panics at case {case} of seed {seed}, kept in {path}");
        }
        let case = begun.elapsed();
        tally.taken = start.elapsed();
        if case > CASE_MAX {
            keep(&path, &input);
            let (taken, path) = (case.as_secs(), path.display());
            panic!("{reader} takes {taken} s to read {path}");
        }
        tally.slowest = tally.slowest.max(case);
        tally.cases += 1;
    }
    let _ = std::fs::remove_file(path);
    tally
}

fn keep(path: &Path, input: &[u8]) {
    std::fs::write(path, input).expect("the folder for temporary files takes one");
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs it for long reads what came of it"
)]
fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_trusts_its_input_is_caught_with_a_short_case() {
        let trusting = |bytes: &[u8]| {
            let length = usize::from(bytes.first().copied().unwrap_or(0));
            assert!(bytes.is_empty() || bytes[1..].len() >= length);
        };
        let seeds = [[&[40][..], &[7; 60]].concat()];
        let found = catch_unwind(|| fuzz("trusting", &seeds, &[], trusting));
        let message = found.expect_err("some case says more than it has");
        let message = message
            .downcast_ref::<String>()
            .expect("a formatted message");
        let path = message.split_once("kept in ").expect("a path").1;
        let kept = std::fs::read(path).expect("the case is kept");
        assert_eq!(kept.len(), 1, "{kept:?}");
        std::fs::remove_file(path).expect("it is ours");
    }
}
