//! The month on one screen of 80 columns and 24 lines, the last of which is the prompt's.
//!
//! Where there is more, the longest part is cut and says how much more there is.
//!
//! Invariant: no line is longer than the screen is wide, and there are no more lines than it has.

use super::look::{Here, OfProvider, Status, Told, digits};
use crate::show::{Align, plural, printable, table};
use crate::verbs::invoice;
use rating::limits::LimitState;
use schemas::decimal::Amount;
use schemas::invoice::Standing;
use schemas::time::Instant;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const WIDTH: usize = 80;
const HEIGHT: usize = 23;
/// Providers, and customers beside them, that there is room for.
const BESIDE: usize = 5;
/// Where the right one of two tables begins.
const MIDDLE: usize = 45;

/// A part of the screen: what always stands, and rows that may be cut.
struct Part {
    head: Vec<String>,
    rows: Vec<String>,
    shown: usize,
}

impl Part {
    fn new(head: Vec<String>, rows: Vec<String>) -> Self {
        let shown = rows.len();
        Self { head, rows, shown }
    }

    /// A table; nothing where it has no row.
    fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Self {
        if rows.is_empty() {
            return Self::new(Vec::new(), Vec::new());
        }
        let mut lines = table(columns, rows).lines().map(str::to_owned).collect::<Vec<_>>();
        let rows = lines.split_off(1);
        Self::new(lines, rows)
    }

    fn height(&self) -> usize {
        self.head.len() + self.shown + usize::from(self.is_cut())
    }

    fn is_cut(&self) -> bool {
        self.shown < self.rows.len()
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let more =
            self.is_cut().then(|| format!("  … and {} more; --format json", self.rows.len() - self.shown));
        self.head.iter().chain(&self.rows[..self.shown]).cloned().chain(more)
    }
}

pub(super) fn page(status: &Status) -> String {
    let mut parts = [
        Part::new(head(status), Vec::new()),
        came_in(status),
        Part::new(missing(status), Vec::new()),
        Part::new(beside(&providers(status), &customers(status)), Vec::new()),
        limits(status),
        in_the_way(status),
    ];
    while parts.iter().map(Part::height).sum::<usize>() > HEIGHT {
        let longest = parts.iter_mut().filter(|part| part.shown > 1).max_by_key(|part| part.shown);
        let Some(longest) = longest else { break };
        // The line that says how many more there are takes the place of one.
        longest.shown -= if longest.is_cut() || longest.shown == 2 { 1 } else { 2 };
    }
    let lines = parts.iter().flat_map(Part::lines).map(|line| cut(&printable(&line), WIDTH));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A text of at most so many characters.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// A name for a cell.
fn named(text: impl ToString, width: usize) -> String {
    cut(&printable(&text.to_string()), width)
}

fn head(status: &Status) -> Vec<String> {
    let Status { month, as_of, counts, .. } = status;
    let state = match (status.is_closed, &status.not_over[..]) {
        (true, _) => "closed".to_owned(),
        (false, []) => "over, and not closed".to_owned(),
        (false, [first, ..]) if first.has_begun => format!("ends {}", first.ends),
        (false, _) => "has not begun".to_owned(),
    };
    vec![
        format!("{month} as of {as_of}: {state}"),
        format!(
            "received {} = usage {} + rejected {}; {}, {}, {}",
            counts.received,
            counts.usage,
            counts.rejected,
            plural(counts.duplicates, "duplicate", "duplicates"),
            plural(counts.conflicts, "conflict", "conflicts"),
            plural(counts.gaps, "gap", "gaps")
        ),
    ]
}

/// To the minute.
fn minute(at: Instant) -> String {
    at.to_timestamp().strftime("%Y-%m-%d %H:%MZ").to_string()
}

fn came_in(status: &Status) -> Part {
    let mut arrivals: Vec<_> = status.arrivals.iter().collect();
    arrivals.sort_by_key(|of| of.last);
    let row = |of: &&rating::usage::Arrivals| {
        let late = if of.late > 0 { format!("{} late", of.late) } else { String::new() };
        vec![named(&of.events, 34), of.sources.to_string(), of.records.to_string(), minute(of.last), late]
    };
    let columns = [
        ("came in", Align::Left),
        ("sources", Align::Right),
        ("records", Align::Right),
        ("last", Align::Left),
        ("", Align::Left),
    ];
    let rows: Vec<_> = arrivals.iter().map(row).collect();
    match rows.is_empty() {
        true => Part::new(vec![format!("! nothing has come in of {}", status.month)], Vec::new()),
        false => Part::table(&columns, &rows),
    }
}

/// What is late, and what may be missing.
fn missing(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    let late: u64 = status.arrivals.iter().map(|of| of.late).sum();
    let stalest = status.arrivals.iter().filter(|of| of.late > 0).flat_map(|of| &of.stalest).min();
    if let Some(first) = stalest {
        lines.push(format!(
            "! {} not heard for a day; {} since {}",
            plural(late, "source was", "sources were"),
            named(&first.source, 28),
            minute(first.last)
        ));
    }
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &status.completeness {
        *kinds.entry(row.kind.as_str()).or_default() += 1;
    }
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds.iter().map(|(kind, rows)| format!("{kind} {rows}")).collect();
        lines.push(format!(
            "! may be missing ({}): atcost status --period {} --format json",
            kinds.join(", "),
            status.month
        ));
    }
    lines
}

fn providers(status: &Status) -> Vec<String> {
    let of_invoice = |of: &OfProvider| match &of.invoices[..] {
        [] if of.is_missing => "no invoice".to_owned(),
        [] => String::new(),
        [Here { invoice, standing: Standing::Complete, .. }] if !of.is_missing => invoice.to_string(),
        [Here { standing, .. }] => invoice::standing(*standing).to_owned(),
        several if of.is_missing => format!("{} parts", several.len()),
        several => plural(several.len() as u64, "invoice", "invoices"),
    };
    let mut rows: Vec<(Amount, Vec<String>)> = Vec::new();
    for (id, of) in &status.providers {
        let row = |so_far: String| vec![named(id, 12), so_far, named(of_invoice(of), 12)];
        rows.extend(
            of.sums.iter().map(|(currency, sums)| (sums.so_far, row(format!("{} {currency}", sums.so_far)))),
        );
        if of.sums.is_empty() {
            rows.push((Amount::ZERO, row(String::new())));
        }
    }
    let columns = [("provider", Align::Left), ("so far", Align::Right), ("invoice", Align::Left)];
    largest(&columns, rows, "providers")
}

fn customers(status: &Status) -> Vec<String> {
    let row = |name: String, sum: &Amount, currency| (*sum, vec![name, format!("{sum} {currency}")]);
    let customers = status.customers.iter();
    let mut rows: Vec<_> = customers.map(|((id, currency), sum)| row(named(id, 14), sum, currency)).collect();
    rows.extend(status.retained.iter().map(|(currency, sum)| row("retained".to_owned(), sum, currency)));
    largest(&[("customer", Align::Left), ("so far", Align::Right)], rows, "customers")
}

/// A table of the largest amounts; none where there is nothing.
fn largest(columns: &[(&str, Align)], mut rows: Vec<(Amount, Vec<String>)>, what: &str) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    rows.sort_by_key(|(amount, _)| Reverse(amount.units().unsigned_abs()));
    let all = rows.len();
    let shown = if all > BESIDE { BESIDE - 1 } else { all };
    let rows: Vec<Vec<String>> = rows.into_iter().take(shown).map(|(_, row)| row).collect();
    let more = (all > shown).then(|| format!("  … and {} more {what}", all - shown));
    table(columns, &rows).lines().map(str::to_owned).chain(more).collect()
}

/// Two tables beside each other.
fn beside(left: &[String], right: &[String]) -> Vec<String> {
    let line = |number: usize| {
        let left = left.get(number).map_or("", String::as_str);
        let right = right.get(number).map_or("", String::as_str);
        let padding = " ".repeat(MIDDLE.saturating_sub(left.chars().count()));
        format!("{left}{padding}{right}")
    };
    (0..left.len().max(right.len())).map(line).collect()
}

fn limits(status: &Status) -> Part {
    let order = |told: &&Told| match told.state {
        LimitState::Passed => 0,
        LimitState::Untold => 1,
        LimitState::Within => 2,
    };
    let mut limits: Vec<&Told> = status.limits.iter().collect();
    limits.sort_by_key(order);
    let row = |told: &&Told| {
        let sign = if told.state == LimitState::Within { " " } else { "!" };
        let used = match &told.most {
            Some(most) => format!("{} of {} {}", digits(&told.used), digits(most), told.currency),
            None => format!("{} {}", digits(&told.used), told.currency),
        };
        let percent = told.percent.as_ref().map(|percent| format!("{percent} %"));
        let note = told.note.as_ref().map_or("", |_| ", growth says nothing");
        format!(
            "{sign} limit {}: {} ({}{note})",
            named(&told.id, 24),
            used,
            percent.map_or_else(|| told.state.to_string(), |percent| format!("{percent}, {}", told.state))
        )
    };
    Part::new(Vec::new(), limits.iter().map(row).collect())
}

fn in_the_way(status: &Status) -> Part {
    if status.is_closed {
        return Part::new(vec!["it is closed, which is final".to_owned()], Vec::new());
    }
    let month = status.month;
    if status.blockers.is_empty() {
        let next =
            format!("nothing is in the way of the close; next: atcost close --period {month} --by NAME");
        return Part::new(vec![next], Vec::new());
    }
    let rows = status.blockers.iter().map(|blocker| vec![blocker.what.clone(), blocker.command.clone()]);
    let columns = [("in the way of the close", Align::Left), ("next", Align::Left)];
    Part::table(&columns, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::rate::NotOver;
    use crate::verbs::status::look::{InTheWay, OfCurrency};
    use ledger::pinned::Versions;
    use rating::exact::Exact;
    use rating::usage::{Arrivals, LedgerCounts, SourceArrivals};
    use schemas::decimal::Sign;
    use schemas::id::{CustomerId, InvoiceId, ProviderId};
    use schemas::money::Currency;
    use schemas::time::BillingMonth;

    fn at(text: &str) -> Instant {
        Instant::parse_rfc3339(text).expect("an instant")
    }

    /// A month with so many of everything, and names of so many letters.
    fn month(of_each: usize, letters: usize) -> Status {
        let euro = Currency::from_code("EUR").expect("a currency");
        let amount = Amount::parse("12345678901234.56", Sign::Any).expect("an amount");
        let name = |kind: &str, number: usize| format!("{kind}{number:0letters$}");
        let arrivals = |number| Arrivals {
            events: name("meter.example/m", number),
            records: 1_000_000_000,
            sources: 1_000_000,
            last: at("2025-10-20T09:30:00Z"),
            received: at("2025-10-20T09:31:00Z"),
            late: 1,
            stalest: vec![SourceArrivals {
                last: at("2025-10-18T09:30:00Z"),
                source: name("//s", number),
                records: 1,
            }],
        };
        let provider = |number| {
            let invoice = InvoiceId::new(name("I", number)).expect("an id");
            let of = OfProvider {
                sums: [(euro, OfCurrency { so_far: amount, estimate: amount })].into(),
                invoices: vec![Here { invoice, version: 1, standing: Standing::Complete }],
                is_missing: false,
            };
            (ProviderId::new(name("p", number)).expect("an id"), of)
        };
        let in_the_way = |number| InTheWay {
            what: format!("{} has costs and no complete invoice", name("p", number)),
            help: String::new(),
            command: format!("atcost invoice import --provider {} FILE", name("p", number)),
        };
        let limit = |number| Told {
            id: name("l", number),
            customer: None,
            currency: euro,
            used: Exact::from_integer(2.into()),
            most: Some(Exact::new(1.into(), 3.into())),
            before: None,
            percent: Some("600".to_owned()),
            state: LimitState::Passed,
            note: Some("why".to_owned()),
        };
        let customer = |number| {
            let id = CustomerId::new(name("c", number)).expect("an id");
            ((id, euro), amount)
        };
        Status {
            month: BillingMonth::parse("2025-10").expect("a month"),
            as_of: at("2025-10-20T09:30:00Z"),
            not_over: vec![NotOver {
                time_zone: "UTC".to_owned(),
                has_begun: true,
                ends: "2025-11-01T00:00:00Z".to_owned(),
                providers: Vec::new(),
            }],
            is_closed: false,
            version: Versions(vec![1]),
            counts: LedgerCounts::default(),
            arrivals: (0..of_each).map(arrivals).collect(),
            completeness: Vec::new(),
            providers: (0..of_each).map(provider).collect(),
            customers: (0..of_each).map(customer).collect(),
            retained: [(euro, amount)].into(),
            open: BTreeMap::new(),
            blockers: (0..of_each).map(in_the_way).collect(),
            limits: (0..of_each).map(limit).collect(),
        }
    }

    #[test]
    fn whatever_a_month_has_fits_the_screen() {
        for (of_each, letters) in [(0, 1), (1, 1), (3, 10), (5, 30), (7, 3), (50, 1), (1000, 60)] {
            let text = page(&month(of_each, letters));
            assert!(text.lines().count() <= HEIGHT, "{of_each} of each:\n{text}");
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(WIDTH), "{of_each} of each, {letters} letters:\n{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = page(&month(50, 2));
        let sum = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        for (shown, part) in
            [("meter.example/", "came in"), ("limit l", "limits"), ("no complete invoice", "the close")]
        {
            let shown = sum(shown);
            let more = format!("… and {} more; --format json", 50 - shown);
            assert!(shown > 0 && text.contains(&more), "{part}: {more}\n{text}");
        }
        assert!(
            text.contains("… and 46 more providers") && text.contains("… and 47 more customers"),
            "{text}"
        );
    }
}
