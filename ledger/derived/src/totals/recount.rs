//! Totals recomputed from the rows of the ledger, beside those that are there.
//!
//! Where several shards have an id, which of its rows is plain depends on the order in which they were
//! folded, and no run uses cells then. So cells are not compared there; which rows are looked at one by
//! one is, because it depends on nothing but the rows.
//!
//! Invariant: what is there is only read.

use super::cover::{Cover, ShardCover};
use super::error::TotalsError;
use super::maker::{Caught, Progress, lock_alone, make_in};
use super::manifest::{Manifest, REACHING};
use super::part::Part;
use super::schema::SUSPECT;
use super::segment::Segment;
use crate::ids::{Index, IndexError};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use ledger::{Location, places};
use std::collections::{BTreeMap, BTreeSet};

/// What a recount has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recounted {
    /// A sentence for each thing that is not what the rows say.
    pub findings: Vec<String>,
}

/// Makes the totals of a ledger anew in a folder of this process, and compares them with those that
/// are there.
///
/// # Errors
/// When rows cannot be read or storage fails.
pub async fn recount(
    ledger: &Location,
    caught: &Caught,
    progress: &mut Progress<'_>,
) -> Result<Recounted, TotalsError> {
    let derived = places::derived(ledger);
    let scratch = derived.join(&format!("recount.{}", std::process::id()));
    let made = make_in(ledger, &scratch, caught.leaf(), progress).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            scratch.remove_folder().await?;
            return Err(error);
        }
    };
    let compared = compare(caught, &made).await;
    drop(made);
    scratch.remove_folder().await?;
    let mut findings = compared?;
    findings.extend(beside(&derived, caught).await?);
    Ok(Recounted { findings })
}

/// The faults of the files beside the segments.
async fn beside(derived: &Location, caught: &Caught) -> Result<Vec<String>, TotalsError> {
    let mut findings = Vec::new();
    let folder = derived.join("totals");
    if caught.torn {
        let manifest = folder.join(super::manifest::NAME);
        findings.push(format!("{manifest}: it was not what was written, and all was made anew"));
    }
    let on_disk = derived.disk_path().expect("totals are on a disk");
    // Nobody writes to them meanwhile.
    let _maker = lock_alone(&on_disk.join("maker")).await?;
    if Manifest::is_torn(&folder, REACHING).await? {
        findings.push(format!("{}: it is not what was written", folder.join(REACHING)));
    }
    match Index::check(&on_disk.join("ids")) {
        Err(error @ IndexError::Damaged { .. }) => findings.push(error.to_string()),
        checked => checked?,
    }
    Ok(findings)
}

async fn compare(caught: &Caught, made: &Caught) -> Result<Vec<String>, TotalsError> {
    let mut findings = Vec::new();
    let versions = caught.versions();
    let crossing = |caught: &Caught| caught.control().meters.values().any(|meter| meter.crossing.events > 0);
    let exact = !crossing(caught) && !crossing(made);
    let (here, anew): (Cover, Cover) = (caught.cover(&versions)?, made.cover(&versions)?);
    // The files that are there are read as a run reads them.
    let months = here.shards.iter().flat_map(ShardCover::months);
    for part in here.leaves().flat_map(Segment::parts).chain(months) {
        if let Err(error) = here.check(part).await {
            findings.push(error.to_string());
        }
    }
    let whole = findings.is_empty();
    for (number, (here, anew)) in here.shards.iter().zip(&anew.shards).enumerate() {
        let known: BTreeMap<_, &Segment> = here.leaves().map(|segment| (segment.block(), segment)).collect();
        for segment in anew.leaves() {
            let place = format!(
                "shard {}, versions {} to {}",
                number + 1,
                segment.block().first(),
                segment.block().last()
            );
            let Some(known) = known.get(&segment.block()) else {
                findings.push(format!("{place}: there is no segment"));
                continue;
            };
            let usage = |segment: &Segment| {
                let meters = segment.control.meters.iter();
                meters.map(|(meter, control)| (meter.clone(), control.usage)).collect::<BTreeMap<_, _>>()
            };
            let same = if exact { known.control == segment.control } else { usage(known) == usage(segment) };
            if !same {
                findings.push(format!("{place}: the control totals are not those of the rows"));
            }
            let digest = |part: &Option<Part>| part.as_ref().map(|part| part.sha256.clone());
            let totals = |Segment { cells, samples, months, repeats, .. }: &Segment| {
                [cells, samples, months, repeats].map(digest)
            };
            // Of every shard alone, in whatever order shards were folded.
            let alone = |Segment { spans, numbers, .. }: &Segment| [spans, numbers].map(digest);
            if alone(known) != alone(segment) || (exact && totals(known) != totals(segment)) {
                findings.push(format!("{place}: the totals are not those of the rows"));
            }
        }
    }
    if whole {
        Apart::of(&here).await?.compare(&Apart::of(&anew).await?, &mut findings);
    }
    Ok(findings)
}

/// A row, by its shard, version and number there.
type Place = (usize, i64, i32);
/// Source and id.
type Id = (String, String);

struct Suspect {
    /// The columns that the ledger has of it.
    row: OwnedRow,
    id: Id,
    /// The id that it corrects.
    target: Option<Id>,
    plain: bool,
}

/// The rows that are looked at one by one, of all shards together, because in which segment one stands
/// depends on the order in which shards were folded.
#[derive(Default)]
struct Apart {
    suspects: BTreeMap<Place, Suspect>,
    repeats: BTreeSet<Place>,
}

impl Apart {
    async fn of(cover: &Cover) -> Result<Self, TotalsError> {
        let mut apart = Self::default();
        for (number, shard) in cover.shards.iter().enumerate() {
            for segment in shard.leaves() {
                if let Some(part) = &segment.repeats {
                    for batch in cover.read(part).await? {
                        let versions = batch.column(0).as_primitive::<Int64Type>().values().iter();
                        let rows = batch.column(1).as_primitive::<Int32Type>().values().iter();
                        apart
                            .repeats
                            .extend(versions.zip(rows).map(|(version, row)| (number, *version, *row)));
                    }
                }
                if let Some(part) = &segment.suspects {
                    for batch in cover.read(part).await? {
                        let read = apart.suspects(&batch);
                        read.map_err(|error| TotalsError::damaged(&part.name, error.to_string()))?;
                    }
                }
            }
        }
        Ok(apart)
    }

    fn suspects(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = SUSPECT.iter().map(|name| {
            let column = batch.column_by_name(name);
            column.cloned().ok_or_else(|| ArrowError::SchemaError(format!("there is no column {name}")))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let column = |name: &str| batch.column_by_name(name).expect("suspects have the column");
        let text = |name: &str, row: usize| {
            let texts = column(name).as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let place = (
                usize::try_from(column("shard").as_primitive::<Int64Type>().value(row))
                    .map_err(|error| ArrowError::CastError(error.to_string()))?,
                column("batch").as_primitive::<Int64Type>().value(row),
                column("row").as_primitive::<Int32Type>().value(row),
            );
            let suspect = Suspect {
                row: rows.row(row).owned(),
                id: (text("source", row).unwrap_or_default(), text("id", row).unwrap_or_default()),
                target: text("correction_source", row).zip(text("correction_id", row)),
                plain: column("plain").as_boolean().value(row),
            };
            self.suspects.insert(place, suspect);
        }
        Ok(())
    }

    fn has(&self, place: &Place) -> bool {
        self.suspects.contains_key(place) || self.repeats.contains(place)
    }

    fn compare(&self, anew: &Self, findings: &mut Vec<String>) {
        let uncertain = uncertain(&[self, anew]);
        let all: BTreeSet<&Place> =
            [self, anew].into_iter().flat_map(|apart| apart.suspects.keys().chain(&apart.repeats)).collect();
        for place in all {
            let (shard, version, row) = place;
            let place_of = format!("shard {}, version {version}, row {row}", shard + 1);
            let (here, there) = (self.suspects.get(place), anew.suspects.get(place));
            if self.has(place) != anew.has(place) {
                let suspect = here.or(there);
                if suspect.is_none_or(|suspect| !suspect.plain || !uncertain.contains(&suspect.id)) {
                    let which = if self.has(place) { "is" } else { "is not" };
                    findings.push(format!("{place_of}: it {which} among the suspects and repeats"));
                }
            } else if let (Some(here), Some(there)) = (here, there)
                && here.row != there.row
            {
                findings.push(format!("{place_of}: the suspect is not what the row says"));
            }
        }
    }
}

/// The ids that only some of the corrections of one id name, which is in several shards. Whether such a
/// row is a suspect depends on which of the corrections came first.
fn uncertain(sides: &[&Apart]) -> BTreeSet<Id> {
    let mut shards: BTreeMap<&Id, BTreeSet<usize>> = BTreeMap::new();
    let suspects = || sides.iter().flat_map(|apart| &apart.suspects);
    for ((shard, ..), suspect) in suspects() {
        shards.entry(&suspect.id).or_default().insert(*shard);
    }
    suspects()
        .filter(|(_, suspect)| shards[&suspect.id].len() > 1)
        .filter_map(|(_, suspect)| suspect.target.clone())
        .collect()
}
