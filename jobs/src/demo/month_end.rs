//! The end of the demo's month: invoices come, are compared and decided about, the month is closed, an
//! event comes late, and what November makes of it is handed over.
//!
//! It calls what the verbs call and looks at their answers as a program would, in JSON. What each answer
//! must be is known from what was put in.
//!
//! Invariant: no figure that is put in comes from what is checked.

use super::expected::Expected;
use super::figures::{grouped, money, plus};
use super::invoices::{self, DemoInvoice, Deviation};
use crate::config::Config;
use crate::show::{Answer as _, Format, Steps};
use crate::verbs::{self, close, export, ingest::Input, rate::Cut, rate::Rated, reconcile};
use anyhow::{Context as _, bail};
use ingest::files::Reading;
use rating::allocation::RetainedReason;
use rating::books::ImportOptions;
use rating::close::Waiver;
use rating::focus::Scope;
use rating::reconcile::Action;
use rating::run::{LineKey, PostedLine};
use schemas::decimal::{Amount, Sign};
use schemas::id::CustomerId;
use schemas::money::Money;
use schemas::shard::Shard;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Something that was put in, and what was found of it.
pub struct Figure {
    pub name: String,
    pub put_in: String,
    pub found: String,
}

impl Figure {
    pub fn agrees(&self) -> bool {
        self.put_in == self.found
    }
}

/// What came of it all.
pub struct MonthEnd {
    pub figures: Vec<Figure>,
    pub invoices: Vec<DemoInvoice>,
    pub late: PathBuf,
    pub focus: PathBuf,
    /// The customer whose event was late.
    pub customer: &'static str,
}

/// Who decides.
const BY: &str = "mira";

/// A shop reports late what an outage kept back. It fits into a package that was begun, so that the
/// provider bills no more and only the shares differ.
struct Late {
    sku: &'static str,
    customer: &'static str,
    requests: i128,
}
const LATE: Late = Late { sku: "HT-REQ", customer: "quayside", requests: 400_000 };
const LATE_EVENT: &str = r#"{"specversion":"1.0","id":"bakery/requests@outage","source":"//halyard/fra-1","type":"network.example/requests","subject":"projects/bakery","time":"2025-10-30T12:00:00Z","datacontenttype":"application/json","data":{"value":"400000","provider":"halyard"}}"#;
/// Values are counted in 10^-9.
const ONE: i128 = 1_000_000_000;

/// Goes on where October was rated, in a folder that the demo has made.
///
/// # Errors
/// When a step fails. A figure that does not agree is none.
pub async fn month_end(
    config: &Config,
    folder: &Path,
    (october, rated): (BillingMonth, &Rated),
    expected: &Expected,
    steps: &mut Steps,
) -> anyhow::Result<MonthEnd> {
    let november = october.next().context("a month follows")?;
    let mut figures = Figures::default();
    let [inbox, late, focus] = ["invoices", "late", "focus"].map(|name| folder.join(name));
    for made in [&inbox, &late] {
        fs::create_dir_all(made).with_context(|| format!("{} cannot be made", made.display()))?;
    }

    let invoices = invoices::write(&inbox, &rated.run, &rated.catalog)?;
    for invoice in &invoices {
        import(config, invoice, &mut figures).await?;
    }
    steps.done(&format!("{} invoices are imported", invoices.len()));

    compare(config, october, &invoices, &mut figures).await?;
    for (provider, deviation) in deviations(&invoices) {
        decide(config, october, provider, deviation).await?;
    }
    steps.done("two lines differ: one is disputed, one accepted");

    let billed = verbs::rate::rate(config, october, &Cut::default()).await?;
    passed_through(&billed.run.posted, &invoices, &mut figures)?;
    close(config, october, billed.run.posted.len(), &mut figures).await?;
    steps.done(&format!("{october} is closed"));

    let file = late.join("07-late.ndjson");
    fs::write(&file, format!("{LATE_EVENT}\n"))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let from = Input::Files(late.clone(), Reading::FIRST);
    let came = verbs::ingest::ingest(config, &from, Shard::WHOLE, true, &std::sync::Arc::default()).await?;
    if came.received() != 1 {
        bail!("{} of 1 event that is late is in the ledger; run the demo again", came.received());
    }
    let open = verbs::rate::rate(config, november, &Cut::default()).await?;
    let afresh = verbs::rate::rate(config, october, &Cut::default()).await?;
    corrected(&billed.run.posted, &open.corrections, &afresh.run.posted, expected, &mut figures)?;
    steps.done(&format!("{november} is rated: {} corrections of {october}", open.corrections.len()));

    let of_invoices = sum(invoices.iter().map(|invoice| invoice.total))?;
    let of_november = sum(open.run.posted.iter().chain(&open.corrections).map(|line| line.money))?;
    export(config, &focus, &[(october, of_invoices), (november, of_november)], &mut figures).await?;
    steps.done("both months are exported as FOCUS, and checked");

    Ok(MonthEnd { figures: figures.0, invoices, late, focus, customer: LATE.customer })
}

#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn text(&mut self, name: impl Into<String>, put_in: String, found: String) {
        self.0.push(Figure { name: name.into(), put_in, found });
    }

    fn number(&mut self, name: impl Into<String>, put_in: usize, found: usize) {
        self.text(name, grouped(&put_in.to_string()), grouped(&found.to_string()));
    }

    fn money(&mut self, name: impl Into<String>, put_in: Money, found: Money) {
        let text = |amount: Money| format!("{} {}", money(amount), amount.currency);
        self.text(name, text(put_in), text(found));
    }
}

fn sum(mut amounts: impl Iterator<Item = Money>) -> anyhow::Result<Money> {
    let first = amounts.next().context("there is nothing to add up")?;
    amounts.try_fold(first, plus)
}

async fn import(config: &Config, invoice: &DemoInvoice, figures: &mut Figures) -> anyhow::Result<()> {
    let imported =
        verbs::invoice::import(config, invoice.provider, &invoice.file, &ImportOptions::default()).await?;
    let answer = imported.json()?;
    let found = &answer["invoices"][0];
    let mut all = Amount::ZERO;
    for sum in found["sums"].as_array().into_iter().flatten() {
        all = all.checked_add(Amount::parse(text(sum, "amount"), Sign::Any)?)?;
    }
    let told = |lines: &str, amount: Amount| format!("{lines} lines, {}", grouped(&amount.to_string()));
    let put_in = invoice.total.to_amount().context("an invoice is too large")?;
    figures.text(
        format!("{} of {}, {}", text(found, "invoice"), invoice.provider, invoice.shape),
        told(&invoice.lines.to_string(), put_in),
        told(&found["lines"].to_string(), all),
    );
    Ok(())
}

/// The lines that were billed wrong on purpose, with their providers.
fn deviations(invoices: &[DemoInvoice]) -> impl Iterator<Item = (&'static str, &Deviation)> {
    invoices.iter().filter_map(|invoice| Some((invoice.provider, invoice.deviation.as_ref()?)))
}

/// A text of an answer; nothing where it has none, which then does not agree.
fn text<'v>(answer: &'v Value, name: &str) -> &'v str {
    answer[name].as_str().unwrap_or_default()
}

async fn compare(
    config: &Config,
    month: BillingMonth,
    invoices: &[DemoInvoice],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let answer = reconcile::compare(config, month).await?.json()?;
    let rows = answer["rows"].as_array().context("a comparison has rows")?;
    let differs = |row: &&Value| !row["class"].is_null();
    let lines: usize = invoices.iter().map(|invoice| invoice.lines).sum();
    let (known, found) = (deviations(invoices).count(), rows.iter().filter(differs).count());
    figures.number("lines that agree with the ledger", lines - known, rows.len() - found);
    figures.number("lines that differ", known, found);
    for (provider, Deviation { sku, class, what, variance, .. }) in deviations(invoices) {
        let is_it = |row: &&Value| text(row, "provider") == provider && text(row, "sku") == *sku;
        let told = |class: &str, variance: &str| format!("{class} {}", grouped(variance));
        let found = rows.iter().find(is_it);
        figures.text(
            format!("  {sku} of {provider}, {what}"),
            told(class, variance),
            found.map_or_else(String::new, |row| told(text(row, "class"), text(row, "variance"))),
        );
    }
    Ok(())
}

/// A price is disputed, because one was agreed; a quantity is accepted.
async fn decide(
    config: &Config,
    month: BillingMonth,
    provider: &str,
    deviation: &Deviation,
) -> anyhow::Result<()> {
    let (action, reason) = match deviation.is_disputed() {
        true => (Action::Dispute, "another price was agreed"),
        false => (Action::Accept, "their counters are the ones that are billed"),
    };
    let asked = reconcile::Asked {
        action,
        provider,
        period: month,
        sku: Some(deviation.sku),
        sub_account: None,
        class: Some(deviation.class),
        text: None,
        reason,
        by: BY,
    };
    reconcile::decision(config, &asked).await.map(drop)
}

/// What is charged and retained is what the providers invoice; what is disputed is retained.
fn passed_through(
    posted: &[PostedLine],
    invoices: &[DemoInvoice],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for invoice in invoices {
        let is_of = |line: &&PostedLine| line.of.invoice.as_ref().is_some_and(|id| id.as_str() == invoice.id);
        let found = sum(posted.iter().filter(is_of).map(|line| line.money))?;
        figures.money(format!("statement lines of {}", invoice.id), invoice.total, found);
    }
    let estimates = posted.iter().filter(|line| line.of.invoice.is_none()).count();
    figures.number("statement lines that are still an estimate", 0, estimates);
    for (_, deviation) in deviations(invoices).filter(|(_, deviation)| deviation.is_disputed()) {
        let is_it = |line: &&PostedLine| line.retained_reason() == Some(RetainedReason::Disputed);
        let found = sum(posted.iter().filter(is_it).map(|line| line.money))?;
        figures.money("  retained until the dispute is settled", deviation.above, found);
    }
    Ok(())
}

async fn close(
    config: &Config,
    month: BillingMonth,
    posted: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    // What is not rated has no price yet; whoever sent other content under an id was told.
    let waived = [Waiver::Unrated, Waiver::Conflicts].into();
    let closed = close::close(config, month, &waived, Some("they are being looked into"), BY).await?;
    let answer = closed.json()?;
    if answer["closed"] != json!(true) {
        bail!("the demo's month cannot be closed: {}", answer["in_the_way"]);
    }
    let found = answer["posted"].to_string();
    figures.text("statement lines that are final", posted.to_string(), found);
    Ok(())
}

fn by_key<'l>(lines: impl Iterator<Item = &'l PostedLine>) -> BTreeMap<LineKey<'l>, i128> {
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry(line.key()).or_default() += line.money.minor_units;
    }
    sums
}

/// What was posted and its corrections are what October would be today, and add nothing.
fn corrected(
    posted: &[PostedLine],
    corrections: &[PostedLine],
    afresh: &[PostedLine],
    expected: &Expected,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut all = corrections.iter().map(|line| line.money);
    let nothing = posted.first().map(|line| Money { minor_units: 0, ..line.money });
    let nothing = nothing.context("October has no lines")?;
    figures.money("November's corrections of it, together", nothing, all.try_fold(nothing, plus)?);

    let of_sku =
        posted.iter().filter(|line| line.of.sku.as_ref().is_some_and(|sku| sku.as_str() == LATE.sku));
    let amount = of_sku.map(|line| line.money.minor_units).sum();
    let before = expected.shares(LATE.sku, amount, (LATE.customer, 0));
    let after = expected.shares(LATE.sku, amount, (LATE.customer, LATE.requests * ONE));
    let mut found: BTreeMap<&str, i128> = BTreeMap::new();
    for line in corrections {
        *found.entry(line.customer.as_ref().map_or("", CustomerId::as_str)).or_default() +=
            line.money.minor_units;
    }
    for (customer, before) in before {
        let put_in = Money { minor_units: after[customer] - before, ..nothing };
        let minor_units = found.remove(customer).unwrap_or_default();
        if put_in.minor_units != 0 || minor_units != 0 {
            figures.money(format!("  {customer}"), put_in, Money { minor_units, ..nothing });
        }
    }
    figures.number("  customers who used none of it", 0, found.len());

    let (left, right) = (by_key(posted.iter().chain(corrections)), by_key(afresh.iter()));
    let equal = right.iter().filter(|(key, sum)| left.get(*key) == Some(sum)).count();
    figures.number("lines that, corrected, are October rated anew", left.len(), equal);
    Ok(())
}

async fn export(
    config: &Config,
    out: &Path,
    months: &[(BillingMonth, Money)],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for (period, _) in months {
        let (scope, form) = (Scope::Operator, Format::Table);
        export::focus(config, &export::Asked { period: *period, out, scope, by_day: false, form }).await?;
    }
    let manifest = out.join("manifest.json");
    let text_of = fs::read(&manifest).with_context(|| format!("{} cannot be read", manifest.display()))?;
    let answer: Value = serde_json::from_slice(&text_of)?;
    for (period, total) in months {
        let mut billed = Amount::ZERO;
        let of_month = |invoice: &&Value| text(invoice, "billing_period") == period.to_string();
        for invoice in answer["invoices"].as_array().into_iter().flatten().filter(of_month) {
            billed = billed.checked_add(Amount::parse(text(invoice, "billed_cost"), Sign::Any)?)?;
        }
        let put_in = total.to_amount().context("a month is too large")?;
        figures.text(
            format!("BilledCost of {period} in FOCUS"),
            format!("{} {}", grouped(&put_in.to_string()), total.currency),
            format!("{} {}", grouped(&billed.to_string()), total.currency),
        );
    }
    let report = export::check(out).await?.json()?;
    let findings = report[0]["findings"].as_array().context("a check has findings")?;
    figures.number("rules of FOCUS that are broken", 0, findings.len());
    Ok(())
}
