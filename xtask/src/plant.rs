//! Faults planted in copies of the sources: does `enigma verify` catch each of them?

mod faults;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use faults::{FAULTS, Fault};

/// What a build of the workspace needs of the checkout.
const NEEDED: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "rustfmt.toml",
    "assets",
    "crates",
    "recipes",
    "scripts",
    "xtask",
];

/// What verification said of one build.
#[derive(Debug)]
struct Verdict {
    code: Option<i32>,
    /// Names of the findings out of tolerance, with figure and tolerance.
    failed: Vec<(String, f64, f64)>,
}

/// Plants each fault whose name contains `only` in a copy of the checkout under `out`, builds and
/// verifies it, and gives a table in Markdown. The sources themselves are never changed.
///
/// The copies share a folder of build products, so all but the first build what changed alone.
///
/// # Errors
/// Where a build fails, an untouched build does not pass, or a fault is not caught by its check.
pub(crate) fn plant(out: &Path, only: &str, said: &mut dyn FnMut(&str)) -> Result<String, String> {
    let copy = out.join("sources");
    let target = out.join("target");
    let clean = tried(&copy, &target, None)?;
    if clean.code != Some(0) {
        return Err(format!("without a fault: {clean:?}, expected exit code 0"));
    }
    said("without a fault: passes");
    let mut table = "| fault | caught by | figure | at most |\n|---|---|---|---|\n".to_owned();
    let mut missed = Vec::new();
    for fault in FAULTS.iter().filter(|fault| fault.name.contains(only)) {
        let verdict = tried(&copy, &target, Some(fault))?;
        let by = verdict
            .failed
            .iter()
            .find(|(name, ..)| name.starts_with(fault.check));
        let Some((name, figure, tolerance)) = by.filter(|_| verdict.code == Some(1)) else {
            said(&format!(
                "{}: NOT CAUGHT by {}: {verdict:?}",
                fault.name, fault.check
            ));
            missed.push(fault.name);
            continue;
        };
        let others = verdict.failed.len() - 1;
        let others = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        said(&format!("{}: {name} {figure:.1e}{others}", fault.name));
        let found = format!("`{name}`{others} | {figure:.1e} | {tolerance:.0e}");
        table.extend(["| ", fault.name, " | ", &found, " |\n"]);
    }
    if missed.is_empty() {
        return Ok(table);
    }
    Err(format!("{table}\nnot caught: {}", missed.join("; ")))
}

/// Builds a fresh copy with a fault, and verifies nano with it.
fn tried(copy: &Path, target: &Path, fault: Option<&Fault>) -> Result<Verdict, String> {
    let place = |error: io::Error| format!("{}: {error}", copy.display());
    refresh(copy).map_err(place)?;
    if let Some(fault) = fault {
        let path = copy.join(fault.file);
        let text = fs::read_to_string(&path).map_err(place)?;
        fs::write(&path, fault.planted(&text)?).map_err(place)?;
    }
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--package", "enigma"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .map_err(place)?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let run = Command::new(target.join("debug/enigma"))
        .args(["verify", "--json", "--plain"])
        .output()
        .map_err(place)?;
    let text = String::from_utf8_lossy(&run.stdout);
    Ok(Verdict {
        code: run.status.code(),
        failed: text.lines().filter_map(failed).collect(),
    })
}

/// Name, figure and tolerance of a finding that does not pass; a figure that is no number is NaN.
fn failed(line: &str) -> Option<(String, f64, f64)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let passes = value["passes"].as_bool()?;
    let name = value["check"].as_str()?.to_owned();
    let number = |key: &str| value[key].as_f64().unwrap_or(f64::NAN);
    (!passes).then(|| (name, number("figure"), number("tolerance")))
}

/// Makes the copy equal to the checkout; files that are equal already keep their times, so that
/// cargo builds again only what differs.
fn refresh(copy: &Path) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    for name in NEEDED {
        sync(Path::new(name), &copy.join(name))?;
    }
    Ok(())
}

fn sync(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_file() {
        let content = fs::read(from)?;
        if fs::read(to).ok().as_ref() != Some(&content) {
            fs::write(to, content)?;
        }
        return Ok(());
    }
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let stale = entry?.path();
        let is_gone = stale
            .file_name()
            .is_some_and(|name| !from.join(name).exists());
        if is_gone && stale.is_dir() {
            fs::remove_dir_all(&stale)?;
        } else if is_gone {
            fs::remove_file(&stale)?;
        }
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        sync(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

impl Fault {
    /// The source with the fault.
    ///
    /// # Errors
    /// Where the text to replace is not there exactly once.
    pub(crate) fn planted(&self, text: &str) -> Result<String, String> {
        let found = text.matches(self.right).count();
        if found != 1 {
            return Err(format!(
                "{}: {} has {:?} {found} times, expected once; give the fault its new place",
                self.name, self.file, self.right
            ));
        }
        Ok(text.replacen(self.right, self.wrong, 1))
    }
}

/// A folder of the temporary files, kept between calls for its build products.
pub(crate) fn default_folder() -> PathBuf {
    std::env::temp_dir().join("enigma-plant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place_in_the_sources_exactly_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for fault in FAULTS {
            let text = fs::read_to_string(root.join(fault.file)).unwrap();
            let planted = fault
                .planted(&text)
                .unwrap_or_else(|mistake| panic!("{mistake}"));
            assert_ne!(planted, text, "{}", fault.name);
        }
    }

    #[test]
    fn a_finding_that_passes_is_not_reported_and_one_without_a_figure_is() {
        let line = |figure: &str, passes: bool| {
            format!(r#"{{"check":"head","figure":{figure},"tolerance":1e-4,"passes":{passes}}}"#)
        };
        assert_eq!(failed(&line("1e-5", true)), None);
        let (name, figure, _) = failed(&line("null", false)).unwrap();
        assert!(name == "head" && figure.is_nan());
    }
}
