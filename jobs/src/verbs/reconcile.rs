//! `atcost reconcile`: a month's invoices beside what the ledger says, and what is decided of differences.
//!
//! What a difference is, and what a decision is about, is decided in `rating::reconcile`.
//!
//! Invariant: exceptions come first, and each has its next step.

use super::books;
use super::rate::{Cut, compare_dry, rate_dry, rate_opened};
use crate::clock;
use crate::comparison::{Comparison, OfProvider, is_open, page};
use crate::config::Config;
use crate::show::{Align, Answer, Format, Verdict, csv, plural, printable, table};
use crate::statement::digits;
use anyhow::bail;
use ledger::journal::EntryKind;
use rating::reconcile::{Action, Class, Row, Selector, Status, decide, decided, tell};
use rating::tables::{comparison_columns, comparison_json};
use schemas::digest::Sha256Digest;
use schemas::id::ProviderId;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A month, compared.
pub struct Compared(Comparison);

/// Compares a month.
///
/// # Errors
/// When it cannot be rated or compared.
pub async fn compare(config: &Config, month: BillingMonth) -> anyhow::Result<Compared> {
    let (rated, opened) = rate_opened(config, month, &Cut::default()).await?;
    let said = decided(&rated.rows, &opened.invoices, &opened.decisions);
    let said = said.into_iter().map(|said| said.into_iter().cloned().collect()).collect();
    let providers = OfProvider::all(&rated.rows, &rated.run.posted, &rated.catalog)?;
    Ok(Compared(Comparison { month, folder: rated.folder.to_string(), rows: rated.rows, said, providers }))
}

/// What a provider's rows of one class come to.
#[derive(Default)]
struct Sum {
    rows: u64,
    open: u64,
    variance: rating::exact::Exact,
}

fn by_class(rows: &[Row]) -> BTreeMap<(ProviderId, String, &'static str), Sum> {
    let mut sums: BTreeMap<(ProviderId, String, &'static str), Sum> = BTreeMap::new();
    for row in rows {
        let class = row.class.map_or("match", Class::as_str);
        let sum = sums.entry((row.provider.clone(), row.currency.to_string(), class)).or_default();
        sum.rows += 1;
        sum.open += u64::from(is_open(row));
        if let Some(variance) = &row.variance {
            sum.variance += variance;
        }
    }
    sums
}

/// The exceptions that a terminal has room for.
const SHOWN: usize = 30;

impl Answer for Compared {
    fn json(&self) -> anyhow::Result<Value> {
        let Self(compared) = self;
        let rows = compared.rows.iter().map(comparison_json).collect::<Result<Vec<_>, _>>()?;
        let classes: Value = by_class(&compared.rows)
            .into_iter()
            .map(|((provider, currency, class), sum)| {
                json!({
                    "provider": provider.to_string(), "currency": currency, "class": class, "rows": sum.rows,
                    "open": sum.open, "variance": rating::exact::display(&sum.variance),
                })
            })
            .collect();
        let open = compared.rows.iter().filter(|row| is_open(row)).count();
        let providers: Value = compared.providers.iter().map(OfProvider::json).collect();
        Ok(json!({
            "period": compared.month.to_string(), "folder": compared.folder, "open": open,
            "providers": providers, "classes": classes, "rows": rows,
        }))
    }

    fn text(&self) -> String {
        let Self(compared) = self;
        let mut text = String::new();
        let (open, rest): (Vec<&Row>, Vec<&Row>) = compared.rows.iter().partition(|row| is_open(row));
        for row in open.iter().take(SHOWN) {
            let told = tell(row);
            text.push_str(&format!("! {}: {}\n", printable(&told.name), printable(&told.what)));
            if let Some(hint) = &told.hint {
                text.push_str(&format!("    {}\n", printable(hint)));
            }
            if let Some(command) = &told.command {
                text.push_str(&format!("    next: {}\n", printable(command)));
            }
        }
        if open.len() > SHOWN {
            text.push_str(&format!("  … and {} more in comparison.parquet\n", open.len() - SHOWN));
        }
        if !open.is_empty() {
            text.push('\n');
        }
        let rows: Vec<Vec<String>> = by_class(&compared.rows)
            .into_iter()
            .map(|((provider, currency, class), sum)| {
                let open = if sum.open > 0 { format!("{} open", sum.open) } else { String::new() };
                let variance = rating::exact::display(&sum.variance);
                vec![provider.to_string(), class.to_owned(), sum.rows.to_string(), open, variance, currency]
            })
            .collect();
        let columns = [
            ("provider", Align::Left),
            ("class", Align::Left),
            ("rows", Align::Right),
            ("", Align::Left),
            ("variance", Align::Right),
            ("", Align::Left),
        ];
        text.push_str(&table(&columns, &rows));
        let agree = rest.iter().filter(|row| row.class.is_none()).count();
        text.push_str(&format!("\n{}", became(&compared.providers)));
        text.push_str(&format!(
            "\n{}, {}; {}\n",
            plural(agree as u64, "row agrees", "rows agree"),
            counted(&rest),
            compared.folder
        ));
        if open.is_empty() {
            let month = compared.month;
            text.push_str(&format!("nothing is open; next: atcost close --period {month} --by …\n"));
        }
        text
    }

    fn file(&self, form: Format) -> anyhow::Result<Option<Vec<u8>>> {
        let Self(compared) = self;
        Ok(match form {
            Format::Html => Some(page(compared).to_string().into_bytes()),
            Format::Csv => {
                let columns = comparison_columns();
                let header = columns.iter().map(|name| Some((*name).to_owned())).collect();
                let mut rows = vec![header];
                for row in &compared.rows {
                    let json = comparison_json(row)?;
                    let cell = |name: &&str| match json.get(*name) {
                        None | Some(Value::Null) => None,
                        Some(Value::String(text)) => Some(text.clone()),
                        Some(other) => Some(other.to_string()),
                    };
                    rows.push(columns.iter().map(cell).collect());
                }
                Some(csv(rows))
            }
            _ => None,
        })
    }

    fn verdict(&self) -> Verdict {
        if self.0.rows.iter().any(is_open) { Verdict::Discrepancy } else { Verdict::Fine }
    }
}

/// What each provider invoiced, and what became of it.
fn became(providers: &[OfProvider]) -> String {
    let row = |of: &OfProvider| {
        let amount = |amount| digits(amount, of.currency);
        let retained: rating::exact::Exact =
            of.passed.retained.values().map(|retained| rating::exact::exact(*retained)).sum();
        vec![
            of.id.to_string(),
            amount(of.summary.invoiced),
            amount(of.summary.matched),
            amount(of.passed.billed),
            rating::exact::display(&retained),
            amount(of.passed.undecided),
            of.currency.to_string(),
        ]
    };
    let columns = [
        ("provider", Align::Left),
        ("invoiced", Align::Right),
        ("agrees", Align::Right),
        ("billed", Align::Right),
        ("retained", Align::Right),
        ("undecided", Align::Right),
        ("", Align::Left),
    ];
    table(&columns, &providers.iter().map(row).collect::<Vec<_>>())
}

fn counted(rows: &[&Row]) -> String {
    let of = |status| rows.iter().filter(|row| row.status == Some(status)).count() as u64;
    format!("{} accepted, {} disputed", of(Status::Accepted), of(Status::Disputed))
}

/// A decision, as the journal has it.
pub struct Decided {
    action: Action,
    rows: usize,
    entry: i64,
    names: Vec<String>,
}

/// What is decided.
pub struct Asked<'a> {
    pub action: Action,
    pub provider: &'a str,
    pub period: BillingMonth,
    pub sku: Option<&'a str>,
    pub sub_account: Option<&'a str>,
    pub class: Option<&'a str>,
    pub text: Option<&'a str>,
    pub reason: &'a str,
    pub by: &'a str,
}

/// Decides about every row that fits.
///
/// # Errors
/// When no row fits, the month cannot be compared, a row bills less than the estimate that a dispute
/// would leave, or somebody else was faster. Nothing is decided then.
pub async fn decision(config: &Config, asked: &Asked<'_>) -> anyhow::Result<Decided> {
    let mut opened = books::open(config, None).await?;
    let rows = compare_dry(config, asked.period, &opened).await?;
    let class = asked.class.map(|class| {
        Class::parse(class).ok_or_else(|| {
            let known: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
            anyhow::anyhow!("--class {class:?} is no class; there are {}", known.join(", "))
        })
    });
    let on = Selector {
        provider: ProviderId::new(asked.provider)?,
        period: asked.period,
        sku: asked.sku.map(Into::into),
        sub_account: asked.sub_account.map(Into::into),
        class: class.transpose()?,
        text: asked.text.map(Into::into),
    };
    let now = clock::now();
    let fitting: Vec<String> = rows
        .iter()
        .filter(|row| on.fits(row) && asked.action.is_about(row))
        .map(|row| tell(row).name)
        .collect();
    let said = (asked.reason, asked.by, now);
    let Some(decision) = decide(&rows, &opened.invoices, asked.action, on, said) else {
        bail!(
            "no row of {} of {} that is {} fits; `atcost reconcile --period {}` shows them",
            asked.provider,
            asked.period,
            if asked.action == Action::Reopen { "decided" } else { "open" },
            asked.period
        );
    };
    let body = decision.to_json();
    let about = decision.about.len();
    if asked.action == Action::Dispute {
        opened.decisions.push(decision);
        rate_dry(config, asked.period, &opened).await?;
    }
    let (kind, digest, reason) =
        (EntryKind::DifferenceDecided, Sha256Digest::of(&body), asked.reason.to_owned());
    let entry = opened.journal.append(kind, now, digest, Some(reason), body).await?.number;
    Ok(Decided { action: asked.action, rows: about, entry, names: fitting })
}

impl Answer for Decided {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({
            "action": self.action.as_str(), "rows": self.rows, "entry": self.entry, "about": self.names,
        }))
    }

    fn text(&self) -> String {
        let done = match self.action {
            Action::Accept => "accepted",
            Action::Dispute => "disputed",
            Action::Explain => "explained",
            Action::Reopen => "open again",
        };
        let mut text = String::new();
        for name in self.names.iter().take(SHOWN) {
            text.push_str(&format!("  {}\n", printable(name)));
        }
        format!(
            "{} {done}, by journal entry {}\n{text}",
            plural(self.rows as u64, "row is", "rows are"),
            self.entry
        )
    }
}
