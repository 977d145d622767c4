//! What the texts of invoices that no mapping covers may mean, with the reasons for it.
//!
//! It is for people: a proposal becomes a mapping when somebody writes it into invoice_map.csv and
//! publishes that. Whether the month then agrees is deliberately not looked at.
//!
//! Invariant: a proposal names what the catalog has, and its entry overlaps none that there is. Equal
//! arguments give equal proposals, in equal order.

use super::evidence::{Candidate, Counted, Reason, Said, Side, Sure, best, by_figures, by_name};
use super::figures::tolerance;
use super::matching::Home;
use super::month::{Stands, standing};
use super::quantity::Quantities;
use super::words_of::{telling, words_of};
use crate::allocation::Rule;
use crate::catalog::{Catalog, Counts, Meaning, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::run::CostLine;
use crate::words::words;
use jiff::civil::Date;
use num_traits::Signed as _;
use schemas::id::{CustomerId, SkuId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory};
use schemas::time::{BillingMonth, Instant, Period};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// What a text is, as invoice_map.csv has it.
    pub enum TextKind {
        Sku = "sku",
        Account = "account",
    }
}

/// What is looked at: a provider's invoices of a month beside the cost lines of the same month.
#[derive(Clone, Copy)]
pub struct Unmapped<'a> {
    pub provider: &'a Provider,
    pub month: BillingMonth,
    pub catalog: &'a Catalog,
    /// Those of the month's run.
    pub cost_lines: &'a [CostLine],
    /// All versions of all invoices, in the order in which they were imported, less those that were
    /// withdrawn.
    pub invoices: &'a [Invoice],
}

/// A text, and what the lines that have it come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapText {
    pub kind: TextKind,
    pub text: String,
    pub lines: u64,
    /// In the provider's currency.
    pub amount: Exact,
}

/// What a text may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub of: MapText,
    /// The id of a SKU or of a customer.
    pub id: String,
    /// The dates of the entry, at midnights of the provider.
    pub from: Date,
    pub until: Option<Date>,
    /// A sentence for each.
    pub reasons: Vec<(Reason, String)>,
    pub sure: Sure,
}

/// The texts of a month that no mapping covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposals {
    /// The surest first, then by kind and text.
    pub proposals: Vec<Proposal>,
    /// Texts that nothing is near to.
    pub without: Vec<MapText>,
    /// Texts whose lines cost nothing, and need no mapping.
    pub free: u64,
    /// Texts beyond the [`LOOKED_AT`] dearest, which were not looked at.
    pub more: u64,
}

/// The texts of a kind that are looked at, the dearest first.
pub const LOOKED_AT: usize = 1000;
/// The descriptions of a text that are looked at.
const DESCRIPTIONS: usize = 8;

impl Proposal {
    /// The line of invoice_map.csv (RFC 4180).
    pub fn line(&self) -> String {
        let until = self.until.map(|until| until.to_string()).unwrap_or_default();
        format!("{},{},{},{},{until}", self.of.kind, cell(&self.of.text), cell(&self.id), self.from)
    }
}

fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Lines with one text, and whether each was used in the month.
#[derive(Default)]
struct Lines<'a>(Vec<(&'a InvoiceLine, bool)>);

impl<'a> Lines<'a> {
    fn all(&self) -> impl Iterator<Item = &'a InvoiceLine> {
        self.0.iter().map(|(line, _)| *line)
    }

    fn used(&self) -> Vec<&'a InvoiceLine> {
        self.0.iter().filter(|(_, is_used)| *is_used).map(|(line, _)| *line).collect()
    }
}

/// What the month's cost lines of SKUs come to, and of each account of a SKU.
#[derive(Default)]
struct Ledger<'a> {
    skus: BTreeMap<&'a SkuId, Side>,
    accounts: BTreeMap<(&'a SkuId, &'a CustomerId), Side>,
}

impl<'a> Ledger<'a> {
    fn of(of: &Unmapped<'a>) -> Self {
        let mut ledger = Self::default();
        for line in of.cost_lines.iter().filter(|line| line.key.provider == of.provider.id) {
            ledger.skus.entry(&line.key.sku).or_default().add(line);
            if let Some(account) = &line.key.sub_account {
                ledger.accounts.entry((&line.key.sku, account)).or_default().add(line);
            }
        }
        ledger
    }
}

/// # Errors
/// When a line begins where no billing period is, or a sum does not fit.
pub fn propose(of: &Unmapped<'_>) -> Result<Proposals, RatingError> {
    let period = of.provider.billing_period(of.month);
    let period = period.map_err(|reason| RatingError::Period { month: of.month, reason })?;
    let mut home = Home::of(of.provider);
    let customers: BTreeMap<&str, &CustomerId> =
        of.catalog.customers.keys().map(|customer| (customer.as_str(), customer)).collect();
    let mut texts: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
    // Lines whose text means a SKU.
    let mut known: Vec<(usize, &InvoiceLine, bool)> = Vec::new();
    for Stands { last, .. } in standing(of.invoices) {
        let invoice = &of.invoices[last];
        if invoice.provider != of.provider.id || invoice.period != of.month {
            continue;
        }
        for line in &invoice.lines {
            let is_for_a_sku = matches!(line.category, LineCategory::Usage | LineCategory::Fee);
            let Some(text) = line.sku_text.as_deref().filter(|_| is_for_a_sku && home.is_ours(line)) else {
                continue;
            };
            let is_used = home.months.containing(line.start)? == of.month;
            match home.sku(text, line.start) {
                Some(sku) => known.push((sku, line, is_used)),
                None => texts.entry(text).or_default().0.push((line, is_used)),
            }
        }
    }
    let ledger = Ledger::of(of);
    let mut found = Proposals::default();
    let texts = found.dearest(of.provider, texts);
    let taken: BTreeSet<usize> = known.iter().filter(|(.., used)| *used).map(|(sku, ..)| *sku).collect();
    let names = |sku: &Sku| words_of([sku.id.as_str(), sku.name.as_str()]);
    let names: Vec<BTreeSet<String>> = of.provider.skus.iter().map(names).collect();
    let telling_skus = telling(&names);
    let mut skus = Vec::new();
    for (text, lines) in &texts {
        let said = Said::new(&said(text, lines), &telling_skus);
        let best = best(sku_candidates(of, period, lines, (&ledger, &taken), &said)?);
        skus.push((*text, lines, best));
    }
    leave(of, period, (&ledger, &taken), &mut skus)?;
    doubt_figures(&mut skus);
    let map = of.provider.invoicing.as_ref().map(|invoicing| &invoicing.map);
    for (text, lines, best) in skus {
        let about = about(of.provider, TextKind::Sku, text, lines);
        let Some((candidate, sure)) = best else {
            found.without.push(about);
            continue;
        };
        let meanings = map.map(|map| map.meanings_of_sku(text)).unwrap_or_default();
        let (from, until) = dates(of.provider, &mut home, lines, meanings)?;
        let sku = &of.provider.skus[candidate.place];
        known.extend(lines.0.iter().map(|(line, is_used)| (candidate.place, *line, *is_used)));
        let (id, reasons) = (sku.id.to_string(), candidate.reasons);
        found.proposals.push(Proposal { of: about, id, from, until, reasons, sure });
    }
    let mut accounts: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
    let mut skus_of: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let mut have: BTreeSet<&CustomerId> = BTreeSet::new();
    for (sku, line, is_used) in known {
        let Some(text) = line.sub_account.as_deref() else { continue };
        if of.provider.skus[sku].allocation != Rule::Direct {
            continue;
        }
        match home.account(text, line.start, &customers) {
            Some(customer) => drop(have.insert(customer)),
            None => {
                accounts.entry(text).or_default().0.push((line, is_used));
                skus_of.entry(text).or_default().insert(sku);
            }
        }
    }
    let names = of.catalog.customers.iter().map(|(id, customer)| words_of([id.as_str(), &customer.name]));
    let names: Vec<BTreeSet<String>> = names.collect();
    let telling_customers = telling(&names);
    for (text, lines) in found.dearest(of.provider, accounts) {
        let about = about(of.provider, TextKind::Account, text, &lines);
        let of_customers = (&skus_of[text], &have);
        let said = Said::new(&[text], &telling_customers);
        let candidates = account_candidates(of, period, &lines, (&ledger, of_customers), &said)?;
        let Some((candidate, sure)) = best(candidates) else {
            found.without.push(about);
            continue;
        };
        let meanings = map.map(|map| map.meanings_of_account(text)).unwrap_or_default();
        let (from, until) = dates(of.provider, &mut home, &lines, meanings)?;
        let id = of.catalog.customers.keys().nth(candidate.place).expect("it is one of them").to_string();
        found.proposals.push(Proposal { of: about, id, from, until, reasons: candidate.reasons, sure });
    }
    found.proposals.sort_by(|one, other| {
        (one.sure, one.of.kind, &one.of.text).cmp(&(other.sure, other.of.kind, &other.of.text))
    });
    Ok(found)
}

impl Proposals {
    /// The dearest texts, by text; the others, and those that cost nothing, are counted.
    fn dearest<'a>(
        &mut self,
        provider: &Provider,
        texts: BTreeMap<&'a str, Lines<'a>>,
    ) -> BTreeMap<&'a str, Lines<'a>> {
        let before = texts.len();
        let costs = texts.into_iter().filter(|(_, lines)| lines.all().any(|line| !line.amount.is_zero()));
        let mut texts: Vec<(&str, Lines<'_>)> = costs.collect();
        self.free += (before - texts.len()) as u64;
        if texts.len() > LOOKED_AT {
            texts.sort_by_cached_key(|(_, lines)| Reverse(cost(provider, lines.all()).abs()));
            self.more += (texts.len() - LOOKED_AT) as u64;
            texts.truncate(LOOKED_AT);
        }
        texts.into_iter().collect()
    }
}

/// What lines come to in the provider's currency.
fn cost<'a>(provider: &Provider, lines: impl Iterator<Item = &'a InvoiceLine>) -> Exact {
    lines.filter(|line| line.currency == provider.currency).map(|line| exact(line.amount)).sum()
}

fn about(provider: &Provider, kind: TextKind, text: &str, lines: &Lines<'_>) -> MapText {
    let amount = cost(provider, lines.all());
    MapText { kind, text: text.to_owned(), lines: lines.0.len() as u64, amount }
}

/// Text and descriptions.
fn said<'a>(text: &'a str, lines: &Lines<'a>) -> Vec<&'a str> {
    let descriptions: BTreeSet<&str> =
        lines.all().filter_map(|line| line.description.as_deref()).take(DESCRIPTIONS).collect();
    std::iter::once(text).chain(descriptions).collect()
}

/// What the ledger has of SKUs, and the SKUs that have lines already and are not missing any.
type Missing<'l, 'a> = (&'l Ledger<'a>, &'l BTreeSet<usize>);

fn sku_candidates(
    of: &Unmapped<'_>,
    period: Period,
    lines: &Lines<'_>,
    (ledger, taken): Missing<'_, '_>,
    said: &Said,
) -> Result<Vec<Candidate>, RatingError> {
    let used = lines.used();
    let mut candidates = Vec::new();
    for (place, sku) in of.provider.skus.iter().enumerate() {
        if !sku.prices.iter().any(|price| price.within(period).is_some()) {
            continue;
        }
        let mut candidate = by_name(said, [sku.id.as_str(), sku.name.as_str()], place);
        if let Some(ledger) = ledger.skus.get(&sku.id).filter(|_| !taken.contains(&place)) {
            let invoice = invoiced(of, period, sku, &used)?;
            by_figures(&mut candidate, &invoice, ledger, &near(of, &used), counts(sku));
        }
        candidates.push(candidate);
    }
    Ok(candidates)
}

/// Beside the ledger are the SKUs that the text stands at, and the customers that have an account.
fn account_candidates(
    of: &Unmapped<'_>,
    period: Period,
    lines: &Lines<'_>,
    (ledger, (skus, have)): (&Ledger<'_>, (&BTreeSet<usize>, &BTreeSet<&CustomerId>)),
    said: &Said,
) -> Result<Vec<Candidate>, RatingError> {
    let used = lines.used();
    let only = skus.first().filter(|_| skus.len() == 1).map(|sku| &of.provider.skus[*sku]);
    let mut candidates = Vec::new();
    for (place, (id, customer)) in of.catalog.customers.iter().enumerate() {
        let mut candidate = by_name(said, [id.as_str(), &customer.name], place);
        if let Some(sku) = only.filter(|_| !have.contains(id))
            && let Some(ledger) = ledger.accounts.get(&(&sku.id, id))
        {
            let invoice = invoiced(of, period, sku, &used)?;
            // Every customer has the same price.
            let counts = Counted { price: false, ..counts(sku) };
            by_figures(&mut candidate, &invoice, ledger, &near(of, &used), counts);
        }
        candidates.push(candidate);
    }
    Ok(candidates)
}

/// A flat amount is one of nearly everything, and money is its own quantity.
fn counts(sku: &Sku) -> Counted {
    let is_metered = match &sku.counts {
        Counts::Usage(metered) => metered.unit.currency().is_none(),
        Counts::Lines(_) | Counts::Nothing => false,
    };
    Counted { quantity: is_metered, price: is_metered }
}

/// What lines come to, their quantity in the unit of a SKU; 0 where it cannot be said.
fn invoiced(
    of: &Unmapped<'_>,
    period: Period,
    sku: &Sku,
    lines: &[&InvoiceLine],
) -> Result<Side, RatingError> {
    let quantity = Quantities::of(of.catalog, of.provider, sku, period).sum(lines)?;
    Ok(Side { amount: cost(of.provider, lines.iter().copied()), quantity: quantity.unwrap_or_default() })
}

fn near(of: &Unmapped<'_>, lines: &[&InvoiceLine]) -> Exact {
    tolerance(of.provider, of.provider.currency, lines.len())
}

type Found<'t, 'a> = Vec<(&'t str, &'t Lines<'a>, Option<(Candidate, Sure)>)>;

/// Where one text and one SKU are left, each may be the other, if the units are alike.
fn leave(
    of: &Unmapped<'_>,
    period: Period,
    (ledger, taken): Missing<'_, '_>,
    found: &mut Found<'_, '_>,
) -> Result<(), RatingError> {
    let proposed: BTreeSet<usize> =
        found.iter().filter_map(|(.., best)| Some(best.as_ref()?.0.place)).collect();
    let is_left = |place: &usize| {
        !taken.contains(place)
            && !proposed.contains(place)
            && ledger.skus.get(&of.provider.skus[*place].id).is_some_and(|side| side.amount.is_positive())
    };
    let left: Vec<usize> = (0..of.provider.skus.len()).filter(is_left).collect();
    let mut texts = found.iter_mut().filter(|(.., best)| best.is_none());
    let (Some((_, lines, best)), None, [only]) = (texts.next(), texts.next(), &left[..]) else {
        return Ok(());
    };
    let sku = &of.provider.skus[*only];
    let used = lines.used();
    let has_quantity = used.iter().any(|line| line.quantity.is_some());
    if has_quantity && !invoiced(of, period, sku, &used)?.quantity.is_positive() {
        return Ok(());
    }
    let reason = "it is the only text without a meaning, and this the only SKU without a line".to_owned();
    *best = Some((
        Candidate { place: *only, reasons: vec![(Reason::Left, reason)], is_the_name: false },
        Sure::Low,
    ));
    Ok(())
}

/// Figures of a SKU are those of one text: where several have them, neither is sure.
fn doubt_figures(found: &mut Found<'_, '_>) {
    let mut texts: BTreeMap<usize, usize> = BTreeMap::new();
    let by_figures = |candidate: &Candidate| {
        candidate.reasons.iter().all(|(reason, _)| matches!(reason, Reason::Amount | Reason::Quantity))
    };
    for (candidate, _) in found.iter().filter_map(|(.., best)| best.as_ref()) {
        *texts.entry(candidate.place).or_default() += usize::from(by_figures(candidate));
    }
    for (candidate, sure) in found.iter_mut().filter_map(|(.., best)| best.as_mut()) {
        if by_figures(candidate) && texts[&candidate.place] > 1 {
            *sure = Sure::Low;
        }
    }
}

/// From the begin of the billing period of the first line that has no meaning, between the entries that
/// there are.
fn dates<T>(
    provider: &Provider,
    home: &mut Home<'_>,
    lines: &Lines<'_>,
    meanings: &[Meaning<T>],
) -> Result<(Date, Option<Date>), RatingError> {
    let first = lines.all().map(|line| line.start).min().expect("a text is of lines");
    let month = home.months.containing(first)?;
    let period = provider.billing_period(month).map_err(|reason| RatingError::Period { month, reason })?;
    let ended = meanings.iter().filter_map(|meaning| meaning.until).filter(|until| *until <= first).max();
    let next = meanings.iter().map(|meaning| meaning.from).filter(|from| *from > first).min();
    let date = |at: Instant| at.to_timestamp().to_zoned(provider.time_zone.clone()).date();
    Ok((date(ended.map_or(period.start(), |ended| ended.max(period.start()))), next.map(date)))
}
