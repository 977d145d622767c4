//! Where UBL 2.1 has the terms of EN 16931 (CEN/TS 16931-3-2).
//!
//! Invariant: no rule is checked and nothing is computed here.

use super::document::{
    Charge, Days, Document, Fields, Line, Totals, Vat, date, day, has_lines, is_charge, missing, text,
};
use super::refusal::Refusal;
use super::xml::Element;
use jiff::civil::Date;
use schemas::decimal::Amount;

/// What the two roots call the same.
struct Names {
    type_code: &'static str,
    line: &'static str,
    quantity: &'static str,
}

const INVOICE: Names =
    Names { type_code: "cbc:InvoiceTypeCode", line: "cac:InvoiceLine", quantity: "cbc:InvoicedQuantity" };
const CREDIT_NOTE: Names = Names {
    type_code: "cbc:CreditNoteTypeCode",
    line: "cac:CreditNoteLine",
    quantity: "cbc:CreditedQuantity",
};

/// Reads an invoice.
///
/// # Errors
/// What must be there and is not, and what is not what it must be.
pub fn invoice(root: &Element) -> Result<(Document, Fields), Refusal> {
    document(root, &INVOICE, false)
}

/// Reads a credit note.
///
/// # Errors
/// As [`invoice`].
pub fn credit_note(root: &Element) -> Result<(Document, Fields), Refusal> {
    document(root, &CREDIT_NOTE, true)
}

fn document(root: &Element, names: &Names, credit_note: bool) -> Result<(Document, Fields), Refusal> {
    let mut fields = Fields::new(root, text(root, "cbc:DocumentCurrencyCode")?.as_deref())?;
    let issued =
        date(root, "cbc:IssueDate", iso)?.ok_or_else(|| missing(root, "the date of issue (BT-2, BR-03)"))?;
    let type_code = text(root, names.type_code)?.ok_or_else(|| missing(root, "its type (BT-3, BR-04)"))?;
    let lines: Vec<Line> =
        root.each(names.line).map(|element| line(element, names, &mut fields)).collect::<Result<_, _>>()?;
    has_lines(&lines)?;
    let charges = root
        .each("cac:AllowanceCharge")
        .map(|element| charge(element, &mut fields))
        .collect::<Result<_, _>>()?;
    let tax = tax_total(root, &fields)?;
    let vat = match tax {
        Some(tax) => {
            tax.each("cac:TaxSubtotal").map(|element| vat(element, &mut fields)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let document = Document {
        id: text(root, "cbc:ID")?,
        issued,
        type_code,
        credit_note,
        currency: fields.currency(),
        period: period(root)?,
        lines,
        charges,
        vat,
        totals: totals(root, tax, &mut fields)?,
        collected: collected(root, &mut fields)?,
    };
    Ok((document, fields))
}

fn line(element: &Element, names: &Names, fields: &mut Fields) -> Result<Line, Refusal> {
    let unit = element.at(names.quantity)?.and_then(|quantity| quantity.attribute("unitCode"));
    Ok(Line {
        source: element.source.clone(),
        at: element.line,
        id: text(element, "cbc:ID")?,
        sellers_item: text(element, "cac:Item/cac:SellersItemIdentification/cbc:ID")?,
        item: text(element, "cac:Item/cbc:Name")?,
        period: period(element)?,
        quantity: fields.number(element, names.quantity)?,
        unit: unit.map(Into::into),
        unit_price: fields.unit_price(element, "cac:Price/cbc:PriceAmount", "cac:Price/cbc:BaseQuantity")?,
        amount: fields.due(element, "cbc:LineExtensionAmount", "the line's amount (BT-131, BR-24)")?,
    })
}

fn charge(element: &Element, fields: &mut Fields) -> Result<Charge, Refusal> {
    let reason = element.each("cbc:AllowanceChargeReason").find_map(Element::text).map(Into::into);
    Ok(Charge {
        source: element.source.clone(),
        is_charge: is_charge(element, "cbc:ChargeIndicator")?,
        reason: reason.or(text(element, "cbc:AllowanceChargeReasonCode")?),
        amount: fields.due(element, "cbc:Amount", "its amount (BT-92, BT-99: BR-31, BR-36)")?,
    })
}

/// The total that is in the invoice's currency; another may be there in the currency of the books
/// (BT-111).
fn tax_total<'a>(root: &'a Element, fields: &Fields) -> Result<Option<&'a Element>, Refusal> {
    let mut found = None;
    for total in root.each("cac:TaxTotal") {
        let currency = total.at("cbc:TaxAmount")?.and_then(|amount| amount.attribute("currencyID"));
        if currency.is_none_or(|code| code == fields.currency().code()) && found.replace(total).is_some() {
            let what = format!("a second total of VAT is in {} (BR-CO-15)", fields.currency());
            return Err(Refusal::at(total.line, what));
        }
    }
    Ok(found)
}

fn vat(element: &Element, fields: &mut Fields) -> Result<Vat, Refusal> {
    Ok(Vat {
        source: element.source.clone(),
        category: text(element, "cac:TaxCategory/cbc:ID")?
            .ok_or_else(|| missing(element, "a VAT category (BT-118, BR-47)"))?,
        rate: fields.rate(element, "cac:TaxCategory/cbc:Percent")?,
        base: fields.due(element, "cbc:TaxableAmount", "what is taxed (BT-116, BR-45)")?,
        tax: fields.due(element, "cbc:TaxAmount", "the tax (BT-117, BR-46)")?,
    })
}

fn totals(root: &Element, tax: Option<&Element>, fields: &mut Fields) -> Result<Totals, Refusal> {
    let totals = root
        .at("cac:LegalMonetaryTotal")?
        .ok_or_else(|| missing(root, "its totals (BG-22), in `cac:LegalMonetaryTotal`"))?;
    Ok(Totals {
        lines: fields.due(totals, "cbc:LineExtensionAmount", "the sum of the lines (BT-106, BR-12)")?,
        allowances: fields.money(totals, "cbc:AllowanceTotalAmount")?,
        charges: fields.money(totals, "cbc:ChargeTotalAmount")?,
        without_vat: fields.due(totals, "cbc:TaxExclusiveAmount", "the total without VAT (BT-109, BR-13)")?,
        vat: match tax {
            Some(tax) => fields.money(tax, "cbc:TaxAmount")?,
            None => None,
        },
        with_vat: fields.due(totals, "cbc:TaxInclusiveAmount", "the total with VAT (BT-112, BR-14)")?,
        prepaid: fields.money(totals, "cbc:PrepaidAmount")?,
        rounding: fields.money(totals, "cbc:PayableRoundingAmount")?,
        payable: fields.due(totals, "cbc:PayableAmount", "the amount due (BT-115, BR-15)")?,
    })
}

/// XRechnung's extension puts what is collected for others where UBL has what was paid before.
fn collected(root: &Element, fields: &mut Fields) -> Result<Amount, Refusal> {
    let customization = text(root, "cbc:CustomizationID")?.unwrap_or_default();
    let mut sum = Amount::ZERO;
    if customization.contains("#conformant#urn:xeinkauf.de:kosit:extension:xrechnung") {
        for payment in root.each("cac:PrepaidPayment") {
            let amount = fields.due(payment, "cbc:PaidAmount", "what is collected (BT-DEX-002)")?;
            let added = sum.checked_add(amount);
            sum = added.map_err(|error| Refusal::at(payment.line, error.to_string()))?;
        }
    }
    Ok(sum)
}

fn period(within: &Element) -> Result<Days, Refusal> {
    Ok(Days {
        first: date(within, "cac:InvoicePeriod/cbc:StartDate", iso)?,
        last: date(within, "cac:InvoicePeriod/cbc:EndDate", iso)?,
    })
}

/// An `xs:date`. Its time zone, if it has one, says nothing here: days are the provider's.
fn iso(_: &Element, text: &str) -> Option<Date> {
    let (date, zone) = text.split_at_checked(10)?;
    let known = match zone.as_bytes() {
        [] | b"Z" => true,
        [b'+' | b'-', hour @ .., b':', m, n] => {
            hour.len() == 2 && hour.iter().chain([m, n]).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    let mut parts = date.split('-');
    let date = day(parts.next()?, parts.next()?, parts.next()?)?;
    (known && parts.next().is_none()).then_some(date)
}
