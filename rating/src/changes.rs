//! Everything that another version of the catalog would change in what was billed until now.
//!
//! Months that may differ are rated with both versions, up to now, and compared charge by charge.
//! Where they may differ is deliberately not decided here, but in `catalog`, without a look at usage.
//!
//! Invariant: a month in which a charge or a statement line would change is listed, or is named as not
//! compared. Usage that had no price and gets one is no change of a charge: it is listed apart, where
//! nobody pays who used nothing and no statement line of anybody else moves.

use crate::allocation::{Kind, Rule};
use crate::catalog::{Catalog, Counts, DatedPrice, Provider, Sku, Spans};
use crate::error::{ErrorKind, RatingError};
use crate::exact::Exact;
use crate::price::{self, Stretch};
use crate::run::{Charge, CostLine, Grounds, Periods, before, decimal, gather, lines};
use crate::usage::CountedRows;
use num_traits::Zero as _;
use schemas::decimal::Amount;
use schemas::id::{CustomerId, ProviderId, SkuId, Subject};
use schemas::money::Currency;
use schemas::time::{Anchor, BillingMonth, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The most months with usage that are rated with both versions, the newest first: each of them is
/// two runs.
pub const MOST_MONTHS_WITH_USAGE: usize = 36;
/// The most months that have nothing but fees; no row is read for them.
pub const MOST_MONTHS_OF_FEES: usize = 600;

/// The differences of what two versions bill for the time before an instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PastChanges {
    /// The customers of months in which a charge changes, goes or is one that no usage is behind, or
    /// in which only a statement line moves.
    pub changed: Vec<CustomerMonth>,
    /// The customers of months in which usage that had no price gets one, and nothing else changes.
    pub newly_billed: Vec<CustomerMonth>,
    pub not_compared: Vec<NotCompared>,
}

/// The sum of a customer's charges of a month, or of what the operator retains for it, in two
/// versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerMonth {
    pub month: BillingMonth,
    pub customer: Option<CustomerId>,
    pub kind: Kind,
    pub currency: Currency,
    /// Exact; as statements say it where only the rounding differs.
    pub before: Amount,
    pub after: Amount,
    /// Whose charges differ.
    pub skus: BTreeSet<(ProviderId, SkuId)>,
}

/// Months that may differ and were not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCompared {
    pub first: BillingMonth,
    pub last: BillingMonth,
    pub because: String,
}

/// Compares what two versions of the catalog bill, where they may differ.
///
/// # Errors
/// When rows cannot be read or trusted. A month that a version cannot rate is named in the result.
pub async fn past_changes(
    versions: [&Catalog; 2],
    differing: &Spans,
    usage: &CountedRows,
) -> Result<PastChanges, RatingError> {
    let mut changes = PastChanges::default();
    if differing.is_empty() {
        return Ok(changes);
    }
    let now = differing.end();
    let used = months_of_use(versions, usage, now).await?;
    let first_credit = versions.into_iter().flat_map(Catalog::once_credits).map(|price| price.from).min();
    let first_credit = first_credit.map(|from| BillingMonth::anywhere(from).0);
    let first_fee = versions.into_iter().filter_map(first_fee).min();
    let Some(first) = used.first().copied().into_iter().chain(first_fee).min() else { return Ok(changes) };
    let (mut with_usage, mut of_fees) = (Bound::new(MOST_MONTHS_WITH_USAGE), Bound::new(MOST_MONTHS_OF_FEES));
    let (_, last) = BillingMonth::anywhere(now);
    // A billing period that begins on another day is named by the month in which it ends.
    let mut next = last.next().or(Some(last));
    while let Some(month) = next.filter(|month| *month >= first) {
        next = month.previous();
        let is_used = used.contains(&month);
        if !is_used && first_fee.is_none_or(|first| month < first) {
            continue;
        }
        let periods = versions.map(|catalog| Periods::of(month, catalog).map(|periods| periods.before(now)));
        let [Ok(before), Ok(after)] = periods else {
            let because = "the calendar ends within it".to_owned();
            changes.not_compared.push(NotCompared { first: month, last: month, because });
            continue;
        };
        let periods = [before, after];
        if !periods.iter().flatten().flat_map(Periods::iter).any(|period| differing.meet(period)) {
            continue;
        }
        // What is left of a credit depends on the usage of earlier months.
        let used_credit =
            first_credit.is_some_and(|first| first < month && used.range(first..month).next().is_some());
        let reads_usage = is_used || used_credit;
        let bound = if reads_usage { &mut with_usage } else { &mut of_fees };
        if !bound.admits(month) {
            continue;
        }
        let mut rated = Vec::new();
        for ((catalog, periods), name) in versions.into_iter().zip(&periods).zip(["previous", "new"]) {
            let usage = reads_usage.then_some(usage);
            match rate_before(month, catalog, periods.as_ref(), usage).await {
                Ok(lines) => rated.push(lines),
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    let because = format!("the {name} version cannot rate it: {error}");
                    changes.not_compared.push(NotCompared { first: month, last: month, because });
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if let [before, after] = rated.as_slice() {
            compare(month, before, after, &mut changes)?;
        }
    }
    changes.not_compared.extend(with_usage.left_out("months with usage"));
    changes.not_compared.extend(of_fees.left_out("months without usage"));
    changes.not_compared.sort_by_key(|left_out| left_out.first);
    changes.changed.sort_by_key(|row| row.month);
    changes.newly_billed.sort_by_key(|row| row.month);
    Ok(changes)
}

/// The months that usage may be billed in.
async fn months_of_use(
    versions: [&Catalog; 2],
    usage: &CountedRows,
    now: Instant,
) -> Result<BTreeSet<BillingMonth>, RatingError> {
    let mut months = usage.months_of_use(now).await?;
    let mut providers = versions.into_iter().flat_map(|catalog| catalog.providers.values());
    if providers.any(|provider| provider.anchor != Anchor::FIRST) {
        // What is used after the day on which a billing period begins is billed a month later.
        months = months.into_iter().flat_map(|month| [Some(month), month.next()]).flatten().collect();
    }
    Ok(months)
}

/// The first month in which an amount may fall due though nothing was used.
fn first_fee(catalog: &Catalog) -> Option<BillingMonth> {
    let fees = catalog.providers.values().flat_map(|provider| {
        let prices = provider.skus.iter().flat_map(|sku| sku.prices.iter().map(move |price| (sku, price)));
        prices.filter(|(sku, price)| costs_unused(provider, sku, price)).map(|(_, price)| price.from)
    });
    let (month, _) = BillingMonth::anywhere(fees.min()?);
    Some(month)
}

/// Whether a price may cost something in a month without usage.
fn costs_unused(provider: &Provider, sku: &Sku, price: &DatedPrice) -> bool {
    match &sku.counts {
        Counts::Nothing | Counts::Lines(_) => true,
        Counts::Usage(_) => {
            let unused = price::steps(&price.terms, &Stretch::whole(Exact::zero()), provider.steps);
            !price::total(&unused).is_zero()
        }
    }
}

/// How many months may still be compared, and which ones were not.
struct Bound {
    most: usize,
    admitted: usize,
    /// The oldest and the newest.
    left_out: Option<(BillingMonth, BillingMonth)>,
}

impl Bound {
    fn new(most: usize) -> Self {
        Self { most, admitted: 0, left_out: None }
    }

    /// `month` is older than every one that was asked before.
    fn admits(&mut self, month: BillingMonth) -> bool {
        if self.admitted < self.most {
            self.admitted += 1;
            return true;
        }
        let newest = self.left_out.map_or(month, |(_, newest)| newest);
        self.left_out = Some((month, newest));
        false
    }

    fn left_out(self, what: &str) -> Option<NotCompared> {
        let (first, last) = self.left_out?;
        let because = format!("only the last {} {what} that may differ are compared", self.most);
        Some(NotCompared { first, last, because })
    }
}

async fn rate_before(
    month: BillingMonth,
    catalog: &Catalog,
    periods: Option<&Periods>,
    usage: Option<&CountedRows>,
) -> Result<Vec<CostLine>, RatingError> {
    let Some(periods) = periods else { return Ok(Vec::new()) };
    let totals = match usage {
        Some(rows) => rows.attributed(catalog, periods.cuts(catalog)).await?.totals().await?,
        None => Vec::new(),
    };
    let grounds = Grounds::of(catalog, periods, |_, _| true);
    let gathering = gather(&grounds, usage, catalog, periods).await?;
    let taken = before(month, usage, catalog).await?.taken;
    Ok(lines((totals, &gathering), month, catalog, periods, &taken)?.0)
}

/// Provider, SKU, sub account, and when the price came into force: a line by another SKU or another
/// price is another line.
type Key<'l> = (&'l ProviderId, &'l SkuId, Option<&'l CustomerId>, Instant);
/// A bearer of charges.
type Bearer<'l> = (Option<&'l CustomerId>, Kind);

fn by_key(lines: &[CostLine]) -> BTreeMap<Key<'_>, &CostLine> {
    fn key(line: &CostLine) -> Key<'_> {
        let key = &line.key;
        (&key.provider, &key.sku, key.sub_account.as_ref(), key.price_from)
    }
    lines.iter().map(|line| (key(line), line)).collect()
}

/// Adds the customers of the month whose charges differ.
fn compare(
    month: BillingMonth,
    before: &[CostLine],
    after: &[CostLine],
    changes: &mut PastChanges,
) -> Result<(), RatingError> {
    let (old, new) = (by_key(before), by_key(after));
    let keys: BTreeSet<&Key<'_>> = old.keys().chain(new.keys()).collect();
    let mut affected: BTreeMap<Bearer<'_>, BTreeSet<(ProviderId, SkuId)>> = BTreeMap::new();
    let mut changed = false;
    for key in keys {
        let (old, new) = (old.get(key).copied(), new.get(key).copied());
        let difference = Difference::of(old, new);
        changed |= difference.changes_what_was_billed;
        for bearer in difference.bearers {
            affected.entry(bearer).or_default().insert((key.0.clone(), key.1.clone()));
        }
    }
    if affected.is_empty() {
        return Ok(());
    }
    let (exact, settled) = ([charged(before)?, charged(after)?], [settled(before)?, settled(after)?]);
    let rows = if changed { &mut changes.changed } else { &mut changes.newly_billed };
    for ((customer, kind), skus) in affected {
        let of_bearer = |sums: &Sums<'_>| sums.get(&(customer, kind)).cloned().unwrap_or_default();
        let sums = match exact.each_ref().map(of_bearer) {
            [before, after] if before == after => settled.each_ref().map(of_bearer),
            differing => differing,
        };
        let currencies: BTreeSet<Currency> = sums.iter().flat_map(BTreeMap::keys).copied().collect();
        for currency in currencies {
            let [before, after] =
                sums.each_ref().map(|sums| sums.get(&currency).copied().unwrap_or(Amount::ZERO));
            let (customer, skus) = (customer.cloned(), skus.clone());
            rows.push(CustomerMonth { month, customer, kind, currency, before, after, skus });
        }
    }
    Ok(())
}

/// The difference of a line in two versions.
struct Difference<'l> {
    bearers: BTreeSet<Bearer<'l>>,
    /// False where the line has more usage, or usage for the first time, no charge that was there is
    /// another, nobody pays who used nothing, and no statement line moves by itself.
    changes_what_was_billed: bool,
}

/// Customer, subject and kind of a charge.
type ChargeKey<'l> = (Option<&'l CustomerId>, Option<&'l Subject>, Kind);

fn charge_key(charge: &Charge) -> ChargeKey<'_> {
    (charge.customer.as_ref(), charge.subject.as_ref(), charge.kind)
}

impl<'l> Difference<'l> {
    fn of(old: Option<&'l CostLine>, new: Option<&'l CostLine>) -> Self {
        // Nothing that is nobody's is as good as not there.
        let charges = |line: Option<&'l CostLine>| -> BTreeMap<ChargeKey<'l>, Amount> {
            let charges = line.into_iter().flat_map(|line| &line.charges);
            let charges = charges.filter(|charge| {
                let is_nobodys = charge.customer.is_none() && charge.subject.is_none();
                !(is_nobodys && charge.amount.is_zero())
            });
            charges.map(|charge| (charge_key(charge), charge.amount)).collect()
        };
        let (before, after) = (charges(old), charges(new));
        let currency = |line: Option<&CostLine>| line.map(|line| line.currency);
        let other_currency = old.is_some() && new.is_some() && currency(old) != currency(new);
        let differs = |key: &ChargeKey<'l>| other_currency || before.get(key) != after.get(key);
        let keys = before.keys().chain(after.keys()).filter(|key| differs(key));
        let mut bearers: BTreeSet<Bearer<'l>> = keys.map(|(customer, _, kind)| (*customer, *kind)).collect();
        let mut moved = moved(old, new);
        moved.retain(|bearer| !bearers.contains(bearer));
        let is_new_fee = new.is_some_and(|line| {
            line.charges.iter().any(|charge| differs(&charge_key(charge)) && !is_for_usage(line, charge))
        });
        let changes_what_was_billed = is_new_fee || !moved.is_empty() || before.keys().any(differs);
        bearers.append(&mut moved);
        Self { bearers, changes_what_was_billed }
    }
}

/// Those whose statement line is another. Rounding may do that to somebody whose charges stay.
fn moved<'l>(old: Option<&'l CostLine>, new: Option<&'l CostLine>) -> BTreeSet<Bearer<'l>> {
    let money = |line: Option<&'l CostLine>| -> BTreeMap<Bearer<'l>, i128> {
        let lines = line.into_iter().flat_map(|line| &line.statement_lines);
        let lines = lines.filter(|line| line.customer.is_some() || line.money.minor_units != 0);
        let shares = lines.filter(|line| line.grant.is_none()).filter_map(|line| {
            Some(((line.customer.as_ref(), line.kind.of_share()?), line.money.minor_units))
        });
        shares.collect()
    };
    let (before, after) = (money(old), money(new));
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(*key) != after.get(*key)).copied().collect()
}

/// Whether usage of the line's own meter is all that a charge is for: who pays has used something, or
/// pays nothing.
fn is_for_usage(line: &CostLine, charge: &Charge) -> bool {
    // What another rule looks at says nothing of this usage.
    let by_usage = matches!(line.rule, Rule::Proportional | Rule::Direct | Rule::Standalone);
    let has_used = || by_usage && charge.because.used().is_some_and(|used| !used.is_zero());
    line.metered_quantity.is_some() && (charge.amount.is_zero() || has_used())
}

type Sums<'l> = BTreeMap<Bearer<'l>, BTreeMap<Currency, Amount>>;

/// Σ charges by bearer.
fn charged(lines: &[CostLine]) -> Result<Sums<'_>, RatingError> {
    let mut sums = Sums::new();
    for line in lines {
        for charge in &line.charges {
            add(&mut sums, (charge.customer.as_ref(), charge.kind), line.currency, charge.amount)?;
        }
    }
    Ok(sums)
}

/// Σ statement lines by bearer.
fn settled(lines: &[CostLine]) -> Result<Sums<'_>, RatingError> {
    let mut sums = Sums::new();
    for line in lines {
        for statement in &line.statement_lines {
            let Some(kind) = statement.kind.of_share().filter(|_| statement.grant.is_none()) else {
                continue;
            };
            let amount = decimal(statement.money)?;
            add(&mut sums, (statement.customer.as_ref(), kind), line.currency, amount)?;
        }
    }
    Ok(sums)
}

fn add<'l>(
    sums: &mut Sums<'l>,
    bearer: Bearer<'l>,
    currency: Currency,
    amount: Amount,
) -> Result<(), RatingError> {
    let sum = sums.entry(bearer).or_default().entry(currency).or_insert(Amount::ZERO);
    *sum = sum.checked_add(amount).map_err(RatingError::overflow("a customer's charges of a month"))?;
    Ok(())
}
