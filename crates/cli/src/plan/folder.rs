//! The folder of a run, chosen before anything is computed and made after everything is checked.

use std::path::{Path, PathBuf};

use crate::error::InputError;

/// Where runs go by default, in the working directory.
const RUNS: &str = "runs";

/// The folder that was asked for, or `runs/<name>-<n>` with the first free number.
///
/// # Errors
/// Where it exists.
pub(crate) fn run_folder(asked: Option<&Path>, name: &str) -> Result<PathBuf, InputError> {
    let Some(path) = asked else {
        let numbered = (1..).map(|n| Path::new(RUNS).join(format!("{name}-{n}")));
        let free = numbered.into_iter().find(|path| !path.exists());
        return Ok(free.expect("numbers do not end"));
    };
    if path.symlink_metadata().is_ok() {
        return Err(InputError::OutExists {
            path: path.to_owned(),
        });
    }
    Ok(path.to_owned())
}
