//! Where UN/CEFACT's Cross Industry Invoice has the terms of EN 16931 (CEN/TS 16931-3-3).
//!
//! Invariant: no rule is checked and nothing is computed here.

use super::document::{
    Charge, Days, Document, Fields, Line, Totals, Vat, date, day, has_lines, is_charge, missing, text,
};
use super::refusal::Refusal;
use super::xml::Element;
use jiff::civil::Date;
use schemas::decimal::Amount;

const SETTLEMENT: &str = "rsm:SupplyChainTradeTransaction/ram:ApplicableHeaderTradeSettlement";
const LINE_SETTLEMENT: &str = "ram:SpecifiedLineTradeSettlement";
const NET_PRICE: &str = "ram:SpecifiedLineTradeAgreement/ram:NetPriceProductTradePrice";

/// Reads an invoice, or a credit note: the type says which.
///
/// # Errors
/// What must be there and is not, and what is not what it must be.
pub fn document(root: &Element) -> Result<(Document, Fields), Refusal> {
    let settlement = root.at(SETTLEMENT)?.ok_or_else(|| missing(root, &format!("`{SETTLEMENT}`")))?;
    let mut fields = Fields::new(root, text(settlement, "ram:InvoiceCurrencyCode")?.as_deref())?;
    let issued = date(root, "rsm:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString", format_102)?
        .ok_or_else(|| missing(root, "the date of issue (BT-2, BR-03)"))?;
    let type_code = text(root, "rsm:ExchangedDocument/ram:TypeCode")?
        .ok_or_else(|| missing(root, "its type (BT-3, BR-04)"))?;
    let items = root.at("rsm:SupplyChainTradeTransaction")?.into_iter();
    let mut lines = Vec::new();
    for element in items.flat_map(|transaction| transaction.each("ram:IncludedSupplyChainTradeLineItem")) {
        if counts(element)? {
            lines.push(line(element, &mut fields)?);
        }
    }
    has_lines(&lines)?;
    let charges =
        settlement.each("ram:SpecifiedTradeAllowanceCharge").map(|element| charge(element, &mut fields));
    let mut charges: Vec<Charge> = charges.collect::<Result<_, _>>()?;
    for element in settlement.each("ram:SpecifiedLogisticsServiceCharge") {
        charges.push(logistics(element, &mut fields)?);
    }
    let vat = settlement
        .each("ram:ApplicableTradeTax")
        .map(|element| vat(element, &mut fields))
        .collect::<Result<_, _>>()?;
    let document = Document {
        id: text(root, "rsm:ExchangedDocument/ram:ID")?,
        issued,
        type_code,
        credit_note: false,
        currency: fields.currency(),
        period: period(settlement)?,
        lines,
        charges,
        vat,
        totals: totals(settlement, &mut fields)?,
        collected: Amount::ZERO,
    };
    Ok((document, fields))
}

/// Whether a line is billed. Factur-X's extended profile has lines that only sum up others, and such that
/// only say something.
fn counts(line: &Element) -> Result<bool, Refusal> {
    let status = text(line, "ram:AssociatedDocumentLineDocument/ram:LineStatusReasonCode")?;
    Ok(!matches!(status.as_deref(), Some("GROUP" | "INFORMATION")))
}

fn line(element: &Element, fields: &mut Fields) -> Result<Line, Refusal> {
    const QUANTITY: &str = "ram:SpecifiedLineTradeDelivery/ram:BilledQuantity";
    let unit = element.at(QUANTITY)?.and_then(|quantity| quantity.attribute("unitCode"));
    let settlement =
        element.at(LINE_SETTLEMENT)?.ok_or_else(|| missing(element, &format!("`{LINE_SETTLEMENT}`")))?;
    let amount = "ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount";
    Ok(Line {
        source: element.source.clone(),
        at: element.line,
        id: text(element, "ram:AssociatedDocumentLineDocument/ram:LineID")?,
        sellers_item: text(element, "ram:SpecifiedTradeProduct/ram:SellerAssignedID")?,
        item: text(element, "ram:SpecifiedTradeProduct/ram:Name")?,
        period: period(settlement)?,
        quantity: fields.number(element, QUANTITY)?,
        unit: unit.map(Into::into),
        unit_price: fields.unit_price(
            element,
            &format!("{NET_PRICE}/ram:ChargeAmount"),
            &format!("{NET_PRICE}/ram:BasisQuantity"),
        )?,
        amount: fields.due(settlement, amount, "the line's amount (BT-131, BR-24)")?,
    })
}

fn charge(element: &Element, fields: &mut Fields) -> Result<Charge, Refusal> {
    Ok(Charge {
        source: element.source.clone(),
        is_charge: is_charge(element, "ram:ChargeIndicator/udt:Indicator")?,
        reason: text(element, "ram:Reason")?.or(text(element, "ram:ReasonCode")?),
        amount: fields.due(element, "ram:ActualAmount", "its amount (BT-92, BT-99: BR-31, BR-36)")?,
    })
}

/// Carriage, which Factur-X's extended profile keeps apart from other charges.
fn logistics(element: &Element, fields: &mut Fields) -> Result<Charge, Refusal> {
    Ok(Charge {
        source: element.source.clone(),
        is_charge: true,
        reason: text(element, "ram:Description")?,
        amount: fields.due(element, "ram:AppliedAmount", "its amount (BT-X-272)")?,
    })
}

fn vat(element: &Element, fields: &mut Fields) -> Result<Vat, Refusal> {
    Ok(Vat {
        source: element.source.clone(),
        category: text(element, "ram:CategoryCode")?
            .ok_or_else(|| missing(element, "a VAT category (BT-118, BR-47)"))?,
        rate: fields.rate(element, "ram:RateApplicablePercent")?,
        base: fields.due(element, "ram:BasisAmount", "what is taxed (BT-116, BR-45)")?,
        tax: fields.due(element, "ram:CalculatedAmount", "the tax (BT-117, BR-46)")?,
    })
}

fn totals(settlement: &Element, fields: &mut Fields) -> Result<Totals, Refusal> {
    const TOTALS: &str = "ram:SpecifiedTradeSettlementHeaderMonetarySummation";
    let totals = settlement
        .at(TOTALS)?
        .ok_or_else(|| missing(settlement, &format!("its totals (BG-22), in `{TOTALS}`")))?;
    Ok(Totals {
        lines: fields.due(totals, "ram:LineTotalAmount", "the sum of the lines (BT-106, BR-12)")?,
        allowances: fields.money(totals, "ram:AllowanceTotalAmount")?,
        charges: fields.money(totals, "ram:ChargeTotalAmount")?,
        without_vat: fields.due(
            totals,
            "ram:TaxBasisTotalAmount",
            "the total without VAT (BT-109, BR-13)",
        )?,
        vat: tax_total(totals, fields)?,
        with_vat: fields.due(totals, "ram:GrandTotalAmount", "the total with VAT (BT-112, BR-14)")?,
        prepaid: fields.money(totals, "ram:TotalPrepaidAmount")?,
        rounding: fields.money(totals, "ram:RoundingAmount")?,
        payable: fields.due(totals, "ram:DuePayableAmount", "the amount due (BT-115, BR-15)")?,
    })
}

/// The total that is in the invoice's currency; another may be there in the currency of the books
/// (BT-111).
fn tax_total(totals: &Element, fields: &mut Fields) -> Result<Option<Amount>, Refusal> {
    let mut found = None;
    for total in totals.each("ram:TaxTotalAmount") {
        let currency = total.attribute("currencyID");
        if currency.is_none_or(|code| code == fields.currency().code()) && found.replace(total).is_some() {
            let what = format!("a second total of VAT is in {} (BR-CO-15)", fields.currency());
            return Err(Refusal::at(total.line, what));
        }
    }
    match found {
        Some(total) => fields.read(total),
        None => Ok(None),
    }
}

fn period(within: &Element) -> Result<Days, Refusal> {
    const PERIOD: &str = "ram:BillingSpecifiedPeriod";
    Ok(Days {
        first: date(within, &format!("{PERIOD}/ram:StartDateTime/udt:DateTimeString"), format_102)?,
        last: date(within, &format!("{PERIOD}/ram:EndDateTime/udt:DateTimeString"), format_102)?,
    })
}

/// The format that the norm allows, of UNTDID 2379: `20251031`.
fn format_102(element: &Element, text: &str) -> Option<Date> {
    let (year, rest) = text.split_at_checked(4)?;
    let (month, rest) = rest.split_at_checked(2)?;
    let date = day(year, month, rest)?;
    element.attribute("format").is_none_or(|format| format == "102").then_some(date)
}
