//! What is posted of a month: what is passed through, on the statements of those who bear it.
//!
//! Billers, grants and other currencies are `statement`'s, and what they say of what settles holds here
//! of what is passed.
//!
//! Invariants, checked of every month that is handed out: the operator's lines of an invoice add up to
//! its parts that are decided; those of an estimate to what it settles at; and the operator retains
//! nothing below zero but its own and nobody's share.

use super::pass::{Passed, costs, pass};
use super::row::{Row, Status};
use super::total::parts;
use crate::allocation::RetainedReason;
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{Granted, PostedLine, Posting, Run, bill_lines, grant_lines, too_large};
use crate::statement::{Biller, Line, LineKind, Settled, statement};
use schemas::id::{InvoiceId, ProviderId, SkuId};
use schemas::invoice::Invoice;
use schemas::money::Currency;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The statement lines of a month by its invoices. Without rows they are those of the run.
///
/// `rows` are those of the month and of every other month that one of its invoices has lines in: an
/// invoice is shared over all of its rows. `invoices` are the list that the rows name places of.
/// `granted` is what grants have paid in the months before; see [`grant_of`].
///
/// # Errors
/// [`RatingError::Dispute`] where a row is disputed that bills less than the estimate; what rows and
/// invoices do not fit together; a rate that is missing; overflow; and a promise that does not hold.
pub fn post(
    run: &Run,
    rows: &[Row],
    invoices: &[Invoice],
    catalog: &Catalog,
    granted: &Granted,
) -> Result<Vec<PostedLine>, RatingError> {
    let month = run.pins.month;
    let passed = pass(run, rows, invoices, catalog)?;
    let passed = in_order(&passed, run, catalog);
    let items: Vec<Settled<'_>> = passed.iter().copied().map(item).collect();
    let lines = shared(&passed, catalog)?;
    let mut lines = grant_lines(&items, lines, month, catalog, granted)?;
    bill_lines(&items, &mut lines, month, catalog)?;
    let mut posted: Vec<PostedLine> = Vec::with_capacity(lines.len());
    let mut of: Option<(usize, Arc<Posting>)> = None;
    for line in lines {
        let passed = passed[line.item];
        let of = match &of {
            Some((item, of)) if *item == line.item => Arc::clone(of),
            _ => Arc::clone(&of.insert((line.item, Arc::new(passed.of.clone()))).1),
        };
        let cost_line = passed.cost_line.map(|place| &run.cost_lines[place]);
        posted.push(PostedLine::new(&passed.item(&run.cost_lines), month, cost_line, of, line));
    }
    check_invoices(&posted, run, rows, invoices, catalog)?;
    check_retained(&posted, run)?;
    Ok(posted)
}

/// Adds to what grants have paid what they pay of a month, whose rows and invoices are as those of
/// [`post`]. Nothing is converted, so that no rate of the month is needed.
///
/// # Errors
/// Those of [`post`].
pub fn grant_of(
    run: &Run,
    rows: &[Row],
    invoices: &[Invoice],
    catalog: &Catalog,
    granted: &mut Granted,
) -> Result<(), RatingError> {
    let passed = pass(run, rows, invoices, catalog)?;
    let passed = in_order(&passed, run, catalog);
    let items: Vec<Settled<'_>> = passed.iter().copied().map(item).collect();
    let lines = grant_lines(&items, shared(&passed, catalog)?, run.pins.month, catalog, granted)?;
    granted.add_lines(&lines);
    Ok(())
}

/// What is passed, on the statements of those who bear it.
fn shared(passed: &[&Passed], catalog: &Catalog) -> Result<Vec<Line>, RatingError> {
    let partners = &catalog.partners();
    let mut lines = Vec::new();
    for (place, passed) in passed.iter().enumerate() {
        let of_item = statement(place, passed.money, &passed.bearers, partners);
        lines.extend(of_item.map_err(|error| match error.is_overflow() {
            true => too_large(error),
            false => RatingError::Damaged(format!("a part of {}: {error}", passed.of.provider)),
        })?);
    }
    Ok(lines)
}

fn item(passed: &Passed) -> Settled<'_> {
    let Posting { provider, billing_account: account, sub_account, sku, .. } = &passed.of;
    let (sub_account, sku) = (sub_account.as_deref(), sku.as_ref());
    Settled { provider, account, sub_account, sku, money: passed.money }
}

/// Where money stands among all of a month: SKUs in the order of the price list, then what belongs to
/// none.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Order<'p> {
    Sku {
        /// Its place in the price list; an unknown SKU is behind all.
        sku: (bool, Option<usize>),
        sub_account: (bool, Option<&'p str>),
        period: (Instant, Instant),
        price: (bool, Option<Instant>),
        invoice: Option<&'p InvoiceId>,
        first_line: Option<u32>,
    },
    None {
        invoice: Option<&'p InvoiceId>,
        first_line: Option<u32>,
    },
}

fn in_order<'p>(passed: &'p [Passed], run: &Run, catalog: &'p Catalog) -> Vec<&'p Passed> {
    let providers = catalog.providers.values();
    let skus: BTreeMap<(&ProviderId, &SkuId), usize> = providers
        .flat_map(|provider| {
            provider.skus.iter().enumerate().map(|(place, sku)| ((&provider.id, &sku.id), place))
        })
        .collect();
    let order = |passed: &'p Passed| -> (&'p ProviderId, Order<'p>) {
        let Posting { provider, sub_account, sku, start, end, invoice, .. } = &passed.of;
        let (invoice, first_line) = (invoice.as_ref(), passed.first_line);
        let Some(sku) = sku else { return (provider, Order::None { invoice, first_line }) };
        let place = skus.get(&(provider, sku)).copied();
        let price = passed.cost_line.map(|place| run.cost_lines[place].key.price_from);
        let order = Order::Sku {
            sku: (place.is_none(), place),
            sub_account: (sub_account.is_none(), sub_account.as_deref()),
            period: (*start, *end),
            price: (price.is_none(), price),
            invoice,
            first_line,
        };
        (provider, order)
    };
    let mut keyed: Vec<_> = passed.iter().map(|passed| (order(passed), passed)).collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    keyed.into_iter().map(|(_, passed)| passed).collect()
}

/// The operator's lines of an invoice are its parts in the rows of the month that are decided.
fn check_invoices(
    posted: &[PostedLine],
    run: &Run,
    rows: &[Row],
    invoices: &[Invoice],
    catalog: &Catalog,
) -> Result<(), RatingError> {
    let month = run.pins.month;
    let mut sums: BTreeMap<(&ProviderId, &InvoiceId, Currency), [i128; 2]> = BTreeMap::new();
    let add = |sum: &mut i128, minor_units| {
        *sum = sum
            .checked_add(minor_units)
            .ok_or_else(|| RatingError::Billed("an invoice is too large".to_owned()))?;
        Ok::<_, RatingError>(())
    };
    let parts = parts(rows, month, invoices, catalog)?;
    for (row, parts) in rows.iter().zip(&parts) {
        let waits = matches!(row.status, Some(Status::Open | Status::Awaited));
        for part in parts.iter().filter(|_| row.period == month && !waits) {
            let [expected, _] = sums.entry((&row.provider, &part.invoice, row.currency)).or_default();
            add(expected, part.money.minor_units)?;
        }
    }
    for line in posted.iter().filter(|line| line.biller == Biller::Operator) {
        if let Some(invoice) = &line.of.invoice {
            let [_, sum] = sums.entry((&line.of.provider, invoice, line.money.currency)).or_default();
            add(sum, line.money.minor_units)?;
        }
    }
    let Some(((provider, invoice, currency), [expected, sum])) =
        sums.into_iter().find(|(_, [expected, sum])| expected != sum)
    else {
        return Ok(());
    };
    Err(RatingError::Unbalanced {
        whole: format!("invoice {invoice} of {provider} in {currency}"),
        parts: "the operator's statement lines",
        sum: format!("{sum} minor units"),
        expected: format!("its parts in this month that are decided, {expected}"),
    })
}

/// Of what the operator bears for a reason of its own nothing is below zero while anybody has a cost to
/// pass it on by; of a disputed row all invoices together.
fn check_retained(posted: &[PostedLine], run: &Run) -> Result<(), RatingError> {
    let mut sums: BTreeMap<(Posting, Currency), i128> = BTreeMap::new();
    for line in posted.iter().filter(|line| line.biller == Biller::Operator) {
        let LineKind::Retained(reason) = line.kind else { continue };
        match reason {
            RetainedReason::Internal | RetainedReason::Unattributed | RetainedReason::Idle => continue,
            RetainedReason::Disputed
            | RetainedReason::Unmetered
            | RetainedReason::Tax
            | RetainedReason::Credit
            | RetainedReason::Fee
            | RetainedReason::Adjustment => {}
        }
        let of = Posting { invoice: None, ..Posting::clone(&line.of) };
        let sum = sums.entry((of, line.money.currency)).or_default();
        *sum = sum
            .checked_add(line.money.minor_units)
            .ok_or_else(|| RatingError::Billed("what is retained is too large".to_owned()))?;
    }
    for ((of, currency), sum) in sums.into_iter().filter(|(_, sum)| *sum < 0) {
        if costs(run, &of.provider)?.values().any(|cost| cost.units() > 0) {
            return Err(RatingError::Damaged(format!(
                "the operator would gain {sum} minor units of {currency} from {}",
                of.provider
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PassRule;
    use crate::exact::{exact, exact_money};
    use crate::reconcile::total::total;
    use crate::reconcile::world::{catalog, cost_line, currency, invoice, month, row, run, shown};
    use crate::reconcile::{LineAt, Verdict};
    use crate::run::CostLine;
    use proptest::prelude::*;
    use schemas::invoice::LineCategory::{self, Adjustment, Credit, Fee, Tax, Usage};
    use schemas::invoice::Standing;

    fn posted(run: &Run, rows: &[Row], invoices: &[Invoice], catalog: &Catalog) -> Vec<String> {
        let posted = post(run, rows, invoices, catalog, &Granted::default()).expect("posted lines");
        posted.iter().map(shown).collect()
    }

    #[test]
    fn what_is_invoiced_is_shared_by_exact_charges() {
        // 3.01 by 2 to 1: 2.00666… and 1.00333…, the odd cent to the larger fraction.
        let run = run(vec![cost_line(0, &[("b", "1.0002"), ("a", "2.0004")])]);
        let invoices = [invoice("I", &[(Usage, "3.01", "USD")])];
        let rows = [row(Ok(0), &[(0, 0)], &[0], None)];
        assert_eq!(
            posted(&run, &rows, &invoices, &catalog(false, &[])),
            ["I s0 a charge 2.01 USD", "I s0 b charge 1 USD"]
        );
    }

    #[test]
    fn an_estimate_stands_until_its_row_is_decided() {
        let run = run(vec![cost_line(0, &[("a", "2"), ("-", "1")]), cost_line(1, &[("o", "4")])]);
        let invoices = [invoice("I", &[(Usage, "5", "USD")])];
        let estimates = ["- s0 a charge 2 USD", "- s0 - unattributed 1 USD", "- s1 o internal 4 USD"];
        let catalog = &catalog(false, &[]);
        assert_eq!(posted(&run, &[], &invoices, catalog), estimates);
        let rows =
            [row(Ok(0), &[(0, 0)], &[0], Some(Status::Open)), row(Ok(1), &[], &[1], Some(Status::Awaited))];
        assert_eq!(posted(&run, &rows, &invoices, catalog), estimates);
        // A row that no invoice has passes nothing, and says so.
        let rows = [
            row(Ok(0), &[(0, 0)], &[0], Some(Status::Accepted)),
            row(Ok(1), &[], &[1], Some(Status::Accepted)),
        ];
        assert_eq!(
            posted(&run, &rows, &invoices, catalog),
            ["I s0 a charge 3.33 USD", "I s0 - unattributed 1.67 USD", "- s1 o internal 0 USD"]
        );
    }

    #[test]
    fn where_everything_is_zero_quantities_decide_and_then_nobody() {
        let free = |quantities: &[&str]| {
            let mut line = cost_line(0, &[("b", "0"), ("a", "0")]);
            for (charge, quantity) in line.charges.iter_mut().zip(quantities) {
                let quantity = schemas::decimal::QuantityTotal::parse(quantity, schemas::decimal::Sign::Any);
                charge.quantity = Some(quantity.expect("a quantity"));
            }
            run(vec![line])
        };
        let invoices = [invoice("I", &[(Usage, "0.03", "USD")])];
        let rows = [row(Ok(0), &[(0, 0)], &[0], Some(Status::Accepted))];
        let shared = |quantities: &[&str]| posted(&free(quantities), &rows, &invoices, &catalog(false, &[]));
        assert_eq!(shared(&["3", "0"]), ["I s0 a charge 0 USD", "I s0 b charge 0.03 USD"]);
        assert_eq!(shared(&[]), ["I s0 a charge 0.02 USD", "I s0 b charge 0.01 USD"]);
    }

    #[test]
    fn a_disputed_row_keeps_its_estimate_and_each_invoice_its_own_rest() {
        let run = run(vec![cost_line(0, &[("a", "4")])]);
        let invoices = [invoice("J", &[(Usage, "1", "USD")]), invoice("I", &[(Usage, "5", "USD")])];
        let rows = [row(Ok(0), &[(0, 0), (1, 0)], &[0], Some(Status::Disputed))];
        let catalog = &catalog(false, &[]);
        assert_eq!(
            posted(&run, &rows, &invoices, catalog),
            ["J s0 a charge 4 USD", "I s0 - disputed 5 USD", "J s0 - disputed -3 USD"]
        );
        let less = [invoice("J", &[(Usage, "1", "USD")]), invoice("I", &[(Usage, "2.99", "USD")])];
        let refused = post(&run, &rows, &less, catalog, &Granted::default()).expect_err("a rest below zero");
        assert!(matches!(&refused, RatingError::Dispute { rest, .. } if rest == "-0.01 USD"), "{refused}");
        // In another currency nothing can come off: the estimate beside it would be a gain.
        let euros = [invoice("J", &[(Usage, "1", "EUR")]), invoice("I", &[(Usage, "2", "EUR")])];
        let rows = [Row { currency: currency("EUR"), ..rows[0].clone() }];
        assert_eq!(posted(&run, &rows, &euros, catalog), ["I s0 - disputed 2 EUR", "J s0 - disputed 1 EUR"]);
    }

    #[test]
    fn what_nobody_used_and_what_is_nobody_s_bear_apart() {
        let run = run(vec![cost_line(0, &[("a", "2"), ("idle", "1"), ("-", "-5")])]);
        let invoices = [invoice("I", &[(Credit, "-9", "USD")])];
        let rows = [row(Err("x"), &[(0, 0)], &[], Some(Status::Accepted))];
        let lines = posted(&run, &rows, &invoices, &catalog(false, &[]));
        let own: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("I x ")).collect();
        // By 2, nothing (it is below zero) and 1.
        assert_eq!(own, ["a charge -6 USD", "- unattributed 0 USD", "- idle -3 USD"]);
    }

    #[test]
    fn what_is_billed_to_another_account_stays_there() {
        let mut invoices = [invoice("I", &[(Usage, "1", "USD"), (Tax, "2", "USD")])];
        invoices[0].lines[0].billing_account = Some("other".into());
        let rows = [
            row(Err("x"), &[(0, 0)], &[], Some(Status::Accepted)),
            row(Err("y"), &[(0, 1)], &[], Some(Status::Accepted)),
        ];
        let posted = post(&run(Vec::new()), &rows, &invoices, &catalog(false, &[]), &Granted::default());
        let posted = posted.expect("posted lines");
        let accounts: Vec<&str> = posted.iter().map(|line| line.of.billing_account.as_str()).collect();
        assert_eq!(accounts, ["other", "1"]);
    }

    /// What becomes of a line without a cost line, where `a` costs 3, `b` costs 1 and nobody bears 0.5.
    #[track_caller]
    fn declared(category: LineCategory, amount: &str, rule: Option<PassRule>, expected: &[&str]) {
        let run = run(vec![cost_line(0, &[("a", "3"), ("b", "1"), ("c", "-2"), ("-", "0.5")])]);
        let invoices = [invoice("I", &[(category, amount, "USD")])];
        let rows = [row(Err("x"), &[(0, 0)], &[], Some(Status::Accepted))];
        let rules: Vec<_> = rule.map(|rule| (category, rule)).into_iter().collect();
        let lines = posted(&run, &rows, &invoices, &catalog(false, &rules));
        let own: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("I x ")).collect();
        assert_eq!(own, expected, "{category} {amount} {rule:?}");
    }

    #[test]
    fn the_operator_bears_costs_and_never_gains() {
        for (category, reason) in
            [(Usage, "unmetered"), (Tax, "tax"), (Credit, "credit"), (Fee, "fee"), (Adjustment, "adjustment")]
        {
            declared(category, "9", None, &[&format!("- {reason} 9 USD")]);
            declared(category, "9", Some(PassRule::Retain), &[&format!("- {reason} 9 USD")]);
            declared(category, "0", None, &[&format!("- {reason} 0 USD")]);
        }
        // By 3, 1, nothing and 0.5; who costs less than nothing gets none of it.
        let by_cost = ["a charge -6 USD", "b charge -2 USD", "p charge 0 USD", "- unattributed -1 USD"];
        declared(Credit, "-9", None, &by_cost);
        declared(Credit, "-9", Some(PassRule::Retain), &by_cost);
        declared(Credit, "-9", Some(PassRule::ByCost), &by_cost);
        let even = ["a charge 2 USD", "b charge 2 USD", "o internal 2 USD", "p charge 4 USD"];
        declared(Tax, "10", Some(PassRule::Even), &even);
        // Where nobody has a cost, a credit is nobody's.
        let nobody = run(vec![cost_line(0, &[("a", "0")])]);
        let invoices = [invoice("I", &[(Credit, "-9", "USD")])];
        let rows = [row(Err("x"), &[(0, 0)], &[], Some(Status::Accepted))];
        let lines = posted(&nobody, &rows, &invoices, &catalog(false, &[]));
        assert_eq!(lines, ["- s0 a charge 0 USD", "I x - credit -9 USD"]);
    }

    #[test]
    fn partners_grants_and_rates_take_what_is_passed_for_what_settles() {
        let run = run(vec![cost_line(0, &[("b", "2"), ("c", "1"), ("p", "1")])]);
        let invoices = [invoice("I", &[(Usage, "10", "USD"), (Tax, "1", "USD")])];
        let rows =
            [row(Ok(0), &[(0, 0)], &[0], Some(Status::Accepted)), row(Err("VAT"), &[(0, 1)], &[], None)];
        let catalog = catalog(true, &[(Tax, PassRule::ByCost)]);
        assert_eq!(
            posted(&run, &rows, &invoices, &catalog),
            [
                "I s0 b charge 5 USD",
                "I s0 p charge 5 USD = 4.33 EUR", // 4.3255
                "p: I s0 c charge 2.5 USD = 0.767 KWD",
                "p: I s0 p internal 2.5 USD",
                "I s0 b grant -2.5 USD",
                "I s0 a grant 2.5 USD = 2.16 EUR", // 2.16275
                "I VAT b charge 0.5 USD",
                "I VAT p charge 0.5 USD = 0.43 EUR", // 4.75805 altogether
                "p: I VAT c charge 0.25 USD = 0.077 KWD",
                "p: I VAT p internal 0.25 USD",
                "I VAT b grant -0.25 USD",
                "I VAT a grant 0.25 USD = 0.22 EUR",
            ]
        );
        // Of 3 dollars in all, earlier months have left 1.
        let before = post(&run, &rows, &invoices, &catalog, &Granted::default()).expect("lines");
        let mut granted = Granted::default();
        granted.add_posted(&before);
        let after = post(&run, &rows, &invoices, &catalog, &granted).expect("lines");
        let paid: i128 = after
            .iter()
            .filter(|line| line.kind == LineKind::Grant)
            .map(|line| line.money.minor_units.max(0))
            .sum();
        assert_eq!(paid, 25);
    }

    #[test]
    fn an_invoice_is_shared_over_its_rows_of_all_months() {
        let run = run(vec![cost_line(0, &[("a", "1")]), cost_line(1, &[("a", "1")])]);
        // 1.005 three times is 3.02 (3.015 to even): 1.00 each, and two cents to the first two rows.
        let invoices = [invoice("I", &[(Usage, "1.005", "USD"); 3])];
        let own = [row(Ok(1), &[(0, 2)], &[1], None), row(Ok(0), &[(0, 0)], &[0], None)];
        let later = Row { period: month("2025-11"), ..row(Ok(2), &[(0, 1)], &[], None) };
        let all = [own[0].clone(), later, own[1].clone()];
        let catalog = &catalog(false, &[]);
        assert_eq!(posted(&run, &all, &invoices, catalog), ["I s0 a charge 1.01 USD", "I s1 a charge 1 USD"]);
        let error =
            post(&run, &own, &invoices, catalog, &Granted::default()).expect_err("a row is not there");
        assert!(error.to_string().contains("a line is in no row"), "{error}");
    }

    #[test]
    fn of_equal_fractions_the_row_with_the_first_line_gets_the_odd_unit() {
        let run = run(vec![cost_line(0, &[("a", "1")]), cost_line(1, &[("a", "1")])]);
        // 0.004 and 0.002 make one row, 0.006 the other: two equal halves of 0.012, which is a cent.
        let invoices =
            [invoice("I", &[(Usage, "0.004", "USD"), (Usage, "0.006", "USD"), (Usage, "0.002", "USD")])];
        let rows = [row(Ok(0), &[(0, 1)], &[0], None), row(Ok(1), &[(0, 0), (0, 2)], &[1], None)];
        assert_eq!(
            posted(&run, &rows, &invoices, &catalog(false, &[])),
            ["I s0 a charge 0 USD", "I s1 a charge 0.01 USD"]
        );
    }

    #[test]
    fn a_stated_total_counts_where_the_invoice_is_complete() {
        let provider = &catalog(false, &[]).providers[&invoice("I", &[]).provider].clone();
        let mut stated = invoice("I", &[(Usage, "1.005", "USD"), (Usage, "1.001", "USD")]);
        let of = |invoice: &Invoice| total(invoice, currency("USD"), provider).expect("a total").minor_units;
        assert_eq!(of(&stated), 201);
        stated.totals.insert(currency("USD"), crate::reconcile::world::amount("2"));
        assert_eq!(of(&stated), 200);
        for standing in [Standing::Partial, Standing::Preliminary] {
            assert_eq!(of(&Invoice { standing, ..stated.clone() }), 201);
        }
    }

    /// A month: its cost lines, two invoices, and a row for each SKU and for each line that is left.
    type Month = (Run, Vec<Row>, Vec<Invoice>);

    fn a_month() -> impl Strategy<Value = Month> {
        let who = || prop::sample::select(vec!["a", "b", "c", "o", "p", "-"]);
        let charges = prop::collection::vec((who(), 0..5_000i64), 1..5);
        let cost_lines = prop::collection::vec((charges, prop::bool::weighted(0.2)), 0..4);
        let category = prop::sample::select(LineCategory::ALL.to_vec());
        let status = prop::sample::select(vec![
            None,
            Some(Status::Accepted),
            Some(Status::Accepted),
            Some(Status::Open),
            Some(Status::Disputed),
        ]);
        let line = (0..5usize, -3_000..9_000i64, category, any::<bool>());
        let lines = || prop::collection::vec(line.clone(), 0..5);
        let all = (cost_lines, [lines(), lines()], prop::collection::vec(status, 16));
        all.prop_map(|(cost_lines, invoices, statuses)| {
            let thousandths = |units: i64| {
                crate::rounding::amount(&crate::exact::Exact::new(units.into(), 1_000.into()))
                    .expect("an amount")
                    .to_string()
            };
            let lines: Vec<CostLine> = cost_lines
                .iter()
                .enumerate()
                .map(|(sku, (charges, is_credit))| {
                    let sign = if *is_credit { -1 } else { 1 };
                    let texts: Vec<(&str, String)> =
                        charges.iter().map(|(who, units)| (*who, thousandths(sign * units))).collect();
                    cost_line(sku, &texts.iter().map(|(who, text)| (*who, text.as_str())).collect::<Vec<_>>())
                })
                .collect();
            let mut at: BTreeMap<(usize, Currency), Vec<(usize, usize)>> = BTreeMap::new();
            let mut alone = Vec::new();
            let mut made = Vec::new();
            for (place, lines) in invoices.iter().enumerate() {
                let code = |other: bool| if other { "EUR" } else { "USD" };
                let texts: Vec<(LineCategory, String, &str)> = lines
                    .iter()
                    .map(|(_, units, category, other)| (*category, thousandths(*units), code(*other)))
                    .collect();
                let lines_of: Vec<(LineCategory, &str, &str)> =
                    texts.iter().map(|(category, text, code)| (*category, text.as_str(), *code)).collect();
                made.push(invoice(["I", "J"][place], &lines_of));
                for (line, (sku, _, category, other)) in lines.iter().enumerate() {
                    match category {
                        Usage => at.entry((*sku, currency(code(*other)))).or_default().push((place, line)),
                        _ => alone.push(((place, line), currency(code(*other)))),
                    }
                }
            }
            for sku in 0..lines.len() {
                at.entry((sku, currency("USD"))).or_default();
            }
            let mut statuses = statuses.into_iter().cycle();
            let mut rows = Vec::new();
            for ((sku, currency), lines_at) in at {
                let cost_lines: Vec<usize> =
                    (sku < lines.len() && currency.code() == "USD").then_some(sku).into_iter().collect();
                rows.push(Row {
                    currency,
                    ..row(Ok(sku), &lines_at, &cost_lines, statuses.next().flatten())
                });
            }
            for (place, (line, currency)) in alone.into_iter().enumerate() {
                rows.push(Row {
                    currency,
                    ..row(Err(&format!("x{place}")), &[line], &[], statuses.next().flatten())
                });
            }
            (run(lines), rows, made)
        })
    }

    proptest! {
        #[test]
        fn an_invoice_is_passed_whole_and_in_no_order((run, rows, invoices) in a_month(), more in any::<bool>(), retain in any::<bool>(), rotation in 0..16usize) {
            let catalog = catalog(more, &[(Tax, PassRule::ByCost), (Fee, PassRule::Even), (Usage, if retain { PassRule::Retain } else { PassRule::ByCost })]);
            let rows: Vec<Row> = rows.into_iter().filter(|row| !row.lines.is_empty() || !row.cost_lines.is_empty()).collect();
            let posted = |rows: &[Row]| post(&run, rows, &invoices, &catalog, &Granted::default());
            let lines = match posted(&rows) {
                Err(RatingError::Dispute { .. }) => return Ok(()),
                lines => lines.expect("posted lines"),
            };
            let provider = catalog.providers.values().next().expect("a provider");
            let of = |invoice: Option<&InvoiceId>, currency| lines.iter().filter(|line| line.biller == Biller::Operator && line.of.invoice.as_ref() == invoice && line.money.currency == currency).map(|line| line.money.minor_units).sum::<i128>();
            for (place, invoice) in invoices.iter().enumerate() {
                for currency in ["USD", "EUR"].map(currency) {
                    let whole = total(invoice, currency, provider).expect("a total");
                    let waits = |row: &&Row| row.currency == currency && row.status == Some(Status::Open) && row.lines.iter().any(|LineAt { invoice, .. }| *invoice == place);
                    let open: Vec<&Row> = rows.iter().filter(waits).collect();
                    if open.is_empty() {
                        prop_assert_eq!(of(Some(&invoice.id), currency), whole.minor_units);
                    } else {
                        // What is not decided is missing, to the cent that it is rounded by.
                        let missing: crate::exact::Exact = open.iter().flat_map(|row| &row.lines).filter(|at| at.invoice == place).map(|at| exact(invoice.lines[at.line].amount)).sum();
                        let off = exact_money(whole) - exact_money(schemas::money::Money { minor_units: of(Some(&invoice.id), currency), currency }) - missing;
                        prop_assert!(off.clone() * crate::exact::power_of_ten(2) < crate::exact::Exact::from_integer(rows.len().into()) && -off * crate::exact::power_of_ten(2) < crate::exact::Exact::from_integer(rows.len().into()));
                    }
                }
            }
            // Everybody's ids are their own, and nothing depends on the order of the rows.
            prop_assert_eq!(lines.iter().map(|line| line.id).collect::<std::collections::BTreeSet<_>>().len(), lines.len());
            let mut turned = rows.clone();
            turned.rotate_left(rotation % rows.len().max(1));
            prop_assert_eq!(posted(&turned).expect("posted lines"), lines.clone());
            // They are kept and read back whole.
            prop_assert_eq!(crate::run::read_posted(&crate::run::write_posted(&lines)).expect("lines"), lines.clone());
            // Once everything is open again, the month is as it was estimated.
            let open: Vec<Row> = rows.iter().map(|row| Row { verdict: Verdict::Variance, status: Some(Status::Open), ..row.clone() }).collect();
            prop_assert_eq!(posted(&open).expect("posted lines"), posted(&[]).expect("posted lines"));
        }
    }
}
