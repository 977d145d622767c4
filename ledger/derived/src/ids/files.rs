//! Files that appear whole: written under another name, made durable, renamed.
//!
//! The index would be right without any of it, because what is torn or lost is found out by its
//! checksum or its length and built again. It is done so that a power loss seldom costs that work.

use super::error::IndexError;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where a file is before it has its name.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

pub(super) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), IndexError> {
    let path = folder.join(name);
    let new = unfinished(&path);
    let mut file = File::create(&new).map_err(|error| IndexError::storage(&new, "creating", &error))?;
    fail::fail_point!("index.file-created");
    file.write_all(bytes).map_err(|error| IndexError::storage(&new, "writing", &error))?;
    publish(&file, &path)
}

/// Gives a file that was written as `unfinished(path)` its name.
pub(super) fn publish(file: &File, path: &Path) -> Result<(), IndexError> {
    let new = unfinished(path);
    fail::fail_point!("index.file-written");
    file.sync_data().map_err(|error| IndexError::storage(&new, "making durable", &error))?;
    std::fs::rename(&new, path).map_err(|error| IndexError::storage(path, "renaming", &error))?;
    fail::fail_point!("index.file-named");
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), IndexError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| IndexError::storage(folder, "making durable", &error))
}

pub(super) fn remove(path: &Path) -> Result<(), IndexError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::storage(path, "removing", &error))
        }
        _ => {
            fail::fail_point!("index.file-removed");
            Ok(())
        }
    }
}

/// Removes every file of the folder but those in `keep`.
pub(super) fn remove_others(folder: &Path, keep: &[String]) -> Result<(), IndexError> {
    let failed = |error: std::io::Error| IndexError::storage(folder, "listing", &error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !keep.iter().any(|name| entry.file_name() == name.as_str())
            && entry.file_type().map_err(failed)?.is_file()
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
