//! Totals brought up to the ledger, by whoever needs them.
//!
//! One process at a time makes them; others wait for it. Before anything is added to the index of
//! ids, the state that will be reached is written down, so that an index that is ahead of the
//! manifest after a crash is known to be of this ledger. Adding a row to the index that it has
//! already changes nothing, because the index knows the place of each id's first row.
//!
//! Invariant: the manifest names a state of this ledger, whole, or is not there.

use super::block::Block;
use super::control::{Control, Sum};
use super::cover::Cover;
use super::error::TotalsError;
use super::fold::{Fold, Known, firsts};
use super::location::RowLocation;
use super::manifest::{Manifest, NAME, REACHING, ShardState};
use super::rows::{Reader, UsageRows};
use super::segment::{Segment, Union, merge, unite};
use crate::ids::{Class, Entries, IdKey, Index, IndexError, Limits, LogPosition};
use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use hashbrown::{HashMap, HashSet};
use ledger::division::shard_count;
use ledger::log::table::Table;
use ledger::pinned::Versions;
use ledger::{Location, places};
use proof::record::{self, BatchRecord};
use schemas::digest::Sha256Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// A block of at most so many rows is a leaf, which is folded at once; a larger one is the union of its
/// parts. Folding takes 64 bytes of memory for each row.
pub const LEAF: u64 = 8_000_000;
/// So many suspects wait for the rows that they are about, which are then read together.
const WAITING: usize = 1 << 18;

/// Is told how many of how many rows are folded.
pub type Progress<'a> = dyn FnMut(u64, u64) + Send + 'a;

/// Totals that have been brought up to a ledger. As long as this value lives, no file of them is
/// removed.
pub struct Caught {
    folder: Location,
    manifest: Manifest,
    /// Rows that were read for it.
    pub rows: u64,
    /// Whether all was made anew.
    pub rebuilt: bool,
    /// Whether it was because the manifest was not what was written.
    pub torn: bool,
    _readers: File,
}

impl Caught {
    /// What a cut of the ledger is made of.
    ///
    /// # Errors
    /// `Damaged` where a file is not what was written.
    pub fn cover(&self, versions: &Versions) -> Result<Cover, TotalsError> {
        Cover::of(&self.folder, &self.manifest, versions)
    }

    /// What all rows of all shards add up to.
    pub fn control(&self) -> Control {
        let mut control = Control::default();
        self.manifest.leaves().for_each(|leaf| control.add(&leaf.control));
        control
    }

    /// The bytes of all their files but the index's.
    pub fn bytes(&self) -> u64 {
        self.manifest.parts().map(|part| part.bytes).sum()
    }

    /// The rows of a leaf, at most.
    pub(super) fn leaf(&self) -> u64 {
        self.manifest.leaf
    }

    /// The version of each shard that they reach.
    pub fn versions(&self) -> Versions {
        Versions(self.manifest.shards.iter().map(|shard| shard.version).collect())
    }
}

/// The log of a shard, the digest of each entry from version 1 on, and what its records say of usage.
struct Shard {
    table: Table,
    entries: Vec<Sha256Digest>,
    /// By version; nothing where the record is of a format that does not say it.
    controls: Vec<Option<Vec<record::MeterControl>>>,
    /// How many rows there are before each version, from version 1 on, and in all.
    rows_before: Vec<u64>,
    /// The rows of a leaf, at most.
    leaf: u64,
}

impl Shard {
    async fn open(ledger: &Location, number: u32, leaf: u64) -> Result<Self, TotalsError> {
        let (mut entries, mut controls, mut rows_before) = (Vec::new(), Vec::new(), vec![0]);
        let mut see = |record: &BatchRecord| {
            if record.version > 1 {
                entries.push(record.previous);
            }
            controls.push(record.controls().map(<[_]>::to_vec));
            let before = rows_before.last().copied().unwrap_or_default();
            rows_before.push(before + record.counts.rows());
            Ok(())
        };
        let table = Table::replay(ledger, number, None, &mut see).await?;
        if table.version() > 0 {
            entries.push(table.log().digest());
        }
        Ok(Self { table, entries, controls, rows_before, leaf })
    }

    /// How many rows the versions from `first` to `last` have, whether or not their files were
    /// compacted since.
    fn rows(&self, first: u64, last: u64) -> u64 {
        let before =
            |version: u64| self.rows_before[usize::try_from(version - 1).expect("versions are in memory")];
        before(last + 1) - before(first)
    }

    fn is_leaf(&self, block: Block) -> bool {
        block.level == 0 || self.rows(block.first(), block.last()) <= self.leaf
    }

    /// Compares what was read from the rows of a block with what its records say.
    fn check(&self, block: Block, control: &Control) -> Result<(), TotalsError> {
        let place = |version: u64| usize::try_from(version - 1).expect("versions are in memory");
        let mut said: BTreeMap<&str, Sum> = BTreeMap::new();
        for controls in &self.controls[place(block.first())..=place(block.last())] {
            // One that says nothing leaves the rows of the whole block without a witness.
            let Some(controls) = controls else { return Ok(()) };
            for control in controls {
                let events = i64::try_from(control.usage).expect("a batch has a million rows at most");
                said.entry(&control.meter).or_default().add(Sum { events, value: control.value.units() });
            }
        }
        let read = control.meters.iter().map(|(meter, control)| (meter.as_str(), control.usage));
        if said == read.collect() {
            return Ok(());
        }
        let detail = format!(
            "the rows of commits {} to {} do not add up to what their records say: {control:?}, not {said:?}",
            block.first(),
            block.last()
        );
        Err(TotalsError::damaged(self.table.location(), detail))
    }

    fn entry(&self, version: u64) -> Option<String> {
        let place = usize::try_from(version).ok()?;
        match place.checked_sub(1) {
            None => Some(String::new()),
            Some(place) => self.entries.get(place).map(Sha256Digest::to_string),
        }
    }

    /// Whether this log has been where a state was.
    fn was_at(&self, state: &ShardState) -> bool {
        self.entry(state.version).as_deref() == Some(state.entry.as_str())
    }

    fn state(&self, leaves: Vec<Segment>, unions: Vec<Union>) -> ShardState {
        let version = self.table.version();
        let entry = self.entry(version).expect("a log has its last entry");
        ShardState { version, entry, leaves, unions }
    }
}

/// Brings the totals of a ledger up to its last commits.
///
/// # Errors
/// `NoPlace` where the ledger is not on a disk that can be written to; else when rows cannot be read, storage fails, or what was
/// made does not add up.
pub async fn catch_up(ledger: &Location, progress: &mut Progress<'_>) -> Result<Caught, TotalsError> {
    catch_up_with(ledger, LEAF, progress).await
}

/// As [`catch_up`], with leaves of at most so many rows. Totals with other leaves are made anew.
///
/// # Errors
/// As [`catch_up`].
pub async fn catch_up_with(
    ledger: &Location,
    leaf: u64,
    progress: &mut Progress<'_>,
) -> Result<Caught, TotalsError> {
    make_in(ledger, &places::derived(ledger), leaf, progress).await
}

/// As [`catch_up_with`], with all that is made below a folder.
pub(super) async fn make_in(
    ledger: &Location,
    derived: &Location,
    leaf: u64,
    progress: &mut Progress<'_>,
) -> Result<Caught, TotalsError> {
    let Some(on_disk) = derived.disk_path().map(Path::to_owned) else {
        let detail = "it is not on a disk of this machine".to_owned();
        return Err(TotalsError::NoPlace { location: ledger.to_string(), detail });
    };
    let mut shards = Vec::new();
    for number in 0..shard_count(ledger).await? {
        shards.push(Shard::open(ledger, number, leaf).await?);
    }
    let folder = derived.join("totals");
    if let Err(error) = std::fs::create_dir_all(on_disk.join("totals")) {
        return Err(
            no_place(derived, &error).unwrap_or_else(|| storage(derived, "creating the folder", &error))
        );
    }
    let readers = open_lock(&on_disk.join("readers"))?;
    let maker = lock_alone(&on_disk.join("maker")).await?;
    readers.lock_shared().map_err(|error| storage(derived, "locking", &error))?;
    let mut made = make(&folder, &on_disk, &shards, leaf, &readers, progress).await;
    if let Err(TotalsError::Index(error @ IndexError::Damaged { .. })) = &made {
        tracing::warn!(event = "index.damaged", %error, "the index of ids cannot be trusted");
        made = make(&folder, &on_disk, &shards, leaf, &readers, progress).await;
    }
    drop(maker);
    let Made { manifest, rows, rebuilt, torn } = made?;
    Ok(Caught { folder, manifest, rows, rebuilt, torn, _readers: readers })
}

struct Made {
    manifest: Manifest,
    rows: u64,
    rebuilt: bool,
    torn: bool,
}

async fn make(
    folder: &Location,
    on_disk: &Path,
    shards: &[Shard],
    leaf: u64,
    readers: &File,
    progress: &mut Progress<'_>,
) -> Result<Made, TotalsError> {
    let is_ours = |state: &Manifest| {
        let of_shards = state.shards.iter().zip(shards).all(|(state, shard)| shard.was_at(state));
        of_shards && state.shards.len() <= shards.len()
    };
    let torn = Manifest::is_torn(folder, NAME).await?;
    let known = Manifest::read(folder, NAME).await?.filter(|known| known.leaf == leaf && is_ours(known));
    let up_to_date = |known: &Manifest| {
        known.shards.len() == shards.len()
            && known.shards.iter().zip(shards).all(|(state, shard)| state.version == shard.table.version())
    };
    if let Some(known) = known.clone().filter(up_to_date) {
        return Ok(Made { manifest: known, rows: 0, rebuilt: false, torn: false });
    }
    let reaching = Manifest::read(folder, REACHING).await?.filter(is_ours);
    let ids = on_disk.join("ids");
    let mut index = Index::open(&ids, limits(), |_| reaching.is_some())?;
    let known = known.filter(|known| index.complete_to() >= known.indexed);
    let rebuilt = known.is_none();
    if rebuilt {
        // An index that is built again has as many commits as the old manifest says before it has the
        // same ones.
        folder.join(NAME).remove().await?;
        folder.sync_folder().await?;
    }
    if rebuilt && index.complete_to() > 0 {
        // What it has may be of another ledger; without a manifest nothing tells how much.
        drop(index);
        index = Index::open(&ids, limits(), |_| false)?;
    }
    let known = known.unwrap_or_else(|| Manifest::new(0, leaf, Vec::new()));
    let target: Vec<ShardState> = shards.iter().map(|shard| shard.state(Vec::new(), Vec::new())).collect();
    Manifest::new(0, leaf, target).write(folder, REACHING).await?;
    fail::fail_point!("totals.reaching");
    let mut maker = Maker::new(folder, shards, known, index).await?;
    maker.fold_new(progress).await?;
    let mut states = Vec::new();
    for (number, shard) in shards.iter().enumerate() {
        let (mut leaves, mut unions) = (Vec::new(), Vec::new());
        for block in Block::up_to(shard.table.version()) {
            if !shard.is_leaf(block) {
                unions.push(maker.union(number, block).await?);
            }
            maker.leaves(number, block, &mut leaves).await?;
        }
        states.push(shard.state(leaves, unions));
    }
    let Maker { mut index, read, .. } = maker;
    index.save()?;
    fail::fail_point!("totals.indexed");
    let manifest = Manifest::new(index.complete_to(), leaf, states);
    manifest.write(folder, NAME).await?;
    fail::fail_point!("totals.manifest");
    remove_others(folder, &manifest, readers).await?;
    Ok(Made { manifest, rows: read, rebuilt, torn })
}

/// How much of the index of ids is in memory. A test has little there, so that a few rows do what
/// millions do: they become runs, these are merged, and the index is ahead of the manifest.
fn limits() -> Limits {
    fail::fail_point!("totals.small-index", |_| Limits {
        front_keys: 16,
        save_every: 2,
        ..Limits::default()
    });
    Limits::default()
}

/// Removes what no manifest names, unless somebody may read it still.
async fn remove_others(folder: &Location, manifest: &Manifest, readers: &File) -> Result<(), TotalsError> {
    // A lock is taken from this very process first.
    let alone = readers.unlock().is_ok() && readers.try_lock().is_ok();
    if alone {
        let kept: HashSet<&str> = manifest.files().chain([NAME, REACHING]).collect();
        for name in folder.list().await?.objects {
            if !kept.contains(name.as_str()) {
                folder.join(&name).remove().await?;
            }
        }
        readers.unlock().map_err(|error| storage(folder, "unlocking", &error))?;
    }
    readers.lock_shared().map_err(|error| storage(folder, "locking", &error))
}

/// A leaf that lacks the first rows of ids that its rows are about.
struct Waiting {
    shard: usize,
    block: Block,
    suspects: Vec<RecordBatch>,
    firsts: BTreeSet<RowLocation>,
}

struct Maker<'a> {
    folder: &'a Location,
    shards: &'a [Shard],
    /// The version up to which each shard's rows are in the index.
    done: Vec<u64>,
    leaves: HashMap<(usize, Block), Segment>,
    unions: HashMap<(usize, Block), Union>,
    waiting: Vec<Waiting>,
    index: Index,
    /// The ids that corrections name and no row has.
    awaited: HashSet<IdKey>,
    read: u64,
}

impl<'a> Maker<'a> {
    async fn new(
        folder: &'a Location,
        shards: &'a [Shard],
        known: Manifest,
        index: Index,
    ) -> Result<Self, TotalsError> {
        let mut done = vec![0; shards.len()];
        let (mut leaves, mut unions) = (HashMap::new(), HashMap::new());
        let mut awaited = HashSet::new();
        let mut there = HashSet::new();
        let hasher = index.hasher();
        for (number, state) in known.shards.into_iter().enumerate() {
            done[number] = state.version;
            unions.extend(state.unions.into_iter().map(|union| ((number, union.block()), union)));
            for leaf in state.leaves {
                for batch in match &leaf.suspects {
                    Some(part) => part.read(folder).await?,
                    None => Vec::new(),
                } {
                    let column = |name: &str| -> &StringArray {
                        batch.column_by_name(name).expect("suspects have the column").as_string::<i32>()
                    };
                    let (sources, ids) = (column("source"), column("id"));
                    let targets = (column("correction_source"), column("correction_id"));
                    let settled = batch.column_by_name("settled").expect("suspects have the column");
                    for row in 0..batch.num_rows() {
                        there.insert(hasher.of(sources.value(row), ids.value(row)));
                        // A correction that repeats an id awaits nothing.
                        let awaits = !settled.as_boolean().value(row);
                        if awaits && targets.0.is_valid(row) && targets.1.is_valid(row) {
                            awaited.insert(hasher.of(targets.0.value(row), targets.1.value(row)));
                        }
                    }
                }
                leaves.insert((number, leaf.block()), leaf);
            }
        }
        awaited.retain(|id| !there.contains(id));
        Ok(Self { folder, shards, done, leaves, unions, waiting: Vec::new(), index, awaited, read: 0 })
    }

    /// Folds all rows that are new, in blocks as large as they come.
    async fn fold_new(&mut self, progress: &mut Progress<'_>) -> Result<(), TotalsError> {
        let missing = |(shard, done): (&Shard, &u64)| match shard.table.version() {
            version if version > *done => shard.rows(done + 1, version),
            _ => 0,
        };
        let total = self.shards.iter().zip(&self.done).map(missing).sum();
        progress(0, total);
        for (number, shard) in self.shards.iter().enumerate() {
            let mut blocks = Block::up_to(shard.table.version());
            blocks.reverse();
            while let Some(block) = blocks.pop() {
                if block.last() <= self.done[number] {
                    continue;
                }
                if block.first() > self.done[number] && shard.is_leaf(block) {
                    self.fold(number, block).await?;
                    progress(self.read, total.max(self.read));
                    if self.waiting.iter().map(|waiting| waiting.firsts.len()).sum::<usize>() >= WAITING {
                        self.find_firsts().await?;
                    }
                } else {
                    let mut parts: Vec<Block> = block.parts().collect();
                    parts.reverse();
                    blocks.append(&mut parts);
                }
            }
        }
        self.find_firsts().await
    }

    /// Adds to `leaves` those of a block, in order: the ones that are there, or merged from what was
    /// smaller.
    async fn leaves(
        &mut self,
        shard: usize,
        block: Block,
        leaves: &mut Vec<Segment>,
    ) -> Result<(), TotalsError> {
        if self.shards[shard].is_leaf(block) {
            leaves.push(self.leaf(shard, block).await?);
            return Ok(());
        }
        for part in block.parts() {
            Box::pin(self.leaves(shard, part, leaves)).await?;
        }
        Ok(())
    }

    async fn leaf(&mut self, shard: usize, block: Block) -> Result<Segment, TotalsError> {
        if let Some(known) = self.leaves.get(&(shard, block)) {
            return Ok(known.clone());
        }
        let mut parts = Vec::new();
        for part in block.parts() {
            parts.push(Box::pin(self.leaf(shard, part)).await?);
        }
        let number = u32::try_from(shard).expect("shards are few");
        let leaf = merge(self.folder, number, block, &parts).await?;
        self.leaves.insert((shard, block), leaf.clone());
        Ok(leaf)
    }

    async fn union(&mut self, shard: usize, block: Block) -> Result<Union, TotalsError> {
        if let Some(known) = self.unions.get(&(shard, block)) {
            return Ok(known.clone());
        }
        let mut months = Vec::new();
        for part in block.parts() {
            months.push(match self.shards[shard].is_leaf(part) {
                true => self.leaf(shard, part).await?.months,
                false => Box::pin(self.union(shard, part)).await?.months,
            });
        }
        let number = u32::try_from(shard).expect("shards are few");
        let union = unite(self.folder, number, block, &months).await?;
        self.unions.insert((shard, block), union.clone());
        Ok(union)
    }

    /// Folds the rows of a block, and adds their ids to the index.
    async fn fold(&mut self, shard: usize, block: Block) -> Result<(), TotalsError> {
        let Self { shards, index, awaited, read, .. } = self;
        let number = u32::try_from(shard).expect("shards are few");
        let mut fold = Fold::new(number);
        // The first rows of ids that rows of this block are about.
        let mut firsts: BTreeSet<RowLocation> = BTreeSet::new();
        let mut reader = Reader::of(&shards[shard].table);
        let mut take = |version: u64, rows: &[UsageRows]| {
            let known = classify(index, awaited, &mut firsts, number, version, rows)?;
            let mut start = 0;
            for rows in rows {
                fold.commit(version, rows, &known[start..start + rows.len()]);
                start += rows.len();
                *read += rows.len() as u64;
            }
            Ok(())
        };
        let others = reader.commits(block.first(), block.last(), &mut take).await?;
        fold.others(others.rejected, others.gaps);
        self.done[shard] = block.last();
        fail::fail_point!("totals.folded");
        let (files, suspects) = fold.finish();
        shards[shard].check(block, &files.control)?;
        let leaf = files.write(self.folder, number, block).await?;
        self.leaves.insert((shard, block), leaf);
        self.waiting.push(Waiting { shard, block, suspects, firsts });
        Ok(())
    }

    /// Reads the first rows that leaves wait for, each file once, and writes the suspects of the leaves.
    async fn find_firsts(&mut self) -> Result<(), TotalsError> {
        let wanted: BTreeSet<RowLocation> =
            self.waiting.iter().flat_map(|waiting| waiting.firsts.iter().copied()).collect();
        let mut by_shard: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
        for first in wanted {
            by_shard.entry(first.shard).or_default().push((first.version, first.row));
        }
        for (of_shard, places) in by_shard {
            let table = &self.shards[usize::try_from(of_shard).expect("32 bits fit")].table;
            for rows in Reader::of(table).rows_at(&places).await? {
                for waiting in &mut self.waiting {
                    let is_wanted: BooleanArray =
                        rows.places(of_shard).map(|place| Some(waiting.firsts.contains(&place))).collect();
                    if is_wanted.true_count() > 0 {
                        let rows = filter_record_batch(&rows.0, &is_wanted).expect("one flag for each row");
                        waiting.suspects.push(firsts(of_shard, &UsageRows(rows)));
                    }
                }
            }
        }
        for Waiting { shard, block, suspects, .. } in std::mem::take(&mut self.waiting) {
            let number = u32::try_from(shard).expect("shards are few");
            let leaf = self.leaves.get_mut(&(shard, block)).expect("it was folded");
            leaf.write_suspects(self.folder, number, &suspects).await?;
        }
        Ok(())
    }
}

/// What is known of the ids of a commit's rows, which the index has from here on.
fn classify(
    index: &mut Index,
    awaited: &mut HashSet<IdKey>,
    firsts: &mut BTreeSet<RowLocation>,
    shard: u32,
    version: u64,
    rows: &[UsageRows],
) -> Result<Vec<Known>, TotalsError> {
    let mut entries = Entries::new(index.hasher());
    let mut places = Vec::new();
    for rows in rows {
        let (sources, ids, numbers) = (rows.texts("source"), rows.ids(), rows.numbers().values());
        let texts = sources.values().as_string::<i32>();
        let contents = rows.content_digests();
        for row in 0..rows.len() {
            let number = u32::try_from(numbers[row]).expect("a commit's rows are counted from 0");
            let place = RowLocation { shard, version, row: number };
            let source = sources.key(row).map_or("", |key| texts.value(key));
            entries.push_value(number, source, ids.value(row), value_of(contents.value(row), place));
            places.push(place);
        }
    }
    let contents: Vec<u64> = rows
        .iter()
        .flat_map(|rows| rows.content_digests().iter().map(|digest| beginning(digest.unwrap_or_default())))
        .collect();
    let mut known = vec![Known::New; places.len()];
    let mark = LogPosition { version: index.complete_to() + 1, digest: [0; 32] };
    index.find_or_add(mark, &entries, &mut |place, value| {
        let first = RowLocation::unpack(low(value));
        if first == places[place] {
            return None;
        }
        let content = high(value);
        let class = if content == contents[place] { Class::Duplicate } else { Class::Conflict };
        if first.shard == shard {
            assert!(first < places[place], "the index has the first row of each id of a shard");
            known[place] = Known::Before { class, first: first.pack(), content: contents[place] };
        } else {
            known[place] = Known::Elsewhere;
            firsts.insert(first);
        }
        Some(class)
    })?;
    if !awaited.is_empty() {
        for (known, id) in known.iter_mut().zip(entries.keys()) {
            if *known == Known::New && awaited.remove(&id) {
                *known = Known::Awaited;
            }
        }
    }
    let mut place = 0;
    for rows in rows {
        let corrections = rows.corrections();
        if corrections.null_count() == rows.len() {
            place += rows.len();
            continue;
        }
        for row in 0..rows.len() {
            let counts = !matches!(known[place], Known::Before { .. });
            place += 1;
            let Some((source, id)) = rows.target(row).filter(|_| counts && corrections.is_valid(row)) else {
                continue;
            };
            let target = index.hasher().of(source, id);
            match index.find(target)? {
                Some(value) => {
                    firsts.insert(RowLocation::unpack(low(value)));
                }
                None => {
                    awaited.insert(target);
                }
            }
        }
    }
    Ok(known)
}

/// What the index keeps of a row: the beginning of its content's digest, and its place.
fn value_of(digest: &[u8], place: RowLocation) -> u128 {
    u128::from(beginning(digest)) << 64 | u128::from(place.pack())
}

fn beginning(digest: &[u8]) -> u64 {
    let (half, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*half)
}

fn low(value: u128) -> u64 {
    u64::try_from(value & u128::from(u64::MAX)).expect("64 bits are left")
}

fn high(value: u128) -> u64 {
    u64::try_from(value >> 64).expect("64 bits are left")
}

fn open_lock(path: &Path) -> Result<File, TotalsError> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    opened.map_err(|error| {
        no_place(&path.display(), &error).unwrap_or_else(|| storage(&path.display(), "opening", &error))
    })
}

/// The refusal of a place that cannot be written to, if that is what is wrong with it.
fn no_place(location: &impl ToString, error: &std::io::Error) -> Option<TotalsError> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let denied = matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem);
    denied.then(|| TotalsError::NoPlace { location: location.to_string(), detail: error.to_string() })
}

/// Waits until no other process makes totals.
pub(super) async fn lock_alone(path: &Path) -> Result<File, TotalsError> {
    let file = open_lock(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio_pause().await,
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(storage(&path.display(), "locking it for this process alone", &error));
            }
        }
    }
}

async fn tokio_pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn storage(location: &impl ToString, doing: &'static str, error: &impl ToString) -> TotalsError {
    TotalsError::Ledger(ledger::LedgerError::storage(location, doing, error))
}
