//! October's invoices as the demo's providers would write them: a table of the provider's own, FOCUS as
//! JSON lines, an electronic invoice.
//!
//! They bill what the month's cost lines settle at, save two deliberate breaks. Nothing here calls what
//! reads or compares invoices, so that what is found of them is no echo.
//!
//! Invariant: what an invoice comes to is added up while it is written.

use super::figures::{grouped, money, plus};
use anyhow::{Context as _, bail};
use jiff::civil::Date;
use rating::catalog::{Catalog, Provider};
use rating::exact::{display, exact, exact_money};
use rating::rounding;
use rating::run::{CostLine, Run};
use schemas::decimal::{Amount, QuantityTotal, Sign};
use schemas::id::CustomerId;
use schemas::money::Money;
use schemas::time::Instant;
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// An invoice in a file.
pub struct DemoInvoice {
    pub provider: &'static str,
    pub id: &'static str,
    pub shape: &'static str,
    pub file: PathBuf,
    /// Its lines, that for the tax among them.
    pub lines: usize,
    pub total: Money,
    pub deviation: Option<Deviation>,
}

/// A line that does not agree with the ledger, on purpose.
pub struct Deviation {
    pub sku: &'static str,
    /// The class that it must be found to be of.
    pub class: &'static str,
    /// Of the class, in words.
    pub what: String,
    /// What the line bills above the cost line's exact amount, as a decimal.
    pub variance: String,
    /// What it bills above what the cost line settles at.
    pub above: Money,
}

impl Deviation {
    /// A price that was not agreed is disputed; what was counted is accepted.
    pub fn is_disputed(&self) -> bool {
        self.class == "price"
    }
}

/// Torfeld bills a price that was not agreed.
const DEAR: (&str, &str) = ("TF-GPU", "1.99");
/// Halyard has counted more gigabytes than its nodes.
const MORE: (&str, &str) = ("HT-WORLD", "120");

/// One way to write an invoice.
struct Shape {
    provider: &'static str,
    id: &'static str,
    told: &'static str,
    file: &'static str,
    text: fn(&'static str, &Provider, &[Billed<'_>], Money) -> anyhow::Result<String>,
    /// Lines that are of no cost line.
    taxes: usize,
}

const SHAPES: [Shape; 3] = [
    Shape {
        provider: "torfeld",
        id: "TC-2510-204",
        told: "a table of its own",
        file: "torfeld-2025-10.csv",
        text: own_table,
        taxes: 0,
    },
    Shape {
        provider: "halyard",
        id: "HT-88213",
        told: "FOCUS as JSON lines",
        file: "halyard-2025-10.jsonl",
        text: focus,
        taxes: 0,
    },
    Shape {
        provider: "firn",
        id: "FN-10931",
        told: "EN 16931 as UBL",
        file: "firn-2025-10.xml",
        text: electronic,
        taxes: 1,
    },
];

/// Writes the three invoices of a month into a folder that exists.
///
/// # Errors
/// When a figure does not fit, or a file cannot be written.
pub fn write(folder: &Path, run: &Run, catalog: &Catalog) -> anyhow::Result<Vec<DemoInvoice>> {
    let invoice = |shape: &Shape| {
        let provider = catalog.providers.values().find(|provider| provider.id.as_str() == shape.provider);
        let provider =
            provider.with_context(|| format!("the demo's catalog has no provider {}", shape.provider))?;
        let of_provider = run.cost_lines.iter().filter(|line| line.key.provider == provider.id);
        let lines = of_provider.map(|line| bill(provider, line)).collect::<anyhow::Result<Vec<_>>>()?;
        let nothing = Money { minor_units: 0, currency: provider.currency };
        let total = lines.iter().try_fold(nothing, |sum, line| plus(sum, line.amount))?;
        let text = (shape.text)(shape.id, provider, &lines, total)?;
        let file = folder.join(shape.file);
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(DemoInvoice {
            provider: shape.provider,
            id: shape.id,
            shape: shape.told,
            file,
            lines: lines.len() + shape.taxes,
            total,
            deviation: lines.into_iter().find_map(|line| line.deviation),
        })
    };
    SHAPES.iter().map(invoice).collect()
}

/// What is billed of a cost line.
struct Billed<'r> {
    of: &'r CostLine,
    quantity: QuantityTotal,
    amount: Money,
    deviation: Option<Deviation>,
}

fn bill<'r>(provider: &Provider, of: &'r CostLine) -> anyhow::Result<Billed<'r>> {
    let (sku, class, what, quantity, amount) = match of.key.sku.as_str() {
        sku if sku == DEAR.0 => {
            let price = Amount::parse(DEAR.1, Sign::NonNegative)?;
            (DEAR.0, "price", format!("at {price}"), of.quantity, exact(of.quantity) * exact(price))
        }
        sku if sku == MORE.0 => {
            let more = QuantityTotal::parse(MORE.1, Sign::NonNegative)?;
            let quantity = of.quantity.checked_add(more)?;
            // Within one tier of a volume price, the amount is in proportion.
            let amount = exact(of.amount) * exact(quantity) / exact(of.quantity);
            (MORE.0, "quantity", format!("{more} more"), quantity, amount)
        }
        _ => return Ok(Billed { of, quantity: of.quantity, amount: of.settled, deviation: None }),
    };
    let amount = rounding::settle(rounding::amount(&amount)?, of.currency, provider.rounding)?;
    let estimate = Money { minor_units: -of.settled.minor_units, ..of.settled };
    let variance = display(&(exact_money(amount) - exact(of.amount)));
    let deviation = Deviation { sku, class, what, variance, above: plus(amount, estimate)? };
    Ok(Billed { of, quantity, amount, deviation: Some(deviation) })
}

/// The first and the last day of a line's charge period, as the provider's calendar has them.
fn days(provider: &Provider, line: &CostLine) -> (Date, Date) {
    let day = |instant: Instant| instant.to_timestamp().to_zoned(provider.time_zone.clone()).date();
    let (start, end) = (line.key.charge_period.start(), line.key.charge_period.end());
    let last = Instant::from_micros(end.micros() - 1).expect("a charge period is not empty");
    (day(start), day(last))
}

/// Semicolons, decimal commas and dates as in Berlin; the stated total in the last record.
fn own_table(
    id: &'static str,
    provider: &Provider,
    lines: &[Billed<'_>],
    total: Money,
) -> anyhow::Result<String> {
    let currency = provider.currency;
    let mut text = "Rechnung;Pos;Artikel;Von;Bis;Menge;Einheit;Betrag;Währung\n".to_owned();
    for (index, line) in lines.iter().enumerate() {
        let article = match line.of.key.sku.as_str() {
            "TF-STD" => "Instanz Standard",
            "TF-MEM" => "Instanz Speicher",
            "TF-GPU" => "Instanz GPU",
            "TF-SUPPORT" => "Support Business",
            other => bail!("Torfeld's invoice has no name for {other}"),
        };
        let (first, last) = days(provider, line.of);
        let unit = if line.of.unit.is_some() { "Std." } else { "Monat" };
        writeln!(
            text,
            "{id};{};{article};{};{};{};{unit};{};{currency}",
            index + 1,
            first.strftime("%d.%m.%Y"),
            last.strftime("%d.%m.%Y"),
            in_german(&grouped(&line.quantity.to_string())),
            in_german(&money(line.amount)),
        )?;
    }
    writeln!(text, ";;Summe;;;;;{};{currency}", in_german(&money(total)))?;
    Ok(text)
}

/// `1,490.00` as `1.490,00`.
fn in_german(number: &str) -> String {
    let mark = |character| match character {
        ',' => '.',
        '.' => ',',
        other => other,
    };
    number.chars().map(mark).collect()
}

/// A record of FOCUS 1.4 for each line, with the columns that an invoice needs.
fn focus(
    id: &'static str,
    provider: &Provider,
    lines: &[Billed<'_>],
    _total: Money,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for line in lines {
        let (category, unit) = match line.of.unit.as_deref() {
            None => ("Purchase", "Units"),
            Some("GBy") => ("Usage", "GB"),
            Some("h") => ("Usage", "Hours"),
            Some("1") => ("Usage", "Requests"),
            Some(other) => bail!("Halyard's invoice has no name for the unit {other}"),
        };
        let period = line.of.key.charge_period;
        let record = json!({
            "InvoiceId": id,
            "BillingAccountId": provider.billing_account.as_str(),
            "SubAccountId": line.of.key.sub_account.as_ref().map(CustomerId::as_str),
            "BillingPeriodStart": period.start().to_string(),
            "BillingPeriodEnd": period.end().to_string(),
            "ChargePeriodStart": period.start().to_string(),
            "ChargePeriodEnd": period.end().to_string(),
            "ChargeCategory": category,
            "SkuId": line.of.key.sku.as_str(),
            "PricingQuantity": line.quantity.to_string(),
            "PricingUnit": unit,
            "BilledCost": decimal(line.amount),
            "BillingCurrency": provider.currency.code(),
        });
        writeln!(text, "{record}")?;
    }
    Ok(text)
}

/// An invoice to another country of the Union, where the customer owes the tax: category AE, nothing to
/// pay.
fn electronic(
    id: &'static str,
    provider: &Provider,
    lines: &[Billed<'_>],
    total: Money,
) -> anyhow::Result<String> {
    let (first, last) = lines.first().map(|line| days(provider, line.of)).context("Firn has no lines")?;
    let currency = provider.currency;
    let amount =
        |name: &str, amount: &str| format!(r#"<cbc:{name} currencyID="{currency}">{amount}</cbc:{name}>"#);
    let tax = |name: &str| {
        format!(
            "<cac:{name}><cbc:ID>AE</cbc:ID><cbc:Percent>0</cbc:Percent><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:{name}>"
        )
    };
    let total = decimal(total);
    let mut text = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
    xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
    xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
  <cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID>
  <cbc:ID>{id}</cbc:ID>
  <cbc:IssueDate>{issued}</cbc:IssueDate>
  <cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>
  <cbc:DocumentCurrencyCode>{currency}</cbc:DocumentCurrencyCode>
  <cac:InvoicePeriod><cbc:StartDate>{first}</cbc:StartDate><cbc:EndDate>{last}</cbc:EndDate></cac:InvoicePeriod>
  <cac:TaxTotal>
    {no_tax}
    <cac:TaxSubtotal>{taxable}{no_tax}{category}</cac:TaxSubtotal>
  </cac:TaxTotal>
  <cac:LegalMonetaryTotal>{net}{without_tax}{with_tax}{due}</cac:LegalMonetaryTotal>
"#,
        issued = last.tomorrow()?,
        no_tax = amount("TaxAmount", "0.00"),
        taxable = amount("TaxableAmount", &total),
        category = tax("TaxCategory"),
        net = amount("LineExtensionAmount", &total),
        without_tax = amount("TaxExclusiveAmount", &total),
        with_tax = amount("TaxInclusiveAmount", &total),
        due = amount("PayableAmount", &total),
    );
    for (index, line) in lines.iter().enumerate() {
        let sku = line.of.key.sku.as_str();
        let name = provider.skus.iter().find(|known| known.id.as_str() == sku).map_or(sku, |sku| &sku.name);
        // It has no code for a gibibyte and month: a line is one of a month's service.
        writeln!(
            text,
            r#"  <cac:InvoiceLine><cbc:ID>{}</cbc:ID><cbc:InvoicedQuantity unitCode="C62">1</cbc:InvoicedQuantity>{}
    <cac:Item><cbc:Name>{name}</cbc:Name><cac:SellersItemIdentification><cbc:ID>{sku}</cbc:ID></cac:SellersItemIdentification>{}</cac:Item>
    <cac:Price>{}</cac:Price></cac:InvoiceLine>"#,
            index + 1,
            amount("LineExtensionAmount", &decimal(line.amount)),
            tax("ClassifiedTaxCategory"),
            amount("PriceAmount", &decimal(line.amount)),
        )?;
    }
    Ok(text + "</Invoice>\n")
}

/// `1490.00`.
fn decimal(amount: Money) -> String {
    money(amount).replace(',', "")
}
