//! Whether a month can be closed, and what is in the way.
//!
//! What is posted by a close, and where it is kept, is deliberately not known here.
//!
//! Invariant: a month with nothing in the way is over, every provider of it has its invoice or was
//! waived, and every difference in it was decided.

use crate::books::Books;
use crate::catalog::Catalog;
use crate::reconcile::{Row, Status};
use crate::run::Run;
use schemas::id::ProviderId;
use schemas::invoice::{Invoice, Standing};
use schemas::time::BillingMonth;
use std::collections::BTreeSet;
use std::fmt;

/// What stands in the way of a close, unless somebody says why it may be passed over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiver {
    /// Usage that no SKU bills.
    Unrated,
    /// Records that repeat an id with other content.
    Conflicts,
    /// The provider's invoice.
    Invoice(ProviderId),
}

impl Waiver {
    /// `unrated`, `conflicts` or `invoice:PROVIDER`.
    ///
    /// # Errors
    /// A sentence, where it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("invoice:").map(ProviderId::new)) {
            ("unrated", _) => Ok(Self::Unrated),
            ("conflicts", _) => Ok(Self::Conflicts),
            (_, Some(Ok(provider))) => Ok(Self::Invoice(provider)),
            _ => Err(format!("{text:?} cannot be waived; `unrated`, `conflicts` or `invoice:PROVIDER` can")),
        }
    }
}

impl fmt::Display for Waiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrated => formatter.write_str("unrated"),
            Self::Conflicts => formatter.write_str("conflicts"),
            Self::Invoice(provider) => write!(formatter, "invoice:{provider}"),
        }
    }
}

/// Something in the way of a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    Waivable(Waiver, u64),
    /// Rows that nobody has decided about, of the month or of one that is closed.
    Open(BillingMonth, usize),
    /// The month before is not closed.
    Before(BillingMonth),
    /// The month is closed already.
    Closed,
    NotOver,
}

impl Blocker {
    /// The command that does something about it.
    pub fn way_out(&self, month: BillingMonth) -> String {
        match self {
            Self::Waivable(Waiver::Invoice(provider), _) => format!(
                "atcost invoice import --provider {provider} FILE, or close with --waive invoice:{provider}"
            ),
            Self::Waivable(Waiver::Unrated, _) => {
                "publish a catalog that covers it, or close with --waive unrated".to_owned()
            }
            Self::Waivable(Waiver::Conflicts, _) => {
                "atcost doctor says how to mend them, or close with --waive conflicts".to_owned()
            }
            Self::Open(of, _) => format!("atcost reconcile --period {of}"),
            Self::Before(before) => format!("atcost close --period {before}"),
            Self::Closed => format!("atcost statement CUSTOMER --period {month}"),
            Self::NotOver => format!("atcost close --period {month}, when it is over"),
        }
    }
}

impl Blocker {
    /// The next step in a few words, a command where there is one.
    pub fn command(&self, month: BillingMonth) -> String {
        match self {
            Self::Waivable(Waiver::Invoice(provider), _) => {
                format!("atcost invoice import --provider {provider} FILE")
            }
            Self::Waivable(Waiver::Unrated, _) => "atcost catalog publish FOLDER".to_owned(),
            Self::Waivable(Waiver::Conflicts, _) => "atcost doctor".to_owned(),
            Self::Open(of, _) => format!("atcost reconcile --period {of}"),
            Self::Before(before) => format!("atcost close --period {before} --by NAME"),
            Self::Closed => format!("atcost statement CUSTOMER --period {month}"),
            Self::NotOver => "wait until it is over".to_owned(),
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waivable(Waiver::Unrated, 1) => formatter.write_str("1 event is not rated"),
            Self::Waivable(Waiver::Unrated, events) => {
                write!(formatter, "{events} events are not rated")
            }
            Self::Waivable(Waiver::Conflicts, 1) => {
                formatter.write_str("1 record repeats an id with other content")
            }
            Self::Waivable(Waiver::Conflicts, records) => {
                write!(formatter, "{records} records repeat an id with other content")
            }
            Self::Waivable(Waiver::Invoice(provider), _) => {
                write!(formatter, "{provider} has costs and no complete invoice")
            }
            Self::Open(month, 1) => write!(formatter, "1 row of {month} is open"),
            Self::Open(month, rows) => write!(formatter, "{rows} rows of {month} are open"),
            Self::Before(month) => write!(formatter, "{month} is not closed"),
            Self::Closed => formatter.write_str("it is closed already, which is final"),
            Self::NotOver => formatter.write_str("it is not over"),
        }
    }
}

/// A month as it would be closed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub run: &'a Run,
    pub rows: &'a [Row],
    /// The rows of the months that are closed.
    pub closed: &'a [(BillingMonth, Vec<Row>)],
    /// Those that stand.
    pub invoices: &'a [Invoice],
    pub books: &'a Books,
    pub catalog: &'a Catalog,
    /// Whether the month is over for every provider.
    pub is_over: bool,
}

/// Everything that is in the way of a close, and the waivers that were needed.
pub fn blockers(candidate: &Candidate<'_>, waived: &BTreeSet<Waiver>) -> (Vec<Blocker>, BTreeSet<Waiver>) {
    let Candidate { run, rows, closed, invoices, books, catalog, is_over } = *candidate;
    let month = run.pins.month;
    let mut blockers = Vec::new();
    if books.closes.contains_key(&month) {
        return (vec![Blocker::Closed], BTreeSet::new());
    }
    if !is_over {
        blockers.push(Blocker::NotOver);
    }
    if let Some(next) = books.last_closed().and_then(BillingMonth::next).filter(|next| *next != month) {
        blockers.push(Blocker::Before(month.previous().filter(|before| *before >= next).unwrap_or(next)));
    }
    let open = |rows: &[Row]| rows.iter().filter(|row| row.status == Some(Status::Open)).count();
    let months = closed.iter().map(|(month, rows)| (*month, open(rows))).chain([(month, open(rows))]);
    blockers.extend(months.filter(|(_, open)| *open > 0).map(|(month, open)| Blocker::Open(month, open)));
    let mut waivable = Vec::new();
    let unrated: u64 = run.unrated.iter().map(|unrated| unrated.events).sum();
    if unrated > 0 {
        waivable.push((Waiver::Unrated, unrated));
    }
    if run.counts.conflicts > 0 {
        waivable.push((Waiver::Conflicts, run.counts.conflicts));
    }
    let with_costs: BTreeSet<&ProviderId> = run.cost_lines.iter().map(|line| &line.key.provider).collect();
    let is_here = |provider: &ProviderId| {
        provider.as_str() == catalog.operator
            || invoices.iter().any(|invoice| {
                invoice.provider == *provider
                    && invoice.period == month
                    && invoice.standing == Standing::Complete
            })
    };
    let absent = with_costs.into_iter().filter(|provider| !is_here(provider));
    waivable.extend(absent.map(|provider| (Waiver::Invoice(provider.clone()), 0)));
    let (needed, missing): (Vec<_>, Vec<_>) =
        waivable.into_iter().partition(|(waiver, _)| waived.contains(waiver));
    blockers.extend(missing.into_iter().map(|(waiver, count)| Blocker::Waivable(waiver, count)));
    (blockers, needed.into_iter().map(|(waiver, _)| waiver).collect())
}
