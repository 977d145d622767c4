//! The catalog's format: its files, its tables and the keys of each.
//!
//! Declared once: a key that is not declared here is refused where it is written, and cannot be
//! read. Its meaning is deliberately left to whoever reads it.
//!
//! Invariant: [`FIXED`] has every list of keys that does not depend on a word of its table.

pub(super) const CATALOG: &str = "catalog.toml";
pub(super) const METERS: &str = "meters.toml";
pub(super) const CUSTOMERS: &str = "customers.toml";
pub(super) const BINDINGS: &str = "bindings.csv";
pub(super) const GRANTS: &str = "grants.toml";
pub(super) const RATES: &str = "fx.csv";
pub(super) const FOCUS: &str = "focus.toml";
pub(super) const LIMITS: &str = "limits.toml";
pub(super) const GENERAL_LEDGER: &str = "gl.toml";
/// In a provider's folder.
pub(super) const PROVIDER: &str = "provider.toml";
pub(super) const PRICES: &str = "prices.toml";
pub(super) const INVOICE: &str = "invoice.toml";
pub(super) const INVOICE_MAP: &str = "invoice_map.csv";

/// The keys of one kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableKeys {
    /// The file, with `ID` for a provider's id.
    pub file: &'static str,
    /// The table as it is written, like `[[sku.price]]`; empty for the keys of the file itself.
    pub table: &'static str,
    /// The key and the word with which the table has these keys beside its others, like `model` and
    /// `package`; `None` for those that it may always have.
    pub with: Option<(&'static str, &'static str)>,
    /// The keys, or the columns of a CSV file in their order.
    pub keys: &'static [&'static str],
}

macro_rules! tables {
    ($($NAME:ident: $file:literal $table:literal [$($key:literal),+];)+) => {
        $(pub(super) const $NAME: TableKeys =
            TableKeys { file: $file, table: $table, with: None, keys: &[$($key),+] };)+

        /// Every list above, in the order of the files and of their tables.
        pub(super) const FIXED: &[TableKeys] = &[$($NAME),+];
    };
}

/// The keys of a file of prices that are tried without a catalog, beside those of its SKUs or of its
/// one price.
pub(super) const SHEET_KEYS: TableKeys =
    TableKeys { file: "FILE", table: "", with: None, keys: &["currency", "rounding", "time_zone", "anchor"] };

/// The keys of a file of one meter that is tried without a catalog.
pub(super) const METER_SHEET_KEYS: TableKeys =
    TableKeys { file: "FILE", table: "", with: None, keys: &["meter", "time_zone"] };

tables! {
    OPERATOR_KEYS: "catalog.toml" "" ["operator", "name"];
    METER_LIST: "meters.toml" "" ["meter"];
    METER_KEYS: "meters.toml" "[[meter]]"
        ["type", "events", "unit", "dimensions", "kind", "carry", "aggregation", "distinct", "greater_of",
         "window", "over", "percentile", "empty", "per"];
    GREATER_KEYS: "meters.toml" "[meter.greater_of]" ["dimension", "at"];
    CUSTOMER_LIST: "customers.toml" "" ["customer"];
    CUSTOMER_KEYS: "customers.toml" "[[customer]]" ["id", "name", "kind", "currency", "bills_to"];
    KIND_KEYS: "customers.toml" "[[customer.kind]]" ["is", "from", "until"];
    BINDING_COLUMNS: "bindings.csv" "" ["subject", "customer", "from", "until"];
    GRANT_LIST: "grants.toml" "" ["grant"];
    GRANT_KEYS: "grants.toml" "[[grant]]"
        ["id", "customer", "funder", "currency", "share", "amount", "from", "until", "of", "except"];
    RATE_COLUMNS: "fx.csv" "" ["period", "from", "to", "rate", "source"];
    LIMIT_LIST: "limits.toml" "" ["limit"];
    LIMIT_KEYS: "limits.toml" "[[limit]]" ["id", "customer", "of", "currency", "amount", "growth"];
    FOCUS_LIST: "focus.toml" "" ["provider", "sku"];
    FOCUS_PROVIDER_KEYS: "focus.toml" "[provider.ID]" ["service", "category", "subcategory"];
    FOCUS_SKU_KEYS: "focus.toml" "[sku.ID]" ["service", "category", "subcategory", "unit"];
    LEDGER_KEYS: "gl.toml" "" ["payable", "clearing", "receivable", "retained"];
    PROVIDER_KEYS: "providers/ID/provider.toml" ""
        ["id", "name", "billing_account", "currency", "time_zone", "anchor", "rounding"];
    ROUNDING_KEYS: "providers/ID/provider.toml" "[rounding]" ["mode", "steps"];
    STEPS_KEYS: "providers/ID/provider.toml" "[rounding.steps]" ["places", "mode"];
    SKU_LIST: "providers/ID/prices.toml" "" ["sku"];
    SKU_KEYS: "providers/ID/prices.toml" "[[sku]]"
        ["id", "name", "meter", "match", "unit", "month", "of", "except", "allocation", "price", "example"];
    PRICE_KEYS: "providers/ID/prices.toml" "[[sku.price]]" ["from", "until", "model", "increment", "free"];
    INCREMENT_KEYS: "providers/ID/prices.toml" "[sku.price.increment]" ["size", "mode"];
    TIER_KEYS: "providers/ID/prices.toml" "[[sku.price.tiers]]" ["up_to", "unit_price", "flat"];
    EXAMPLE_KEYS: "providers/ID/prices.toml" "[[sku.example]]" ["on", "quantity", "amount"];
    INVOICE_KEYS: "providers/ID/invoice.toml" ""
        ["format", "file", "columns", "rows", "more", "credits", "units", "pass", "reconcile"];
    WRITTEN_KEYS: "providers/ID/invoice.toml" "[file]"
        ["encoding", "delimiter", "header", "decimal", "thousands", "date", "dates", "end"];
    COLUMN_KEYS: "providers/ID/invoice.toml" "[columns]"
        ["invoice", "month", "line_id", "billing_account", "sub_account", "sku", "description", "start", "end",
         "quantity", "unit", "unit_price", "amount", "currency"];
    ROW_KEYS: "providers/ID/invoice.toml" "[[rows]]" ["when", "is"];
    MORE_KEYS: "providers/ID/invoice.toml" "[[more]]"
        ["is", "amount", "line_id", "sku", "description", "quantity", "unit", "unit_price"];
    PASS_KEYS: "providers/ID/invoice.toml" "[pass]" ["usage", "tax", "credit", "fee", "adjustment"];
    RECONCILE_KEYS: "providers/ID/invoice.toml" "[reconcile]" ["tolerance"];
    MEANING_COLUMNS: "providers/ID/invoice_map.csv" "" ["kind", "text", "id", "from", "until"];
}
