//! Which files make up the index, and what they hold. Replaced as a whole; a file that it does not
//! name is rubbish.

use super::error::IndexError;
use super::files;
use std::path::Path;

/// A version of the ledger and what tells it from the same version of another one: the SHA-256 of
/// its log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    pub version: u64,
    pub digest: [u8; 32],
}

impl LogPosition {
    pub(super) const START: Self = Self { version: 0, digest: [0; 32] };
}

/// Usage rows by what they are; their sum is all usage rows up to the mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// First rows of an id.
    pub keys: u64,
    pub duplicates: u64,
    pub conflicts: u64,
}

const NAME: &str = "manifest";
const MAGIC: &[u8; 8] = b"atcostx1";

/// A run as the manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunName {
    /// Chosen at random, so that no two files of any two processes ever have the same name.
    pub(super) number: u64,
    pub(super) level: u32,
    pub(super) keys: u64,
}

impl RunName {
    pub(super) fn file(&self) -> String {
        format!("{:016x}.run", self.number)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Of the hash of ids.
    pub(super) secret: [u8; 16],
    pub(super) mark: LogPosition,
    pub(super) totals: Totals,
    /// The ids that were in memory at the mark.
    pub(super) front: Option<RunName>,
    pub(super) runs: Vec<RunName>,
}

impl Manifest {
    /// `None` where there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
        let path = folder.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .ok_or_else(|| IndexError::damaged(&path, "it is not what was written".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IndexError::storage(&path, "reading", &error)),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        files::write_whole(folder, NAME, &self.encode())
    }

    pub(super) fn remove(folder: &Path) -> Result<(), IndexError> {
        files::remove(&folder.join(NAME))
    }

    /// The names of all files that belong to it.
    pub(super) fn files(&self) -> Vec<String> {
        self.front.iter().chain(&self.runs).map(RunName::file).chain([NAME.to_owned()]).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.mark.version.to_le_bytes());
        bytes.extend_from_slice(&self.mark.digest);
        let Totals { keys, duplicates, conflicts } = self.totals;
        for number in [keys, duplicates, conflicts, self.front.iter().count() as u64, self.runs.len() as u64]
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for run in self.front.iter().chain(&self.runs) {
            bytes.extend_from_slice(&run.number.to_le_bytes());
            bytes.extend_from_slice(&run.level.to_le_bytes());
            bytes.extend_from_slice(&run.keys.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = body;
        if take::<8>(&mut rest)? != *MAGIC {
            return None;
        }
        let secret = take(&mut rest)?;
        let mark = LogPosition { version: number(&mut rest)?, digest: take(&mut rest)? };
        let totals = Totals {
            keys: number(&mut rest)?,
            duplicates: number(&mut rest)?,
            conflicts: number(&mut rest)?,
        };
        let (fronts, count) = (number(&mut rest)?, number(&mut rest)?);
        let mut names = Vec::new();
        while !rest.is_empty() {
            names.push(RunName {
                number: number(&mut rest)?,
                level: u32::from_le_bytes(take(&mut rest)?),
                keys: number(&mut rest)?,
            });
        }
        let runs =
            names.split_off(usize::try_from(fronts).ok().filter(|fronts| *fronts <= names.len().min(1))?);
        let keys = names.iter().chain(&runs).try_fold(0_u64, |sum, run| sum.checked_add(run.keys))?;
        (runs.len() as u64 == count && keys == totals.keys).then(|| Self {
            secret,
            mark,
            totals,
            front: names.pop(),
            runs,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}
