//! The leaves and unions that a cut of the ledger is made of, and what they say.
//!
//! What is read of cells is compared with the control totals, and samples with their cells, so that a
//! file that is read twice, or not at all, bills nothing.
//!
//! Invariant: where they are the whole of it, every row of the cut is in one leaf.

use super::cells::{Cell, CellsReader, SamplesReader};
use super::control::{Control, Sum};
use super::error::TotalsError;
use super::location::RowLocation;
use super::manifest::Manifest;
use super::names::{CellKey, KeyNames};
use super::numbers::{NumberRun, read_numbers};
use super::part::Part;
use super::segment::{Segment, Union};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use ledger::Location;
use ledger::pinned::Versions;
use schemas::decimal::QuantityTotal;
use schemas::time::{Day, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The part of a cut that is in one shard.
#[derive(Debug, Clone)]
pub(super) struct ShardCover {
    /// The last version that is in a leaf.
    folded_to: u64,
    /// The last version of the cut.
    version: u64,
    leaves: Vec<Segment>,
    unions: Vec<Union>,
}

impl ShardCover {
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Segment> {
        self.leaves.iter()
    }

    /// The files that have every month cell once: those of unions, and of the leaves of none.
    pub(super) fn months(&self) -> impl Iterator<Item = &Part> {
        let alone = self.leaves.iter().filter(|leaf| {
            let within = |union: &Union| {
                let (all, part) = (union.block(), leaf.block());
                all.first() <= part.first() && part.last() <= all.last()
            };
            !self.unions.iter().any(within)
        });
        let unions = self.unions.iter().filter_map(|union| union.months.as_ref());
        unions.chain(alone.filter_map(|leaf| leaf.months.as_ref()))
    }
}

/// A cut of the ledger.
#[derive(Debug, Clone)]
pub struct Cover {
    folder: Location,
    pub(super) shards: Vec<ShardCover>,
}

/// What looks at the cells of days, and at the samples of some.
pub trait Reading {
    /// Whether the samples of this cell are wanted.
    fn cell(&mut self, names: &KeyNames, day: Day, key: CellKey, sum: Sum) -> bool;

    /// A sample of a cell that was wanted; those of one cell come by time.
    fn sample(&mut self, names: &KeyNames, key: CellKey, micros: i64, value: i128);
}

impl Cover {
    pub(super) fn of(
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
            let whole = state.leaves.iter().take_while(|leaf| leaf.block().last() <= *version);
            let leaves: Vec<Segment> = whole.cloned().collect();
            let folded_to = leaves.last().map_or(0, |leaf| leaf.block().last());
            let unions = state.unions.iter().filter(|union| union.block().last() <= *version);
            shards.push(ShardCover {
                folded_to,
                version: *version,
                leaves,
                unions: unions.cloned().collect(),
            });
        }
        Ok(Self { folder: folder.clone(), shards })
    }

    /// Whether every commit of the cut is in a leaf. The last cut of a ledger always is.
    pub fn is_whole(&self) -> bool {
        self.shards.iter().all(|shard| shard.folded_to == shard.version)
    }

    /// What the rows in leaves add up to.
    pub fn control(&self) -> Control {
        let mut control = Control::default();
        self.leaves().for_each(|leaf| control.add(&leaf.control));
        control
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = &Segment> {
        self.shards.iter().flat_map(|shard| &shard.leaves)
    }

    /// Whether a file is what was written.
    pub(super) async fn check(&self, part: &Part) -> Result<(), TotalsError> {
        part.verified_location(&self.folder).await.map(drop)
    }

    /// The rows of a file, after its digest was compared.
    pub(super) async fn read(&self, part: &Part) -> Result<Vec<RecordBatch>, TotalsError> {
        part.read(&self.folder).await
    }

    async fn verified(&self, parts: impl Iterator<Item = &Part>) -> Result<Vec<Location>, TotalsError> {
        let mut locations = Vec::new();
        for part in parts {
            locations.push(part.verified_location(&self.folder).await?);
        }
        Ok(locations)
    }

    /// Hands out the cells of months, each given by its first day. A cell may come in parts.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written, or the cells do not add up to the control
    /// totals.
    pub async fn months(
        &self,
        months: &BTreeSet<Day>,
        names: &mut KeyNames,
        see: &mut (dyn FnMut(&KeyNames, Day, CellKey, Sum) + Send),
    ) -> Result<(), TotalsError> {
        let mut read = Read::default();
        let Some(span) = span(months) else { return Ok(()) };
        let mut cells = Vec::new();
        for part in self.shards.iter().flat_map(ShardCover::months) {
            let mut reader = CellsReader::open(&self.folder, part, Some(&span)).await?;
            reader.read(names, &mut cells)?;
            while !cells.is_empty() {
                for Cell { day, key, sum } in cells.iter().filter(|cell| months.contains(&cell.day)) {
                    read.add(*day, *key, *sum);
                    see(names, *day, *key, *sum);
                }
                reader.read(names, &mut cells)?;
            }
        }
        let month_of = |day: Day| day.first_of_month();
        read.check(&self.folder, names, self.said(|day| Some(month_of(day)).filter(|of| months.contains(of))))
    }

    /// Hands out the cells of days, and the samples of those that are wanted.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written, the cells do not add up to the control totals,
    /// or samples not to their cell.
    pub async fn days(
        &self,
        days: &BTreeSet<Day>,
        names: &mut KeyNames,
        reading: &mut (dyn Reading + Send),
    ) -> Result<(), TotalsError> {
        let mut read = Read::default();
        let Some(span) = span(days) else { return Ok(()) };
        let mut cells = Vec::new();
        for leaf in self.leaves() {
            let has = |day: &Day| leaf.control.days.contains_key(&day.number());
            let Some(part) = leaf.cells.as_ref().filter(|_| days.iter().any(has)) else { continue };
            let mut wanted: Vec<(u64, Cell)> = Vec::new();
            // Cells are read from the first on, because it takes all of them to know where samples lie.
            let mut before = 0;
            let mut reader = CellsReader::open(&self.folder, part, None).await?;
            reader.read(names, &mut cells)?;
            while !cells.is_empty() && cells[0].day.number() <= *span.end() {
                for cell in &cells {
                    let Cell { day, key, sum } = *cell;
                    if days.contains(&day) {
                        read.add(day, key, sum);
                        if reading.cell(names, day, key, sum) {
                            wanted.push((before, *cell));
                        }
                    }
                    before += sum.events.unsigned_abs();
                }
                reader.read(names, &mut cells)?;
            }
            let Some(samples) = leaf.samples.as_ref().filter(|_| !wanted.is_empty()) else { continue };
            self.samples(samples, &wanted, names, reading).await?;
        }
        read.check(&self.folder, names, self.said(|day| days.contains(&day).then_some(day)))
    }

    /// Hands out the samples of cells, of which each comes with how many samples lie before it.
    async fn samples(
        &self,
        part: &Part,
        cells: &[(u64, Cell)],
        names: &KeyNames,
        reading: &mut (dyn Reading + Send),
    ) -> Result<(), TotalsError> {
        let wanted: Vec<(u64, u64)> =
            cells.iter().map(|(before, cell)| (*before, cell.sum.events.unsigned_abs())).collect();
        let mut reader = SamplesReader::open(&self.folder, part, Some(&wanted)).await?;
        let mut samples = Vec::new();
        for (_, cell) in cells {
            samples.clear();
            reader.read(cell.sum, &mut samples)?;
            for sample in &samples {
                reading.sample(names, cell.key, sample.micros, sample.value);
            }
        }
        Ok(())
    }

    /// Hands out the numbers that producers gave to the usage of the cut, as runs without a hole, by
    /// producer, epoch and number.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written, or the runs do not have as many rows as the control
    /// totals say.
    pub async fn numbers(
        &self,
        see: &mut (dyn FnMut(&str, i64, &NumberRun) + Send),
    ) -> Result<(), TotalsError> {
        let parts: Vec<&Part> = self.leaves().filter_map(|leaf| leaf.numbers.as_ref()).collect();
        let mut read = 0;
        let mut count = |producer: &str, epoch: i64, run: &NumberRun| {
            read += run.rows;
            see(producer, epoch, run);
        };
        read_numbers(&self.folder, &parts, &mut count).await?;
        let said: u64 = self.leaves().map(|leaf| leaf.control.numbered).sum();
        if read == said {
            return Ok(());
        }
        let detail = format!(
            "the numbers of producers are those of {read} rows, and the control totals say {said}; `atcost verify totals` says what is wrong"
        );
        Err(TotalsError::damaged(&self.folder, detail))
    }

    /// What the control totals say, by meter, of the days that `stretch` puts somewhere.
    fn said(&self, stretch: impl Fn(Day) -> Option<Day>) -> BTreeMap<(Day, &str), Sum> {
        let mut said: BTreeMap<(Day, &str), Sum> = BTreeMap::new();
        for (day, meters) in self.leaves().flat_map(|leaf| &leaf.control.days) {
            let Some(stretch) = stretch(Day::from_number(*day)) else { continue };
            for (meter, sum) in meters {
                said.entry((stretch, meter)).or_default().add(*sum);
            }
        }
        said
    }

    /// The files of suspects, each after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where one is not what was written.
    pub async fn suspects(&self) -> Result<Vec<Location>, TotalsError> {
        self.verified(self.leaves().filter_map(|leaf| leaf.suspects.as_ref())).await
    }

    /// The files of a shard's repeats, each after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where one is not what was written.
    pub async fn repeats(&self, shard: usize) -> Result<Vec<Location>, TotalsError> {
        let leaves = self.shards[shard].leaves.iter();
        self.verified(leaves.filter_map(|leaf| leaf.repeats.as_ref())).await
    }

    /// The first row of each id that some rows of a shard repeat, by the places of these rows. A place is
    /// a commit and the number of a row.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written.
    pub async fn firsts(
        &self,
        shard: usize,
        repeats: &BTreeSet<(u64, u32)>,
    ) -> Result<BTreeMap<(u64, u32), (u64, u32)>, TotalsError> {
        let mut firsts = BTreeMap::new();
        for leaf in &self.shards[shard].leaves {
            let (first, last) = (leaf.block().first(), leaf.block().last());
            let wanted = repeats.range((first, 0)..=(last, u32::MAX)).next().is_some();
            let Some(part) = leaf.repeats.as_ref().filter(|_| wanted) else { continue };
            for batch in part.read(&self.folder).await? {
                let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
                let rows = batch.column(1).as_primitive::<Int32Type>().values();
                for ((version, row), first) in numbers(0).iter().zip(rows).zip(numbers(4)) {
                    let place = (version.cast_unsigned(), row.cast_unsigned());
                    if repeats.contains(&place) {
                        let RowLocation { version, row, .. } = RowLocation::unpack(first.cast_unsigned());
                        firsts.insert(place, (version, row));
                    }
                }
            }
        }
        Ok(firsts)
    }

    /// The commits of a shard, within leaves, that have usage of one of `days`.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written.
    pub async fn commits_of(&self, shard: usize, days: &BTreeSet<Day>) -> Result<BTreeSet<u64>, TotalsError> {
        let mut commits = BTreeSet::new();
        for leaf in &self.shards[shard].leaves {
            let has = |day: &Day| leaf.control.days.contains_key(&day.number());
            let Some(spans) = leaf.spans.as_ref().filter(|_| days.iter().any(has)) else { continue };
            for batch in spans.read(&self.folder).await? {
                let versions = batch.column(0).as_primitive::<Int64Type>().values();
                let of_days = batch.column(1).as_primitive::<Int32Type>().values();
                let wanted =
                    versions.iter().zip(of_days).filter(|(_, day)| days.contains(&Day::from_number(**day)));
                commits.extend(wanted.map(|(version, _)| version.cast_unsigned()));
            }
        }
        Ok(commits)
    }
}

/// From the first to the last.
fn span(days: &BTreeSet<Day>) -> Option<std::ops::RangeInclusive<i32>> {
    Some(days.first()?.number()..=days.last()?.number())
}

/// What was read, by stretch of time and meter.
#[derive(Default)]
struct Read {
    sums: BTreeMap<(Day, u32), Sum>,
    /// The last of them: cells of one come after each other.
    open: Option<((Day, u32), Sum)>,
}

impl Read {
    fn add(&mut self, day: Day, key: CellKey, sum: Sum) {
        let of = (day, key.meter());
        match &mut self.open {
            Some((open, total)) if *open == of => total.add(sum),
            _ => {
                self.close();
                self.open = Some((of, sum));
            }
        }
    }

    fn close(&mut self) {
        if let Some((of, sum)) = self.open.take() {
            self.sums.entry(of).or_default().add(sum);
        }
    }

    fn check(
        mut self,
        folder: &Location,
        names: &KeyNames,
        said: BTreeMap<(Day, &str), Sum>,
    ) -> Result<(), TotalsError> {
        self.close();
        let read: BTreeMap<(Day, &str), Sum> =
            self.sums.iter().map(|((day, meter), sum)| ((*day, names.meter(*meter)), *sum)).collect();
        let odd = said.keys().chain(read.keys()).find(|key| said.get(*key) != read.get(*key));
        let Some((day, meter)) = odd else { return Ok(()) };
        let figures = |sums: &BTreeMap<(Day, &str), Sum>| {
            let Sum { events, value } = sums.get(&(*day, *meter)).copied().unwrap_or_default();
            let value = QuantityTotal::from_units(value);
            let value = value.map_or_else(|_| "too much".to_owned(), |value| value.to_string());
            format!("{value} in {events} events")
        };
        let from = Instant::from_micros(day.start());
        let from = from.map_or_else(|error| error.to_string(), |from| from.to_string());
        let detail = format!(
            "of the usage of {meter} from {from} on, cells add up to {}, and the control totals say {}; `atcost verify totals` says what is wrong",
            figures(&read),
            figures(&said)
        );
        Err(TotalsError::damaged(folder, detail))
    }
}
