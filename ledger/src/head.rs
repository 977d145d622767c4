//! Signed heads as they are published: a C2SP signed note over a C2SP checkpoint, and the hash
//! tiles from which anybody makes proofs.
//!
//! It deliberately decides nothing: what may be signed is `signer`'s to say.
//!
//! Invariant: a key never appears in what is printed.

use crate::error::LedgerError;
use crate::merkle::{Head, Tree};
use crate::shard::local;
use crate::store::object_path;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use object_store::{ObjectStoreExt as _, PutPayload};
use signed_note::{
    Note, StandardSigner, StandardVerifier, Verifier as _, VerifierList, is_key_name_valid,
    new_ed25519_verifier_key,
};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tlog_tiles::{Checkpoint, Hash as TlogHash, Tile};

/// The only kind of key there is, as signed notes number them.
const ED25519: u8 = 1;
/// Levels of the tree in one tile.
const TILE_HEIGHT: u8 = 8;

/// The secret key that heads are signed with.
pub struct SignerKey {
    signer: StandardSigner,
    verifier: VerifierKey,
}

/// What heads are checked with: `NAME+ID+KEY`, as signed notes have it.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    verifier: StandardVerifier,
}

impl SignerKey {
    const WANTED: &str =
        "it is not the key of a signer; restore it from a copy, or make one with `atcost signer new-key`";

    /// Makes a key and writes it to a new file that its owner alone may read.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be one or the file exists, `Storage` otherwise.
    pub fn create(path: &Path, name: &str) -> Result<VerifierKey, LedgerError> {
        if !is_key_name_valid(name) || name.chars().any(char::is_control) {
            return Err(LedgerError::invalid(
                &format!("{name:?}"),
                "a key's name has no blank and no +; take the name of your organisation's domain",
            ));
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| {
            LedgerError::storage(&path.display(), "asking the system for random bytes", &error)
        })?;
        let key = format!("{}\n", private_text(name, &secret));
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(path).and_then(|mut file| {
            file.write_all(key.as_bytes())?;
            file.sync_all()?;
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        });
        match written {
            Ok(()) => {
                Ok(verifier_text(name, &secret).parse().expect("a key that was just made is well formed"))
            }
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => Err(LedgerError::invalid(
                &path.display(),
                "there is a file already; a key is never overwritten",
            )),
            Err(error) => Err(LedgerError::storage(&path.display(), "writing the key", &error)),
        }
    }

    /// # Errors
    /// `Invalid` when it is missing or everybody may read it, `Corrupt` when it is no key.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            IoErrorKind::NotFound => LedgerError::invalid(
                &path.display(),
                "there is no signer's key; make one with `atcost signer new-key`",
            ),
            IoErrorKind::InvalidData => LedgerError::corrupt(&path.display(), Self::WANTED),
            _ => LedgerError::storage(&path.display(), "reading the key", &error),
        })?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path)
                .map_err(|error| LedgerError::storage(&path.display(), "reading the key", &error))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(LedgerError::invalid(
                    &path.display(),
                    "others may read the signer's key, and sign in its name; set its mode to 0600",
                ));
            }
        }
        Self::parse(&text).ok_or_else(|| LedgerError::corrupt(&path.display(), Self::WANTED))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        let signer = StandardSigner::new(text).ok()?;
        let (_, rest) = text.split_once("PRIVATE+KEY+")?;
        let (name, rest) = rest.split_once('+')?;
        let (_, key) = rest.split_once('+')?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        let secret: [u8; 32] = key.get(1..)?.try_into().ok()?;
        // One spelling, so that no bit of the file can change unnoticed.
        (text == private_text(name, &secret)).then_some(())?;
        Some(Self { signer, verifier: verifier_text(name, &secret).parse().ok()? })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a head. The same head is signed with the same bytes each time.
    pub(crate) fn sign(&self, origin: &str, head: &Head) -> SignedHead {
        let checkpoint =
            Checkpoint::new(origin, head.size, TlogHash(head.root), "").expect("an origin is not empty");
        let mut note = Note::new(&checkpoint.to_bytes(), &[]).expect("a checkpoint is a well-formed text");
        note.add_sigs(&[&self.signer]).expect("a key that was read can sign");
        SignedHead { origin: origin.to_owned(), head: *head, note: note.to_bytes() }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignerKey({})", self.verifier)
    }
}

fn verifier_text(name: &str, secret: &[u8; 32]) -> String {
    new_ed25519_verifier_key(name, &SigningKey::from_bytes(secret).verifying_key())
}

fn private_text(name: &str, secret: &[u8; 32]) -> String {
    let verifier = verifier_text(name, secret);
    let id = verifier.split('+').nth(1).expect("a verifier key has an id");
    format!("PRIVATE+KEY+{name}+{id}+{}", BASE64_STANDARD.encode([&[ED25519][..], secret].concat()))
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the key of a verifier; it looks like NAME+1a2b3c4d+BASE64, as `atcost signer new-key` prints it"
)]
pub struct VerifierKeyError(String);

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let verifier = StandardVerifier::new(text).map_err(|_| VerifierKeyError(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), verifier })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl VerifierKey {
    pub fn name(&self) -> &str {
        self.verifier.name()
    }
}

/// A head and the note that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Which log it is a head of.
    pub origin: String,
    pub head: Head,
    pub(crate) note: Vec<u8>,
}

impl SignedHead {
    /// Reads a note. Its signature is not checked here.
    pub fn parse(note: &[u8]) -> Option<Self> {
        let text = Note::from_bytes(note).ok()?.text().to_vec();
        let checkpoint = Checkpoint::from_bytes(&text).ok()?;
        // Nothing but what we write, so that there is one text for a head.
        let same = checkpoint.extension().is_empty() && checkpoint.to_bytes() == text;
        let head = Head { size: checkpoint.size(), root: checkpoint.hash().0 };
        same.then(|| Self { origin: checkpoint.origin().to_owned(), head, note: note.to_vec() })
    }

    /// Whether it has a signature by that key, and none by it that is wrong.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let known = VerifierList::new(vec![Box::new(key.verifier.clone())]);
        Note::from_bytes(&self.note).is_ok_and(|note| note.verify(&known).is_ok())
    }
}

/// What the log of a table is called in its heads.
pub fn origin(table: &str) -> String {
    format!("atcost/{table}")
}

/// Where a table's heads and tiles are published.
pub fn log_folder(table: &Path) -> PathBuf {
    table.join("log")
}

/// Where a table's last head is published.
pub fn head_path(table: &Path) -> PathBuf {
    log_folder(table).join("checkpoint")
}

/// The bytes of the published head, if there is one.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn published(table: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    let path = head_path(table);
    match std::fs::read(&path) {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::storage(&path.display(), "reading", &error)),
    }
}

/// Publishes a head after the tiles it needs, so that whoever reads a head finds them.
///
/// # Errors
/// When storage fails; publishing again completes it.
pub(crate) async fn publish(table: &Path, tree: &Tree, signed: &SignedHead) -> Result<(), LedgerError> {
    let before = published(table)?
        .and_then(|note| SignedHead::parse(&note))
        .map_or(0, |published| published.head.size);
    // What stands there may be another log's; then everything is written.
    let before = if before <= signed.head.size { before } else { 0 };
    for tile in Tile::new_tiles(TILE_HEIGHT, before, signed.head.size) {
        put(&tile_path(table, &tile), tile_data(&tile, tree)).await?;
    }
    fail::fail_point!("signer.tiles-published");
    put(&head_path(table), signed.note.clone()).await
}

pub(crate) async fn put(path: &Path, bytes: Vec<u8>) -> Result<(), LedgerError> {
    let payload = PutPayload::from(bytes);
    local()
        .put(&object_path(path)?, payload)
        .await
        .map(drop)
        .map_err(|error| LedgerError::storage(&path.display(), "writing", &error))
}

/// As c2sp.org/tlog-tiles names them: without the height, which is always 8.
fn tile_path(table: &Path, tile: &Tile) -> PathBuf {
    let path = tile.path();
    let coordinates = path.strip_prefix("tile/8/").expect("tiles are 8 high");
    log_folder(table).join("tile").join(coordinates)
}

fn tile_data(tile: &Tile, tree: &Tree) -> Vec<u8> {
    tile.read_data(tree).expect("the tree has the hashes of its own tiles")
}

/// What is wrong with the tiles of a log whose published head has `size` leaves: each file, and
/// why, as part of a sentence.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn check_tiles(
    table: &Path,
    tree: &Tree,
    size: u64,
) -> Result<Vec<(PathBuf, String)>, LedgerError> {
    const AGAIN: &str = "remove the folder log and run `atcost sign`, which publishes it again";
    let mut wrong = Vec::new();
    for tile in Tile::new_tiles(TILE_HEIGHT, 0, size) {
        let path = tile_path(table, &tile);
        if !path.is_file() {
            wrong.push((path, format!("the published head needs this tile, and it is not there; {AGAIN}")));
        }
    }
    let root = log_folder(table).join("tile");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let failed = |error: std::io::Error| LedgerError::storage(&folder.display(), "listing", &error);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == IoErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Left by a crash while a tile was written; nobody reads it.
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            let coordinates = path.strip_prefix(&root).ok().and_then(Path::to_str).unwrap_or_default();
            let tile =
                Tile::from_path(&format!("tile/8/{coordinates}")).ok().filter(|tile| is_in(tile, tree));
            let Some(tile) = tile else {
                wrong.push((path, format!("this is not a tile of the log; {AGAIN}")));
                continue;
            };
            let found = std::fs::read(&path)
                .map_err(|error| LedgerError::storage(&path.display(), "reading", &error))?;
            if found != tile_data(&tile, tree) {
                wrong.push((path, format!("the tile does not hold the hashes of the records; {AGAIN}")));
            }
        }
    }
    wrong.sort();
    Ok(wrong)
}

/// Whether the tree has all hashes of a tile.
fn is_in(tile: &Tile, tree: &Tree) -> bool {
    let size = tree.leaves().len() as u64;
    let level = u32::from(tile.level()) * u32::from(TILE_HEIGHT);
    let nodes = size.checked_shr(level).unwrap_or_default();
    let end = tile
        .level_index()
        .checked_mul(1 << TILE_HEIGHT)
        .and_then(|start| start.checked_add(u64::from(tile.width())));
    !tile.is_data() && tile.width() > 0 && end.is_some_and(|end| end <= nodes)
}
