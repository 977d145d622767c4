//! The catalog as it was written: the text of its files, under one digest.
//!
//! The journal keeps these texts, so that a run can always be traced to the words people wrote.
//! Nothing is interpreted here.
//!
//! Invariant: texts that differ in a byte, or in the place of one, have different digests.

use schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a catalog by their path below its folder, with `/` between names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogFiles(BTreeMap<String, String>);

/// Why a folder or a journal entry is not a set of catalog files.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFilesError {
    #[error("cannot read the catalog at {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}:{line}: the catalog's file is not UTF-8 from here on; save it as UTF-8")]
    NotUtf8 { path: PathBuf, line: usize },
    #[error("the name of the catalog's file {0} is not UTF-8; rename it")]
    NameNotUtf8(PathBuf),
    #[error("the catalog at {0} is nested deeper than providers/ID; a link may point back up")]
    TooDeep(PathBuf),
    #[error("the stored catalog cannot be read: {0}")]
    Stored(#[from] serde_json::Error),
    #[error("the stored catalog has version {0}; this program reads version {STORED_VERSION}")]
    StoredVersion(u32),
}

/// The bytes that begin what is hashed; they say which rule the digest follows.
const DIGEST_CONTEXT: &[u8] = b"atcost catalog v1\n";

const STORED_VERSION: u32 = 1;

/// The shape in the journal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    files: BTreeMap<String, String>,
}

impl CatalogFiles {
    pub fn new(files: BTreeMap<String, String>) -> Self {
        Self(files)
    }

    /// Reads every `.toml` and `.csv` file below a folder. Names that begin with a dot, and other
    /// files such as a README, are no part of a catalog.
    ///
    /// # Errors
    /// [`CatalogFilesError`], naming the path.
    pub fn read_folder(folder: &Path) -> Result<Self, CatalogFilesError> {
        let mut files = BTreeMap::new();
        read_into(&mut files, folder, "", 0)?;
        Ok(Self(files))
    }

    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    pub(super) fn get_key_value(&self, path: &str) -> Option<(&str, &str)> {
        self.0.get_key_value(path).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Paths and texts, by path in byte order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The content address: SHA-256 over the line `atcost catalog v1`, then for every file in byte
    /// order of its path: the length of the path in bytes (64 bits, big-endian), the path, the
    /// length of the text in bytes (the same), the text.
    pub fn digest(&self) -> Sha256Digest {
        let mut bytes = DIGEST_CONTEXT.to_vec();
        for part in self.0.iter().flat_map(|(path, text)| [path, text]) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Sha256Digest::of(&bytes)
    }

    /// The bytes that the journal keeps.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored { version: STORED_VERSION, files: self.0.clone() };
        serde_json::to_vec(&stored).expect("a map of strings is always JSON")
    }

    /// # Errors
    /// [`CatalogFilesError::Stored`] and [`CatalogFilesError::StoredVersion`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, CatalogFilesError> {
        let stored: Stored = serde_json::from_slice(bytes)?;
        if stored.version != STORED_VERSION {
            return Err(CatalogFilesError::StoredVersion(stored.version));
        }
        Ok(Self(stored.files))
    }
}

/// Folders of a catalog are at most `providers/ID` deep.
const MAX_DEPTH: usize = 2;

fn read_into(
    files: &mut BTreeMap<String, String>,
    folder: &Path,
    prefix: &str,
    depth: usize,
) -> Result<(), CatalogFilesError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| CatalogFilesError::Read { path, source }
    };
    if depth > MAX_DEPTH {
        return Err(CatalogFilesError::TooDeep(folder.to_owned()));
    }
    for entry in std::fs::read_dir(folder).map_err(read(folder))? {
        let path = entry.map_err(read(folder))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| CatalogFilesError::NameNotUtf8(path.clone()))?;
        if name.starts_with('.') {
            continue;
        }
        let relative = format!("{prefix}{name}");
        if std::fs::metadata(&path).map_err(read(&path))?.is_dir() {
            read_into(files, &path, &format!("{relative}/"), depth + 1)?;
        } else if name.ends_with(".toml") || name.ends_with(".csv") {
            let bytes = std::fs::read(&path).map_err(read(&path))?;
            let text = text_of(&path, bytes)?;
            files.insert(relative, text);
        }
    }
    Ok(())
}

/// The text of a file.
fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, CatalogFilesError> {
    String::from_utf8(bytes).map_err(|error| {
        let read = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        // As editors count: a line ends with \n, with \r\n or with \r alone.
        let text = String::from_utf8_lossy(read).replace("\r\n", "\n");
        let line = text.matches(['\n', '\r']).count() + 1;
        CatalogFilesError::NotUtf8 { path: path.to_owned(), line }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> CatalogFiles {
        CatalogFiles::new(pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn the_digest_tells_where_a_byte_belongs() {
        let one = files(&[("a", "bc"), ("d", "e")]);
        assert_eq!(
            one.digest().to_string(),
            "22f416419b0d6aed35ebdc47c4be8a503c34b474656879dac85811e5fb7864ec"
        );
        for other in [
            files(&[("ab", "c"), ("d", "e")]),
            files(&[("a", "bcd"), ("", "e")]),
            files(&[("a", "bc")]),
            files(&[]),
        ] {
            assert_ne!(other.digest(), one.digest());
        }
    }

    #[test]
    fn a_file_that_is_no_utf8_is_named_with_its_line() {
        for (bytes, line) in [(&b"a\nb\r\nc\rd\xFFe\n"[..], 4), (b"\xFF", 1)] {
            let refused = text_of(Path::new("bindings.csv"), bytes.to_vec()).expect_err("it is refused");
            assert!(refused.to_string().starts_with(&format!("bindings.csv:{line}: ")), "{refused}");
        }
    }

    #[test]
    fn the_journal_gives_back_what_it_was_given() {
        let one = files(&[("a.toml", "x = \"ü\"\r\n"), ("b.csv", "")]);
        let read = CatalogFiles::from_json(&one.to_json()).expect("stored files");
        assert_eq!((read.digest(), &read), (one.digest(), &one));
        for wrong in
            [&b"{}"[..], b"", br#"{"version":2,"files":{}}"#, br#"{"version":1,"files":{},"more":1}"#]
        {
            assert!(CatalogFiles::from_json(wrong).is_err());
        }
    }
}
