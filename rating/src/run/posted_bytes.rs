//! Posted lines as the ledger keeps them: JSON lines, one for each, under a digest.
//!
//! Money is written in minor units and an instant in microseconds, so that nothing is rounded and
//! nothing can be too long to be written.
//!
//! Invariant: equal lines have equal bytes, and bytes that are read are those that their lines are
//! written as.

use super::ids::{CostLineId, StatementLineId};
use super::posted::{Correction, Entry, PostedLine, Posting};
use crate::allocation::RetainedReason;
use crate::error::RatingError;
use crate::statement::{Billed, Biller, GrantId, LineKind};
use schemas::decimal::{Amount, Sign};
use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId, SkuId};
use schemas::invoice::LineCategory;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The first line, which says what the others are.
const HEADER: &str = "{\"format\":\"atcost posted lines 1\"}\n";

/// A line as it is written. What is missing is `null`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    month: String,
    cost_line: Option<String>,
    price_from: Option<i64>,
    provider: String,
    billing_account: String,
    sub_account: Option<String>,
    sku: Option<String>,
    start: i64,
    end: i64,
    invoice: Option<String>,
    category: String,
    description: Option<String>,
    /// The partner; `null` of the operator.
    biller: Option<String>,
    customer: Option<String>,
    kind: String,
    retained_reason: Option<String>,
    grant: Option<String>,
    currency: String,
    minor_units: String,
    billed_currency: Option<String>,
    rate: Option<String>,
    billed_minor_units: Option<String>,
    correction: Option<String>,
    corrects: Option<String>,
}

/// The bytes of posted lines, in their order.
pub fn write_posted(lines: &[PostedLine]) -> Vec<u8> {
    let mut bytes = HEADER.as_bytes().to_vec();
    for line in lines {
        serde_json::to_writer(&mut bytes, &written(line)).expect("texts and numbers are always JSON");
        bytes.push(b'\n');
    }
    bytes
}

/// The posted lines of bytes.
///
/// # Errors
/// [`RatingError::Damaged`] where the bytes are not those that [`write_posted`] gives for any lines; it
/// names the first line that cannot be read.
pub fn read_posted(bytes: &[u8]) -> Result<Vec<PostedLine>, RatingError> {
    let damaged = |detail: String| RatingError::Damaged(format!("stored statement lines: {detail}"));
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
    let rest =
        text.strip_prefix(HEADER).ok_or_else(|| damaged(format!("they do not begin with {HEADER}")))?;
    let mut lines = Vec::new();
    for (place, text) in rest.lines().enumerate() {
        let at = |detail: String| damaged(format!("line {}: {detail}", place + 2));
        let written: Written = serde_json::from_str(text).map_err(|error| at(error.to_string()))?;
        lines.push(written.read().map_err(at)?);
    }
    if write_posted(&lines) != bytes {
        return Err(damaged("they are not as they are written".to_owned()));
    }
    Ok(lines)
}

fn written(line: &PostedLine) -> Written {
    let of = &line.of;
    let owned = |text: &str| text.to_owned();
    let billed = line.billed.as_ref();
    Written {
        id: line.id.to_string(),
        month: line.month.to_string(),
        cost_line: line.cost_line.map(|id| id.to_string()),
        price_from: line.price_from.map(Instant::micros),
        provider: of.provider.to_string(),
        billing_account: of.billing_account.to_string(),
        sub_account: of.sub_account.as_deref().map(owned),
        sku: of.sku.as_ref().map(ToString::to_string),
        start: of.start.micros(),
        end: of.end.micros(),
        invoice: of.invoice.as_ref().map(ToString::to_string),
        category: of.category.to_string(),
        description: of.description.as_deref().map(owned),
        biller: match &line.biller {
            Biller::Operator => None,
            Biller::Partner(partner) => Some(partner.to_string()),
        },
        customer: line.customer.as_ref().map(ToString::to_string),
        kind: line.kind.as_str().to_owned(),
        retained_reason: line.kind.retained_reason().map(|reason| reason.to_string()),
        grant: line.grant.as_ref().map(ToString::to_string),
        currency: line.money.currency.to_string(),
        minor_units: line.money.minor_units.to_string(),
        billed_currency: billed.map(|billed| billed.money.currency.to_string()),
        rate: billed.and_then(|billed| billed.rate).map(|rate| rate.to_string()),
        billed_minor_units: billed.map(|billed| billed.money.minor_units.to_string()),
        correction: line.correction.map(|correction| correction.entry.to_string()),
        corrects: line.correction.and_then(|correction| correction.corrects).map(|id| id.to_string()),
    }
}

impl Written {
    fn read(self) -> Result<PostedLine, String> {
        let wrong = |what: &str, text: &str| format!("{text:?} is not a {what}");
        let id = |text: &str| StatementLineId::parse(text).ok_or_else(|| wrong("statement line's id", text));
        let instant = |micros| Instant::from_micros(micros).map_err(|error| error.to_string());
        let customer = |text: String| CustomerId::new(text).map_err(|error| error.to_string());
        let currency = |text: &str| Currency::from_code(text).ok_or_else(|| wrong("currency", text));
        let money = |units: &str, code: &str| {
            let minor_units = units.parse().map_err(|_| wrong("number of minor units", units))?;
            Ok::<_, String>(Money { minor_units, currency: currency(code)? })
        };
        let named = |error: schemas::name::NameError| error.to_string();
        let cost_line = |text: String| CostLineId::parse(&text).ok_or_else(|| wrong("cost line's id", &text));
        let rate = |text: String| Amount::parse(&text, Sign::Any).map_err(|error| error.to_string());
        let of = Posting {
            provider: ProviderId::new(self.provider).map_err(named)?,
            billing_account: BillingAccountId::new(self.billing_account).map_err(named)?,
            sub_account: self.sub_account.map(Into::into),
            sku: self.sku.map(SkuId::new).transpose().map_err(named)?,
            start: instant(self.start)?,
            end: instant(self.end)?,
            invoice: self.invoice.map(InvoiceId::new).transpose().map_err(named)?,
            category: LineCategory::parse(&self.category).ok_or_else(|| wrong("category", &self.category))?,
            description: self.description.map(Into::into),
        };
        let kind = match (self.kind.as_str(), self.retained_reason) {
            ("charge", None) => LineKind::Charge,
            ("grant", None) => LineKind::Grant,
            ("retained", Some(reason)) => {
                LineKind::Retained(RetainedReason::parse(&reason).ok_or_else(|| wrong("reason", &reason))?)
            }
            (kind, _) => return Err(wrong("kind with such a reason", kind)),
        };
        let billed = match (self.billed_currency, self.billed_minor_units, self.rate) {
            (None, None, None) => None,
            (Some(code), Some(units), text) => {
                Some(Billed { money: money(&units, &code)?, rate: text.map(rate).transpose()? })
            }
            _ => return Err("what is billed is there in part".to_owned()),
        };
        let corrects = self.corrects.as_deref().map(id).transpose()?;
        let correction = match (self.correction, corrects) {
            (None, None) => None,
            (None, Some(_)) => return Err("it corrects a line and is no correction".to_owned()),
            (Some(entry), corrects) => {
                let entry = Entry::parse(&entry).ok_or_else(|| wrong("side of a correction", &entry))?;
                Some(Correction { entry, corrects })
            }
        };
        Ok(PostedLine {
            id: id(&self.id)?,
            month: BillingMonth::parse(&self.month).ok_or_else(|| wrong("month", &self.month))?,
            cost_line: self.cost_line.map(cost_line).transpose()?,
            price_from: self.price_from.map(instant).transpose()?,
            of: Arc::new(of),
            biller: self.biller.map(customer).transpose()?.map_or(Biller::Operator, Biller::Partner),
            customer: self.customer.map(customer).transpose()?,
            kind,
            grant: self.grant.map(GrantId::new).transpose().map_err(named)?,
            money: money(&self.minor_units, &self.currency)?,
            billed,
            correction,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<PostedLine> {
        let text = [
            HEADER,
            "{\"id\":\"00000000000000000000000000000001\",\"month\":\"2025-10\",\"cost_line\":null,\"price_from\":null,\"provider\":\"q\",\"billing_account\":\"1\",\"sub_account\":\"K-1\",\"sku\":null,\"start\":1759269600000000,\"end\":1761951600000000,\"invoice\":\"I\",\"category\":\"tax\",\"description\":\"VAT \\\"19 %\\\"\",\"biller\":\"p\",\"customer\":\"a\",\"kind\":\"charge\",\"retained_reason\":null,\"grant\":null,\"currency\":\"USD\",\"minor_units\":\"-170141183460469231731687303715884105728\",\"billed_currency\":\"EUR\",\"rate\":\"0.8651\",\"billed_minor_units\":\"87\",\"correction\":\"reversal\",\"corrects\":null}\n",
            "{\"id\":\"00000000000000000000000000000002\",\"month\":\"2025-11\",\"cost_line\":\"00000000000000000000000000000003\",\"price_from\":-1,\"provider\":\"q\",\"billing_account\":\"1\",\"sub_account\":null,\"sku\":\"s\",\"start\":-1,\"end\":0,\"invoice\":null,\"category\":\"usage\",\"description\":null,\"biller\":null,\"customer\":null,\"kind\":\"retained\",\"retained_reason\":\"disputed\",\"grant\":null,\"currency\":\"JPY\",\"minor_units\":\"0\",\"billed_currency\":null,\"rate\":null,\"billed_minor_units\":null,\"correction\":null,\"corrects\":null}\n",
        ];
        read_posted(text.concat().as_bytes()).expect("posted lines")
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let lines = lines();
        assert_eq!(lines[0].of.description.as_deref(), Some("VAT \"19 %\""));
        assert_eq!(lines[0].money.minor_units, i128::MIN);
        assert_eq!(lines[1].retained_reason(), Some(RetainedReason::Disputed));
        assert_eq!(read_posted(&write_posted(&lines)).expect("lines"), lines);
        assert_eq!(read_posted(&write_posted(&[])).expect("no lines"), []);
    }

    #[test]
    fn bytes_that_differ_are_refused() {
        let text = String::from_utf8(write_posted(&lines())).expect("text");
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            let error = read_posted(text.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert!(matches!(error, RatingError::Damaged(_)), "{error}");
            error.to_string()
        };
        for (from, to) in [
            ("lines 1", "lines 2"),
            ("\"USD\"", "\"usd\""),
            ("\"charge\"", "\"retained\""),
            ("\"disputed\"", "null"),
            ("\"disputed\"", "\"because\""),
            ("\"rate\":\"0.8651\"", "\"rate\":\"0.86510\""),
            ("\"billed_minor_units\":\"87\"", "\"billed_minor_units\":null"),
            ("\"minor_units\":\"0\"", "\"minor_units\":\"+0\""),
            ("\"minor_units\":\"0\"", "\"minor_units\":0"),
            ("\"reversal\"", "null,\"more\":null"),
            ("\"month\":\"2025-11\"", "\"month\":\"2025-13\""),
            ("}\n", "} \n"),
            ("\"q\"", "\" q\""),
        ] {
            refused(from, to);
        }
        assert!(refused("\"JPY\"", "\"XAU\"").contains("line 3"), "the line is named");
        assert!(read_posted(text.trim_end().as_bytes()).is_err(), "the last line has no end");
        assert!(read_posted(b"").is_err());
        assert!(read_posted(&[0xff]).is_err());
    }
}
