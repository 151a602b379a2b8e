//! The folder of a run, chosen before anything is computed and made after everything is checked.

use std::path::{Path, PathBuf};

use crate::error::InputError;

/// Where runs go by default, in the working directory.
const RUNS: &str = "runs";

/// The folder that was asked for, or `runs/<name>-<n>` with the first free number.
///
/// # Errors
/// Where it exists, or lies below something that is no folder.
pub(crate) fn run_folder(asked: Option<&Path>, name: &str) -> Result<PathBuf, InputError> {
    let path = asked.map_or_else(|| numbered(name, ""), Path::to_owned);
    if path.symlink_metadata().is_ok() {
        return Err(InputError::OutExists { path });
    }
    match obstacle(&path) {
        Some(reason) => Err(InputError::OutNotWritable { path, reason }),
        None => Ok(path),
    }
}

/// The file that was asked for, or `runs/<name>-<n><ending>` with the first free number.
///
/// # Errors
/// As [`run_folder`].
pub(crate) fn new_file(
    asked: Option<&Path>,
    name: &str,
    ending: &str,
) -> Result<PathBuf, InputError> {
    let path = asked.map_or_else(|| numbered(name, ending), Path::to_owned);
    if path.symlink_metadata().is_ok() {
        return Err(InputError::FileExists { path });
    }
    match obstacle(&path) {
        Some(reason) => Err(InputError::FileNotWritable { path, reason }),
        None => Ok(path),
    }
}

fn numbered(name: &str, ending: &str) -> PathBuf {
    let mut numbered = (1..).map(|n| Path::new(RUNS).join(format!("{name}-{n}{ending}")));
    let free = numbered.find(|path| path.symlink_metadata().is_err());
    free.expect("numbers do not end")
}

/// What is there above the path, if it is no folder.
fn obstacle(path: &Path) -> Option<String> {
    let mut above = path.ancestors().skip(1);
    let found = above.find(|folder| folder.symlink_metadata().is_ok())?;
    (!found.is_dir()).then(|| format!("{} is no folder", found.display()))
}
