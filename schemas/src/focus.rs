//! The columns of FOCUS, the FinOps Open Cost and Usage Specification, as data: what a version calls
//! each, of which type it is, and which values it may have. The text of the specification is
//! CC-BY-4.0, Joint Development Foundation Projects LLC, FOCUS Series.
//!
//! How rows come about, and which rules hold between columns, is deliberately not known here. Another
//! version is another [`Version`].
//!
//! Invariant: the columns of a table are in the order of files: those of FOCUS by name, then those of
//! our own by name.

use ColumnType::{Currency, DateTime, Decimal, KeyValue, Object, Text, Unit};

/// One version of the specification, as far as it is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// `1.4`.
    pub number: &'static str,
    pub tables: [Table; 3],
    /// The categories of services, and the subcategories of each.
    pub services: &'static [(&'static str, &'static [&'static str])],
}

/// The columns of one dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub dataset: Dataset,
    /// Those of FOCUS.
    pub columns: &'static [Column],
    /// Those of our own.
    pub own: &'static [Column],
}

/// What rows are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dataset {
    CostAndUsage,
    InvoiceDetail,
    BillingPeriod,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub column_type: ColumnType,
    /// Whether a row may have no value. When it must, and must not, is a rule between columns.
    pub nullable: bool,
    /// All values that it may have; empty where any may stand.
    pub allowed: &'static [&'static str],
    /// One sentence, of the columns of our own; those of FOCUS are described there.
    pub meaning: &'static str,
}

/// The type of a column, and the format of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    /// A code of ISO 4217.
    Currency,
    /// Like `GiB-Months`, `Hours` or `1000 Tokens`.
    Unit,
    Decimal,
    /// An instant in UTC.
    DateTime,
    /// A JSON object without objects or lists in it, as text.
    KeyValue,
    /// A JSON object, as text.
    Object,
}

/// FOCUS 1.4, of 4 June 2026.
pub const V1_4: Version = Version {
    number: "1.4",
    tables: [
        Table { dataset: Dataset::CostAndUsage, columns: COST_AND_USAGE_1_4, own: OWN_OF_COST_AND_USAGE },
        Table { dataset: Dataset::InvoiceDetail, columns: INVOICE_DETAIL_1_4, own: &[] },
        Table { dataset: Dataset::BillingPeriod, columns: BILLING_PERIOD_1_4, own: &[] },
    ],
    services: SERVICES_1_4,
};

impl Version {
    pub fn table(&self, dataset: Dataset) -> &Table {
        let found = self.tables.iter().find(|table| table.dataset == dataset);
        found.expect("a version has a table for each dataset")
    }

    /// The subcategories of a category of services; none where there is no such category.
    pub fn subcategories(&self, category: &str) -> &'static [&'static str] {
        self.services.iter().find(|(name, _)| *name == category).map_or(&[], |(_, below)| below)
    }
}

impl Table {
    /// All columns, in the order of files.
    pub fn all(&self) -> impl Iterator<Item = &'static Column> + Clone + use<> {
        self.columns.iter().chain(self.own)
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.all().find(|column| column.name == name)
    }
}

impl Dataset {
    pub const ALL: [Self; 3] = [Self::CostAndUsage, Self::InvoiceDetail, Self::BillingPeriod];

    /// The word of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CostAndUsage => "CostAndUsage",
            Self::InvoiceDetail => "InvoiceDetail",
            Self::BillingPeriod => "BillingPeriod",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dataset| dataset.as_str() == word)
    }
}

impl ColumnType {
    /// The data type, as the metadata of FOCUS has it.
    pub fn word(self) -> &'static str {
        match self {
            Text | Currency | Unit => "STRING",
            Decimal => "DECIMAL",
            DateTime => "DATETIME",
            KeyValue | Object => "JSON",
        }
    }
}

/// A column that every row has a value for.
const fn never(name: &'static str, column_type: ColumnType) -> Column {
    Column { name, column_type, nullable: false, allowed: &[], meaning: "" }
}

/// A column that a row may have no value for.
const fn may(name: &'static str, column_type: ColumnType) -> Column {
    Column { name, column_type, nullable: true, allowed: &[], meaning: "" }
}

const fn own(name: &'static str, meaning: &'static str) -> Column {
    Column { name, column_type: Text, nullable: true, allowed: &[], meaning }
}

impl Column {
    const fn one_of(self, allowed: &'static [&'static str]) -> Self {
        Self { allowed, ..self }
    }
}

const OWN_OF_COST_AND_USAGE: &[Column] = &[
    own(
        "x_AllocationRule",
        "How the provider's charge was shared among customers, as the price list says it.",
    ),
    own(
        "x_CorrectionEntry",
        "Of a correction: `reversal` takes back what was billed, `re-entry` bills it anew.",
    )
    .one_of(&["reversal", "re-entry"]),
    own("x_RetainedReason", "Why nobody is charged: the biller bears it."),
    own("x_UpstreamBillingAccountId", "The operator's account with the provider."),
    own("x_UpstreamInvoiceId", "The provider's invoice that the charge is on; NULL while it is an estimate."),
];

const COST_AND_USAGE_1_4: &[Column] = &[
    may("AllocatedMethodDetails", Object),
    may("AllocatedMethodId", Text),
    may("AllocatedResourceId", Text),
    may("AllocatedResourceName", Text),
    may("AllocatedTags", KeyValue),
    may("AvailabilityZone", Text),
    never("BilledCost", Decimal),
    never("BillingAccountId", Text),
    may("BillingAccountName", Text),
    may("BillingAccountType", Text),
    never("BillingCurrency", Currency),
    never("BillingPeriodEnd", DateTime),
    never("BillingPeriodStart", DateTime),
    may("CapacityReservationId", Text),
    may("CapacityReservationStatus", Text).one_of(&["Used", "Unused"]),
    never("ChargeCategory", Text).one_of(&["Usage", "Purchase", "Tax", "Credit", "Adjustment"]),
    may("ChargeClass", Text).one_of(&["Correction"]),
    may("ChargeDescription", Text),
    never("ChargeFrequency", Text).one_of(&["One-Time", "Recurring", "Usage-Based"]),
    never("ChargePeriodEnd", DateTime),
    never("ChargePeriodStart", DateTime),
    may("CommitmentDiscountCategory", Text).one_of(&["Spend", "Usage"]),
    may("CommitmentDiscountId", Text),
    may("CommitmentDiscountName", Text),
    may("CommitmentDiscountQuantity", Decimal),
    may("CommitmentDiscountStatus", Text).one_of(&["Used", "Unused"]),
    may("CommitmentDiscountType", Text),
    may("CommitmentDiscountUnit", Unit),
    may("CommitmentProgramEligibilityDetails", Object),
    may("ConsumedQuantity", Decimal),
    may("ConsumedUnit", Unit),
    may("ContractApplied", Object),
    never("ContractedCost", Decimal),
    may("ContractedUnitPrice", Decimal),
    never("EffectiveCost", Decimal),
    may("HostProviderName", Text),
    may("InvoiceDetailId", Text),
    may("InvoiceId", Text),
    never("InvoiceIssuerName", Text),
    never("ListCost", Decimal),
    may("ListUnitPrice", Decimal),
    may("PricingCategory", Text).one_of(&["Standard", "Committed", "Dynamic", "Other"]),
    never("PricingCurrency", Currency),
    may("PricingCurrencyContractedUnitPrice", Decimal),
    never("PricingCurrencyEffectiveCost", Decimal),
    may("PricingCurrencyListUnitPrice", Decimal),
    may("PricingQuantity", Decimal),
    may("PricingUnit", Unit),
    may("RegionId", Text),
    may("RegionName", Text),
    may("ResourceId", Text),
    may("ResourceName", Text),
    may("ResourceType", Text),
    never("ServiceCategory", Text),
    never("ServiceName", Text),
    never("ServiceProviderName", Text),
    never("ServiceSubcategory", Text),
    may("SkuId", Text),
    may("SkuMeter", Text),
    may("SkuPriceDetails", KeyValue),
    may("SkuPriceId", Text),
    may("SubAccountId", Text),
    may("SubAccountName", Text),
    may("SubAccountType", Text),
    may("Tags", KeyValue),
];

const INVOICE_DETAIL_1_4: &[Column] = &[
    never("BilledCost", Decimal),
    never("BillingAccountId", Text),
    never("BillingCurrency", Currency),
    never("BillingPeriodEnd", DateTime),
    never("BillingPeriodStart", DateTime),
    never("ChargeCategory", Text).one_of(&["Usage", "Purchase", "Tax", "Credit", "Adjustment"]),
    never("InvoiceDetailCreated", DateTime),
    may("InvoiceDetailDescription", Text),
    may("InvoiceDetailGrain", KeyValue),
    never("InvoiceDetailId", Text),
    never("InvoiceDetailLastUpdated", DateTime),
    never("InvoiceId", Text),
    may("InvoiceIssueDate", DateTime),
    never("InvoiceIssueStatus", Text).one_of(&["Open", "Issued", "Voided"]),
    never("InvoiceIssuerName", Text),
    never("PaymentCurrency", Currency),
    never("PaymentCurrencyBilledCost", Decimal),
    never("PaymentCurrencyInvoiceDetailId", Text),
    may("PaymentDueDate", DateTime),
    never("PaymentTerms", Text),
    may("PurchaseOrderNumber", Text),
    never("ReferenceInvoiceId", Text),
];

const BILLING_PERIOD_1_4: &[Column] = &[
    never("BillingPeriodCreated", DateTime),
    never("BillingPeriodEnd", DateTime),
    never("BillingPeriodLastUpdated", DateTime),
    never("BillingPeriodStart", DateTime),
    never("BillingPeriodStatus", Text).one_of(&["Open", "Closed"]),
    never("InvoiceIssuerName", Text),
];

const SERVICES_1_4: &[(&str, &[&str])] = &[
    (
        "AI and Machine Learning",
        &[
            "AI Platforms",
            "Bots",
            "Generative AI",
            "Machine Learning",
            "Natural Language Processing",
            "Other (AI and Machine Learning)",
        ],
    ),
    (
        "Analytics",
        &[
            "Analytics Platforms",
            "Business Intelligence",
            "Data Processing",
            "Search",
            "Streaming Analytics",
            "Other (Analytics)",
        ],
    ),
    ("Business Applications", &["Productivity and Collaboration", "Other (Business Applications)"]),
    (
        "Compute",
        &[
            "Containers",
            "End User Computing",
            "Quantum Compute",
            "Serverless Compute",
            "Virtual Machines",
            "Other (Compute)",
        ],
    ),
    (
        "Databases",
        &[
            "Caching",
            "Data Warehouses",
            "Ledger Databases",
            "NoSQL Databases",
            "Relational Databases",
            "Time Series Databases",
            "Other (Databases)",
        ],
    ),
    (
        "Developer Tools",
        &[
            "Developer Platforms",
            "Continuous Integration and Deployment",
            "Development Environments",
            "Source Code Management",
            "Quality Assurance",
            "Other (Developer Tools)",
        ],
    ),
    ("Identity", &["Identity and Access Management", "Other (Identity)"]),
    ("Integration", &["API Management", "Messaging", "Workflow Orchestration", "Other (Integration)"]),
    ("Internet of Things", &["IoT Analytics", "IoT Platforms", "Other (Internet of Things)"]),
    (
        "Management and Governance",
        &[
            "Architecture",
            "Compliance",
            "Cost Management",
            "Data Governance",
            "Disaster Recovery",
            "Endpoint Management",
            "Observability",
            "Support",
            "Other (Management and Governance)",
        ],
    ),
    ("Media", &["Content Creation", "Gaming", "Media Streaming", "Mixed Reality", "Other (Media)"]),
    ("Migration", &["Data Migration", "Resource Migration", "Other (Migration)"]),
    ("Mobile", &["Other (Mobile)"]),
    ("Multicloud", &["Multicloud Integration", "Other (Multicloud)"]),
    (
        "Networking",
        &[
            "Application Networking",
            "Content Delivery",
            "Network Connectivity",
            "Network Infrastructure",
            "Network Routing",
            "Network Security",
            "Other (Networking)",
        ],
    ),
    (
        "Security",
        &[
            "Secret Management",
            "Security Posture Management",
            "Threat Detection and Response",
            "Other (Security)",
        ],
    ),
    (
        "Storage",
        &[
            "Backup Storage",
            "Block Storage",
            "File Storage",
            "Object Storage",
            "Storage Platforms",
            "Other (Storage)",
        ],
    ),
    ("Web", &["Application Platforms", "Other (Web)"]),
    ("Other", &["Other (Other)"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_the_order_of_files() {
        for table in V1_4.tables {
            for columns in [table.columns, table.own] {
                assert!(columns.is_sorted_by_key(|column| column.name), "{:?}", table.dataset);
            }
            assert!(
                table.own.iter().all(|column| column.name.starts_with("x_") && !column.meaning.is_empty())
            );
        }
        assert_eq!(V1_4.tables.map(|table| table.columns.len()), [65, 22, 6]);
        assert_eq!(V1_4.services.iter().map(|(_, below)| below.len()).sum::<usize>(), 82);
        assert_eq!(V1_4.subcategories("Mobile"), ["Other (Mobile)"]);
        assert!(V1_4.subcategories("mobile").is_empty());
    }

    #[test]
    fn a_column_says_what_it_may_hold() {
        let column = |name| V1_4.table(Dataset::CostAndUsage).column(name).expect("a column");
        assert_eq!(column("ChargeClass").allowed, ["Correction"]);
        assert!(column("ChargeClass").nullable && !column("BilledCost").nullable);
        assert_eq!(column("PricingUnit").column_type, Unit);
        assert_eq!(column("x_UpstreamInvoiceId").column_type.word(), "STRING");
        assert_eq!(V1_4.table(Dataset::BillingPeriod).column("x_UpstreamInvoiceId"), None);
    }
}
