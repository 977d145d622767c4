//! What is billed in a customer's own currency, at rates that the catalog records.
//!
//! A rate is what somebody has published or agreed, and names its source. It is used as it is
//! written: no inverse is taken, no rate is made of two others, and where one is missing nothing is
//! billed at all. Everything before this is in the provider's currency, and deliberately stays so
//! beside what is billed.
//!
//! Invariant: what a biller bills a customer for a provider is what the sum of those lines converts
//! to, to the minor unit.

use super::lines::{Billed, Biller, Line, Settled};
use crate::exact::exact;
use crate::rounding::{Conversion, MoneyError};
use schemas::decimal::Amount;
use schemas::id::{CustomerId, ProviderId};
use schemas::money::Currency;
use schemas::time::BillingMonth;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;

/// What 1 of one currency is worth in another, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    pub value: Amount,
    pub source: String,
}

/// Two currencies in a month, from the first into the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub month: BillingMonth,
    pub from: Currency,
    pub to: Currency,
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} from {} to {}", self.month, self.from, self.to)
    }
}

/// Why something is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    #[error("there is a rate of {0} already")]
    Twice(Pair),
    #[error("{0} is worth 1 {0} and needs no rate")]
    ToItself(Currency),
    #[error("the rate of {0} is {1}, which is not above 0")]
    NotPositive(Pair, Amount),
    #[error("the rate of {0} has no `source`: it does not say where it is from")]
    NoSource(Pair),
}

/// The rates of a catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates(BTreeMap<Pair, Rate>);

impl Rates {
    /// # Errors
    /// A second rate of a pair in a month, a rate of a currency to itself, one that is not above 0,
    /// and one without a source.
    pub fn record(&mut self, pair: Pair, rate: Rate) -> Result<(), RateError> {
        if pair.from == pair.to {
            return Err(RateError::ToItself(pair.from));
        }
        if rate.value.units() <= 0 {
            return Err(RateError::NotPositive(pair, rate.value));
        }
        if rate.source.trim().is_empty() {
            return Err(RateError::NoSource(pair));
        }
        match self.0.entry(pair) {
            Entry::Vacant(entry) => drop(entry.insert(rate)),
            Entry::Occupied(_) => return Err(RateError::Twice(pair)),
        }
        Ok(())
    }

    pub fn get(&self, pair: Pair) -> Option<&Rate> {
        self.0.get(&pair)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Pair, &Rate)> {
        self.0.iter().map(|(pair, rate)| (*pair, rate))
    }
}

/// A rate that statement lines need and the catalog does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub pair: Pair,
    /// Customers that are billed for providers.
    pub needed_by: BTreeSet<(CustomerId, ProviderId)>,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "there is no rate of {}, which ", self.pair)?;
        for (place, (customer, provider)) in self.needed_by.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}customer {customer} needs for provider {provider}")?;
        }
        Ok(())
    }
}

/// Why lines cannot be billed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FxError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Missing(Vec<Missing>),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Says what each line is billed at, in the order of the lines: those of one biller, customer and
/// provider one after another, so that they add up to what their sum converts to. Without `rates`
/// nothing is converted and each line is billed in its own currency.
///
/// # Errors
/// All rates that are missing, and overflow. Then no line is billed.
pub fn convert(
    lines: &mut [Line],
    items: &[Settled<'_>],
    month: BillingMonth,
    rates: Option<&Rates>,
    currency_of: impl Fn(&CustomerId) -> Currency,
) -> Result<(), FxError> {
    let mut running: BTreeMap<(&Biller, &CustomerId, &ProviderId, Currency), Conversion> = BTreeMap::new();
    let mut missing: BTreeMap<Pair, BTreeSet<(CustomerId, ProviderId)>> = BTreeMap::new();
    let mut billed = Vec::with_capacity(lines.len());
    for line in lines.iter() {
        let own = Some(Billed { money: line.money, rate: None });
        let from = line.money.currency;
        billed.push(match (&line.customer, rates) {
            (Some(_), None) if line.kind.is_billed() => own,
            (Some(customer), Some(rates)) if line.kind.is_billed() => {
                let pair = Pair { month, from, to: currency_of(customer) };
                let provider = items[line.item].provider;
                match rates.get(pair) {
                    _ if from == pair.to => own,
                    Some(rate) => {
                        let start = || Conversion::new(&exact(rate.value), from, pair.to);
                        let sequence = (&line.biller, customer, provider, from);
                        let money =
                            running.entry(sequence).or_insert_with(start).next(line.money.minor_units)?;
                        Some(Billed { money, rate: Some(rate.value) })
                    }
                    None => {
                        missing.entry(pair).or_default().insert((customer.clone(), provider.clone()));
                        None
                    }
                }
            }
            (Some(_) | None, _) => None,
        });
    }
    if !missing.is_empty() {
        let missing = missing.into_iter().map(|(pair, needed_by)| Missing { pair, needed_by });
        return Err(FxError::Missing(missing.collect()));
    }
    for (line, billed) in lines.iter_mut().zip(billed) {
        line.billed = billed;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::allocation::RetainedReason;
    use crate::statement::billing::tests::{customer, money};
    use crate::statement::lines::LineKind;
    use proptest::prelude::*;
    use schemas::decimal::Sign;
    use schemas::id::{BillingAccountId, SkuId};
    use schemas::money::Money;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a currency")
    }

    pub(crate) fn month() -> BillingMonth {
        BillingMonth::parse("2025-11").expect("a month")
    }

    fn pair(from: &str, to: &str) -> Pair {
        Pair { month: month(), from: currency(from), to: currency(to) }
    }

    fn rate(value: &str, source: &str) -> Rate {
        Rate { value: Amount::parse(value, Sign::Any).expect("a rate"), source: source.to_owned() }
    }

    pub(crate) fn rates() -> Rates {
        let mut rates = Rates::default();
        for (from, to, value) in [
            ("USD", "EUR", "0.8651"),
            ("JPY", "EUR", "0.00554"),
            ("USD", "KWD", "0.30685"),
            ("JPY", "KWD", "0.001965"),
        ] {
            rates.record(pair(from, to), rate(value, "ECB")).expect("a rate");
        }
        rates
    }

    /// `k` is billed in dinars, `d` in dollars, all others in euros.
    pub(crate) fn currency_of(customer: &CustomerId) -> Currency {
        currency(match customer.as_str() {
            "k" => "KWD",
            "d" => "USD",
            _ => "EUR",
        })
    }

    fn line(item: usize, id: &str, money: Money) -> Line {
        let (biller, kind, customer) = (Biller::Operator, LineKind::Charge, Some(customer(id)));
        Line { item, biller, customer, kind, grant: None, money, billed: None }
    }

    /// One item of a provider of dollars, one of a provider of yen.
    fn items<R>(then: impl FnOnce(&[Settled<'_>]) -> R) -> R {
        let [usd, jpy] = ["usd", "jpy"].map(|id| ProviderId::new(id).expect("an id"));
        let (account, sku) = (BillingAccountId::new("1").expect("an id"), SkuId::new("s").expect("an id"));
        let settled = |provider, code| Settled {
            provider,
            account: &account,
            sub_account: None,
            sku: Some(&sku),
            money: money(0, code),
        };
        then(&[settled(&usd, "USD"), settled(&jpy, "JPY")])
    }

    fn billed(mut lines: Vec<Line>, rates: Option<&Rates>) -> Result<Vec<Option<Billed>>, FxError> {
        items(|items| convert(&mut lines, items, month(), rates, currency_of))?;
        Ok(lines.into_iter().map(|line| line.billed).collect())
    }

    #[test]
    fn a_rate_is_of_two_currencies_above_zero_and_has_a_source() {
        let mut rates = rates();
        let mut record = |from, to, value, source| rates.record(pair(from, to), rate(value, source));
        assert_eq!(record("EUR", "EUR", "1", "x"), Err(RateError::ToItself(currency("EUR"))));
        assert!(matches!(record("EUR", "USD", "0", "x"), Err(RateError::NotPositive(..))));
        assert!(matches!(record("EUR", "USD", "-1", "x"), Err(RateError::NotPositive(..))));
        assert_eq!(record("EUR", "USD", "1", " "), Err(RateError::NoSource(pair("EUR", "USD"))));
        assert_eq!(record("USD", "EUR", "1", "x"), Err(RateError::Twice(pair("USD", "EUR"))));
        assert_eq!(record("EUR", "USD", "1", "x"), Ok(()));
    }

    #[test]
    fn lines_are_billed_by_running_totals_in_the_customers_currency() {
        let retained =
            Line { kind: LineKind::Retained(RetainedReason::Internal), ..line(0, "k", money(100, "USD")) };
        let lines = vec![
            line(0, "a", money(33, "USD")),
            line(0, "d", money(33, "USD")),
            retained,
            line(1, "a", money(1, "JPY")),
            line(0, "a", money(33, "USD")),
            line(0, "k", money(-1, "USD")),
            line(1, "a", money(1, "JPY")),
        ];
        let shown = |billed: Option<Billed>| {
            billed.map_or_else(String::new, |billed| {
                let rate = billed.rate.map_or_else(String::new, |rate| rate.to_string());
                format!("{} {} {rate}", billed.money.minor_units, billed.money.currency)
            })
        };
        let known = rates();
        let with =
            |rates| billed(lines.clone(), rates).expect("rates").into_iter().map(shown).collect::<Vec<_>>();
        assert_eq!(
            with(Some(&known)),
            [
                "29 EUR 0.8651",
                "33 USD ",
                "",
                "1 EUR 0.00554",
                "28 EUR 0.8651",
                "-3 KWD 0.30685",
                "0 EUR 0.00554"
            ]
        );
        assert_eq!(with(None), ["33 USD ", "33 USD ", "", "1 JPY ", "33 USD ", "-1 USD ", "1 JPY "]);
    }

    #[test]
    fn a_missing_rate_says_who_needs_it_and_bills_nobody() {
        let lines =
            vec![line(1, "d", money(0, "JPY")), line(0, "a", money(1, "USD")), line(1, "d", money(5, "JPY"))];
        let error = billed(lines, Some(&rates())).expect_err("a missing rate");
        assert_eq!(
            error.to_string(),
            "there is no rate of 2025-11 from JPY to USD, which customer d needs for provider jpy"
        );
    }

    proptest! {
        #[test]
        fn what_is_billed_is_what_the_sum_converts_to(amounts in prop::collection::vec((0..2usize, prop::sample::select(vec!["a", "k"]), -500..500i128), 0..40)) {
            let lines: Vec<Line> = amounts.iter().map(|(item, id, minor_units)| line(*item, id, money(*minor_units, ["USD", "JPY"][*item]))).collect();
            let together = billed(lines.clone(), Some(&rates())).expect("rates");
            let mut sums: BTreeMap<(usize, &str), (i128, i128)> = BTreeMap::new();
            for ((item, id, minor_units), own) in amounts.iter().zip(&together) {
                let own = own.as_ref().expect("billed").money.minor_units;
                let sum = sums.entry((*item, *id)).or_default();
                *sum = (sum.0 + minor_units, sum.1 + own);
            }
            let one = |item: usize, id, minor_units| {
                let line = line(item, id, money(minor_units, ["USD", "JPY"][item]));
                let billed = billed(vec![line], Some(&rates())).expect("rates");
                billed[0].as_ref().expect("billed").money.minor_units
            };
            for ((item, id), (sum, billed)) in sums {
                prop_assert_eq!(billed, one(item, id, sum));
            }
            for ((item, id, minor_units), own) in amounts.iter().zip(&together) {
                prop_assert!((own.as_ref().expect("billed").money.minor_units - one(*item, id, *minor_units)).abs() <= 1);
            }
        }
    }
}
