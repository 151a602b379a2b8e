//! Files and folders that are whole or absent.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::RecordError;

/// Writes a file, so that whoever reads it, after a crash too, finds the old bytes or the new ones.
///
/// The bytes go to `.{name}.partial` beside it, reach the disk, and are then renamed. What a crash
/// left under that name is overwritten.
///
/// # Errors
/// Where the file system refuses; `path` is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let partial = partial_of(path);
    let write = || {
        let mut file = File::create(&partial).map_err(RecordError::io("create", &partial))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(RecordError::io("write", &partial))?;
        publish(&partial, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })
}

/// Builds a folder under `.{name}.partial` and renames it once all of it has reached the disk, so
/// that `path` is absent or whole.
///
/// What a crash left under the partial name is removed first, as is what a `build` that fails has
/// made.
///
/// # Errors
/// If `path` exists, if `build` fails, or where the file system refuses.
pub fn atomic_folder<E: From<RecordError>>(
    path: &Path,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if path.exists() {
        let path = path.to_owned();
        return Err(RecordError::Exists { path }.into());
    }
    let partial = partial_of(path);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(RecordError::io("remove", &partial))?;
    }
    fs::create_dir(&partial).map_err(RecordError::io("create", &partial))?;
    if let Err(error) = build(&partial) {
        // The build's own error says more than a failure to clear up after it.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    let published = sync_tree(&partial).and_then(|()| publish(&partial, path));
    Ok(published.inspect_err(|_| {
        let _ = fs::remove_dir_all(&partial);
    })?)
}

/// Removes a folder, so that whoever looks for `path`, after a crash too, finds it whole or not at
/// all. What a crash leaves is `.{name}.removed` beside it.
///
/// # Errors
/// Where the file system refuses.
pub(crate) fn remove_folder(path: &Path) -> Result<(), RecordError> {
    let removed = beside(path, REMOVED);
    if removed.exists() {
        fs::remove_dir_all(&removed).map_err(RecordError::io("remove", &removed))?;
    }
    fs::rename(path, &removed).map_err(RecordError::io("remove", path))?;
    fs::remove_dir_all(&removed).map_err(RecordError::io("remove", &removed))
}

/// Whether a name is one of those that a crash leaves behind.
pub(crate) fn is_left_over(name: &str) -> bool {
    let ends = [PARTIAL, REMOVED].iter().any(|end| name.ends_with(end));
    name.starts_with('.') && ends
}

/// Endings of the names that stand for what is not whole yet, or no more.
const PARTIAL: &str = ".partial";
const REMOVED: &str = ".removed";

fn partial_of(path: &Path) -> PathBuf {
    beside(path, PARTIAL)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().expect("a file or folder has a name");
    path.with_file_name(format!(".{}{end}", name.to_string_lossy()))
}

fn publish(partial: &Path, path: &Path) -> Result<(), RecordError> {
    fs::rename(partial, path).map_err(RecordError::io("rename to", path))?;
    sync_parent(path)
}

/// Has the name of a file or folder reach the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), RecordError> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync(parent),
        _ => sync(Path::new(".")),
    }
}

fn sync_tree(folder: &Path) -> Result<(), RecordError> {
    let list = RecordError::io("list", folder);
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for entry in entries.map_err(list)? {
        let path = entry.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(folder)
}

/// Only Unix lets a folder be opened, and lets a file opened for reading be flushed.
fn sync(path: &Path) -> Result<(), RecordError> {
    if cfg!(unix) {
        let flushed = File::open(path).and_then(|file| file.sync_all());
        flushed.map_err(RecordError::io("flush", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_bytes() {
        let scratch = Scratch::new("write-fails");
        let path = scratch.path().join("summary.json");
        write_atomic(&path, b"old").unwrap();
        // The partial name is taken by a folder: the write fails before the rename.
        fs::create_dir(partial_of(&path)).unwrap();
        assert!(matches!(
            write_atomic(&path, b"new"),
            Err(RecordError::Io { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn what_a_crash_left_half_written_is_overwritten() {
        let scratch = Scratch::new("write-crashed");
        let path = scratch.path().join("summary.json");
        write_atomic(&path, b"old").unwrap();
        fs::write(partial_of(&path), b"half of something lo").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(scratch.path()), ["summary.json"]);
    }

    #[test]
    fn a_folder_has_its_name_only_once_it_is_whole() {
        let scratch = Scratch::new("folder");
        let path = scratch.path().join("checkpoint-1");
        let build = |partial: &Path| {
            assert!(!path.exists());
            fs::create_dir(partial.join("inner")).unwrap();
            fs::write(partial.join("inner/weights"), b"w").unwrap();
            Ok::<(), RecordError>(())
        };
        atomic_folder(&path, build).unwrap();
        assert_eq!(fs::read(path.join("inner/weights")).unwrap(), b"w");
        assert_eq!(names(scratch.path()), ["checkpoint-1"]);
        let again = atomic_folder(&path, |_| Ok::<(), RecordError>(()));
        assert!(
            matches!(again, Err(RecordError::Exists { .. })),
            "{again:?}"
        );
        assert_eq!(fs::read(path.join("inner/weights")).unwrap(), b"w");
    }

    #[test]
    fn a_folder_whose_build_fails_leaves_nothing() {
        let scratch = Scratch::new("folder-fails");
        let path = scratch.path().join("checkpoint-1");
        let failed = atomic_folder(&path, |partial| {
            fs::write(partial.join("weights"), b"w").unwrap();
            Err(RecordError::NotARun {
                path: PathBuf::from("other"),
            })
        });
        assert!(
            matches!(failed, Err(RecordError::NotARun { .. })),
            "{failed:?}"
        );
        assert_eq!(names(scratch.path()), [""; 0]);
    }

    #[test]
    fn a_folder_whose_build_crashed_is_absent_and_can_be_built_again() {
        let scratch = Scratch::new("folder-crashed");
        let path = scratch.path().join("checkpoint-1");
        let crash = std::panic::catch_unwind(|| {
            atomic_folder(&path, |partial| -> Result<(), RecordError> {
                fs::write(partial.join("torn"), b"w").unwrap();
                panic!("the process ends here")
            })
        });
        assert!(crash.is_err() && !path.exists());
        atomic_folder(&path, |_| Ok::<(), RecordError>(())).unwrap();
        assert_eq!(names(&path), [""; 0]);
        assert_eq!(names(scratch.path()), ["checkpoint-1"]);
    }

    #[test]
    fn a_folder_whose_removal_crashed_is_gone_and_what_is_left_of_it_is_known() {
        let scratch = Scratch::new("folder-removed");
        let path = scratch.path().join("checkpoint-1");
        for _ in 0..2 {
            atomic_folder(&path, |_| Ok::<(), RecordError>(())).unwrap();
            // As a crash between the two halves of a removal leaves it.
            fs::create_dir_all(beside(&path, REMOVED).join("inner")).unwrap();
            assert!(is_left_over(&names(scratch.path())[0]));
            remove_folder(&path).unwrap();
            assert_eq!(names(scratch.path()), [""; 0]);
        }
        assert!(!is_left_over("checkpoint-1") && !is_left_over("my.partial"));
    }
}
