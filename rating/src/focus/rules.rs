//! What must hold within a row of FOCUS 1.4, and among the rows of a file.
//!
//! The rules are those of the specification that can be seen in a file, by their names in its model.
//! Some are stricter than the official validator, which passes over a category that is NULL, a metered
//! row without a quantity, an end before its start, a number that is a text, and more. What needs other
//! files is deliberately in `check`.
//!
//! Invariant: a rule looks at a column only where the file has it; a column that is not there is one
//! finding of its own.

use super::formats;
use super::read::Cell;
use crate::exact::{Exact, display};
use num_traits::{One as _, Signed as _};
use schemas::focus::{Column, ColumnType, Dataset, Table, V1_4};
use schemas::time::Instant;
use std::collections::BTreeMap;

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The rule's name in the model of the specification, or the attribute that it is of.
    pub rule: String,
    pub column: String,
    pub detail: String,
}

/// A row by the names of its columns.
pub(super) struct Fields<'r> {
    header: &'r BTreeMap<String, usize>,
    cells: &'r [Cell],
}

impl<'r> Fields<'r> {
    pub fn new(header: &'r BTreeMap<String, usize>, cells: &'r [Cell]) -> Self {
        Self { header, cells }
    }

    /// `None` where the file has no such column.
    pub fn cell(&self, column: &str) -> Option<&'r Cell> {
        self.cells.get(*self.header.get(column)?)
    }

    /// Whether there is no value, in a column that is there.
    fn is_null(&self, column: &str) -> bool {
        self.cell(column) == Some(&Cell::Null)
    }

    fn is_there(&self, column: &str) -> bool {
        self.cell(column).is_some_and(|cell| *cell != Cell::Null)
    }

    pub fn text(&self, column: &str) -> Option<&'r str> {
        match self.cell(column)? {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self, column: &str) -> Option<Exact> {
        match self.cell(column)? {
            Cell::Number(number) => Some(number.clone()),
            Cell::Text(text) => formats::number(text).ok(),
            _ => None,
        }
    }

    pub fn instant(&self, column: &str) -> Option<Instant> {
        match self.cell(column)? {
            Cell::Instant(instant) => Some(*instant),
            Cell::Text(text) => formats::instant(text).ok(),
            _ => None,
        }
    }
}

/// What is wrong with the columns of a file.
pub(super) fn header(table: &Table, names: &[String]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for column in table.columns.iter().filter(|column| !names.iter().any(|name| name == column.name)) {
        let rule = format!("{}-{}", abbreviation(table.dataset), table.dataset.as_str());
        wrong.push(Wrong {
            rule,
            column: column.name.to_owned(),
            detail: "the file has no such column".to_owned(),
        });
    }
    let mut seen = BTreeMap::new();
    for name in names {
        let mut say = |detail: &str| {
            let (rule, column) = ("ATT-CustomColumnHandling".to_owned(), name.clone());
            wrong.push(Wrong { rule, column, detail: detail.to_owned() });
        };
        if *seen.entry(name).and_modify(|count| *count += 1).or_insert(1) == 2 {
            say("the file has the column twice");
        }
        if table.columns.iter().any(|column| column.name == name) {
            continue;
        }
        match name.strip_prefix("x_") {
            None => say("it is no column of this dataset; a column of one's own begins with x_"),
            Some(own) if !own.starts_with(|first: char| first.is_ascii_uppercase()) => {
                say("after x_ comes PascalCase");
            }
            Some(own) if !own.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                say("after x_ come letters and digits only");
            }
            Some(_) if name.len() > 50 => say("it has more than 50 characters"),
            Some(_) => {}
        }
    }
    wrong
}

fn abbreviation(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::CostAndUsage => "CAU",
        Dataset::InvoiceDetail => "IND",
        Dataset::BillingPeriod => "BIP",
    }
}

/// What is wrong with a row.
pub(super) fn row(table: &Table, fields: &Fields<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for column in table.all() {
        if let Some(cell) = fields.cell(column.name)
            && let Err((rule, detail)) = value(table.dataset, column, cell)
        {
            wrong.push(Wrong { rule, column: column.name.to_owned(), detail });
        }
    }
    let mut rules = Rules { dataset: table.dataset, fields, wrong };
    match table.dataset {
        Dataset::CostAndUsage => rules.cost_and_usage(),
        Dataset::InvoiceDetail => rules.invoice_detail(),
        Dataset::BillingPeriod => rules.billing_period(),
    }
    rules.wrong
}

/// Whether a cell is of the type of its column, in the format of it, and one of the values allowed.
fn value(dataset: Dataset, column: &Column, cell: &Cell) -> Result<(), (String, String)> {
    let of = |attribute: &str| format!("ATT-{attribute}");
    let own = |what: &str| format!("{}-{} {what}", abbreviation(dataset), column.name);
    let is_decimal = column.column_type == ColumnType::Decimal;
    let is_instant = column.column_type == ColumnType::DateTime;
    let text = match cell {
        Cell::Null if column.nullable => return Ok(()),
        Cell::Null => return Err((own("nullability"), "it is NULL and must have a value".to_owned())),
        Cell::Number(_) if is_decimal => return Ok(()),
        Cell::Instant(_) if is_instant => return Ok(()),
        Cell::Text(text) => text,
        Cell::Number(number) => return Err((own("type"), format!("{} is a number", display(number)))),
        Cell::Instant(instant) => return Err((own("type"), format!("{instant} is an instant"))),
        Cell::Other(what) => return Err((own("type"), what.clone())),
    };
    let format = match column.column_type {
        ColumnType::Decimal => formats::number(text).map(drop).map_err(|why| (of("NumericFormat"), why)),
        ColumnType::DateTime => formats::instant(text).map(drop).map_err(|why| (of("DateTimeFormat"), why)),
        ColumnType::Currency => formats::currency(text).map_err(|why| (of("CurrencyFormat"), why)),
        ColumnType::Unit => formats::unit(text).map_err(|why| (of("UnitFormat"), why)),
        ColumnType::KeyValue => formats::key_value(text).map_err(|why| (of("KeyValueFormat"), why)),
        ColumnType::Object => formats::object(text).map(drop).map_err(|why| (of("JsonObjectFormat"), why)),
        ColumnType::Text => formats::text(text).map_err(|why| (of("NullHandling"), why)),
    };
    format?;
    match column.allowed.is_empty() || column.allowed.contains(&text.as_str()) {
        true => Ok(()),
        false => {
            let allowed = column.allowed.join(", ");
            Err((own("allowed values"), format!("{} is none of {allowed}", formats::shown(text))))
        }
    }
}

struct Rules<'a, 'r> {
    dataset: Dataset,
    fields: &'a Fields<'r>,
    wrong: Vec<Wrong>,
}

/// The one has a value exactly where the other has.
const TOGETHER: [(&str, &str, &str); 11] = [
    ("CAU-RegionName-C-003-C", "RegionName", "RegionId"),
    ("CAU-SubAccountName-C-003-C", "SubAccountName", "SubAccountId"),
    ("CAU-SubAccountType-C-003-C", "SubAccountType", "SubAccountId"),
    ("CAU-ResourceType-C-003-C", "ResourceType", "ResourceId"),
    ("CAU-AllocatedResourceName-C-003-C", "AllocatedResourceName", "AllocatedResourceId"),
    ("CAU-ConsumedUnit-C-004-C", "ConsumedUnit", "ConsumedQuantity"),
    ("CAU-PricingUnit-C-004-C", "PricingUnit", "PricingQuantity"),
    ("CAU-CommitmentDiscountCategory-C-002-C", "CommitmentDiscountCategory", "CommitmentDiscountId"),
    ("CAU-CommitmentDiscountType-C-003-C", "CommitmentDiscountType", "CommitmentDiscountId"),
    ("CAU-CommitmentDiscountUnit-C-004-C", "CommitmentDiscountUnit", "CommitmentDiscountQuantity"),
    ("CAU-InvoiceDetailId-C-003-C", "InvoiceDetailId", "InvoiceId"),
];

/// The first has no value where the second has none.
const ONLY_WITH: [(&str, &str, &str); 18] = [
    ("CAU-ResourceName-C-004-C", "ResourceName", "ResourceId"),
    ("CAU-CommitmentDiscountName-C-004-C", "CommitmentDiscountName", "CommitmentDiscountId"),
    ("CAU-CommitmentDiscountStatus-C-003-C", "CommitmentDiscountStatus", "CommitmentDiscountId"),
    ("CAU-CapacityReservationStatus-C-003-C", "CapacityReservationStatus", "CapacityReservationId"),
    ("CAU-SkuMeter-C-004-C", "SkuMeter", "SkuId"),
    ("CAU-SkuPriceId-C-008-M", "SkuPriceId", "SkuId"),
    ("CAU-ListUnitPrice-C-012-C", "ListUnitPrice", "SkuPriceId"),
    ("CAU-ContractedUnitPrice-C-014-C", "ContractedUnitPrice", "SkuPriceId"),
    ("CAU-PricingCurrencyListUnitPrice-C-011-C", "PricingCurrencyListUnitPrice", "SkuPriceId"),
    ("CAU-PricingCurrencyContractedUnitPrice-C-011-C", "PricingCurrencyContractedUnitPrice", "SkuPriceId"),
    ("CAU-PricingQuantity-C-011-C", "PricingQuantity", "SkuPriceId"),
    ("CAU-PricingCategory-C-012-C", "PricingCategory", "SkuPriceId"),
    ("CAU-ConsumedQuantity-C-009-C", "ConsumedQuantity", "SkuPriceId"),
    ("CAU-SkuPriceDetails-C-004-C", "SkuPriceDetails", "SkuPriceId"),
    ("CAU-CommitmentDiscountQuantity-C-016-C", "CommitmentDiscountQuantity", "SkuPriceId"),
    ("CAU-AllocatedMethodDetails-C-005-C", "AllocatedMethodDetails", "AllocatedMethodId"),
    ("CAU-AllocatedResourceId-C-004-C", "AllocatedResourceId", "AllocatedMethodId"),
    ("CAU-AllocatedTags-C-003-C", "AllocatedTags", "AllocatedMethodId"),
];

/// The four unit prices: not below zero, and there where there is a price.
const UNIT_PRICES: [(&str, &str, &str); 4] = [
    ("CAU-ListUnitPrice-C-008-M", "CAU-ListUnitPrice-C-013-C", "ListUnitPrice"),
    ("CAU-ContractedUnitPrice-C-009-M", "CAU-ContractedUnitPrice-C-015-C", "ContractedUnitPrice"),
    (
        "CAU-PricingCurrencyListUnitPrice-C-008-M",
        "CAU-PricingCurrencyListUnitPrice-C-012-C",
        "PricingCurrencyListUnitPrice",
    ),
    (
        "CAU-PricingCurrencyContractedUnitPrice-C-008-C",
        "CAU-PricingCurrencyContractedUnitPrice-C-012-C",
        "PricingCurrencyContractedUnitPrice",
    ),
];

/// NULL of a tax; there of usage and of purchases that correct nothing: rules of both kinds.
const OF_PRICES: [(&str, &str, &str); 8] = [
    ("CAU-SkuId-C-004-C", "CAU-SkuId-C-005-C", "SkuId"),
    ("CAU-SkuPriceId-C-004-C", "CAU-SkuPriceId-C-005-C", "SkuPriceId"),
    ("CAU-ListUnitPrice-C-004-C", "CAU-ListUnitPrice-C-005-C", "ListUnitPrice"),
    ("CAU-ContractedUnitPrice-C-005-C", "CAU-ContractedUnitPrice-C-006-C", "ContractedUnitPrice"),
    (
        "CAU-PricingCurrencyListUnitPrice-C-004-C",
        "CAU-PricingCurrencyListUnitPrice-C-005-C",
        "PricingCurrencyListUnitPrice",
    ),
    (
        "CAU-PricingCurrencyContractedUnitPrice-C-004-C",
        "CAU-PricingCurrencyContractedUnitPrice-C-005-C",
        "PricingCurrencyContractedUnitPrice",
    ),
    ("CAU-PricingQuantity-C-004-C", "CAU-PricingQuantity-C-005-C", "PricingQuantity"),
    ("CAU-PricingCategory-C-003-C", "CAU-PricingCategory-C-004-C", "PricingCategory"),
];

impl Rules<'_, '_> {
    fn say(&mut self, rule: &str, column: &str, detail: impl Into<String>) {
        let (rule, column, detail) = (rule.to_owned(), column.to_owned(), detail.into());
        self.wrong.push(Wrong { rule, column, detail });
    }

    fn null(&mut self, rule: &str, column: &str, why: &str) {
        if self.fields.is_there(column) {
            self.say(rule, column, format!("it has a value and must be NULL: {why}"));
        }
    }

    fn not_null(&mut self, rule: &str, column: &str, why: &str) {
        if self.fields.is_null(column) {
            self.say(rule, column, format!("it is NULL and must have a value: {why}"));
        }
    }

    /// A period ends after it begins; one of no length is let pass.
    fn period(&mut self, start: &str, end: &str) {
        if let (Some(from), Some(to)) = (self.fields.instant(start), self.fields.instant(end))
            && to < from
        {
            let rule = format!("{}-{end} order", abbreviation(self.dataset));
            self.say(&rule, end, format!("{to} is before {start}, {from}"));
        }
    }

    /// Two instants of which the second is not the earlier.
    fn not_before(&mut self, rule: &str, first: &str, second: &str) {
        if let (Some(before), Some(after)) = (self.fields.instant(first), self.fields.instant(second))
            && after < before
        {
            self.say(rule, second, format!("{after} is before {first}, {before}"));
        }
    }

    fn equal(&mut self, rule: &str, column: &str, other: &str, why: &str) {
        if let (Some(one), Some(two)) = (self.fields.number(column), self.fields.number(other))
            && one != two
        {
            self.say(rule, column, format!("{} is not {other}, {}: {why}", display(&one), display(&two)));
        }
    }

    /// A cost is price × quantity, to 10⁻⁹ of it.
    fn product(&mut self, rule: &str, cost: &str, price: &str) {
        let fields = self.fields;
        let factors = (fields.number(price), fields.number("PricingQuantity"));
        let (Some(stated), (Some(price_of), Some(quantity))) = (fields.number(cost), factors) else { return };
        let product = price_of * quantity;
        let size = product.abs().max(Exact::one());
        if (&stated - &product).abs() * Exact::from_integer(1_000_000_000.into()) > size {
            let (stated, product) = (display(&stated), display(&product));
            self.say(rule, cost, format!("{stated} is not {price} × PricingQuantity, {product}"));
        }
    }

    fn cost_and_usage(&mut self) {
        for (rule, one, other) in TOGETHER {
            match (self.fields.cell(one), self.fields.cell(other)) {
                (Some(_), Some(Cell::Null)) => self.null(rule, one, &format!("{other} is")),
                (Some(_), Some(_)) => self.not_null(rule, one, &format!("{other} has one")),
                _ => {}
            }
        }
        for (rule, one, other) in ONLY_WITH {
            if self.fields.is_null(other) {
                self.null(rule, one, &format!("{other} is"));
            }
        }
        for (below, there, price) in UNIT_PRICES {
            if self.fields.number(price).is_some_and(|number| number.is_negative()) {
                self.say(below, price, "it is below zero; the sign is that of the quantity");
            }
            if self.fields.is_there("SkuPriceId") {
                self.not_null(there, price, "SkuPriceId has one");
            }
        }
        self.not_null("CAU-BillingAccountName-C-003-C", "BillingAccountName", "accounts have names");
        self.not_null("CAU-BillingAccountType-C-005-C", "BillingAccountType", "BillingAccountId has one");
        self.not_null("CAU-ChargeDescription-C-003-O", "ChargeDescription", "a charge is for something");
        self.of_category();
        self.product("CAU-ListCost-C-011-C", "ListCost", "ListUnitPrice");
        self.product("CAU-ContractedCost-C-011-C", "ContractedCost", "ContractedUnitPrice");
        self.period("BillingPeriodStart", "BillingPeriodEnd");
        self.period("ChargePeriodStart", "ChargePeriodEnd");
        self.service();
        self.ratios();
    }

    fn of_category(&mut self) {
        let Some(category) = self.fields.text("ChargeCategory") else { return };
        let corrects = self.fields.text("ChargeClass") == Some("Correction");
        let of_category = format!("ChargeCategory is {category}");
        let is_priced = matches!(category, "Usage" | "Purchase");
        for (of_tax, of_price, column) in OF_PRICES {
            if category == "Tax" {
                self.null(of_tax, column, &of_category);
            } else if is_priced && !corrects {
                self.not_null(of_price, column, &of_category);
            }
        }
        let unused = self.fields.text("CommitmentDiscountStatus") == Some("Unused");
        if category != "Usage" || unused {
            let why = if unused { "the commitment is unused" } else { &of_category };
            self.null("CAU-ConsumedQuantity-C-004-C", "ConsumedQuantity", why);
        } else if !corrects {
            self.not_null("CAU-ConsumedQuantity-C-006-C", "ConsumedQuantity", &of_category);
        }
        let discounted = self.fields.is_there("CommitmentDiscountId");
        if !(is_priced && discounted) {
            let why = "it is of a charge under a commitment";
            self.null("CAU-CommitmentDiscountQuantity-C-007-C", "CommitmentDiscountQuantity", why);
        } else if !corrects {
            let why = "the charge is under a commitment";
            self.not_null("CAU-CommitmentDiscountQuantity-C-005-C", "CommitmentDiscountQuantity", why);
        }
        if category == "Purchase" && self.fields.text("ChargeFrequency") == Some("Usage-Based") {
            self.say("CAU-ChargeFrequency-C-004-C", "ChargeFrequency", "a purchase is not Usage-Based");
        }
        // Whether a charge is covered by another cannot be seen without commitments.
        if matches!(category, "Tax" | "Credit") || (is_priced && !discounted) {
            self.equal("CAU-EffectiveCost-C-017-C", "EffectiveCost", "BilledCost", &of_category);
        }
        if !matches!(category, "Tax" | "Adjustment") {
            self.not_null("CAU-HostProviderName-C-006-M", "HostProviderName", &of_category);
        }
        if category == "Credit" && self.fields.is_null("ListUnitPrice") {
            self.equal("CAU-ListCost-C-008-M", "ListCost", "BilledCost", &of_category);
            self.equal("CAU-ContractedCost-C-008-M", "ContractedCost", "BilledCost", &of_category);
        }
    }

    fn service(&mut self) {
        let fields = self.fields;
        let Some(category) = fields.text("ServiceCategory") else { return };
        let allowed = V1_4.subcategories(category);
        if allowed.is_empty() {
            let detail = format!("{} is no category of services", formats::shown(category));
            self.say("CAU-ServiceCategory-C-003-M", "ServiceCategory", detail);
        } else if let Some(subcategory) = fields.text("ServiceSubcategory")
            && !allowed.contains(&subcategory)
        {
            let detail =
                format!("{} is not one of {category}: {}", formats::shown(subcategory), allowed.join(", "));
            self.say("CAU-ServiceSubcategory-C-004-M", "ServiceSubcategory", detail);
        }
    }

    fn ratios(&mut self) {
        let Some(text) = self.fields.text("AllocatedMethodDetails") else { return };
        let Ok(object) = formats::object(text) else { return };
        let elements = object.get("Elements").and_then(|elements| elements.as_array());
        let fine = elements.is_some_and(|elements| {
            !elements.is_empty() && elements.iter().all(|element| element["AllocatedRatio"].is_number())
        });
        if !fine {
            let detail = "it has no list `Elements` of objects with a number `AllocatedRatio`";
            self.say("CAU-AllocatedMethodDetails-C-007-C", "AllocatedMethodDetails", detail);
        }
    }

    fn invoice_detail(&mut self) {
        self.not_null(
            "IND-InvoiceDetailDescription-C-003-O",
            "InvoiceDetailDescription",
            "a line is for something",
        );
        self.period("BillingPeriodStart", "BillingPeriodEnd");
        let rule = "IND-InvoiceDetailLastUpdated-C-005-M";
        self.not_before(rule, "InvoiceDetailCreated", "InvoiceDetailLastUpdated");
        if self.fields.text("BillingCurrency") == self.fields.text("PaymentCurrency") {
            let rule = "IND-PaymentCurrencyBilledCost-C-005-M";
            self.equal(rule, "PaymentCurrencyBilledCost", "BilledCost", "both are in one currency");
        }
        if self.fields.text("InvoiceIssueStatus") == Some("Issued") {
            self.not_null("IND-InvoiceIssueDate-C-004-M", "InvoiceIssueDate", "the invoice is issued");
        }
    }

    fn billing_period(&mut self) {
        self.period("BillingPeriodStart", "BillingPeriodEnd");
        self.not_before(
            "BIP-BillingPeriodLastUpdated order",
            "BillingPeriodCreated",
            "BillingPeriodLastUpdated",
        );
    }
}

/// What a file has said, where rows must agree: of a rule, by what must say one thing only.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<(&'static str, String), String>);

/// The first column must say one thing for each value of the second.
const ONE_FOR_EACH: [(&str, &str, &str); 3] = [
    ("CAU-SkuPriceId-C-008-M", "SkuId", "SkuPriceId"),
    ("CAU-ServiceName-C-005-C", "ServiceCategory", "ServiceName"),
    ("CAU-ServiceName-C-008-C", "ServiceSubcategory", "ServiceName"),
];

/// No two rows have the same values in these.
const UNIQUE: [(Dataset, &str, &str, &[&str]); 2] = [
    (
        Dataset::InvoiceDetail,
        "IND-InvoiceDetailId-C-004-M",
        "InvoiceDetailId",
        &["InvoiceIssuerName", "InvoiceId", "InvoiceDetailId"],
    ),
    (
        Dataset::BillingPeriod,
        "BIP-BillingPeriodStart unique",
        "BillingPeriodStart",
        &["InvoiceIssuerName", "BillingPeriodStart"],
    ),
];

impl Said {
    /// What a row says that an earlier one has said otherwise.
    pub fn row(&mut self, dataset: Dataset, fields: &Fields<'_>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if dataset == Dataset::CostAndUsage {
            for (rule, one, each) in ONE_FOR_EACH {
                let (Some(value), Some(of)) = (fields.text(one), fields.text(each)) else { continue };
                let said = self.0.entry((rule, of.to_owned())).or_insert_with(|| value.to_owned());
                if said != value {
                    let detail = format!(
                        "{} has {}, and an earlier row {}",
                        formats::shown(of),
                        formats::shown(value),
                        formats::shown(said)
                    );
                    wrong.push(Wrong { rule: rule.to_owned(), column: one.to_owned(), detail });
                }
            }
        }
        for (_, rule, column, key) in UNIQUE.iter().filter(|(of, ..)| *of == dataset) {
            let key: Vec<String> = key.iter().map(|column| format!("{:?}", fields.cell(column))).collect();
            let key = key.join(" ");
            if self.0.insert((rule, key), String::new()).is_some() {
                let detail = "an earlier row has the same".to_owned();
                wrong.push(Wrong { rule: (*rule).to_owned(), column: (*column).to_owned(), detail });
            }
        }
        wrong
    }
}
