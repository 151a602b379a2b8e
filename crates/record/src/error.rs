//! What can go wrong with a record.

use std::path::{Path, PathBuf};

/// Why a record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A run would be mixed with something else.
    #[error("{path:?} exists and is not empty, expected a new run folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is written once is there already.
    #[error("{path:?} exists already, and is never replaced")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes this run.
    #[error("{path:?} is a run that is still going on; stop it first")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint that contradicts itself.
    #[error("{path:?} is a checkpoint of step {found}, expected {expected}, as its name says")]
    OtherStep {
        /// The folder.
        path: PathBuf,
        /// In its state.
        found: usize,
        /// In its name.
        expected: usize,
    },
    /// A checkpoint without the metrics that led to it.
    #[error("{path:?} has the metrics of {found} steps, expected {expected}")]
    StepsMissing {
        /// The file.
        path: PathBuf,
        /// Steps in it.
        found: usize,
        /// Steps there were.
        expected: usize,
    },
    /// A folder without a plan.
    #[error("{path:?} is not a run folder: it has no plan.toml")]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A whole line or file that does not say what it should.
    #[error("{path:?}, line {line}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl RecordError {
    /// For `map_err` on a file operation.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
