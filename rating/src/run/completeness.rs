//! What may be missing from a run: silences and resets of series, numbers of a producer that did not
//! arrive, subjects that were heard a month ago and are not any more.
//!
//! It deliberately changes no charge, and does not say whether anything is wrong.
//!
//! Invariant: what is told is a function of the pins of the run.

use super::gather::Gathering;
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::meter::NoteKind;
use crate::usage::{CountedRows, Cuts, SequenceGap, Silence, UsageTotal};
use crate::words::words;
use schemas::decimal::QuantityTotal;
use schemas::id::{MeterType, ProviderId, Subject};
use schemas::time::{BillingMonth, Instant, Period, time_zone};
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// What a row tells.
    pub enum CompletenessKind {
        /// A series is silent longer than its meter's carry.
        Gap = "gap",
        /// A counter was read below its reading before.
        Reset = "reset",
        /// Numbers of a producer are in no row, between two that are.
        SequenceGap = "sequence-gap",
        /// A subject that was heard in the month before is not heard in this one.
        Silent = "silent",
    }
}

/// Something that may be missing. Its order is that of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompletenessRow {
    pub kind: CompletenessKind,
    pub provider: Option<ProviderId>,
    pub meter: Option<MeterType>,
    /// The source, or the producer.
    pub source: Option<String>,
    pub subject: Option<Subject>,
    pub detail: Option<String>,
    pub from: Instant,
    pub until: Instant,
    /// Seconds, or numbers.
    pub missing: Option<QuantityTotal>,
}

const UNITS: i128 = 1_000_000_000;

fn quantity(units: i128) -> Result<QuantityTotal, RatingError> {
    QuantityTotal::from_units(units).map_err(RatingError::overflow("what is missing"))
}

/// What the samples that were gathered say themselves: gaps and resets of series.
///
/// # Errors
/// When what is missing does not fit.
pub(crate) fn noted(gathering: &Gathering<'_>) -> Result<Vec<CompletenessRow>, RatingError> {
    let mut rows = Vec::new();
    for note in &gathering.notes {
        let detail = note.series.detail();
        rows.push(CompletenessRow {
            kind: match note.note.kind {
                NoteKind::Gap => CompletenessKind::Gap,
                NoteKind::Reset => CompletenessKind::Reset,
            },
            provider: Some(note.provider.clone()),
            meter: Some(note.meter.clone()),
            source: Some(note.series.source.to_string()),
            subject: Some(note.series.subject.clone()),
            detail: Some(detail).filter(|detail| !detail.is_empty()),
            from: note.note.from,
            until: note.note.until,
            missing: note.note.missing_seconds().map_err(RatingError::overflow("what is missing"))?,
        });
    }
    Ok(rows)
}

/// The rows of a run.
///
/// # Errors
/// When rows cannot be read.
pub(super) async fn of_run(
    gathering: &Gathering<'_>,
    usage: &CountedRows,
    month: BillingMonth,
    catalog: &Catalog,
) -> Result<Vec<CompletenessRow>, RatingError> {
    let mut rows = noted(gathering)?;
    let utc = time_zone("UTC").expect("the tz database has UTC");
    let of_month =
        |month: BillingMonth| month.period_in(&utc).map_err(|reason| RatingError::Period { month, reason });
    let this = of_month(month)?;
    for gap in usage.sequence_gaps(this).await? {
        let SequenceGap { producer, epoch, first, last, from, until } = gap;
        rows.push(CompletenessRow {
            kind: CompletenessKind::SequenceGap,
            provider: None,
            meter: None,
            source: Some(producer.to_string()),
            subject: None,
            detail: Some(format!("epoch {epoch}: {first}..{last}")),
            from,
            until,
            missing: Some(quantity((i128::from(last) - i128::from(first) + 1) * UNITS)?),
        });
    }
    if let Some(before) = month.previous() {
        let before = of_month(before)?;
        let mut silent = silent(usage, catalog, before, this).await?;
        silent.retain(|(_, subject)| !was_left(catalog, subject, this));
        for Silence { events, subject, last } in usage.silences(&silent, before).await? {
            rows.push(CompletenessRow {
                kind: CompletenessKind::Silent,
                provider: None,
                meter: Some(events),
                source: None,
                subject: Some(subject),
                detail: None,
                from: last,
                until: this.end(),
                missing: None,
            });
        }
    }
    rows.sort();
    Ok(rows)
}

/// The types of events that some meter reads, and the subjects with any of them that count in one month
/// and none in the next.
async fn silent(
    usage: &CountedRows,
    catalog: &Catalog,
    before: Period,
    this: Period,
) -> Result<BTreeSet<(MeterType, Subject)>, RatingError> {
    let read: BTreeSet<&MeterType> = catalog.meters.values().map(|meter| &meter.events).collect();
    let cuts = Cuts::of(BTreeMap::new(), [before, this]);
    let (mut silent, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for UsageTotal { key, .. } in usage.attributed(catalog, cuts).await?.totals().await? {
        if read.contains(&key.events) {
            let of_month = if this.contains(key.interval.start()) { &mut heard } else { &mut silent };
            of_month.insert((key.events, key.subject));
        }
    }
    silent.retain(|one| !heard.contains(one));
    Ok(silent)
}

/// Whether a subject had bindings, and none meets the month.
fn was_left(catalog: &Catalog, subject: &Subject, month: Period) -> bool {
    let bindings = catalog.bindings.of(subject);
    !bindings.is_empty() && !bindings.iter().any(|binding| binding.overlaps(month))
}
