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
    let path = if let Some(path) = asked {
        path.to_owned()
    } else {
        let mut numbered = (1..).map(|n| Path::new(RUNS).join(format!("{name}-{n}")));
        let free = numbered.find(|path| path.symlink_metadata().is_err());
        free.expect("numbers do not end")
    };
    if path.symlink_metadata().is_ok() {
        return Err(InputError::OutExists { path });
    }
    let above = path.ancestors().skip(1);
    let mut there = above.filter(|folder| folder.symlink_metadata().is_ok());
    if let Some(found) = there.next()
        && !found.is_dir()
    {
        let reason = format!("{} is no folder", found.display());
        return Err(InputError::OutNotWritable { path, reason });
    }
    Ok(path)
}
