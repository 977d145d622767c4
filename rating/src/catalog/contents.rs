//! The contents of a catalog: meters, providers with their SKUs and dated prices, customers.
//!
//! They are looked up here and deliberately not read: `read` makes them, and refuses
//! whatever would break what is promised here.
//!
//! Invariant: of the SKUs of a provider and meter at most one takes an event of an instant, and a SKU
//! has at most one price at an instant.

use super::bindings::Bindings;
use super::focus::FocusTerms;
use super::general_ledger::GeneralLedger;
use super::invoicing::Invoicing;
use super::limits::Limit;
use crate::allocation::Rule;
use crate::exact::Exact;
use crate::meter::Rules;
use crate::price::{self, Basis, PriceModel, Recurrence, Terms};
use crate::rounding::{Places, RoundingMode};
use crate::statement::{Grant, Partners, Rates};
use crate::units::{Factor, Unit, UnitError};
use crate::words::words;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_traits::One as _;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::digest::Sha256Digest;
use schemas::id::{BillingAccountId, CustomerId, MeterType, ProviderId, SkuId, Subject};
use schemas::money::Currency;
use schemas::time::{Anchor, BillingMonth, Instant, Period, TimeError};
use std::collections::{BTreeMap, BTreeSet};

/// One version of the catalog, checked.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Names this version for ever; see [`super::CatalogFiles::digest`].
    pub digest: Sha256Digest,
    /// The id of who keeps the ledger, pays the providers and bills the customers.
    pub operator: String,
    pub name: String,
    pub meters: BTreeMap<MeterType, Meter>,
    pub providers: BTreeMap<ProviderId, Provider>,
    pub customers: BTreeMap<CustomerId, Customer>,
    pub bindings: Bindings,
    /// In the order of the file.
    pub grants: Vec<Grant>,
    /// `None`: nothing is converted.
    pub rates: Option<Rates>,
    pub focus: FocusTerms,
    /// `None`: nothing is exported to a general ledger.
    pub general_ledger: Option<GeneralLedger>,
    /// In the order of the file.
    pub limits: Vec<Limit>,
}

/// A meter: a kind of usage that is measured.
#[derive(Debug, Clone)]
pub struct Meter {
    pub meter: MeterType,
    /// The type of the events that it reads; other meters may read the same.
    pub events: MeterType,
    /// Of the values of events.
    pub unit: Unit,
    pub rules: Rules,
    /// The dimensions a SKU may match on; others of an event are kept and ignored.
    pub dimensions: BTreeSet<String>,
}

/// A provider of services, which bills the operator.
#[derive(Debug, Clone)]
pub struct Provider {
    pub id: ProviderId,
    pub name: String,
    /// The operator's account with the provider.
    pub billing_account: BillingAccountId,
    pub currency: Currency,
    pub time_zone: TimeZone,
    pub time_zone_name: String,
    /// The day on which its billing periods begin.
    pub anchor: Anchor,
    /// How a line of its invoice is rounded to the minor unit.
    pub rounding: RoundingMode,
    /// How each step of a line's arithmetic is rounded before they are added up; none where they are
    /// not.
    pub steps: Option<Places>,
    /// In the order of the file.
    pub skus: Vec<Sku>,
    /// How its invoices are read; none where no file says it.
    pub invoicing: Option<Invoicing>,
}

/// A thing that a provider puts a price on.
#[derive(Debug, Clone)]
pub struct Sku {
    pub id: SkuId,
    pub name: String,
    pub counts: Counts,
    pub allocation: Rule,
    /// By `from`; they never overlap.
    pub prices: Vec<DatedPrice>,
    pub examples: Vec<Example>,
    /// Where it stands in the provider's prices.toml.
    pub line: usize,
}

/// What a SKU puts a price on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counts {
    Usage(Box<Metered>),
    Lines(Of),
    /// What is billed without either.
    Nothing,
}

/// The SKUs whose lines another is priced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    /// The names as written; `*` for all that stand above.
    pub of: BTreeSet<String>,
    pub except: BTreeSet<String>,
    /// By their places in the price list, all of them above.
    pub skus: BTreeSet<usize>,
}

/// The time in which a SKU takes events: from the beginning of its first price until the end of its
/// last, gaps between them included. Outside it is as if the SKU were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub from: Instant,
    pub until: Option<Instant>,
}

/// Which usage a SKU takes and how it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    pub meter: MeterType,
    /// [`Meter::events`].
    pub events: MeterType,
    /// [`Meter::rules`].
    pub rules: Rules,
    /// Every dimension named must have one of its values; none named takes what no other SKU takes at
    /// the time.
    pub matches: BTreeMap<String, BTreeSet<String>>,
    /// The unit that is priced.
    pub unit: Unit,
    /// From the unit of the meter's result to this one.
    pub factor: Factor,
}

/// A price while it is in force, `[from, until)`.
#[derive(Debug, Clone)]
pub struct DatedPrice {
    pub from: Instant,
    pub until: Option<Instant>,
    /// The dates as written, at whose midnights in the provider's zone the price begins and ends.
    pub from_date: Date,
    pub until_date: Option<Date>,
    pub terms: Terms,
    /// Where it stands in the provider's prices.toml.
    pub line: usize,
}

/// A worked example of a price list; its amount has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub on: Date,
    /// In the SKU's unit; `None` for what is billed without usage.
    pub quantity: Option<QuantityTotal>,
    pub amount: Amount,
    pub line: usize,
}

/// A customer, billed by the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    pub id: CustomerId,
    pub name: String,
    pub kinds: Kinds,
    pub currency: Currency,
    /// The partner that is billed in its place, and bills it.
    pub bills_to: Option<CustomerId>,
}

/// A customer's kind at every date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds {
    /// Until the first of `later` begins.
    pub first: CustomerKind,
    /// Each from its date until the next one's, by date.
    pub later: Vec<(Date, CustomerKind)>,
}

impl Kinds {
    pub fn on(&self, date: Date) -> CustomerKind {
        let after = self.later.partition_point(|(from, _)| *from <= date);
        self.later[..after].last().map_or(self.first, |(_, kind)| *kind)
    }
}

words! {
    /// How a customer is billed.
    pub enum CustomerKind {
        Customer = "customer",
        /// Billed like a customer; resells to its own.
        Partner = "partner",
        /// The operator itself: its share is retained.
        Internal = "internal",
    }
}

impl Catalog {
    /// The customer who pays for a subject's usage at an instant.
    pub fn customer_at(&self, subject: &Subject, instant: Instant) -> Option<&CustomerId> {
        self.bindings.at(subject, instant).map(|binding| &binding.customer)
    }

    /// The customers with a binding in force at any time in the period.
    pub fn customers_bound_in(&self, period: Period) -> BTreeSet<CustomerId> {
        self.bindings
            .iter()
            .filter(|binding| binding.overlaps(period))
            .map(|binding| binding.customer.clone())
            .collect()
    }

    /// Which customers are billed by a partner.
    pub fn partners(&self) -> Partners {
        let bills_to = |customer: &Customer| Some((customer.id.clone(), customer.bills_to.clone()?));
        Partners::new(self.customers.values().filter_map(bills_to))
    }

    /// The meter that shares the lines of a SKU, where it is not the SKU's own.
    pub fn key_of(&self, sku: &Sku) -> Option<&Meter> {
        match &sku.allocation {
            Rule::ByMeter { key } => self.meters.get(key),
            _ => None,
        }
    }

    /// Whether the customer is the operator itself on that date. Of a billing month it is the first.
    pub fn is_internal(&self, customer: &CustomerId, date: Date) -> bool {
        self.customers.get(customer).is_some_and(|customer| customer.kinds.on(date) == CustomerKind::Internal)
    }
}

impl Meter {
    /// The unit of the quantity that it makes of values.
    ///
    /// # Errors
    /// Where that is no unit, as for a currency that is held for a time.
    pub fn unit_of_result(&self) -> Result<Unit, UnitError> {
        let unit = self.rules.unit_of_result(self.unit.as_str());
        if unit == self.unit.as_str() { Ok(self.unit.clone()) } else { Unit::parse(&unit) }
    }
}

impl Provider {
    /// The month in the provider's time zone.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] at the edges of the calendar.
    pub fn billing_period(&self, month: BillingMonth) -> Result<Period, TimeError> {
        self.anchor.period(month, &self.time_zone)
    }

    /// The SKU that takes an event of that meter with those dimensions at that instant: one that
    /// names dimensions, or else the one that names none.
    pub fn sku_for<'v>(
        &self,
        meter: &MeterType,
        at: Instant,
        dimension: impl Fn(&str) -> Option<&'v str>,
    ) -> Option<&Sku> {
        let of_meter = || {
            let lives = |sku: &&Sku| sku.life().is_some_and(|life| life.contains(at));
            self.skus.iter().filter(lives).filter_map(|sku| {
                sku.metered().filter(|metered| &metered.meter == meter).map(|metered| (sku, metered))
            })
        };
        let named = of_meter().find(|(_, metered)| !metered.matches.is_empty() && metered.takes(&dimension));
        named.or_else(|| of_meter().find(|(_, metered)| metered.matches.is_empty())).map(|(sku, _)| sku)
    }

    /// The places of a SKU and of all whose lines it is priced by, directly or through others.
    pub fn stands_on(&self, index: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([index]);
        // Whatever a SKU stands on is above it.
        for place in (0..=index).rev() {
            if found.contains(&place)
                && let Some(of) = self.skus[place].of()
            {
                found.extend(&of.skus);
            }
        }
        found
    }

    pub fn sku(&self, id: &SkuId) -> Option<&Sku> {
        self.skus.iter().find(|sku| &sku.id == id)
    }
}

impl Sku {
    /// Which usage it takes, if it is priced by usage.
    pub fn metered(&self) -> Option<&Metered> {
        match &self.counts {
            Counts::Usage(metered) => Some(metered),
            Counts::Lines(_) | Counts::Nothing => None,
        }
    }

    /// The SKUs whose lines it is priced by, if it is.
    pub fn of(&self) -> Option<&Of> {
        match &self.counts {
            Counts::Lines(of) => Some(of),
            Counts::Usage(_) | Counts::Nothing => None,
        }
    }

    /// Whether it is priced by that meter.
    pub fn counts_by(&self, meter: &MeterType) -> bool {
        self.metered().is_some_and(|metered| metered.meter == *meter)
    }

    /// The instants at which its prices begin or end.
    pub fn bounds(&self) -> impl Iterator<Item = Instant> {
        self.prices.iter().flat_map(|price| [Some(price.from), price.until]).flatten()
    }

    /// The time in which it takes events; `None` for a SKU without a price, which none is.
    pub fn life(&self) -> Option<Life> {
        Life::of(&self.prices)
    }

    /// The price in force at an instant.
    pub fn price_at(&self, instant: Instant) -> Option<&DatedPrice> {
        self.price_index_at(instant).map(|index| &self.prices[index])
    }

    /// The place of the price in force at an instant.
    pub(crate) fn price_index_at(&self, instant: Instant) -> Option<usize> {
        let last = self.prices.partition_point(|price| price.from <= instant).checked_sub(1)?;
        self.prices[last].contains(instant).then_some(last)
    }
}

impl Counts {
    pub fn basis(&self) -> Basis {
        match self {
            Self::Usage(_) => Basis::Usage,
            Self::Lines(_) => Basis::Lines,
            Self::Nothing => Basis::Nothing,
        }
    }
}

impl Life {
    /// Of prices by their beginning.
    pub fn of(prices: &[DatedPrice]) -> Option<Self> {
        Some(Self { from: prices.first()?.from, until: prices.last()?.until })
    }

    pub fn contains(self, instant: Instant) -> bool {
        self.from <= instant && self.until.is_none_or(|until| instant < until)
    }

    /// Whether some instant is in both.
    pub fn meets(self, other: Self) -> bool {
        let begins_before = |one: Self, end: Option<Instant>| end.is_none_or(|end| one.from < end);
        begins_before(self, other.until) && begins_before(other, self.until)
    }
}

impl Metered {
    /// Whether an event with these dimensions is one of those that it takes by name.
    pub(crate) fn takes<'v>(&self, dimension: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.matches.iter().all(|(name, values)| dimension(name).is_some_and(|value| values.contains(value)))
    }
}

impl DatedPrice {
    pub fn contains(&self, instant: Instant) -> bool {
        self.from <= instant && self.until.is_none_or(|until| instant < until)
    }

    /// When an amount falls due in a billing period: the time that it is for, and how much of it. `None`
    /// where it does not, or the price is of another model.
    pub fn due(&self, period: Period, zone: &TimeZone) -> Option<(Period, Exact)> {
        let PriceModel::Flat { every, prorate, .. } = &self.terms.model else { return None };
        match (every, prorate) {
            (Recurrence::Once, _) => period.contains(self.from).then(|| (period, Exact::one())),
            (Recurrence::Month, None) => self.contains(period.start()).then(|| (period, Exact::one())),
            (Recurrence::Month, Some(by)) => {
                self.within(period).map(|part| (part, price::part_of(period, part, *by, zone)))
            }
        }
    }

    /// The part of a period in which the price is in force.
    pub fn within(&self, period: Period) -> Option<Period> {
        let until = self.until.unwrap_or_else(|| period.end());
        Period::new(self.from.max(period.start()), until.min(period.end()))
    }
}
