//! Rows: which lines of invoices stand beside which cost lines.
//!
//! What a row's figures are, and what differs, is deliberately not known here.
//!
//! Invariant: every line of a standing invoice that belongs to the month, and every cost line of a
//! provider who bills the operator, is in exactly one row.

use super::classes::{Apart, Kind};
use super::month::{Months, Open, Stands};
use super::row::LineAt;
use crate::allocation::Rule;
use crate::catalog::{Catalog, Provider, Sku};
use crate::error::RatingError;
use crate::run::CostLine;
use schemas::id::{CustomerId, ProviderId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory};
use schemas::money::Currency;
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// A row before its figures are known.
pub(super) struct Draft<'a> {
    pub kind: Kind,
    pub provider: &'a Provider,
    /// Of a row of a SKU: the SKU, and the month in which it was used.
    pub used: Option<Used<'a>>,
    pub sub_account: Option<&'a str>,
    pub text: Option<&'a str>,
    /// Whether a mapping covers the text, although not the row.
    pub knows_text: bool,
    pub currency: Currency,
    pub lines: Vec<LineAt>,
    pub cost_lines: Vec<usize>,
    /// Lines of the versions before.
    pub earlier: Vec<LineAt>,
}

#[derive(Clone, Copy)]
pub(super) struct Used<'a> {
    pub sku: &'a Sku,
    pub month: BillingMonth,
    pub period: Period,
    /// The account that the row is of, where rows are that fine.
    pub account: Option<&'a CustomerId>,
}

/// What rows are made of.
pub(super) struct Matter<'a> {
    pub month: BillingMonth,
    pub cost_lines: &'a [CostLine],
    pub catalog: &'a Catalog,
    pub invoices: &'a [Invoice],
}

/// A provider, and where to find what its invoices name.
pub(super) struct Home<'a> {
    provider: &'a Provider,
    skus: BTreeMap<&'a str, usize>,
    pub months: Months<'a>,
}

/// Where a line belongs.
enum Place<'a> {
    Alone(Apart),
    Unmapped { text: Text<'a>, knows_text: bool },
    Sku { sku: usize, month: BillingMonth, account: Option<&'a CustomerId> },
}

/// What lines that are not mapped have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a> {
    billing_account: Option<&'a str>,
    text: Option<&'a str>,
    currency: Currency,
    sub_account: Option<&'a str>,
}

/// The lines and cost lines of a SKU and a month of use.
#[derive(Default)]
struct Group<'a> {
    lines: Vec<Placed<'a>>,
    earlier: Vec<Placed<'a>>,
    cost_lines: Vec<usize>,
}

struct Placed<'a> {
    at: LineAt,
    line: &'a InvoiceLine,
    account: Option<&'a CustomerId>,
}

type Groups<'a> = BTreeMap<(&'a ProviderId, usize, BillingMonth), Group<'a>>;

/// The rows of a month, in no order.
///
/// # Errors
/// When a provider is not in the catalog, or a line begins where no billing period is.
pub(super) fn drafts<'a>(
    matter: &Matter<'a>,
    standing: &[Stands],
    open: &Open<'_>,
) -> Result<Vec<Draft<'a>>, RatingError> {
    let catalog = matter.catalog;
    let mut homes: BTreeMap<&ProviderId, Home<'a>> =
        catalog.providers.values().map(|provider| (&provider.id, Home::of(provider))).collect();
    let customers: BTreeMap<&str, &CustomerId> =
        catalog.customers.keys().map(|customer| (customer.as_str(), customer)).collect();
    let mut drafts = Vec::new();
    let mut unmapped: BTreeMap<(&ProviderId, Text<'a>), usize> = BTreeMap::new();
    let mut groups = Groups::new();
    let mut earlier = Vec::new();
    for stands in standing {
        for (place, is_last) in [(Some(stands.last), true), (stands.before, false)] {
            let Some(place) = place else { continue };
            let invoice = &matter.invoices[place];
            let home = homes.get_mut(&invoice.provider).ok_or_else(|| unknown(invoice))?;
            for (index, line) in invoice.lines.iter().enumerate() {
                let month = home.months.containing(line.start)?;
                if open.month_of(month, invoice.period) != matter.month {
                    continue;
                }
                let at = LineAt { invoice: place, line: index };
                let found = home.place(line, month, &customers);
                let provider = home.provider;
                match found {
                    Place::Sku { sku, month, account } => {
                        let placed = Placed { at, line, account };
                        let key = (&provider.id, sku, month);
                        match is_last {
                            true => groups.entry(key).or_default().lines.push(placed),
                            false => earlier.push((key, placed)),
                        }
                    }
                    _ if !is_last => {}
                    Place::Alone(category) => {
                        let text = line.description.as_deref();
                        drafts
                            .push(Draft { lines: vec![at], ..Draft::alone(provider, category, line, text) });
                    }
                    Place::Unmapped { text, knows_text } => {
                        let row = *unmapped.entry((&provider.id, text)).or_insert_with(|| {
                            drafts.push(Draft::unmapped(provider, text, knows_text));
                            drafts.len() - 1
                        });
                        drafts[row].lines.push(at);
                    }
                }
            }
        }
    }
    let invoiced: BTreeSet<&ProviderId> =
        standing.iter().map(|stands| &matter.invoices[stands.last].provider).collect();
    for (index, line) in matter.cost_lines.iter().enumerate() {
        let provider = &line.key.provider;
        // The operator sends itself no invoice.
        if provider.as_str() == catalog.operator && !invoiced.contains(provider) {
            continue;
        }
        let home = homes.get(provider);
        let sku = home.and_then(|home| Some((home, *home.skus.get(line.key.sku.as_str())?)));
        let Some((home, sku)) = sku else {
            return Err(RatingError::Damaged(format!(
                "a cost line of {provider} {} is of no SKU of the catalog",
                line.key.sku
            )));
        };
        groups.entry((&home.provider.id, sku, matter.month)).or_default().cost_lines.push(index);
    }
    for (key, placed) in earlier {
        if let Some(group) = groups.get_mut(&key) {
            group.earlier.push(placed);
        }
    }
    for ((provider, sku, month), group) in groups {
        let provider = &catalog.providers[provider];
        let period =
            provider.billing_period(month).map_err(|reason| RatingError::Period { month, reason })?;
        let used = Used { sku: &provider.skus[sku], month, period, account: None };
        rows(matter, provider, used, group, &mut drafts);
    }
    Ok(drafts)
}

impl<'a> Home<'a> {
    pub fn of(provider: &'a Provider) -> Self {
        let skus = provider.skus.iter().enumerate().map(|(place, sku)| (sku.id.as_str(), place));
        Self { provider, skus: skus.collect(), months: Months::of(provider) }
    }

    fn place(
        &self,
        line: &'a InvoiceLine,
        month: BillingMonth,
        customers: &BTreeMap<&str, &'a CustomerId>,
    ) -> Place<'a> {
        let sku = line.sku_text.as_deref().and_then(|text| self.sku(text, line.start));
        let is_priced_by_lines = sku.is_some_and(|sku| self.provider.skus[sku].of().is_some());
        let is_direct = sku.is_some_and(|sku| self.provider.skus[sku].allocation == Rule::Direct);
        let account = line.sub_account.as_deref().map(|text| self.account(text, line.start, customers));
        let covered = sku.filter(|_| self.is_ours(line) && !(is_direct && account == Some(None)));
        let is_mapped = match line.category {
            LineCategory::Usage => true,
            LineCategory::Fee => sku.is_some(),
            LineCategory::Credit => covered.is_some() && is_priced_by_lines,
            LineCategory::Tax | LineCategory::Adjustment => false,
        };
        match (Apart::of(line.category).filter(|_| !is_mapped), covered) {
            (Some(category), _) => Place::Alone(category),
            (None, Some(sku)) => Place::Sku { sku, month, account: account.flatten() },
            (None, None) => Place::Unmapped {
                text: Text {
                    billing_account: line.billing_account.as_deref(),
                    text: line.sku_text.as_deref(),
                    currency: line.currency,
                    sub_account: line.sub_account.as_deref().filter(|_| is_direct),
                },
                knows_text: sku.is_some(),
            },
        }
    }

    /// Whether a line is of the operator's account, as far as it says.
    pub fn is_ours(&self, line: &InvoiceLine) -> bool {
        let account = line.billing_account.as_deref();
        account.is_none_or(|account| account == self.provider.billing_account.as_str())
    }

    /// The SKU that a text means: what the provider's map says, or an id.
    pub fn sku(&self, text: &str, at: Instant) -> Option<usize> {
        let map = self.provider.invoicing.as_ref().map(|invoicing| &invoicing.map);
        let mapped = map.and_then(|map| map.sku(text, at));
        self.skus.get(mapped.map_or(text, |sku| sku.as_str())).copied()
    }

    /// The customer that a sub account means, likewise.
    pub fn account(
        &self,
        text: &str,
        at: Instant,
        customers: &BTreeMap<&str, &'a CustomerId>,
    ) -> Option<&'a CustomerId> {
        let map = self.provider.invoicing.as_ref().map(|invoicing| &invoicing.map);
        let mapped = map.and_then(|map| map.account(text, at));
        customers.get(mapped.map_or(text, |customer| customer.as_str())).copied()
    }
}

impl<'a> Draft<'a> {
    fn alone(provider: &'a Provider, category: Apart, line: &InvoiceLine, text: Option<&'a str>) -> Self {
        let kind = Kind::Line(category);
        Self { kind, text, knows_text: true, ..Self::empty(provider, line.currency) }
    }

    fn unmapped(provider: &'a Provider, text: Text<'a>, knows_text: bool) -> Self {
        let empty = Self::empty(provider, text.currency);
        Self { sub_account: text.sub_account, text: text.text, knows_text, ..empty }
    }

    fn empty(provider: &'a Provider, currency: Currency) -> Self {
        Self {
            kind: Kind::Unmapped,
            provider,
            used: None,
            sub_account: None,
            text: None,
            knows_text: false,
            currency,
            lines: Vec::new(),
            cost_lines: Vec::new(),
            earlier: Vec::new(),
        }
    }
}

/// An account and a price, as far as rows are that fine.
type Part<'a> = (Option<&'a CustomerId>, Option<Instant>);

/// The rows of a SKU and a month of use.
fn rows<'a>(
    matter: &Matter<'a>,
    provider: &'a Provider,
    used: Used<'a>,
    group: Group<'a>,
    drafts: &mut Vec<Draft<'a>>,
) {
    let segments: Vec<(Instant, Period)> =
        used.sku.prices.iter().filter_map(|price| Some((price.from, price.within(used.period)?))).collect();
    let segment = |line: &InvoiceLine| {
        let after = segments.partition_point(|(_, period)| period.start() <= line.start);
        let (from, period) = segments[..after].last()?;
        (period.contains(line.start) && line.end <= period.end()).then_some(*from)
    };
    let by_account =
        used.sku.allocation == Rule::Direct && group.lines.iter().all(|placed| placed.account.is_some());
    let account = |account: Option<&'a CustomerId>| account.filter(|_| by_account);
    let cost_line = |index: &usize| &matter.cost_lines[*index];
    let priced = |index: &usize| {
        let key = &cost_line(index).key;
        (account(key.sub_account.as_ref()), key.price_from)
    };
    let mut taken = BTreeSet::new();
    let by_segment = group.lines.iter().all(|placed| segment(placed.line).is_some())
        && group.cost_lines.iter().all(|index| taken.insert(priced(index)));
    let part_of_line = |placed: &Placed<'a>| -> Part<'a> {
        (account(placed.account), segment(placed.line).filter(|_| by_segment))
    };
    let mut parts: BTreeMap<Part<'a>, BTreeMap<Currency, Draft<'a>>> = BTreeMap::new();
    let draft = |part: Part<'a>, currency: Currency| Draft {
        kind: Kind::Sku,
        used: Some(Used { account: part.0, ..used }),
        sub_account: part.0.map(CustomerId::as_str),
        knows_text: true,
        ..Draft::empty(provider, currency)
    };
    for placed in &group.lines {
        let part = part_of_line(placed);
        let currencies = parts.entry(part).or_default();
        let row = currencies.entry(placed.line.currency);
        row.or_insert_with(|| draft(part, placed.line.currency)).lines.push(placed.at);
    }
    for index in group.cost_lines {
        let (account, from) = priced(&index);
        let part = (account, Some(from).filter(|_| by_segment));
        let currencies = parts.entry(part).or_default();
        let own = provider.currency;
        let first = currencies.keys().next().copied();
        let currency = first.filter(|_| !currencies.contains_key(&own)).unwrap_or(own);
        currencies.entry(currency).or_insert_with(|| draft(part, currency)).cost_lines.push(index);
    }
    for placed in &group.earlier {
        let fits = !by_segment || segment(placed.line).is_some();
        let rows = parts.get_mut(&part_of_line(placed)).filter(|_| fits);
        if let Some(row) = rows.and_then(|rows| rows.get_mut(&placed.line.currency)) {
            row.earlier.push(placed.at);
        }
    }
    drafts.extend(parts.into_values().flat_map(BTreeMap::into_values));
}

fn unknown(invoice: &Invoice) -> RatingError {
    RatingError::Invoices(format!(
        "the invoice {} is of the provider {}, which is not in the catalog; publish a catalog that has it, or withdraw the invoice",
        invoice.id, invoice.provider
    ))
}
