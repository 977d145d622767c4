//! A meter tried on the events of a file: what they come to, without a catalog and without a month.
//!
//! Duplicates and corrections are those of a ledger, which the events are in; whose usage it is and what
//! it costs is deliberately not asked.
//!
//! Invariant: of the same events within the same time, the quantity is the one that a month rates whose
//! charge period that is.

use crate::catalog::MeterSheet;
use crate::error::RatingError;
use crate::exact::Exact;
use crate::meter::{Found, Gathered, Note, Per, Place, Scale, SeriesReader, Whose, Windows};
use crate::usage::{CountedRows, Original, SampleRow, Wanted, labels};
use num_traits::One as _;
use schemas::id::{ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// Which events are asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// From the first event on, where there is none.
    pub from: Option<Instant>,
    /// Until just after the last event, where there is none.
    pub until: Option<Instant>,
    /// Dimensions that an event must have, with their values.
    pub matches: BTreeMap<String, String>,
}

/// What events come to.
#[derive(Debug, Clone)]
pub struct Aggregated {
    pub quantity: Exact,
    pub unit: String,
    /// Of which something lies in the time.
    pub events: u64,
    /// Those in which something counts; none where the meter has no windows.
    pub windows: Vec<(Period, Exact)>,
    /// By time.
    pub notes: Vec<Note>,
}

/// Why a meter cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    #[error(transparent)]
    Rating(#[from] RatingError),
    #[error("`per = \"customer\"` needs bindings, which a file of events has not; try it in a ledger")]
    NeedsBindings,
    #[error("no event of {events} {matching}")]
    NoEvents { events: String, matching: &'static str },
    #[error("--to must be later than --from")]
    NoTime,
}

/// Aggregates the events of a ledger.
///
/// # Errors
/// [`AggregateError`].
pub async fn aggregate(
    sheet: &MeterSheet,
    usage: &CountedRows,
    asked: &Asked,
) -> Result<Aggregated, AggregateError> {
    let meter = &sheet.meter;
    let rules = &meter.rules;
    if rules.per == Per::Customer {
        return Err(AggregateError::NeedsBindings);
    }
    let period = match (asked.from, asked.until) {
        (Some(from), Some(until)) => Period::new(from, until),
        (from, until) => {
            let span = usage.span_of(&meter.events, &asked.matches).await?;
            let Some((first, last)) = span else {
                let matching = if asked.matches.is_empty() { "counts" } else { "counts that matches" };
                return Err(AggregateError::NoEvents { events: meter.events.to_string(), matching });
            };
            let after = Instant::from_micros(last.micros() + 1).map_err(RatingError::stored("time"))?;
            Period::new(from.unwrap_or(first), until.unwrap_or(after))
        }
    };
    let period = period.ok_or(AggregateError::NoTime)?;
    let windows = Windows::new(period, rules.windows.map(|windows| windows.length), &sheet.time_zone);
    let mut tried = Tried {
        matches: &asked.matches,
        new_reader: &|| SeriesReader::new(&rules.values, period, Vec::new()),
        gathered: Gathered::new(rules, &windows),
        events: 0,
        notes: Vec::new(),
        open: None,
    };
    let carry = rules.values.carry().map_or(0, |carry| carry.micros());
    let from = Instant::from_micros(period.start().micros().saturating_sub(carry)).unwrap_or(period.start());
    let events = BTreeSet::from([meter.events.clone()]);
    let (start, until) = (period.start(), period.end());
    let wanted = Wanted { events: &events, from, start, until, homes_change: true };
    let home = |original: &Original| {
        original.provider.as_deref().map(ProviderId::new).transpose().map_err(RatingError::stored("name"))
    };
    usage.samples(wanted, &home, &mut |row| tried.take(row)).await?;
    tried.close()?;
    let one = &Exact::one();
    let scale = Scale { factor: one, increment: None };
    let figures = match rules.windows {
        None => Vec::new(),
        Some(_) => tried.gathered.figures_of(Whose::Everybody, scale),
    };
    let mut notes = tried.notes;
    notes.sort_by_key(|note| (note.kind, note.from, note.until));
    Ok(Aggregated {
        quantity: tried.gathered.total(Whose::Everybody, scale).metered,
        unit: rules.unit_of_result(meter.unit.as_str()),
        events: tried.events,
        windows: figures.into_iter().map(|figure| (figure.window, figure.value.metered)).collect(),
        notes,
    })
}

/// The texts that make samples one series, but for the provider.
type SeriesTexts = (String, String, Option<String>, Option<String>);

struct Open {
    texts: SeriesTexts,
    by_provider: BTreeMap<Option<String>, (SeriesReader, Vec<Found>)>,
}

struct Tried<'t> {
    matches: &'t BTreeMap<String, String>,
    new_reader: &'t (dyn Fn() -> SeriesReader + Sync),
    gathered: Gathered<'t>,
    events: u64,
    notes: Vec<Note>,
    open: Option<Open>,
}

impl Tried<'_> {
    fn take(&mut self, row: SampleRow<'_>) -> Result<(), RatingError> {
        let dimensions = labels(row.dimensions)?;
        let is_asked = self.matches.iter().all(|(name, value)| dimensions.get(name) == Some(value));
        if !is_asked {
            return Ok(());
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let is_open = self.open.as_ref().is_some_and(|open| {
            let (subject, source, resource, dimensions) = &open.texts;
            subject == row.series.subject
                && source == row.series.source
                && resource.as_deref() == row.series.resource
                && dimensions.as_deref() == row.series.dimensions
        });
        if !is_open {
            self.close()?;
            let texts = (
                row.series.subject.to_owned(),
                row.series.source.to_owned(),
                owned(row.series.resource),
                owned(row.series.dimensions),
            );
            self.open = Some(Open { texts, by_provider: BTreeMap::new() });
        }
        let provider = owned(row.heir_of.unwrap_or(row.provider));
        let open = self.open.as_mut().expect("it was just opened");
        let (reader, found) =
            open.by_provider.entry(provider).or_insert_with(|| ((self.new_reader)(), Vec::new()));
        reader.push(row.sample, &mut |one| found.push(one));
        Ok(())
    }

    fn close(&mut self) -> Result<(), RatingError> {
        let Some(Open { texts: (subject, _, resource, dimensions), by_provider }) = self.open.take() else {
            return Ok(());
        };
        let place = Place {
            customer: None,
            subject: Subject::new(subject).map_err(RatingError::stored("name"))?,
            resource: labels(resource.as_deref())?,
        };
        let dimensions = labels(dimensions.as_deref())?;
        for (mut reader, mut found) in by_provider.into_values() {
            self.events += reader.finish(&mut |one| found.push(one));
            self.notes.extend(found.iter().filter_map(|found| match found {
                Found::Noted(note) => Some(*note),
                Found::Counts(_) => None,
            }));
            let counted: Vec<_> = found
                .iter()
                .filter_map(|found| match found {
                    Found::Counts(contribution) => Some(contribution.counted),
                    Found::Noted(_) => None,
                })
                .collect();
            if !counted.is_empty() {
                let mut run = self.gathered.run(place.clone(), &dimensions);
                counted.into_iter().for_each(|counted| run.add(counted));
            }
        }
        Ok(())
    }
}
