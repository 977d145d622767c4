//! Documents of both syntaxes, right ones and broken ones.

use super::{ElectronicInvoice, Options, read};
use schemas::id::InvoiceId;
use schemas::time::{Anchor, BillingMonth, time_zone};

/// A name service for a month: two lines, an allowance, a charge, two rates of VAT, something paid
/// before and a rounding.
const UBL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
    xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
    xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
  <cbc:ID>OT-1</cbc:ID>
  <cbc:IssueDate>2025-11-12</cbc:IssueDate>
  <cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>
  <cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>
  <cac:InvoicePeriod><cbc:StartDate>2025-10-01</cbc:StartDate><cbc:EndDate>2025-10-31</cbc:EndDate>
    </cac:InvoicePeriod>
  <cac:AllowanceCharge>
    <cbc:ChargeIndicator>false</cbc:ChargeIndicator>
      <cbc:AllowanceChargeReason>Loyalty</cbc:AllowanceChargeReason>
    <cbc:Amount currencyID="EUR">5.00</cbc:Amount>
  </cac:AllowanceCharge>
  <cac:AllowanceCharge>
    <cbc:ChargeIndicator>true</cbc:ChargeIndicator>
      <cbc:AllowanceChargeReasonCode>FC</cbc:AllowanceChargeReasonCode>
    <cbc:Amount currencyID="EUR">2.00</cbc:Amount>
  </cac:AllowanceCharge>
  <cac:TaxTotal><cbc:TaxAmount currencyID="SEK">61.00</cbc:TaxAmount></cac:TaxTotal>
  <cac:TaxTotal>
    <cbc:TaxAmount currencyID="EUR">5.30</cbc:TaxAmount>
    <cac:TaxSubtotal>
      <cbc:TaxableAmount currencyID="EUR">20.78</cbc:TaxableAmount>
        <cbc:TaxAmount currencyID="EUR">5.30</cbc:TaxAmount>
      <cac:TaxCategory><cbc:ID>S</cbc:ID><cbc:Percent>25.5</cbc:Percent></cac:TaxCategory>
    </cac:TaxSubtotal>
    <cac:TaxSubtotal>
      <cbc:TaxableAmount currencyID="EUR">4.00</cbc:TaxableAmount>
        <cbc:TaxAmount currencyID="EUR">0</cbc:TaxAmount>
      <cac:TaxCategory><cbc:ID>O</cbc:ID></cac:TaxCategory>
    </cac:TaxSubtotal>
  </cac:TaxTotal>
  <cac:LegalMonetaryTotal>
    <cbc:LineExtensionAmount currencyID="EUR">27.78</cbc:LineExtensionAmount>
    <cbc:TaxExclusiveAmount currencyID="EUR">24.78</cbc:TaxExclusiveAmount>
    <cbc:TaxInclusiveAmount currencyID="EUR">30.08</cbc:TaxInclusiveAmount>
    <cbc:AllowanceTotalAmount currencyID="EUR">5.00</cbc:AllowanceTotalAmount>
    <cbc:ChargeTotalAmount currencyID="EUR">2.00</cbc:ChargeTotalAmount>
    <cbc:PrepaidAmount currencyID="EUR">10.00</cbc:PrepaidAmount>
    <cbc:PayableRoundingAmount currencyID="EUR">0.02</cbc:PayableRoundingAmount>
    <cbc:PayableAmount currencyID="EUR">20.10</cbc:PayableAmount>
  </cac:LegalMonetaryTotal>
  <cac:InvoiceLine>
    <cbc:ID>a</cbc:ID><cbc:InvoicedQuantity unitCode="C62">2</cbc:InvoicedQuantity>
    <cbc:LineExtensionAmount currencyID="EUR">24.00</cbc:LineExtensionAmount>
    <cac:Item><cbc:Name>Name service</cbc:Name><cac:SellersItemIdentification><cbc:ID>OT-DNS</cbc:ID>
      </cac:SellersItemIdentification></cac:Item>
    <cac:Price><cbc:PriceAmount currencyID="EUR">12.00</cbc:PriceAmount></cac:Price>
  </cac:InvoiceLine>
  <cac:InvoiceLine>
    <cbc:ID>b</cbc:ID><cbc:InvoicedQuantity unitCode="E34">151.2</cbc:InvoicedQuantity>
    <cbc:LineExtensionAmount currencyID="EUR">3.78</cbc:LineExtensionAmount>
    <cac:InvoicePeriod><cbc:StartDate>2025-10-26</cbc:StartDate><cbc:EndDate>2025-10-26</cbc:EndDate>
      </cac:InvoicePeriod>
    <cac:Item><cbc:Name>Queries &amp; &#x201C;more&#x201D;</cbc:Name></cac:Item>
    <cac:Price><cbc:PriceAmount currencyID="EUR">2.50</cbc:PriceAmount>
      <cbc:BaseQuantity unitCode="E34">100</cbc:BaseQuantity></cac:Price>
  </cac:InvoiceLine>
</Invoice>
"#;

/// The same in the other syntax.
const CII: &str = r#"<?xml version='1.0' encoding='utf-8' standalone="yes"?>
<i:CrossIndustryInvoice xmlns:i="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
    xmlns="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
    xmlns:u="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100">
  <i:ExchangedDocument>
    <ID>OT-1</ID><TypeCode>380</TypeCode>
    <IssueDateTime><u:DateTimeString format="102">20251112</u:DateTimeString></IssueDateTime>
  </i:ExchangedDocument>
  <i:SupplyChainTradeTransaction>
    <IncludedSupplyChainTradeLineItem>
      <AssociatedDocumentLineDocument><LineID>a</LineID></AssociatedDocumentLineDocument>
      <SpecifiedTradeProduct><SellerAssignedID>OT-DNS</SellerAssignedID><Name>Name service</Name>
        </SpecifiedTradeProduct>
      <SpecifiedLineTradeAgreement><NetPriceProductTradePrice><ChargeAmount>12.00</ChargeAmount>
        </NetPriceProductTradePrice></SpecifiedLineTradeAgreement>
      <SpecifiedLineTradeDelivery><BilledQuantity unitCode="C62">2</BilledQuantity>
        </SpecifiedLineTradeDelivery>
      <SpecifiedLineTradeSettlement>
        <SpecifiedTradeSettlementLineMonetarySummation><LineTotalAmount>24.00</LineTotalAmount>
          </SpecifiedTradeSettlementLineMonetarySummation>
      </SpecifiedLineTradeSettlement>
    </IncludedSupplyChainTradeLineItem>
    <IncludedSupplyChainTradeLineItem>
      <AssociatedDocumentLineDocument><LineID>b</LineID></AssociatedDocumentLineDocument>
      <SpecifiedTradeProduct><Name><![CDATA[Queries & “more”]]></Name></SpecifiedTradeProduct>
      <SpecifiedLineTradeAgreement><NetPriceProductTradePrice><ChargeAmount>2.50</ChargeAmount>
        <BasisQuantity unitCode="E34">100</BasisQuantity></NetPriceProductTradePrice>
        </SpecifiedLineTradeAgreement>
      <SpecifiedLineTradeDelivery><BilledQuantity unitCode="E34">151.2</BilledQuantity>
        </SpecifiedLineTradeDelivery>
      <SpecifiedLineTradeSettlement>
        <BillingSpecifiedPeriod>
          <StartDateTime><u:DateTimeString format="102">20251026</u:DateTimeString></StartDateTime>
          <EndDateTime><u:DateTimeString format="102">20251026</u:DateTimeString></EndDateTime>
        </BillingSpecifiedPeriod>
        <SpecifiedTradeSettlementLineMonetarySummation><LineTotalAmount>3.78</LineTotalAmount>
          </SpecifiedTradeSettlementLineMonetarySummation>
      </SpecifiedLineTradeSettlement>
    </IncludedSupplyChainTradeLineItem>
    <ApplicableHeaderTradeSettlement>
      <InvoiceCurrencyCode>EUR</InvoiceCurrencyCode>
      <ApplicableTradeTax><CalculatedAmount>5.30</CalculatedAmount><TypeCode>VAT</TypeCode>
        <BasisAmount>20.78</BasisAmount><CategoryCode>S</CategoryCode>
        <RateApplicablePercent>25.5</RateApplicablePercent></ApplicableTradeTax>
      <ApplicableTradeTax><CalculatedAmount>0</CalculatedAmount><TypeCode>VAT</TypeCode>
        <BasisAmount>4.00</BasisAmount><CategoryCode>O</CategoryCode></ApplicableTradeTax>
      <BillingSpecifiedPeriod>
        <StartDateTime><u:DateTimeString format="102">20251001</u:DateTimeString></StartDateTime>
        <EndDateTime><u:DateTimeString format="102">20251031</u:DateTimeString></EndDateTime>
      </BillingSpecifiedPeriod>
      <SpecifiedTradeAllowanceCharge><ChargeIndicator><u:Indicator>false</u:Indicator></ChargeIndicator>
        <ActualAmount>5.00</ActualAmount><Reason>Loyalty</Reason></SpecifiedTradeAllowanceCharge>
      <SpecifiedTradeAllowanceCharge><ChargeIndicator><u:Indicator>true</u:Indicator></ChargeIndicator>
        <ActualAmount>2.00</ActualAmount><ReasonCode>FC</ReasonCode></SpecifiedTradeAllowanceCharge>
      <SpecifiedTradeSettlementHeaderMonetarySummation>
        <LineTotalAmount>27.78</LineTotalAmount><ChargeTotalAmount>2.00</ChargeTotalAmount>
          <AllowanceTotalAmount>5.00</AllowanceTotalAmount>
        <TaxBasisTotalAmount>24.78</TaxBasisTotalAmount>
        <TaxTotalAmount currencyID="EUR">5.30</TaxTotalAmount>
          <TaxTotalAmount currencyID="SEK">61.00</TaxTotalAmount>
        <RoundingAmount>0.02</RoundingAmount><GrandTotalAmount>30.08</GrandTotalAmount>
        <TotalPrepaidAmount>10.00</TotalPrepaidAmount><DuePayableAmount>20.10</DuePayableAmount>
      </SpecifiedTradeSettlementHeaderMonetarySummation>
    </ApplicableHeaderTradeSettlement>
  </i:SupplyChainTradeTransaction>
</i:CrossIndustryInvoice>
"#;

const LINES: &str = "\
OT-1, 2025-10, total 30.1 EUR
1 a usage OT-DNS \"Name service\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z 2 C62 at 12 = 24
2 b usage Queries & “more” \"Queries & “more”\" 2025-10-25T22:00:00Z 2025-10-26T23:00:00Z 151.2 E34 at 0.025 = 3.78
3 - credit - \"Loyalty\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z - - at - = -5
4 - fee - \"FC\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z - - at - = 2
5 - tax - \"VAT S 25.5 %\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z - - at - = 5.3
6 - tax - \"VAT O\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z - - at - = 0
7 - adjustment - \"rounding\" 2025-09-30T22:00:00Z 2025-10-31T23:00:00Z - - at - = 0.02
";

fn options(invoice: Option<&str>, period: Option<&str>) -> Options {
    Options {
        invoice: invoice.map(|id| InvoiceId::new(id).expect("an id")),
        period: period.map(|month| BillingMonth::parse(month).expect("a month")),
    }
}

/// What becomes of a file in Berlin's time.
fn outcome(file: &str, options: &Options) -> String {
    match read(file.as_bytes(), &time_zone("Europe/Berlin").expect("a zone"), Anchor::FIRST, options) {
        Ok(invoice) => shown(&invoice),
        Err(refusal) => refusal.to_string(),
    }
}

fn shown(invoice: &ElectronicInvoice) -> String {
    let id = invoice.id.as_ref().map_or("-", InvoiceId::as_str);
    let mut text = format!("{id}, {}, total {} {}\n", invoice.month, invoice.total, invoice.currency);
    for line in &invoice.lines {
        text += &format!(
            "{} {} {} {} {:?} {} {} {} {} at {} = {}{}\n",
            line.line,
            line.line_id.as_deref().unwrap_or("-"),
            line.category,
            line.sku_text.as_deref().unwrap_or("-"),
            line.description.as_deref().unwrap_or("-"),
            line.start,
            line.end,
            line.quantity.map_or("-".to_owned(), |quantity| quantity.to_string()),
            line.unit.as_deref().unwrap_or("-"),
            line.unit_price.map_or("-".to_owned(), |price| price.to_string()),
            line.amount,
            line.repeats.map_or(String::new(), |first| format!(" repeats {first}")),
        );
    }
    text
}

/// A file with one thing changed, which must be in it once.
fn but(file: &str, from: &str, to: &str) -> String {
    assert_eq!(file.matches(from).count(), 1, "{from:?} is in the file once");
    file.replace(from, to)
}

#[track_caller]
fn check(file: &str, expected: &str) {
    assert_eq!(outcome(file, &Options::default()), expected);
}

#[test]
fn both_syntaxes_say_the_same() {
    check(UBL, LINES);
    check(CII, LINES);
    check(&format!("\u{feff}{UBL}"), LINES);
}

#[test]
fn names_are_told_apart_by_their_namespace() {
    let renamed = UBL.replace("cbc:", "x:").replace("xmlns:cbc", "xmlns:x").replace("cac:", "cbc:");
    check(&renamed.replace("xmlns:cac", "xmlns:cbc"), LINES);
    let foreign = UBL.replace("CommonBasicComponents-2", "CommonBasicComponents-3");
    check(&foreign, "line 2: `ubl:Invoice` does not have the currency of the invoice (BT-5, BR-05)");
    check(&but(UBL, "<cbc:ID>OT-1</cbc:ID>", "<y:ID>OT-1</y:ID>"), "line 5: the prefix `y` has no namespace");
}

#[test]
fn extensions_and_attachments_are_left_out() {
    let extension =
        r#"<e:X xmlns:e="urn:e"><cbc:ID>no</cbc:ID><cac:InvoiceLine/></e:X><cbc:ID>OT-1</cbc:ID>"#;
    check(&but(UBL, "<cbc:ID>OT-1</cbc:ID>", extension), LINES);
    check(&but(UBL, "<cbc:ID>OT-1<", "<cbc:ID>OT<e:X xmlns:e=\"urn:e\">no</e:X>-1<"), LINES);
    let attached = format!(
        "<cac:Attachment><cbc:EmbeddedDocumentBinaryObject>{}</cbc:EmbeddedDocumentBinaryObject></cac:Attachment><cac:TaxTotal><cbc:TaxAmount currencyID=\"SEK\">",
        "QUJD".repeat(50_000)
    );
    check(&but(UBL, "<cac:TaxTotal><cbc:TaxAmount currencyID=\"SEK\">", &attached), LINES);
}

#[test]
fn blanks_between_elements_are_no_text() {
    check(
        &but(
            UBL,
            "</cac:LegalMonetaryTotal>\n",
            &format!("</cac:LegalMonetaryTotal>{}", "\n".repeat(70_000)),
        ),
        LINES,
    );
    check(&but(UBL, "<cbc:ID>OT-1</cbc:ID>", "<cbc:ID>\n  OT<!-- no. -->-<![CDATA[1]]>\n</cbc:ID>"), LINES);
}

#[test]
fn credit_notes_are_below_zero() {
    let negative = LINES
        .replace(" = -5", " = 5")
        .replace("= 24", "= -24")
        .replace("= 3.78", "= -3.78")
        .replace("= 2\n", "= -2\n")
        .replace("= 5.3", "= -5.3")
        .replace("= 0.02", "= -0.02")
        .replace("total 30.1", "total -30.1")
        .replace(" 2 C62", " -2 C62")
        .replace(" 151.2 ", " -151.2 ");
    let note = UBL
        .replace("xsd:Invoice-2", "xsd:CreditNote-2")
        .replace("<Invoice ", "<CreditNote ")
        .replace("</Invoice>", "</CreditNote>")
        .replace("cbc:InvoiceTypeCode>380", "cbc:CreditNoteTypeCode>381")
        .replace("cbc:InvoiceTypeCode", "cbc:CreditNoteTypeCode")
        .replace("cac:InvoiceLine", "cac:CreditNoteLine")
        .replace("cbc:InvoicedQuantity", "cbc:CreditedQuantity");
    check(&note, &negative);
    check(&but(CII, "<TypeCode>380<", "<TypeCode>381<"), &negative);
    check(&but(UBL, "Code>380<", "Code>381<"), &negative);
}

#[test]
fn a_corrected_invoice_needs_to_know_which() {
    let corrected = but(UBL, "Code>380<", "Code>384<");
    check(&corrected, "it is a corrected invoice (type 384); say with --invoice which one it stands in for");
    let said = outcome(&corrected, &options(Some("OT-0"), None));
    assert_eq!(said, LINES.replace("OT-1,", "OT-0,"));
}

#[test]
fn a_rule_that_is_broken_is_named_with_both_figures() {
    let cases = [
        (
            "<cbc:LineExtensionAmount currencyID=\"EUR\">27.78",
            "27.79",
            "BR-CO-10 is broken: the sum of the lines (BT-106) is stated as 27.79, and comes to 27.78",
        ),
        (
            "<cbc:AllowanceTotalAmount currencyID=\"EUR\">5.00",
            "5.01",
            "BR-CO-11 is broken: the sum of the allowances (BT-107) is stated as 5.01, and comes to 5",
        ),
        (
            "<cbc:ChargeTotalAmount currencyID=\"EUR\">2.00",
            "-2.00",
            "BR-CO-12 is broken: the sum of the charges (BT-108) is stated as -2, and comes to 2",
        ),
        (
            "<cbc:TaxExclusiveAmount currencyID=\"EUR\">24.78",
            "24.79",
            "BR-CO-13 is broken: the total without VAT (BT-109) is stated as 24.79, and comes to 24.78",
        ),
        (
            "<cac:TaxTotal>\n    <cbc:TaxAmount currencyID=\"EUR\">5.30",
            "5.31",
            "BR-CO-14 is broken: the VAT (BT-110) is stated as 5.31, and comes to 5.3",
        ),
        (
            "<cbc:TaxInclusiveAmount currencyID=\"EUR\">30.08",
            "30.07",
            "BR-CO-15 is broken: the total with VAT (BT-112) is stated as 30.07, and comes to 30.08",
        ),
        (
            "<cbc:PayableAmount currencyID=\"EUR\">20.10",
            "30.08",
            "BR-CO-16 is broken: the amount due (BT-115) is stated as 30.08, and comes to 20.1",
        ),
    ];
    for (figure, other, expected) in cases {
        let (tag, _) = figure.rsplit_once('>').expect("a tag");
        check(&but(UBL, figure, &format!("{tag}>{other}")), expected);
    }
    // 25.5 % of 20.80 are 5.30 as well, and of 20.87 as near as two lines, an allowance and a charge make it.
    for near in ["20.80", "20.87"] {
        let base = format!("EUR\">{near}</cbc:TaxableAmount>");
        check(&but(UBL, "EUR\">20.78</cbc:TaxableAmount>", &base), LINES);
    }
    check(
        &but(UBL, "EUR\">20.78</cbc:TaxableAmount>", "EUR\">20.89</cbc:TaxableAmount>"),
        "BR-CO-17 is broken: the tax of VAT S 25.5 % (BT-117) is stated as 5.3, and comes to 5.32695",
    );
    check(
        &but(
            CII,
            "<BasisAmount>4.00</BasisAmount><CategoryCode>O</CategoryCode>",
            "<BasisAmount>4.00</BasisAmount><CategoryCode>S</CategoryCode><RateApplicablePercent>7</RateApplicablePercent>",
        ),
        "BR-CO-17 is broken: the tax of VAT S 7 % (BT-117) is stated as 0, and comes to 0.28",
    );
}

#[test]
fn lines_of_more_decimals_than_the_totals_are_made_up_for() {
    let file = simple("EUR", "47.05", "19", "8.94", "55.99").replace(
        "<cac:InvoiceLine><cbc:LineExtensionAmount>47.05",
        "<cac:InvoiceLine><cbc:LineExtensionAmount>47.0504",
    );
    let outcome = outcome(&file, &Options::default());
    let last = outcome.lines().last().expect("a line");
    assert!(last.contains("-0.0004") && last.contains("difference to the stated total"), "{outcome}");
}

#[test]
fn what_is_collected_for_others_is_due_and_not_billed() {
    let paid = "<cac:PrepaidPayment><cbc:PaidAmount>19.96</cbc:PaidAmount></cac:PrepaidPayment>\
        <cac:PrepaidPayment><cbc:PaidAmount>10</cbc:PaidAmount></cac:PrepaidPayment>";
    let due = |customization: &str| {
        let file =
            simple("EUR", "100", "19", "19", "119").replace("PayableAmount>119", "PayableAmount>148.96");
        let file = file.replace("<cac:TaxTotal>", &format!("{paid}<cac:TaxTotal>"));
        let id = format!("<cbc:CustomizationID>{customization}</cbc:CustomizationID><cbc:ID>OT-1");
        outcome(&file.replace("<cbc:ID>OT-1", &id), &Options::default())
    };
    let extension = "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0\
        #conformant#urn:xeinkauf.de:kosit:extension:xrechnung_3.0";
    assert!(due(extension).starts_with("OT-1, 2025-10"), "{}", due(extension));
    assert_eq!(
        due("urn:cen.eu:en16931:2017"),
        "BR-CO-16 is broken: the amount due (BT-115) is stated as 148.96, and comes to 119"
    );
}

#[test]
fn carriage_is_a_charge_and_lines_that_sum_up_others_are_none() {
    // Factur-X's extended profile has both.
    let carriage = "<SpecifiedLogisticsServiceCharge><Description>Carriage</Description>\
        <AppliedAmount>2.00</AppliedAmount></SpecifiedLogisticsServiceCharge><SpecifiedTradeSettlementHeader";
    let file = but(CII, "<SpecifiedTradeSettlementHeader", carriage);
    assert_eq!(
        outcome(&file, &Options::default()),
        "BR-CO-12 is broken: the sum of the charges (BT-108) is stated as 2, and comes to 4"
    );
    let (_, line) = CII.split_once("<IncludedSupplyChainTradeLineItem>").expect("a line");
    let (line, _) = line.split_once("</IncludedSupplyChainTradeLineItem>").expect("its end");
    let status = "<LineStatusReasonCode>GROUP</LineStatusReasonCode></AssociatedDocumentLineDocument>";
    let group = line.replacen("</AssociatedDocumentLineDocument>", status, 1);
    let tag = "IncludedSupplyChainTradeLineItem";
    let file = CII.replacen(&format!("<{tag}>"), &format!("<{tag}>{group}</{tag}><{tag}>"), 1);
    assert!(file.contains("GROUP"));
    check(&file, LINES);
}

#[test]
fn a_price_in_another_currency_is_none() {
    let file =
        but(UBL, "<cbc:PriceAmount currencyID=\"EUR\">12.00", "<cbc:PriceAmount currencyID=\"NOK\">12.00");
    let zone = time_zone("UTC").expect("a zone");
    let invoice = read(file.as_bytes(), &zone, Anchor::FIRST, &Options::default()).expect("an invoice");
    let prices: Vec<bool> = invoice.lines[..2].iter().map(|line| line.unit_price.is_some()).collect();
    assert_eq!(prices, [false, true]);
}

/// An invoice of one line and one rate.
fn simple(currency: &str, base: &str, rate: &str, tax: &str, with_vat: &str) -> String {
    let (head, _) = UBL.split_once("  <cac:AllowanceCharge>").expect("its begin");
    let head = head.replace(">EUR<", &format!(">{currency}<"));
    format!(
        "{head}<cac:TaxTotal><cbc:TaxAmount currencyID=\"{currency}\">{tax}</cbc:TaxAmount>\
        <cac:TaxSubtotal><cbc:TaxableAmount>{base}</cbc:TaxableAmount><cbc:TaxAmount>{tax}</cbc:TaxAmount>\
        <cac:TaxCategory><cbc:ID>S</cbc:ID><cbc:Percent>{rate}</cbc:Percent></cac:TaxCategory>\
        </cac:TaxSubtotal></cac:TaxTotal>\
        <cac:LegalMonetaryTotal><cbc:LineExtensionAmount>{base}</cbc:LineExtensionAmount>\
        <cbc:TaxExclusiveAmount>{base}</cbc:TaxExclusiveAmount>\
        <cbc:TaxInclusiveAmount>{with_vat}</cbc:TaxInclusiveAmount>\
        <cbc:PayableAmount>{with_vat}</cbc:PayableAmount></cac:LegalMonetaryTotal>\
        <cac:InvoiceLine><cbc:LineExtensionAmount>{base}</cbc:LineExtensionAmount>\
        <cac:Item><cbc:Name>x</cbc:Name></cac:Item></cac:InvoiceLine></Invoice>"
    )
}

#[test]
fn vat_is_rounded_to_two_decimals_or_to_what_the_currency_has() {
    let cases = [
        // A half may go either way.
        ("EUR", "0.50", "19", "0.09", "0.59", true),
        ("EUR", "0.50", "19", "0.10", "0.60", true),
        ("EUR", "0.50", "19", "0.11", "0.61", false),
        ("EUR", "-0.50", "19", "-0.10", "-0.60", true),
        ("JPY", "105", "10", "11", "116", true),
        ("JPY", "105", "10", "10", "115", true),
        ("JPY", "105", "10", "12", "117", false),
        ("KWD", "1.111", "5", "0.056", "1.167", true),
        ("KWD", "1.111", "5", "0.06", "1.17", true),
        ("KWD", "1.111", "5", "0.057", "1.168", false),
        ("KWD", "1.111", "5", "0.07", "1.181", false),
        ("EUR", "20.80", "25.5", "5.304", "26.104", true),
        ("EUR", "20.80", "25.5", "5.303", "26.103", false),
        ("HUF", "69180.00", "27.00", "18679.00", "87859.00", true),
        ("HUF", "69180.00", "27.00", "18680.00", "87860.00", false),
        ("EUR", "69180.00", "27.00", "18679.00", "87859.00", false),
    ];
    for (currency, base, rate, tax, with_vat, right) in cases {
        let outcome = outcome(&simple(currency, base, rate, tax, with_vat), &Options::default());
        let expected = if right { "OT-1, 2025-10" } else { "BR-CO-17" };
        assert!(outcome.starts_with(expected), "{currency} {base} {tax}: {outcome}");
    }
}

#[test]
fn what_is_not_said_about_dates_is_the_month() {
    let with_period = |replacement: &str| {
        let file = simple("EUR", "1", "0", "0", "1");
        let (before, rest) = file.split_once("<cac:InvoicePeriod>").expect("a period");
        let (_, after) = rest.split_once("</cac:InvoicePeriod>").expect("its end");
        format!("{before}{replacement}{after}")
    };
    let dates = |replacement: &str, month: Option<&str>| {
        let file = with_period(replacement);
        match read(file.as_bytes(), &time_zone("UTC").expect("a zone"), Anchor::FIRST, &options(None, month))
        {
            Ok(invoice) => {
                let line = &invoice.lines[0];
                format!("{}: {} {}", invoice.month, line.start, line.end).replace("T00:00:00Z", "")
            }
            Err(refusal) => refusal.to_string(),
        }
    };
    let said = |first: &str, last: &str| {
        let first =
            if first.is_empty() { String::new() } else { format!("<cbc:StartDate>{first}</cbc:StartDate>") };
        let last = if last.is_empty() { String::new() } else { format!("<cbc:EndDate>{last}</cbc:EndDate>") };
        format!("<cac:InvoicePeriod>{first}{last}</cac:InvoicePeriod>")
    };
    assert_eq!(dates("", None), "2025-11: 2025-11-01 2025-12-01");
    let last = with_period("").replace("2025-11-12", "2025-11-30");
    assert!(outcome(&last, &Options::default()).starts_with("OT-1, 2025-11,"));
    assert_eq!(dates("", Some("2025-10")), "2025-10: 2025-10-01 2025-11-01");
    assert_eq!(dates(&said("2025-10-15", "2025-11-14"), None), "2025-10: 2025-10-15 2025-11-15");
    assert_eq!(dates(&said("2025-10-15Z", "2025-10-16+02:00"), None), "2025-10: 2025-10-15 2025-10-17");
    assert_eq!(dates(&said("2025-10-15", ""), None), "2025-10: 2025-10-15 2025-11-01");
    assert_eq!(dates(&said("", "2025-11-10"), None), "2025-11: 2025-11-01 2025-11-11");
    assert_eq!(dates(&said("", "2025-10-10"), None), "2025-11: 2025-10-10 2025-10-11");
    assert_eq!(
        dates(&said("2025-10-15", ""), Some("2025-11")),
        "what it bills begins in 2025-10 (BT-73), and --period says 2025-11"
    );
    assert_eq!(dates(&said("2025-10-15", ""), Some("2025-10")), "2025-10: 2025-10-15 2025-11-01");
    assert_eq!(
        dates(&said("2025-10-15", "2025-10-14"), None),
        "line 1: a period ends on 2025-10-14, before it begins on 2025-10-15"
    );
    for wrong in
        ["2025-10-1", "20251001", "2025-13-01", "2025-02-29", "2025-10-01T00:00:00", "2025-10-01+2:00"]
    {
        let expected = format!("line 9: `{wrong}` in `cbc:StartDate` is not a date");
        assert_eq!(dates(&said(wrong, ""), None), expected);
    }
}

#[test]
fn a_line_may_be_of_another_month_than_its_invoice() {
    let line = |days: &str| {
        let days = format!("<cac:InvoicePeriod>{days}</cac:InvoicePeriod><cac:Item>");
        let outcome =
            outcome(&simple("EUR", "1", "0", "0", "1").replace("<cac:Item>", &days), &Options::default());
        outcome.lines().nth(1).expect("a line").to_owned()
    };
    let expected = |dates: &str| format!("1 - usage x \"x\" {dates} - - at - = 1");
    assert_eq!(
        line("<cbc:StartDate>2025-12-24</cbc:StartDate>"),
        expected("2025-12-23T23:00:00Z 2025-12-24T23:00:00Z")
    );
    assert_eq!(
        line("<cbc:EndDate>2025-09-30</cbc:EndDate>"),
        expected("2025-09-29T22:00:00Z 2025-09-30T22:00:00Z")
    );
}

#[test]
fn billing_periods_begin_on_the_day_of_the_anchor() {
    let anchored = |file: &str| {
        let anchor = Anchor::parse("15").expect("a day");
        let zone = time_zone("UTC").expect("a zone");
        let invoice = read(file.as_bytes(), &zone, anchor, &Options::default()).expect("an invoice");
        let line = &invoice.lines[0];
        format!("{}: {} {}", invoice.month, line.start, line.end).replace("T00:00:00Z", "")
    };
    let file = simple("EUR", "1", "0", "0", "1");
    let without = file.replace("cac:InvoicePeriod", "cac:OtherPeriod");
    assert_eq!(anchored(&without), "2025-11: 2025-10-15 2025-11-15");
    assert_eq!(anchored(&without.replace("2025-11-12", "2025-11-15")), "2025-12: 2025-11-15 2025-12-15");
    assert_eq!(anchored(&file.replace("2025-10-01", "2025-10-15")), "2025-11: 2025-10-15 2025-11-01");
}

#[test]
fn an_invoice_that_is_asked_for_is_the_one_of_the_file() {
    assert_eq!(outcome(UBL, &options(Some("OT-1"), Some("2025-10"))), LINES);
    assert_eq!(
        outcome(UBL, &options(Some("OT-2"), None)),
        "its number (BT-1) is `OT-1`, and --invoice says `OT-2`"
    );
    let blank = but(UBL, "<cbc:ID>OT-1</cbc:ID>", "<cbc:ID> </cbc:ID>");
    assert_eq!(outcome(&blank, &Options::default()), LINES.replace("OT-1,", "-,"));
    assert_eq!(outcome(&blank, &options(Some("OT-2"), None)), LINES.replace("OT-1,", "OT-2,"));
}

#[test]
fn a_unit_price_that_does_not_end_is_rounded_and_told() {
    let read = |file: &str| {
        let zone = time_zone("UTC").expect("a zone");
        let invoice = read(file.as_bytes(), &zone, Anchor::FIRST, &Options::default()).expect("an invoice");
        let price = invoice.lines[1].unit_price.expect("a price").to_string();
        (price, invoice.rounded)
    };
    assert_eq!(read(UBL), ("0.025".to_owned(), 0));
    // A meter's price for a year, by the day, as in a bill for electricity.
    let by_the_day = but(UBL, "\"EUR\">2.50<", "\"EUR\">386.52<").replace("\"E34\">100<", "\"DAY\">366<");
    assert_eq!(read(&by_the_day), ("1.056065573770491803".to_owned(), 1));
}

#[test]
fn a_record_that_is_there_twice_repeats_the_first() {
    let line = |id: &str| {
        format!(
            "<cac:InvoiceLine><cbc:ID>{id}</cbc:ID><cbc:LineExtensionAmount>1</cbc:LineExtensionAmount></cac:InvoiceLine>"
        )
    };
    let file = simple("EUR", "3", "0", "0", "3");
    let (head, _) = file.split_once("<cac:InvoiceLine>").expect("a line");
    let outcome =
        outcome(&format!("{head}{}\n{} {}</Invoice>", line("1"), line("2"), line("1")), &Options::default());
    let repeats: Vec<bool> = outcome.lines().map(|line| line.ends_with(" repeats 1")).collect();
    assert_eq!(repeats, [false, false, false, true, false], "{outcome}");
}

#[test]
fn what_must_be_there_is_there_once() {
    check(
        &but(UBL, "<cbc:LineExtensionAmount currencyID=\"EUR\">3.78</cbc:LineExtensionAmount>", ""),
        "line 52: `cac:InvoiceLine` does not have the line's amount (BT-131, BR-24), in `cbc:LineExtensionAmount`",
    );
    check(
        &but(UBL, "<cbc:PayableAmount", "<cbc:PayableAmount>1</cbc:PayableAmount><cbc:PayableAmount"),
        "line 43: `cbc:PayableAmount` is there a second time",
    );
    check(
        &but(UBL, "currencyID=\"EUR\">3.78", "currencyID=\"USD\">3.78"),
        "line 54: `cbc:LineExtensionAmount` is in `USD`, the invoice in EUR",
    );
    check(
        &but(UBL, ">3.78<", ">3,78<"),
        "line 54: `3,78` in `cbc:LineExtensionAmount` is not a number: it must be digits, optionally a point and more digits, and nothing else",
    );
    check(
        &but(UBL, "\"E34\">100<", "\"E34\">0<"),
        "line 52: the price in `cac:Price/cbc:PriceAmount` is for 0 units (BT-149)",
    );
    check(&but(UBL, ">EUR</cbc:Doc", ">EURO</cbc:Doc"), "line 2: `EURO` is not a currency");
    check(
        &but(
            UBL,
            "<cac:TaxTotal><cbc:TaxAmount currencyID=\"SEK\">",
            "<cac:TaxTotal><cbc:TaxAmount currencyID=\"EUR\">",
        ),
        "line 22: a second total of VAT is in EUR (BR-CO-15)",
    );
    check(&but(UBL, ">true</cbc:Ch", ">yes</cbc:Ch"), "line 16: `cbc:ChargeIndicator` must be true or false");
    check(
        &but(UBL, "<cbc:ID>OT-1</cbc:ID>", "<cbc:ID>\u{202e}1</cbc:ID>"),
        "its number (BT-1) `\u{202e}1` names no invoice: it contains the character U+202E, which a name may not have",
    );
    let (head, _) = UBL.split_once("<cac:InvoiceLine>").expect("lines");
    check(&format!("{head}</Invoice>"), "it has no lines (BR-16): a profile that says totals only");
    check("<Invoice xmlns='urn:x'/>", "the file is no invoice in UBL 2 or CII");
    check("<Invoice/>", "the file is no invoice in UBL 2 or CII");
    check("", "the file is no invoice in UBL 2 or CII");
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let root = "<Invoice xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:Invoice-2\">";
    let head = "<?xml version=\"1.0\"?>";
    let laughs = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
    check(
        &format!("{head}\n{laughs}{root}&b;</Invoice>"),
        "line 2: a DOCTYPE is refused; an invoice needs no DTD",
    );
    check(&format!("{root}<a>&b;</a></Invoice>"), "line 1: `&b;` means nothing here; there is no DTD");
    check(&format!("{root}&#0;</Invoice>"), "line 1: `&#0;` means nothing here; there is no DTD");
    check(&format!("{root}&#x1b;</Invoice>"), "line 1: there is a character that XML does not have");
    check(&format!("{root}{}", "<a>".repeat(40)), "line 1: elements lie more than 32 deep");
    check(
        &format!("{root}<e:a xmlns:e=\"urn:e\">{}", "<e:a>".repeat(40)),
        "line 1: elements lie more than 32 deep",
    );
    check(&format!("{root}{}", "<a/>".repeat(1_000_001)), "line 1: there are more than 1000000 elements");
    check(
        &format!("{root}<a>{}</a></Invoice>", "x".repeat(65_537)),
        "line 1: the text of `ubl:a` is longer than 64 KiB",
    );
    let many: String = (0..33).map(|number| format!(" a{number}=''")).collect();
    let attributes = "line 1: an element has too many attributes, or too long ones";
    check(&format!("{root}<a{many}/></Invoice>"), attributes);
    check(&format!("{root}<a b='{}'/></Invoice>", "x".repeat(20_000)), attributes);
    check(
        &format!("{root}\n<a></Invoice>"),
        "line 2: it is not well-formed XML: ill-formed document: expected `</a>`, but `</Invoice>` was found",
    );
    check(&format!("{root}\n<a>"), "line 2: `ubl:a` does not end; the file is cut off");
    check(&format!("{root}</Invoice>{root}</Invoice>"), "line 1: a second root begins here");
    check(&format!("<x/>{root}</Invoice>"), "line 1: a second root begins here");
    check(&format!("{root}</Invoice> x"), "line 1: there is text beside the root");
    check(&format!("\u{feff}\u{feff}{root}</Invoice>"), "line 1: there is text beside the root");
    check("{\"json\":true}", "line 1: there is text beside the root");
    check(
        &format!("{root}<a b='1' b='2'/></Invoice>"),
        "line 1: it is not well-formed XML: position 8: duplicated attribute, previous declaration at position 2",
    );
    check(
        &format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{root}</Invoice>"),
        "line 1: it says another encoding; write it anew in UTF-8",
    );
    let utf_16: Vec<u8> = "\u{feff}<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let refusal = read(&utf_16, &time_zone("UTC").expect("a zone"), Anchor::FIRST, &Options::default())
        .expect_err("not UTF-8");
    assert_eq!(refusal.to_string(), "the file is not in UTF-8; write it anew in UTF-8");
}
