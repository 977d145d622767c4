//! The segments that a cut of the ledger is made of.
//!
//! Invariant: where they are the whole of it, every row of the cut is in one segment.

use super::control::Control;
use super::error::TotalsError;
use super::manifest::Manifest;
use super::segment::{Part, Segment, read, verified_location};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use ledger::Location;
use ledger::pinned::Versions;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The part of a cut that is in one shard.
#[derive(Debug, Clone)]
pub(super) struct ShardCover {
    /// The last version that is in a segment.
    folded_to: u64,
    /// The last version of the cut.
    version: u64,
    segments: Vec<Segment>,
}

impl ShardCover {
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }
}

/// A cut of the ledger.
#[derive(Debug, Clone)]
pub struct Cover {
    folder: Location,
    pub(super) shards: Vec<ShardCover>,
}

impl Cover {
    pub(super) async fn of(
        folder: &Location,
        manifest: &Manifest,
        versions: &Versions,
    ) -> Result<Self, TotalsError> {
        let mut shards = Vec::new();
        for (state, version) in manifest.shards.iter().zip(&versions.0) {
            if state.version < *version {
                let detail = format!("they reach version {}, not {version}", state.version);
                return Err(TotalsError::damaged(folder, detail));
            }
            let whole = state.segments.iter().take_while(|segment| segment.block().last() <= *version);
            let segments: Vec<Segment> = whole.cloned().collect();
            let folded_to = segments.last().map_or(0, |segment| segment.block().last());
            shards.push(ShardCover { folded_to, version: *version, segments });
        }
        Ok(Self { folder: folder.clone(), shards })
    }

    /// Whether every commit of the cut is in a segment. The last cut of a ledger always is.
    pub fn is_whole(&self) -> bool {
        self.shards.iter().all(|shard| shard.folded_to == shard.version)
    }

    /// What the rows in segments add up to.
    pub fn control(&self) -> Control {
        let mut control = Control::default();
        self.segments().for_each(|segment| control.add(&segment.control));
        control
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.shards.iter().flat_map(|shard| &shard.segments)
    }

    /// Whether a file is what was written.
    pub(super) async fn check(&self, part: &Part) -> Result<(), TotalsError> {
        verified_location(&self.folder, part).await.map(drop)
    }

    /// The rows of a file, after its digest was compared.
    pub(super) async fn read(&self, part: &Part) -> Result<Vec<RecordBatch>, TotalsError> {
        read(&self.folder, part).await
    }

    async fn verified(&self, parts: impl Iterator<Item = &Part>) -> Result<Vec<Location>, TotalsError> {
        let mut locations = Vec::new();
        for part in parts {
            locations.push(verified_location(&self.folder, part).await?);
        }
        Ok(locations)
    }

    /// The files of cells that may have one of `days`, each after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where one is not what was written.
    pub async fn cells(&self, days: &RangeInclusive<i32>) -> Result<Vec<Location>, TotalsError> {
        let wanted =
            self.segments().filter(|segment| segment.control.days.range(days.clone()).next().is_some());
        self.verified(wanted.filter_map(|segment| segment.cells.as_ref())).await
    }

    /// The files of suspects, each after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where one is not what was written.
    pub async fn suspects(&self) -> Result<Vec<Location>, TotalsError> {
        self.verified(self.segments().filter_map(|segment| segment.suspects.as_ref())).await
    }

    /// The files of a shard's repeats, each after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where one is not what was written.
    pub async fn repeats(&self, shard: usize) -> Result<Vec<Location>, TotalsError> {
        let segments = self.shards[shard].segments.iter();
        self.verified(segments.filter_map(|segment| segment.repeats.as_ref())).await
    }

    /// The commits of a shard, within segments, that have usage of one of `days`.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written.
    pub async fn commits_of(&self, shard: usize, days: &BTreeSet<i32>) -> Result<BTreeSet<u64>, TotalsError> {
        let mut commits = BTreeSet::new();
        for segment in &self.shards[shard].segments {
            let has = |day: &i32| segment.control.days.contains_key(day);
            let Some(spans) = segment.spans.as_ref().filter(|_| days.iter().any(has)) else { continue };
            for batch in read(&self.folder, spans).await? {
                let versions = batch.column(0).as_primitive::<Int64Type>().values();
                let of_days = batch.column(1).as_primitive::<Int32Type>().values();
                let wanted = versions.iter().zip(of_days).filter(|(_, day)| days.contains(*day));
                commits.extend(wanted.map(|(version, _)| version.cast_unsigned()));
            }
        }
        Ok(commits)
    }
}
