//! Pieces of a catalog that a command writes: new files, and text at the end of files that are there.
//!
//! What stands in a piece is for whoever asks. It deliberately publishes nothing.
//!
//! Invariant: nothing that is there is overwritten, and nothing is written that `catalog check` would
//! have a problem with.

use crate::show::{Answer, plural};
use anyhow::{Context as _, bail};
use ledger::Location;
use rating::catalog::{Catalog, CatalogFiles, Problem};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A text of a catalog, by its path below the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub path: String,
    pub text: String,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A file that is not there.
    NewFile,
    /// The end of a file, which is made where it is not there.
    End,
}

/// The files that were written.
#[derive(Debug)]
pub struct Added {
    pub folder: PathBuf,
    /// Each with whether it was there before.
    pub files: Vec<(PathBuf, bool)>,
}

/// Adds pieces to a catalog.
///
/// # Errors
/// When a file is there that would be new, the catalog would have a problem that it has not now, or
/// storage fails.
pub async fn add(folder: &Path, pieces: &[Piece]) -> anyhow::Result<Added> {
    let before = CatalogFiles::read_folder(folder)?;
    let mut texts: BTreeMap<String, String> =
        before.iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    for piece in pieces {
        let path = folder.join(&piece.path);
        if piece.place == Place::NewFile && path.exists() {
            bail!("{} is there already, and nothing is overwritten; choose another id", path.display());
        }
        let text = texts.entry(piece.path.clone()).or_default();
        let addition = joined(text, &piece.text);
        text.push_str(&addition);
    }
    let problems = |files: &CatalogFiles| Catalog::load(files).err().unwrap_or_default();
    let known = problems(&before);
    let new: Vec<Problem> =
        problems(&CatalogFiles::new(texts)).into_iter().filter(|problem| !known.contains(problem)).collect();
    if !new.is_empty() {
        let many = plural(new.len() as u64, "problem", "problems");
        let new: Vec<String> = new.iter().map(Problem::to_string).collect();
        bail!("the catalog would have {many}; nothing was written\n{}", new.join("\n"));
    }
    let mut added = Added { folder: folder.to_owned(), files: Vec::new() };
    for piece in pieces {
        let path = folder.join(&piece.path);
        let is_there = path.exists();
        let written = if is_there { append(&path, &piece.text) } else { create(&path, &piece.text).await };
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        added.files.push((path, is_there));
    }
    Ok(added)
}

/// An addition to a text, with what separates the two.
fn joined(text: &str, addition: &str) -> String {
    let separator = match text {
        "" => "",
        text if text.ends_with("\n\n") => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{separator}{addition}")
}

async fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Whole or not at all, and never over another's.
    Location::on_disk(path)?.put_new(text.to_owned().into()).await?;
    Ok(())
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let addition = joined(&std::fs::read_to_string(path)?, text);
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(addition.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Whether an id can be the name of a folder of a catalog.
///
/// # Errors
/// A sentence, where it cannot.
pub fn folder_name(id: &str) -> Result<String, String> {
    match id {
        "" => Err("it is empty".to_owned()),
        id if id.starts_with('.') || id.contains(['/', '\\']) => {
            Err("it is the name of a folder: it has no slashes and does not begin with a dot".to_owned())
        }
        id => Ok(id.to_owned()),
    }
}

/// A string of TOML.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Added {
    pub fn lines(&self) -> String {
        let said = |(path, was_there): &(PathBuf, bool)| match was_there {
            true => format!("added to {}\n", path.display()),
            false => format!("wrote {}\n", path.display()),
        };
        self.files.iter().map(said).collect()
    }
}

impl Answer for Added {
    fn json(&self) -> anyhow::Result<Value> {
        let of = |was_there: bool| {
            self.files.iter().filter(|file| file.1 == was_there).map(|file| &file.0).collect::<Vec<_>>()
        };
        Ok(json!({ "wrote": of(false), "added_to": of(true) }))
    }

    fn text(&self) -> String {
        format!("{}next: fill it in, then atcost catalog check {}\n", self.lines(), self.folder.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_stands_apart_from_what_is_above_it() {
        for (text, addition) in [("", "b\n"), ("a", "\n\nb\n"), ("a\n", "\nb\n"), ("a\n\n", "b\n")] {
            assert_eq!(joined(text, "b\n"), addition, "{text:?}");
        }
    }

    #[test]
    fn an_id_is_the_name_of_a_folder() {
        assert!(folder_name("vertex_ai-models").is_ok());
        for id in ["", ".", "..", ".git", "a/b", "a\\b"] {
            assert!(folder_name(id).is_err(), "{id}");
        }
    }
}
