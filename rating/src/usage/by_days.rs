//! Rows of some events by the days that they lie in: of a ledger that usage totals cover, only the files are
//! read that have any.
//!
//! Which rows are looked for, and why, is deliberately the caller's.
//!
//! Invariant: no row that counts is left out that is of the events and lies in one of the days. Each file is
//! checked once.

use super::counted::CountedRows;
use super::engine;
use super::folded::Folded;
use crate::error::RatingError;
use ledger::Location;
use schemas::time::Day;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The commits whose rows a file has.
pub(super) type OfFile = RangeInclusive<u64>;

/// Rows of some files.
pub(super) struct RowsOfDays {
    pub table: String,
    /// SQL: the places of rows that do not count.
    pub uncounted: String,
    /// How many these are.
    pub few: u64,
}

impl CountedRows {
    /// The commits of a shard with suspects that are not plain, and of which `which` is true.
    pub(super) async fn commits_of_suspects(
        &self,
        shard: usize,
        which: &str,
    ) -> Result<BTreeSet<u64>, RatingError> {
        let sql = format!(
            "SELECT DISTINCT CAST(batch AS BIGINT) FROM ranked WHERE NOT plain AND CAST({} AS BIGINT) = {shard} AND {which}",
            engine::shard_column(self.order),
        );
        let commits = engine::numbers(&self.context, &sql).await?;
        Ok(commits.into_iter().filter_map(|batch| u64::try_from(batch).ok()).collect())
    }

    /// The files of a shard that have plain rows of some days, or rows of some commits, in their order.
    pub(super) async fn files_with(
        &self,
        folded: &Folded,
        shard: usize,
        days: &BTreeSet<Day>,
        mut commits: BTreeSet<u64>,
    ) -> Result<Vec<OfFile>, RatingError> {
        commits.append(&mut folded.commits_of(shard, days).await?);
        let files = self.files.commits_of_files(shard);
        Ok(files.filter(|file| commits.range(file.clone()).next().is_some()).collect())
    }

    /// Where files of a shard are, after each was checked.
    pub(super) async fn checked_files(
        &self,
        shard: usize,
        wanted: &[OfFile],
    ) -> Result<Vec<Location>, RatingError> {
        let mut seen = self.seen.lock().await;
        let is_new = |of: &OfFile| wanted.contains(of) && !seen.contains_key(&(shard, *of.start()));
        let new: Vec<OfFile> = self.files.commits_of_files(shard).filter(is_new).collect();
        let locations = match self.checked().await {
            Some(all) => {
                let all = self.files.commits_of_files(shard).zip(&all[shard]);
                all.filter(|(of, _)| new.contains(of)).map(|(_, location)| location.clone()).collect()
            }
            None => self.files.verified_of(shard, |of| new.contains(&of)).await?,
        };
        seen.extend(new.iter().map(|of| (shard, *of.start())).zip(locations));
        Ok(wanted.iter().map(|of| seen[&(shard, *of.start())].clone()).collect())
    }

    /// The rows of files that have plain rows of some days, or rows of some commits of each shard. Of those
    /// that do not count there are the ones of which `within` is true, which says it of their `day`.
    pub(super) async fn rows_of_days(
        &self,
        folded: &Folded,
        days: &BTreeSet<Day>,
        commits: Vec<BTreeSet<u64>>,
        within: &str,
    ) -> Result<RowsOfDays, RatingError> {
        let mut shards = Vec::new();
        for (shard, commits) in commits.into_iter().enumerate() {
            let files = self.files_with(folded, shard, days, commits).await?;
            shards.push(self.checked_files(shard, &files).await?);
        }
        let table = self.name("rows");
        engine::register_narrow(&self.context, &table, &shards).await?;
        let place = engine::place(self.order);
        let mut parts = vec![format!("SELECT {place} FROM uncounted")];
        for (number, repeats) in folded.repeats(&self.scratch(), &self.files).await?.into_iter().enumerate() {
            parts.push(format!(
                r#"SELECT {place} FROM (SELECT CAST({number} AS BIGINT) AS shard, batch, "row" FROM {repeats} WHERE {within}) AS repeats"#
            ));
        }
        let uncounted = format!("({})", parts.join(" UNION ALL "));
        let count = format!("SELECT COUNT(*) FROM {uncounted} AS uncounted");
        let [few] = engine::counts(&self.context, &count).await?;
        Ok(RowsOfDays { table, uncounted, few })
    }
}
