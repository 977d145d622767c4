//! A small month for tests: one provider of dollars, who bears what, and how it is billed.

use super::row::{LineAt, Row, Status, Verdict};
use crate::allocation::{Because, Kind, RetainedReason, Rule};
use crate::catalog::{Catalog, CatalogFiles, InvoiceMap, Invoicing, PassRule};
use crate::exact::Exact;
use crate::price::PriceModelName;
use crate::run::{Charge, ChargeId, CostLine, CostLineKey, Pins, PostedLine, Run};
use crate::statement::LineKind;
use crate::usage::LedgerCounts;
use ledger::pinned::{LedgerCut, Versions};
use num_traits::Zero as _;
use schemas::decimal::{Amount, QuantityTotal, Sign};
use schemas::digest::Sha256Digest;
use schemas::id::{CustomerId, InvoiceId, ProviderId, SkuId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory, Standing};
use schemas::invoice_mapping::Mapping;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn month(text: &str) -> BillingMonth {
    BillingMonth::parse(text).expect("a month")
}

pub(crate) fn currency(code: &str) -> Currency {
    Currency::from_code(code).expect("a currency")
}

pub(crate) fn amount(text: &str) -> Amount {
    Amount::parse(text, Sign::Any).expect("an amount")
}

pub(crate) fn provider() -> ProviderId {
    ProviderId::new("q").expect("an id")
}

fn october() -> Period {
    let at = |text| Instant::parse_rfc3339(text).expect("an instant");
    Period::new(at("2025-10-01T00:00:00Z"), at("2025-11-01T00:00:00Z")).expect("a period")
}

/// `q` bills dollars for `s0` to `s4`. `a` and `b` are billed in euros and dollars, `p` in euros, `o` is
/// the operator, and `p` bills `c` in dinars. With `more`, `a` pays half of what `b` is billed, up to 3
/// dollars, and other currencies are converted.
pub(crate) fn catalog(more: bool, pass: &[(LineCategory, PassRule)]) -> Catalog {
    let customer = |id: &str, rest: &str| format!("[[customer]]\nid = \"{id}\"\nname = \"{id}\"\n{rest}\n");
    let sku = |number: usize| {
        format!(
            "[[sku]]\nid = \"s{number}\"\nname = \"s\"\nallocation = \"even\"\n[[sku.price]]\nfrom = \"2025-01-01\"\nmodel = \"flat\"\namount = \"1\"\nevery = \"month\"\n"
        )
    };
    let customers = [
        customer("a", "currency = \"EUR\""),
        customer("b", "currency = \"USD\""),
        customer("c", "currency = \"KWD\"\nbills_to = \"p\""),
        customer("o", "currency = \"USD\"\nkind = \"internal\""),
        customer("p", "currency = \"EUR\"\nkind = \"partner\""),
    ];
    let bindings = ["a", "b", "c", "o", "p"].map(|id| format!("u/{id},{id},2025-01-01T00:00:00Z,\n"));
    let mut files = vec![
        ("catalog.toml", "operator = \"op\"\nname = \"Operator\"\n".to_owned()),
        ("meters.toml", String::new()),
        ("customers.toml", customers.concat()),
        ("bindings.csv", format!("subject,customer,from,until\n{}", bindings.concat())),
        (
            "providers/q/provider.toml",
            "id = \"q\"\nname = \"Q\"\nbilling_account = \"1\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n[rounding]\nmode = \"half-even\"\n".to_owned(),
        ),
        ("providers/q/prices.toml", (0..5).map(sku).collect()),
    ];
    if more {
        let rate = |pair: &str| format!("2025-10,{pair},test\n");
        let rates = ["USD,EUR,0.8651", "USD,KWD,0.30685", "EUR,USD,1.1559", "EUR,KWD,0.3547"].map(rate);
        files.push(("fx.csv", format!("period,from,to,rate,source\n{}", rates.concat())));
        files.push((
            "grants.toml",
            "[[grant]]\nid = \"g\"\ncustomer = \"b\"\nfunder = \"a\"\ncurrency = \"USD\"\nshare = \"0.5\"\namount = \"3\"\nfrom = \"2025-10\"\n".to_owned(),
        ));
    }
    let files = CatalogFiles::new(files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect());
    let mut catalog = match Catalog::load(&files) {
        Ok((catalog, _)) => catalog,
        Err(problems) => panic!("{problems:?}"),
    };
    let invoicing = Invoicing {
        mapping: Mapping::En16931,
        units: BTreeMap::new(),
        pass: pass.iter().copied().collect(),
        tolerance: None,
        map: InvoiceMap::default(),
    };
    catalog.providers.get_mut(&provider()).expect("a provider").invoicing = Some(invoicing);
    catalog
}

/// A cost line of `s0`, `s1` …, and what each bears of it; `-` is nobody.
pub(crate) fn cost_line(sku: usize, charges: &[(&str, &str)]) -> CostLine {
    let sum = |sum: Amount, (_, text): &(&str, &str)| sum.checked_add(amount(text)).expect("an amount");
    let whole = charges.iter().fold(Amount::ZERO, sum);
    let settled = crate::rounding::settle(whole, currency("USD"), crate::rounding::RoundingMode::HalfEven)
        .expect("money");
    let key = CostLineKey {
        provider: provider(),
        billing_account: schemas::id::BillingAccountId::new("1").expect("an id"),
        sub_account: None,
        sku: SkuId::new(format!("s{sku}")).expect("an id"),
        charge_period: october(),
        price_from: Instant::parse_rfc3339("2025-01-01T00:00:00Z").expect("an instant"),
    };
    let charge = |(id, text): &(&str, &str)| {
        let (customer, kind) = match *id {
            "-" => (None, Kind::Retained(RetainedReason::Unattributed)),
            "idle" => (None, Kind::Retained(RetainedReason::Idle)),
            "o" => (Some("o"), Kind::Retained(RetainedReason::Internal)),
            id => (Some(id), Kind::Charge),
        };
        Charge {
            id: ChargeId::parse(&"0".repeat(32)).expect("an id"),
            customer: customer.map(|id| CustomerId::new(id).expect("an id")),
            subject: None,
            kind,
            quantity: None,
            metered_quantity: None,
            because: Because::Idle,
            standalone: None,
            amount: amount(text),
        }
    };
    CostLine {
        id: key.id(),
        key,
        currency: currency("USD"),
        quantity: QuantityTotal::ZERO,
        exact_quantity: Exact::zero(),
        metered_quantity: None,
        unit: None,
        shared_in: None,
        steps: Vec::new(),
        amount: whole,
        settled,
        model: PriceModelName::Flat,
        rule: Rule::Proportional,
        charges: charges.iter().map(charge).collect(),
        statement_lines: Vec::new(),
    }
}

pub(crate) fn run(cost_lines: Vec<CostLine>) -> Run {
    let digest = Sha256Digest::of(b"");
    let ledger = LedgerCut { versions: Versions(vec![0]), digest };
    Run {
        pins: Pins { month: month("2025-10"), ledger, catalog: digest, journal: 0 },
        counts: LedgerCounts::default(),
        cost_lines,
        posted: Vec::new(),
        unrated: Vec::new(),
        completeness: Vec::new(),
    }
}

/// Lines by category, amount and currency.
pub(crate) fn invoice(id: &str, lines: &[(LineCategory, &str, &str)]) -> Invoice {
    let line = |(place, (category, text, code)): (usize, &(LineCategory, &str, &str))| InvoiceLine {
        line: u32::try_from(place + 1).expect("few lines"),
        line_id: None,
        billing_account: None,
        sub_account: None,
        sku_text: None,
        description: None,
        category: *category,
        start: october().start(),
        end: october().end(),
        quantity: None,
        unit: None,
        unit_price: None,
        amount: amount(text),
        currency: currency(code),
        repeats: None,
    };
    Invoice {
        provider: provider(),
        id: InvoiceId::new(id).expect("an id"),
        version: 1,
        period: month("2025-10"),
        standing: Standing::Complete,
        totals: BTreeMap::new(),
        lines: lines.iter().enumerate().map(line).collect(),
    }
}

/// A row of October in dollars: of `s0`, `s1` … or of a text, with lines by the places of invoices and
/// their lines. Without a status it is a match.
pub(crate) fn row(
    of: Result<usize, &str>,
    lines: &[(usize, usize)],
    cost_lines: &[usize],
    status: Option<Status>,
) -> Row {
    Row {
        provider: provider(),
        period: month("2025-10"),
        sku: of.ok().map(|number| SkuId::new(format!("s{number}")).expect("an id")),
        sub_account: None,
        invoice_text: of.err().map(Into::into),
        start: october().start(),
        end: october().end(),
        currency: currency("USD"),
        invoices: BTreeSet::new(),
        lines: lines.iter().map(|(invoice, line)| LineAt { invoice: *invoice, line: *line }).collect(),
        cost_lines: cost_lines.to_vec(),
        ledger_quantity: None,
        invoice_quantity: None,
        ledger_amount: None,
        ledger_settled: None,
        invoice_amount: None,
        before: None,
        variance: None,
        quantity_variance: None,
        price_variance: None,
        tolerance: Exact::zero(),
        verdict: if status.is_some() { Verdict::Variance } else { Verdict::Match },
        class: None,
        status,
        hint: None,
    }
}

/// `I s0 a charge 1.2`: invoice or `-`, SKU or text, who, what becomes of it, how much. A partner's begin
/// with its name.
pub(crate) fn shown(line: &PostedLine) -> String {
    let of = &line.of;
    let what = of.sku.as_ref().map(ToString::to_string).or(of.description.as_ref().map(ToString::to_string));
    let kind = match line.kind {
        LineKind::Retained(reason) => reason.as_str(),
        kind => kind.as_str(),
    };
    let biller = match &line.biller {
        crate::statement::Biller::Operator => String::new(),
        crate::statement::Biller::Partner(partner) => format!("{partner}: "),
    };
    let money = |money: Money| format!("{} {}", money.to_amount().expect("an amount"), money.currency);
    let billed = line.billed.as_ref().filter(|billed| billed.rate.is_some());
    format!(
        "{biller}{} {} {} {kind} {}{}",
        of.invoice.as_ref().map_or("-", InvoiceId::as_str),
        what.unwrap_or_default(),
        line.customer.as_ref().map_or("-", CustomerId::as_str),
        money(line.money),
        billed.map_or_else(String::new, |billed| format!(" = {}", money(billed.money))),
    )
}
