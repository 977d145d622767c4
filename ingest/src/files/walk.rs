//! The files below a path, and the format and compression that the name of each promises.
//!
//! It opens none of them. Hidden files and unfinished ones are stepped over.
//!
//! Invariant: a file whose name promises nothing that is read is an error, never skipped.

use crate::IngestError;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

pub const SUPPORTED: &str = ".ndjson, .jsonl, .json and .avro, each also with .gz or .zst added";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Lines,
    Json,
    Avro,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone)]
pub struct Found {
    pub path: PathBuf,
    /// Below the folder, with `/`.
    pub name: Arc<str>,
    pub format: Format,
    pub compression: Compression,
}

/// Every file to read, in byte order of the names.
///
/// # Errors
/// Where something cannot be read, or is no file of a kind that is read.
pub fn walk(root: &Path) -> Result<Vec<Found>, IngestError> {
    let kind = fs::metadata(root).map_err(|error| invalid(root, &error))?.file_type();
    let mut files = if kind.is_file() {
        vec![(root.to_owned(), name_of(root))]
    } else if kind.is_dir() {
        below(root)?
    } else {
        return Err(no_file(root));
    };
    files.sort_by(|(_, one), (_, other)| one.as_bytes().cmp(other.as_bytes()));
    files.into_iter().map(|(path, name)| found(path, &name)).collect()
}

/// The files below a folder, and their names there, in no order.
fn below(root: &Path) -> Result<Vec<(PathBuf, String)>, IngestError> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    let mut visited = HashSet::new();
    while let Some((folder, prefix)) = folders.pop() {
        // A link may lead back to a folder above it.
        if !visited.insert(fs::canonicalize(&folder).map_err(|error| retry(&folder, &error))?) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(|error| retry(&folder, &error))? {
            let path = entry.map_err(|error| retry(&folder, &error))?.path();
            let name = name_of(&path);
            if name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part") {
                continue;
            }
            let below = format!("{prefix}{name}");
            let kind = fs::metadata(&path).map_err(|error| retry(&path, &error))?.file_type();
            if kind.is_dir() {
                folders.push((path, below + "/"));
            } else if kind.is_file() {
                files.push((path, below));
            } else {
                return Err(no_file(&path));
            }
        }
    }
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn found(path: PathBuf, name: &str) -> Result<Found, IngestError> {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.') {
        Some((_, "ndjson" | "jsonl")) => Format::Lines,
        Some((_, "json")) => Format::Json,
        Some((_, "avro")) => Format::Avro,
        _ => {
            return Err(IngestError::Invalid(format!(
                "{}: files of this kind are not read; {SUPPORTED} are. Nothing was read. Move the file away, or put a dot before its name",
                path.display()
            )));
        }
    };
    Ok(Found { path, name: name.into(), format, compression })
}

pub fn invalid(path: &Path, error: &io::Error) -> IngestError {
    IngestError::Invalid(format!(
        "cannot read {}: {error}; give a file or a folder of files ({SUPPORTED})",
        path.display()
    ))
}

/// A pipe would be waited for without an end, a device has none.
fn no_file(path: &Path) -> IngestError {
    IngestError::Invalid(format!(
        "{}: it is a pipe, a socket or a device, not a file; nothing was read. Move it away, or put a dot before its name",
        path.display()
    ))
}

pub fn retry(path: &Path, error: &io::Error) -> IngestError {
    IngestError::Retry(format!(
        "cannot read {}: {error}; what was committed before stays, run again when it can be read",
        path.display()
    ))
}
