//! What meters make of samples: gathered where it is priced, and where lines are shared by it.
//!
//! Meters that only add up are deliberately not here: their sums are usage totals. Whether an event has
//! a price is decided in `resolve`; a level is looked up in every stretch of time that it holds in.
//!
//! Invariant: every part of what counts is gathered once for each meter that reads it, in the place
//! that its own time, its own labels and its own customer say.

use super::resolve::{Periods, PoolKey, Resolver, UnratedKey, UnratedReason};
use crate::catalog::{Catalog, Counts, Meter, Provider, Sku};
use crate::error::RatingError;
use crate::exact::Exact;
use crate::meter::{
    Contribution, Counted, Explained, Found, Gathered, Labels, LedgerOrder, Note, NoteKind, Place, Sample,
    Scale, SeriesKey, SeriesReader, Values, Whose, Windows,
};
use crate::usage::{CountedRows, Original, SampleRow, SeriesText, UsageKey, Wanted, labels};
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// A key of lines: whose lines, the meter, and their charge period.
pub(super) type KeyOf = (ProviderId, MeterType, Period);

/// The stretches of time within which values become one: those of each price of a SKU whose meter does
/// not just add up, and those of the lines that are shared by another meter.
pub(crate) struct Grounds<'c> {
    pools: BTreeMap<(ProviderId, usize, usize), (&'c Meter, Windows)>,
    keys: BTreeMap<KeyOf, (&'c Meter, Windows)>,
    /// The types of events that are read.
    events: BTreeSet<MeterType>,
    /// Those of which values hold for a time.
    held: BTreeSet<MeterType>,
}

impl<'c> Grounds<'c> {
    /// Of all SKUs that `of` takes.
    pub(crate) fn of(catalog: &'c Catalog, periods: &Periods, of: impl Fn(&Provider, usize) -> bool) -> Self {
        let mut grounds = Self {
            pools: BTreeMap::new(),
            keys: BTreeMap::new(),
            events: BTreeSet::new(),
            held: BTreeSet::new(),
        };
        for provider in catalog.providers.values() {
            let Some(period) = periods.of_provider(&provider.id) else { continue };
            for (index, sku) in provider.skus.iter().enumerate().filter(|(index, _)| of(provider, *index)) {
                grounds.add_pools(catalog, (provider, index, sku), period);
                if let Some(key) = catalog.key_of(sku) {
                    grounds.events.insert(key.events.clone());
                    for charge_period in charge_periods(provider, sku, period) {
                        let windows = windows(key, charge_period, provider);
                        let of = (provider.id.clone(), key.meter.clone(), charge_period);
                        grounds.keys.insert(of, (key, windows));
                    }
                }
            }
        }
        grounds
    }

    fn add_pools(
        &mut self,
        catalog: &'c Catalog,
        (provider, index, sku): (&'c Provider, usize, &'c Sku),
        period: Period,
    ) {
        let Some(meter) = sku.metered().and_then(|metered| catalog.meters.get(&metered.meter)) else {
            return;
        };
        if meter.rules.is_additive() {
            return;
        }
        self.events.insert(meter.events.clone());
        if matches!(meter.rules.values, Values::Level { .. }) {
            self.held.insert(meter.events.clone());
        }
        for (place, price) in sku.prices.iter().enumerate() {
            if let Some(span) = price.within(period) {
                let of = (provider.id.clone(), index, place);
                self.pools.insert(of, (meter, windows(meter, span, provider)));
            }
        }
    }
}

fn windows(meter: &Meter, span: Period, provider: &Provider) -> Windows {
    Windows::new(span, meter.rules.windows.map(|windows| windows.length), &provider.time_zone)
}

/// The charge periods that lines of a SKU may have.
fn charge_periods(provider: &Provider, sku: &Sku, period: Period) -> BTreeSet<Period> {
    let prices = sku.prices.iter();
    match &sku.counts {
        Counts::Usage(_) => prices.filter_map(|price| price.within(period)).collect(),
        Counts::Nothing => {
            prices.filter_map(|price| Some(price.due(period, &provider.time_zone)?.0)).collect()
        }
        Counts::Lines(_) => BTreeSet::from([period]),
    }
}

/// What somebody should know about a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeriesNote {
    pub provider: ProviderId,
    pub meter: MeterType,
    pub series: SeriesKey,
    pub note: Note,
}

/// What was gathered of a month.
pub(crate) struct Gathering<'g> {
    grounds: Option<&'g Grounds<'g>>,
    pools: BTreeMap<PoolKey, Gathered<'g>>,
    keys: BTreeMap<KeyOf, Gathered<'g>>,
    pub unrated: BTreeMap<UnratedKey, (QuantityTotal, u64)>,
    pub notes: Vec<SeriesNote>,
}

impl<'g> Gathering<'g> {
    pub(crate) fn nothing() -> Self {
        Self {
            grounds: None,
            pools: BTreeMap::new(),
            keys: BTreeMap::new(),
            unrated: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// How the quantity that a price applies to comes about: scope by scope, in the priced unit.
    pub(crate) fn scopes(&self, pool: &PoolKey, catalog: &Catalog, periods: &Periods) -> Vec<Explained> {
        let sku = &catalog.providers[&pool.provider].skus[pool.sku];
        let known = self.pools.get(pool).zip(sku.metered()).zip(periods.of_provider(&pool.provider));
        let Some(((gathered, metered), period)) = known else { return Vec::new() };
        let terms = &sku.prices[pool.price].terms;
        let increment = |quantity: &Exact| terms.counted(quantity);
        let scale = Scale { factor: &metered.factor.within(period), increment: Some(&increment) };
        gathered.explain(Whose::Everybody, scale)
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = (&PoolKey, &Gathered<'g>)> {
        self.pools.iter()
    }

    /// Whether what has no price was found with the samples, because values hold for a time.
    pub(super) fn tells_unrated(&self, key: &UnratedKey) -> bool {
        let of_named = || match key.reason {
            UnratedReason::NoPrice => true,
            UnratedReason::NoSku => key.provider.is_some(),
            UnratedReason::AmbiguousProvider
            | UnratedReason::UnknownMeter
            | UnratedReason::UnknownProvider => false,
        };
        self.grounds.is_some_and(|grounds| grounds.held.contains(&key.events)) && of_named()
    }

    pub(super) fn key(&self, of: &KeyOf) -> Option<&Gathered<'g>> {
        self.keys.get(of)
    }
}

/// Gathers the samples of a month.
///
/// # Errors
/// When rows cannot be read, or a sum does not fit.
pub(crate) async fn gather<'g>(
    grounds: &'g Grounds<'g>,
    usage: Option<&CountedRows>,
    catalog: &'g Catalog,
    periods: &'g Periods,
) -> Result<Gathering<'g>, RatingError> {
    gather_until(None, grounds, usage, catalog, periods).await
}

/// As [`gather`], of samples before an instant alone.
pub(crate) async fn gather_until<'g>(
    end: Option<Instant>,
    grounds: &'g Grounds<'g>,
    usage: Option<&CountedRows>,
    catalog: &'g Catalog,
    periods: &'g Periods,
) -> Result<Gathering<'g>, RatingError> {
    let Some(usage) = usage.filter(|_| !grounds.events.is_empty()) else { return Ok(Gathering::nothing()) };
    let whole = || periods.iter().map(Period::start).min().zip(periods.iter().map(Period::end).max());
    let Some((start, until)) = whole() else { return Ok(Gathering::nothing()) };
    let until = end.map_or(until, |end| until.min(end));
    let read = catalog.meters.values().filter(|meter| grounds.events.contains(&meter.events));
    let carry = read.filter_map(|meter| meter.rules.values.carry()).map(|carry| carry.micros()).max();
    let from = carry
        .map_or(start, |carry| Instant::from_micros(start.micros().saturating_sub(carry)).unwrap_or(start));
    let bounds = bounds(catalog, &grounds.events);
    let homes_change = bounds.values().flatten().any(|bound| from < *bound && *bound < until);
    let resolver = &Resolver::new(catalog, periods);
    let mut gatherer = Gatherer {
        catalog,
        periods,
        resolver,
        grounds,
        readers: catalog.meters.values().fold(BTreeMap::new(), |mut readers, meter| {
            readers.entry(&meter.events).or_insert_with(Vec::new).push(meter);
            readers
        }),
        bounds,
        out: Gathering { grounds: Some(grounds), ..Gathering::nothing() },
        group: None,
    };
    let home = |original: &Original| home_of(resolver, original);
    let wanted = Wanted { events: &grounds.events, from, start, until, homes_change };
    usage.samples(wanted, &home, &mut |row| gatherer.take(row)).await?;
    gatherer.close()?;
    Ok(gatherer.out)
}

/// Where a price of some events begins or ends, ascending.
fn bounds<'g>(
    catalog: &'g Catalog,
    events: &'g BTreeSet<MeterType>,
) -> BTreeMap<&'g MeterType, Vec<Instant>> {
    let of = |events: &MeterType| {
        let skus = catalog.providers.values().flat_map(|provider| &provider.skus);
        let skus = skus.filter(|sku| sku.metered().is_some_and(|metered| metered.events == *events));
        let bounds: BTreeSet<Instant> = skus.flat_map(|sku| sku.bounds()).collect();
        bounds.into_iter().collect()
    };
    events.iter().map(|events| (events, of(events))).collect()
}

fn home_of(resolver: &Resolver<'_>, original: &Original) -> Result<Option<ProviderId>, RatingError> {
    let at = Instant::from_micros(original.time).map_err(RatingError::stored("time"))?;
    let own = Own::new(
        original.provider.as_deref(),
        &original.subject,
        labels(original.resource.as_deref())?,
        labels(original.dimensions.as_deref())?,
    )?;
    let events = MeterType::new(original.events.as_str()).map_err(RatingError::stored("name"))?;
    Ok(resolver.home(&own.key(&events, None, at)).ok().map(|home| home.id.clone()))
}

/// What an event says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    provider: Option<ProviderId>,
    /// The provider whose usage it is, where it is one's.
    home: Option<ProviderId>,
    subject: Subject,
    resource: Labels,
    dimensions: Labels,
}

impl Own {
    fn new(
        provider: Option<&str>,
        subject: &str,
        resource: Labels,
        dimensions: Labels,
    ) -> Result<Self, RatingError> {
        let provider = provider.map(ProviderId::new).transpose().map_err(RatingError::stored("name"))?;
        let subject = Subject::new(subject).map_err(RatingError::stored("name"))?;
        Ok(Self { provider, home: None, subject, resource, dimensions })
    }

    /// The key of usage at an instant.
    fn key(&self, events: &MeterType, provider: Option<&ProviderId>, at: Instant) -> UsageKey {
        let next = Instant::from_micros(at.micros() + 1).expect("there is time after an event");
        let dimensions = self.dimensions.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        UsageKey {
            provider: provider.or(self.provider.as_ref()).cloned(),
            events: events.clone(),
            dimensions: dimensions.collect(),
            customer: None,
            subject: self.subject.clone(),
            interval: Period::new(at, next).expect("the next microsecond is later"),
        }
    }
}

/// A stretch of time that may have no beginning and no end.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Stretch {
    fn contains(self, at: Instant) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// All samples of one subject, source, resource and set of dimensions.
struct Group<'g> {
    events: MeterType,
    series: Texts,
    source: Box<str>,
    own: Own,
    /// A series for each provider whose samples they are.
    homes: BTreeMap<Option<ProviderId>, Series<'g>>,
    last: Option<Last>,
}

/// Where the last sample went: one that names the same provider between the same prices goes there,
/// too.
struct Last {
    provider: Option<ProviderId>,
    within: Stretch,
    home: Option<ProviderId>,
}

/// A [`SeriesText`] that is kept.
#[derive(PartialEq, Eq)]
struct Texts {
    events: String,
    subject: String,
    source: String,
    resource: Option<String>,
    dimensions: Option<String>,
}

impl Texts {
    fn of(text: SeriesText<'_>) -> Self {
        let SeriesText { events, subject, source, resource, dimensions } = text;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            events: events.to_owned(),
            subject: subject.to_owned(),
            source: source.to_owned(),
            resource: owned(resource),
            dimensions: owned(dimensions),
        }
    }

    fn is(&self, text: SeriesText<'_>) -> bool {
        self.subject == text.subject
            && self.source == text.source
            && self.resource.as_deref() == text.resource
            && self.dimensions.as_deref() == text.dimensions
            && self.events == text.events
    }
}

/// The samples of one provider, subject, source, resource and set of dimensions.
struct Series<'g> {
    /// What nearly all events of the series say of themselves.
    own: Own,
    /// Those that say something else.
    others: BTreeMap<LedgerOrder, Own>,
    readings: Vec<Reading<'g>>,
    /// The last sample, until it is known how long it holds; where values hold for a time.
    pending: Option<Sample>,
    tells_unrated: bool,
    /// Where samples of the series are known to have a price.
    priced: Option<Stretch>,
}

/// How one meter reads a series, for one provider's prices or lines.
struct Reading<'g> {
    meter: &'g Meter,
    of: ReadFor<'g>,
    reader: SeriesReader,
    found: Vec<Found>,
}

#[derive(Clone, Copy)]
enum ReadFor<'g> {
    Prices(&'g Provider),
    /// Lines that are shared by the meter.
    Key(&'g ProviderId),
}

struct Gatherer<'g, 'r> {
    catalog: &'g Catalog,
    periods: &'g Periods,
    resolver: &'r Resolver<'g>,
    grounds: &'g Grounds<'g>,
    /// The meters that read a type of events.
    readers: BTreeMap<&'g MeterType, Vec<&'g Meter>>,
    /// Where a price begins or ends, by the type of events.
    bounds: BTreeMap<&'g MeterType, Vec<Instant>>,
    out: Gathering<'g>,
    group: Option<Group<'g>>,
}

/// So many findings are kept before they are gathered.
const MOST_FOUND: usize = 1_024;

impl<'g> Gatherer<'g, '_> {
    fn take(&mut self, row: SampleRow<'_>) -> Result<(), RatingError> {
        let mut group = match self.group.take() {
            Some(group) if group.series.is(row.series) => group,
            before => {
                self.group = before;
                self.close()?;
                self.open(row.series)?
            }
        };
        let taken = self.add(&mut group, &row);
        self.group = Some(group);
        taken
    }

    fn open(&self, series: SeriesText<'_>) -> Result<Group<'g>, RatingError> {
        let own = Own::new(None, series.subject, labels(series.resource)?, labels(series.dimensions)?)?;
        Ok(Group {
            events: MeterType::new(series.events).map_err(RatingError::stored("name"))?,
            series: Texts::of(series),
            source: series.source.into(),
            own,
            homes: BTreeMap::new(),
            last: None,
        })
    }

    fn add(&mut self, group: &mut Group<'g>, row: &SampleRow<'_>) -> Result<(), RatingError> {
        let sample = row.sample;
        let is_alike = |last: &Last| {
            last.provider.as_ref().map(ProviderId::as_str) == row.provider
                && last.within.contains(sample.time)
                && row.heir_of.is_none()
        };
        let home = match &group.last {
            Some(last) if is_alike(last) => last.home.clone(),
            _ => self.place(group, row)?,
        };
        let series = group.homes.get_mut(&home).expect("its series is there");
        let mut is_full = false;
        for reading in &mut series.readings {
            let found = &mut reading.found;
            reading.reader.push(sample, &mut |one| found.push(one));
            is_full |= found.len() >= MOST_FOUND;
        }
        if series.tells_unrated {
            let before = series.pending.replace(sample);
            if let Some(before) = before {
                let is_priced = |at| series.priced.is_some_and(|priced| priced.contains(at));
                let is_common = !series.others.contains_key(&before.order);
                if !(is_common && is_priced(before.time) && is_priced(sample.time)) {
                    let of = (home.as_ref(), &group.homes[&home]);
                    let is_rated = self.tell_unrated(&group.events, of, before, Some(sample.time))?;
                    let priced = self.between_prices(&group.events, before.time);
                    let series = group.homes.get_mut(&home).expect("it is there");
                    series.priced = (is_rated && is_common && priced.contains(sample.time)).then_some(priced);
                }
            }
        }
        if is_full {
            let (events, source) = (&group.events, &group.source);
            let series = group.homes.get_mut(&home).expect("it is there");
            self.drain(events, source, series)?;
        }
        Ok(())
    }

    /// Finds the series of a sample, and keeps what it says of itself where that is not what the series
    /// says.
    fn place(&self, group: &mut Group<'g>, row: &SampleRow<'_>) -> Result<Option<ProviderId>, RatingError> {
        let stored = RatingError::stored("name");
        let provider = row.provider.map(ProviderId::new).transpose().map_err(stored)?;
        let mut own = match row.heir_of {
            None => Own { provider, ..group.own.clone() },
            Some(_) => Own::new(row.provider, row.subject, labels(row.resource)?, labels(row.dimensions)?)?,
        };
        let at = row.sample.time;
        let key = own.key(&group.events, None, at);
        own.home = self.resolver.home(&key).ok().map(|home| home.id.clone());
        let home = match row.heir_of {
            None => own.home.clone(),
            Some(home) => home.map(ProviderId::new).transpose().map_err(RatingError::stored("name"))?,
        };
        if !group.homes.contains_key(&home) {
            let series = self.series(&group.events, home.as_ref(), &own);
            group.homes.insert(home.clone(), series);
        }
        let is_common = group.homes.get(&home).is_some_and(|series| series.own == own);
        if row.heir_of.is_none() && is_common {
            let within = self.between_prices(&group.events, at);
            let provider = own.provider.clone();
            group.last = Some(Last { provider, within, home: home.clone() });
        }
        if !is_common && let Some(series) = group.homes.get_mut(&home) {
            series.others.insert(row.sample.order, own);
        }
        Ok(home)
    }

    /// The time around an instant in which no price of some events begins or ends.
    fn between_prices(&self, events: &MeterType, at: Instant) -> Stretch {
        let bounds = self.bounds.get(events).map_or(&[][..], Vec::as_slice);
        let after = bounds.partition_point(|bound| *bound <= at);
        Stretch { from: after.checked_sub(1).map(|before| bounds[before]), until: bounds.get(after).copied() }
    }

    fn series(&self, events: &MeterType, home: Option<&ProviderId>, own: &Own) -> Series<'g> {
        let mut readings = Vec::new();
        let bindings = self.moves_of(&own.subject);
        for meter in self.readers.get(events).into_iter().flatten() {
            let provider = home.and_then(|home| self.catalog.providers.get(home));
            if let Some(provider) = provider
                && !meter.rules.is_additive()
                && let Some(period) = self.periods.of_provider(&provider.id)
                && provider.skus.iter().any(|sku| sku.counts_by(&meter.meter))
            {
                let mut cuts = bindings.clone();
                for sku in provider.skus.iter().filter(|sku| sku.counts_by(&meter.meter)) {
                    cuts.extend(sku.bounds());
                }
                readings.push(Reading::new(meter, ReadFor::Prices(provider), period, cuts));
            }
            let mut keys: BTreeMap<&'g ProviderId, BTreeSet<Instant>> = BTreeMap::new();
            for (of, key, span) in self.grounds.keys.keys() {
                if *key == meter.meter {
                    keys.entry(of).or_default().extend([span.start(), span.end()]);
                }
            }
            for (of, mut cuts) in keys {
                if let Some(period) = self.periods.of_provider(of) {
                    cuts.extend(&bindings);
                    readings.push(Reading::new(meter, ReadFor::Key(of), period, cuts));
                }
            }
        }
        let tells_unrated = home.is_some() && self.grounds.held.contains(events);
        Series {
            own: own.clone(),
            others: BTreeMap::new(),
            readings,
            pending: None,
            tells_unrated,
            priced: None,
        }
    }

    /// The instants at which a binding of a subject begins or ends.
    fn moves_of(&self, subject: &Subject) -> BTreeSet<Instant> {
        let bindings = self.catalog.bindings.of(subject).iter();
        bindings.flat_map(|binding| [Some(binding.from), binding.until]).flatten().collect()
    }

    /// Nothing of the group is left to come.
    fn close(&mut self) -> Result<(), RatingError> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        let homes = std::mem::take(&mut group.homes);
        for (home, mut series) in homes {
            if let Some(pending) = series.pending.take() {
                self.tell_unrated(&group.events, (home.as_ref(), &series), pending, None)?;
            }
            for reading in &mut series.readings {
                reading.finish();
            }
            self.drain(&group.events, &group.source, &mut series)?;
        }
        Ok(())
    }

    /// Gathers what was found of a series.
    fn drain(
        &mut self,
        events: &MeterType,
        source: &str,
        series: &mut Series<'g>,
    ) -> Result<(), RatingError> {
        let Series { own, others, readings, .. } = series;
        for reading in readings {
            let found = std::mem::take(&mut reading.found);
            let mut rest = found.as_slice();
            while let Some((first, _)) = rest.split_first() {
                let Found::Counts(contribution) = first else {
                    if let Found::Noted(note) = first {
                        self.note(reading, events, own, source, *note);
                    }
                    rest = &rest[1..];
                    continue;
                };
                if let Some(other) = others.get(&contribution.order) {
                    self.gather_alone(reading, events, other, contribution)?;
                    rest = &rest[1..];
                    continue;
                }
                let same = |found: &Found| matches!(found, Found::Counts(other) if other.stretch == contribution.stretch && !others.contains_key(&other.order));
                let run = rest.iter().position(|found| !same(found)).unwrap_or(rest.len());
                let (now, later) = rest.split_at(run);
                let counted = now.iter().filter_map(|found| match found {
                    Found::Counts(contribution) => Some(contribution.counted),
                    Found::Noted(_) => None,
                });
                self.gather(reading, events, own, counted)?;
                rest = later;
            }
        }
        Ok(())
    }

    /// Gathers what an event counts that is not of the place of its series: where its own subject's
    /// customer changes, it is cut there.
    fn gather_alone(
        &mut self,
        reading: &Reading<'g>,
        events: &MeterType,
        own: &Own,
        contribution: &Contribution,
    ) -> Result<(), RatingError> {
        let Counted::During { time, value } = contribution.counted else {
            return self.gather(reading, events, own, std::iter::once(contribution.counted));
        };
        let inside = self.moves_of(&own.subject);
        let inside = inside.into_iter().filter(|cut| time.start() < *cut && *cut < time.end());
        let bounds: Vec<Instant> = [time.start()].into_iter().chain(inside).chain([time.end()]).collect();
        for bounds in bounds.windows(2) {
            let time = Period::new(bounds[0], bounds[1]).expect("bounds ascend");
            self.gather(reading, events, own, std::iter::once(Counted::During { time, value }))?;
        }
        Ok(())
    }

    /// Gathers contributions that have one place: of one stretch, between two changes of customer.
    fn gather(
        &mut self,
        reading: &Reading<'g>,
        events: &MeterType,
        own: &Own,
        counted: impl Iterator<Item = Counted> + Clone,
    ) -> Result<(), RatingError> {
        let Some(first) = counted.clone().next() else { return Ok(()) };
        let at = match first {
            Counted::At { time, .. } => time,
            Counted::During { time, .. } => time.start(),
        };
        let customer = self.catalog.customer_at(&own.subject, at).cloned();
        let place = || Place {
            customer: customer.clone(),
            subject: own.subject.clone(),
            resource: own.resource.clone(),
        };
        match reading.of {
            ReadFor::Prices(provider) => {
                // What replaces another provider's event may be of its own series alone.
                if own.home.as_ref() != Some(&provider.id) {
                    return Ok(());
                }
                let key = own.key(events, Some(&provider.id), at);
                let Some(pool) = self.pool(reading.meter, provider, &key, customer.as_ref()) else {
                    return Ok(());
                };
                let of = (pool.provider.clone(), pool.sku, pool.price);
                let Some((meter, windows)) = self.grounds.pools.get(&of) else { return Ok(()) };
                let gathered = self.out.pools.entry(pool.clone());
                let gathered = gathered.or_insert_with(|| Gathered::new(&meter.rules, windows));
                let mut run = gathered.run(place(), &own.dimensions);
                counted.for_each(|counted| run.add(counted));
            }
            ReadFor::Key(of) => {
                if own.provider.as_ref().is_some_and(|named| named != of) {
                    return Ok(());
                }
                // Charge periods of lines may lie over each other.
                let spans = self.grounds.keys.iter().filter(|((provider, meter, span), _)| {
                    provider == of && *meter == reading.meter.meter && span.contains(at)
                });
                for (key, (meter, windows)) in spans {
                    let gathered = self.out.keys.entry(key.clone());
                    let gathered = gathered.or_insert_with(|| Gathered::new(&meter.rules, windows));
                    let mut run = gathered.run(place(), &own.dimensions);
                    counted.clone().for_each(|counted| run.add(counted));
                }
            }
        }
        Ok(())
    }

    /// Where usage of a provider is priced by a meter.
    fn pool(
        &self,
        meter: &Meter,
        provider: &'g Provider,
        key: &UsageKey,
        customer: Option<&CustomerId>,
    ) -> Option<PoolKey> {
        let of_meter = |sku: &usize| provider.skus[*sku].counts_by(&meter.meter);
        let sku = self.resolver.taking(provider, key).find(of_meter)?;
        let price = provider.skus[sku].price_index_at(key.interval.start())?;
        let key = UsageKey { customer: customer.cloned(), ..key.clone() };
        Some(self.resolver.pool(provider, sku, price, &key))
    }

    /// Keeps a note of a series that a SKU takes when what it tells of begins or ends.
    fn note(&mut self, reading: &Reading<'g>, events: &MeterType, own: &Own, source: &str, note: Note) {
        let ReadFor::Prices(provider) = reading.of else { return };
        let takes = |at: Instant| {
            let key = own.key(events, Some(&provider.id), at);
            let of_meter = |sku: usize| provider.skus[sku].counts_by(&reading.meter.meter);
            self.resolver.taking(provider, &key).any(of_meter)
        };
        let taken = match note.kind {
            NoteKind::Gap => takes(note.since) || takes(note.until),
            NoteKind::Reset => takes(note.until),
        };
        if taken {
            let series = SeriesKey {
                provider: Some(provider.id.clone()),
                source: source.into(),
                subject: own.subject.clone(),
                resource: own.resource.clone(),
                dimensions: own.dimensions.clone(),
            };
            let meter = reading.meter.meter.clone();
            self.out.notes.push(SeriesNote { provider: provider.id.clone(), meter, series, note });
        }
    }

    /// Counts a sample that has no price, in the billing period of its own time: no SKU takes any part
    /// of it, or none has a price where one of the parts lies. Whether it has one.
    fn tell_unrated(
        &mut self,
        events: &MeterType,
        (home, series): (Option<&ProviderId>, &Series<'g>),
        sample: Sample,
        next: Option<Instant>,
    ) -> Result<bool, RatingError> {
        let own = series.others.get(&sample.order).unwrap_or(&series.own);
        let Some(provider) = home.and_then(|home| self.catalog.providers.get(home)) else { return Ok(false) };
        let period = self.periods.of_provider(&provider.id);
        if !period.is_some_and(|period| period.contains(sample.time)) {
            return Ok(false);
        }
        let readers = self.readers.get(events).map_or(&[][..], Vec::as_slice);
        let (mut is_taken, mut lacks) = (false, false);
        for meter in readers {
            let mut times = BTreeSet::from([sample.time]);
            if let Values::Level { carry } = &meter.rules.values {
                let end = sample.time.micros().saturating_add(carry.micros());
                let end = next.map_or(end, |next| end.min(next.micros()));
                for sku in provider.skus.iter().filter(|sku| sku.counts_by(&meter.meter)) {
                    let bounds = sku.bounds();
                    times.extend(bounds.filter(|at| sample.time < *at && at.micros() < end));
                }
            }
            let taking = |at: Instant| -> Vec<usize> {
                self.resolver.taking(provider, &own.key(events, Some(&provider.id), at)).collect()
            };
            let of_meter =
                |skus: &[usize]| skus.iter().any(|sku| provider.skus[*sku].counts_by(&meter.meter));
            let taken: Vec<(Instant, Vec<usize>)> = times.into_iter().map(|at| (at, taking(at))).collect();
            if taken.iter().any(|(_, skus)| of_meter(skus)) {
                is_taken = true;
                lacks |= taken.iter().any(|(at, skus)| {
                    skus.iter().all(|sku| provider.skus[*sku].price_index_at(*at).is_none())
                });
            }
        }
        let key = own.key(events, None, sample.time);
        let key = match (is_taken, lacks) {
            (true, false) => return Ok(true),
            (_, true) => self.resolver.key_of_unrated(UnratedReason::NoPrice, Some(&provider.id), &key),
            (false, false) if self.resolver.is_key(&key) => return Ok(false),
            (false, false) => self.resolver.key_of_unrated(UnratedReason::NoSku, own.provider.as_ref(), &key),
        };
        let sum = self.out.unrated.entry(key).or_insert((QuantityTotal::ZERO, 0));
        let value = QuantityTotal::from(sample.value);
        sum.0 = sum.0.checked_add(value).map_err(RatingError::overflow("a sum of unrated usage"))?;
        sum.1 += 1;
        Ok(false)
    }
}

impl<'g> Reading<'g> {
    fn new(meter: &'g Meter, of: ReadFor<'g>, period: Period, cuts: BTreeSet<Instant>) -> Self {
        let cuts = cuts.into_iter().filter(|cut| period.start() < *cut && *cut < period.end()).collect();
        let reader = SeriesReader::new(&meter.rules.values, period, cuts);
        Self { meter, of, reader, found: Vec::new() }
    }

    fn finish(&mut self) {
        let found = &mut self.found;
        self.reader.finish(&mut |one| found.push(one));
    }
}
