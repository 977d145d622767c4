//! A customer's statement for people: as text for a terminal, and as a page for a browser or paper.
//!
//! What is on it, and what it comes to, is said by `rating::document` and deliberately not computed
//! again.
//!
//! Invariant: both forms show every line that is not of nothing, with its number on the statement.

// Modules in reading order.
mod words; // what both forms say of a line
mod text; // for a terminal
mod page; // for a browser and for paper

pub use page::{Events, page};
pub use text::text;
pub use words::{digits, money};

#[cfg(test)]
mod tests {
    use super::*;
    use rating::allocation::{Because, Kind, Rule};
    use rating::catalog::{Catalog, CatalogFiles};
    use rating::document::document;
    use rating::evidence::Evidence;
    use rating::exact::{Exact, exact};
    use rating::posted::{Correction, Entry, Posted, PostedKind};
    use rating::price::{PriceModelName, Step};
    use rating::run::{Charge, ChargeId, CostLine, CostLineKey, RunId, StatementLineId};
    use rating::statement::Biller;
    use rating::usage::EventRow;
    use schemas::decimal::{Amount, QuantityTotal, Sign};
    use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId, SkuId, Subject};
    use schemas::invoice::LineCategory;
    use schemas::money::{Currency, Money};
    use schemas::time::{BillingMonth, Instant, Period};
    use std::path::Path;
    use std::sync::Arc;

    fn catalog() -> Catalog {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/month/catalog");
        let files = CatalogFiles::read_folder(&folder).expect("the case is there");
        Catalog::load(&files).expect("a catalog").0
    }

    fn at(text: &str) -> Instant {
        Instant::parse_rfc3339(text).expect("an instant")
    }

    fn eur() -> Currency {
        Currency::from_code("EUR").expect("a currency")
    }

    /// 27 requests, 5 of which somebody else made.
    fn cost_line() -> CostLine {
        let key = CostLineKey {
            provider: ProviderId::new("lynx").expect("an id"),
            billing_account: BillingAccountId::new("LX-9").expect("an id"),
            sub_account: None,
            sku: SkuId::new("LX-REQ").expect("an id"),
            charge_period: Period::new(at("2025-10-01T00:00:00Z"), at("2025-11-01T00:00:00Z"))
                .expect("a period"),
            price_from: at("2025-01-01T00:00:00Z"),
        };
        let amount = Amount::parse("0.4", Sign::Any).expect("an amount");
        let whole = QuantityTotal::parse("27", Sign::Any).expect("a quantity");
        let of = Arc::new(exact(whole));
        let charge = |id: &str, customer: &str, used: &str| Charge {
            id: ChargeId::parse(&id.repeat(32)).expect("an id"),
            customer: Some(CustomerId::new(customer).expect("an id")),
            subject: Some(Subject::new(format!("projects/{customer}")).expect("a subject")),
            kind: Kind::Charge,
            quantity: Some(QuantityTotal::parse(used, Sign::Any).expect("a quantity")),
            metered_quantity: None,
            because: Because::Usage {
                own: exact(QuantityTotal::parse(used, Sign::Any).expect("a quantity")),
                of: Arc::clone(&of),
            },
            standalone: None,
            amount,
        };
        let step = Step {
            label: "packages of 1000".to_owned(),
            from: None,
            to: None,
            quantity: Exact::from_integer(1.into()),
            unit_price: exact(amount),
            amount: exact(amount),
        };
        CostLine {
            id: key.id(),
            key,
            currency: eur(),
            quantity: whole,
            exact_quantity: exact(whole),
            metered_quantity: Some(whole),
            unit: Some("1".to_owned()),
            shared_in: Some("1".to_owned()),
            steps: vec![step],
            amount,
            settled: Money { minor_units: 40, currency: eur() },
            model: PriceModelName::Package,
            rule: Rule::Proportional,
            charges: vec![charge("a", "acme", "22"), charge("b", "birch", "5")],
            statement_lines: Vec::new(),
        }
    }

    fn line<'r>(id: &str, cents: i128, cost_line: Option<&'r CostLine>) -> Posted<'r> {
        Posted {
            id: StatementLineId::parse(&id.repeat(32)).expect("an id"),
            biller: Biller::Operator,
            invoice: None,
            provider: ProviderId::new("lynx").expect("an id"),
            billing_account: BillingAccountId::new("LX-9").expect("an id"),
            sub_account: None,
            sku: Some(SkuId::new("LX-REQ").expect("an id")),
            start: at("2025-10-01T00:00:00Z"),
            end: at("2025-11-01T00:00:00Z"),
            category: LineCategory::Usage,
            description: None,
            customer: Some(CustomerId::new("acme").expect("an id")),
            kind: PostedKind::Charge,
            amount: Money { minor_units: cents, currency: eur() },
            billed: None,
            correction: None,
            price_from: cost_line.map(|line| line.key.price_from),
            cost_line,
        }
    }

    /// An estimate that is unfolded, a tax with markup in its words, a correction, and a line of nothing.
    fn lines(cost_line: &CostLine) -> Vec<Posted<'_>> {
        let invoice = || Some(InvoiceId::new("LX-2510").expect("an id"));
        let month = BillingMonth::parse("2025-09").expect("a month");
        let description = Some("MwSt <b>25 %</b>".into());
        vec![
            line("a", 33, Some(cost_line)),
            Posted {
                sku: None,
                category: LineCategory::Tax,
                description,
                invoice: invoice(),
                ..line("b", 1820, None)
            },
            Posted {
                correction: Some(Correction { entry: Entry::Reversal, corrects: None, month }),
                invoice: invoice(),
                ..line("c", -120, None)
            },
            Posted { invoice: invoice(), ..line("d", 0, None) },
        ]
    }

    #[test]
    fn the_text_has_every_line_and_its_sums() {
        let (catalog, cost_line) = (catalog(), cost_line());
        let lines = lines(&cost_line);
        let when = (BillingMonth::parse("2025-10").expect("a month"), false);
        let acme = CustomerId::new("acme").expect("an id");
        let document = document(&lines, &catalog, when, &acme).expect("a statement");
        let text = text(&document, &catalog);
        assert_eq!(
            text,
            "Acme Robotics (acme), 2025-10, open: it may still change; 3 lines

commons-2025-10-acme-EUR

Charges
  no.  provider  for                           days                      amount  note
    1  lynx      Requests, per thousand begun  2025-10-01 to 2025-10-31    0.33  estimate
    2  lynx      MwSt <b>25 %</b>              2025-10-01 to 2025-10-31   18.20  invoice LX-2510

Corrections of closed months
  no.  provider  for                           days                      amount  note
    4  lynx      Requests, per thousand begun  2025-10-01 to 2025-10-31   -1.20  reversal of 2025-09, invoice LX-2510

Total: 17.33 EUR
of which corrections of closed months: -1.20 EUR
of which estimates, until the provider's invoice is in: 0.33 EUR
"
        );
    }

    #[test]
    fn the_page_unfolds_a_line_to_its_events_and_shows_no_one_else_s() {
        let (catalog, cost_line) = (catalog(), cost_line());
        let lines = lines(&cost_line);
        let when = (BillingMonth::parse("2025-10").expect("a month"), true);
        let acme = CustomerId::new("acme").expect("an id");
        let document = document(&lines, &catalog, when, &acme).expect("a statement");
        let event = EventRow {
            place: "03-network.ndjson:9".to_owned(),
            source: "//edge/<sjc>".to_owned(),
            id: "n-0301".to_owned(),
            time: at("2025-10-05T00:00:00Z"),
            quantity: QuantityTotal::parse("22", Sign::Any).expect("a quantity"),
        };
        let total = event.quantity;
        let evidence = Evidence { events: 31, total, unit: "1".into(), first: vec![event] };
        let run = RunId::parse(&"c".repeat(16)).expect("an id");
        let events = Events { of: [(cost_line.charges[0].id, evidence)].into(), run: Some(run) };
        let page = page(&document, &catalog, &events).to_string();
        for wanted in [
            "<summary>price and share, 31 events</summary>",
            "Requests, per thousand begun",
            "31 events of <bdi>projects/acme</bdi>, 22 together. The first 1 are:",
            "atcost explain aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --run cccccccccccccccc --events events.ndjson",
            "packages of 1000",
            "<td>22 of 27</td>",
            "//edge/&lt;sjc&gt; n-0301",
            "MwSt &lt;b&gt;25 %&lt;/b&gt;",
            "Total: <b>17.33 EUR</b>",
            "closed: as it was posted",
            "commons-2025-10-acme-EUR",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in {page}");
        }
        assert!(!page.contains("birch"), "what others bear is theirs: {page}");
        assert_eq!(page.matches("<details>").count(), 1, "only what was rated is unfolded");
    }
}
