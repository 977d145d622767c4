//! Which segments there are, and which version of each shard they reach. Replaced as a whole; a file
//! that it does not name is rubbish.
//!
//! Invariant: a manifest that can be read is what was written.

use super::error::TotalsError;
use super::part::Part;
use super::segment::{Segment, Union};
use ledger::Location;
use schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 3;
/// The manifest itself.
pub(super) const NAME: &str = "manifest.json";
/// The state that a process is about to reach: what the index of ids may already have.
pub(super) const REACHING: &str = "reaching.json";

/// How far a shard is folded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardState {
    pub version: u64,
    /// The SHA-256 of that version's log entry; empty for version 0.
    pub entry: String,
    /// Every version up to `version` is in one.
    pub leaves: Vec<Segment>,
    pub unions: Vec<Union>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// How many commits the index of ids had.
    pub indexed: u64,
    /// The rows of a leaf, at most.
    pub leaf: u64,
    pub shards: Vec<ShardState>,
}

impl Manifest {
    pub fn new(indexed: u64, leaf: u64, shards: Vec<ShardState>) -> Self {
        Self { format: FORMAT, indexed, leaf, shards }
    }

    /// Reads `name` in `folder`; none where there is none, or one that is not what was written.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn read(folder: &Location, name: &str) -> Result<Option<Self>, TotalsError> {
        let Some(bytes) = folder.join(name).read().await? else { return Ok(None) };
        Ok(Self::decode(&bytes))
    }

    /// Whether `name` in `folder` is there and not what was written. One of another format is.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn is_torn(folder: &Location, name: &str) -> Result<bool, TotalsError> {
        let bytes = folder.join(name).read().await?;
        Ok(bytes.is_some_and(|bytes| body_of(&bytes).is_none()))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_str(body_of(bytes)?).ok()?;
        (manifest.format == FORMAT).then_some(manifest)
    }

    /// # Errors
    /// When storage fails.
    pub async fn write(&self, folder: &Location, name: &str) -> Result<(), TotalsError> {
        let body = serde_json::to_string(self).expect("a manifest is JSON");
        let digest = Sha256Digest::of(body.as_bytes());
        Ok(folder.join(name).replace(format!("{digest}\n{body}").into_bytes().into()).await?)
    }

    /// The names of the files that belong to it.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.parts().map(|part| part.name.as_str())
    }

    /// The files that it names.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let of_leaves = self.leaves().flat_map(Segment::parts);
        let unions = self.shards.iter().flat_map(|shard| &shard.unions);
        of_leaves.chain(unions.filter_map(|union| union.months.as_ref()))
    }

    pub fn leaves(&self) -> impl Iterator<Item = &Segment> {
        self.shards.iter().flat_map(|shard| &shard.leaves)
    }
}

/// What a manifest says, after its digest was compared.
fn body_of(bytes: &[u8]) -> Option<&str> {
    let (digest, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    (Sha256Digest::of(body.as_bytes()).to_string() == digest).then_some(body)
}
