//! A provider's invoice.toml: how its invoices are read, which units they are in, and who bears what
//! belongs to no SKU.
//!
//! What ships with the binary is read by the same reader. What texts of invoices mean is in
//! `invoice_map`, and no invoice is read here.
//!
//! Invariant: a mapping that is returned without a problem says where amounts and currencies are.

use super::files::CatalogFiles;
use super::format::{INVOICE, INVOICE_KEYS, PASS_KEYS, RECONCILE_KEYS};
use super::mapping::{MappingLayer, category};
use super::shipped::Format;
use super::toml::{Table, TomlFile};
use crate::catalog::invoicing::{InvoiceMap, InvoiceUnit, Invoicing, PassRule};
use crate::catalog::problem::Findings;
use crate::exact::{Exact, exact};
use crate::units::Unit;
use crate::words::either;
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, Sign};
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::{Column, LineEnd, Mapping};
use std::collections::BTreeMap;

type Units = BTreeMap<Box<str>, InvoiceUnit>;

/// What a provider's file says, without its map. `None` where there is no file, or a problem has been
/// reported.
pub(super) fn read_invoice(folder: &str, files: &CatalogFiles, findings: &Findings) -> Option<Invoicing> {
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{INVOICE}"))?;
    let file = TomlFile::parse(path, text, findings)?;
    let root = file.root();
    root.only(INVOICE_KEYS.keys);
    let format = root.parsed("format", "a format of invoices", |text| {
        let words = || format!("it must be {}", either(Format::ALL.map(Format::as_str)));
        Format::parse(text).ok_or_else(words)
    });
    let layer = MappingLayer::read(&root);
    let units = read_units(&root);
    let pass = root.optional_table("pass", "the `pass`".to_owned()).map(read_pass).unwrap_or_default();
    let tolerance = root.optional_table("reconcile", "the `reconcile`".to_owned()).and_then(read_tolerance);
    let format = format?;
    let mapping = match format {
        Format::En16931 => {
            refuse_columns(&root);
            Mapping::En16931
        }
        _ => {
            check_end(&root, &layer);
            let layer = layer.over(shipped(format).0);
            check_layer(&root, &layer, format);
            Mapping::Columns(Box::new(layer.mapping(format.as_str())))
        }
    };
    // FOCUS has names for units that other files use, too. An electronic invoice has codes in their place.
    let mut all = if format == Format::En16931 { Units::new() } else { shipped(Format::Focus).1 };
    all.extend(shipped(format).1);
    all.extend(units);
    Some(Invoicing { mapping, units: all, pass, tolerance, map: InvoiceMap::default() })
}

/// What a format says that ships with the binary.
fn shipped(format: Format) -> (MappingLayer, Units) {
    let Some(text) = format.text() else { return Default::default() };
    let findings = Findings::default();
    let file = TomlFile::parse(format.as_str(), text, &findings).expect("a format that ships is TOML");
    let root = file.root();
    root.only(INVOICE_KEYS.keys);
    (MappingLayer::read(&root), read_units(&root))
}

/// The line of a key in a table of the file, or of the table.
fn line_in(root: &Table<'_>, table: &str, key: &str) -> usize {
    let found = root.optional_table(table, String::new());
    found.map_or_else(|| root.line_of(table), |table| table.line_of(key))
}

/// The European norm says itself where everything is.
fn refuse_columns(root: &Table<'_>) {
    for key in ["file", "columns", "rows", "more", "credits"].into_iter().filter(|key| root.has(key)) {
        root.problem(
            root.line_of(key),
            format!("`{key}` says how columns are read, and an electronic invoice has none"),
            "remove it, or give the format of a file of columns",
        );
    }
}

/// An end of lines that a file gives twice, or not at all.
fn check_end(root: &Table<'_>, layer: &MappingLayer) {
    if layer.file.end == Some(LineEnd::Day) && layer.has(Column::End) {
        root.problem(
            line_in(root, "file", "end"),
            "`end = \"day\"` of the `file` says that there is no column for the end, and the `columns` have one",
            "remove one of them",
        );
    }
}

fn check_layer(root: &Table<'_>, layer: &MappingLayer, format: Format) {
    for column in [Column::Amount, Column::Currency].into_iter().filter(|column| !layer.has(*column)) {
        let line = if root.has("columns") { root.line_of("columns") } else { root.line_of("format") };
        root.problem(
            line,
            format!("nothing says where the {column} of a line is", column = column.as_str()),
            format!("add `{} = \"the header of a column\"` to `[columns]`", column.as_str()),
        );
    }
    if let Some(mark) = layer.file.thousands.flatten()
        && mark == layer.file.decimal.unwrap_or('.')
    {
        root.problem(
            line_in(root, "file", "thousands"),
            format!("{:?} is the decimal mark and stands between thousands", mark.to_string()),
            "give the `file` another `decimal` or `thousands`",
        );
    }
    if layer.file.end == Some(LineEnd::Inclusive) && !layer.has(Column::End) {
        root.problem(
            line_in(root, "file", "end"),
            "`end = \"inclusive\"` of the `file` says what the last day is, and no column has it",
            "add `end` to `[columns]`, or remove it from `[file]`",
        );
    }
    if format == Format::Csv && root.has("units") && !layer.has(Column::Unit) {
        root.problem(
            root.line_of("units"),
            "there are `units`, and no column has the unit of a line",
            "add `unit` to `[columns]`, or remove the `units`",
        );
    }
}

fn read_units(root: &Table<'_>) -> Units {
    let mut units = Units::new();
    let Some(table) = root.optional_table("units", "the `units`".to_owned()) else { return units };
    let table = table.of_names().with_example("1000 GBy");
    for name in table.keys() {
        let Some(text) = table.text(name.value) else { continue };
        let unit = match read_unit(text.value) {
            Ok(unit) => unit,
            Err(error) => {
                table.problem(
                    text.line,
                    format!("`{:?} = {:?}` of the `units` is not a unit: {error}", name.value, text.value),
                    format!(
                        "write a factor, if any, and a unit in UCUM, like `{:?} = \"1000 GBy\"`",
                        name.value
                    ),
                );
                continue;
            }
        };
        if let Some(doubt) = unit.unit.doubt() {
            table.warning(name.line, doubt);
        }
        units.insert(name.value.into(), unit);
    }
    units
}

fn read_unit(text: &str) -> Result<InvoiceUnit, String> {
    let (factor, unit) = match text.split_once(' ') {
        Some((factor, unit)) => (read_factor(factor)?, unit),
        None => (Exact::one(), text),
    };
    let unit = Unit::parse(unit).map_err(|error| error.to_string())?;
    Ok(InvoiceUnit { factor, unit })
}

fn read_factor(text: &str) -> Result<Exact, String> {
    let factor =
        Amount::parse(text, Sign::NonNegative).map(exact).map_err(|error| format!("its factor: {error}"))?;
    if factor.is_zero() { Err("its factor is not above 0".to_owned()) } else { Ok(factor) }
}

fn read_pass(table: Table<'_>) -> BTreeMap<LineCategory, PassRule> {
    let table = table.with_example("by_cost");
    table.only(PASS_KEYS.keys);
    let rule = |key: &&str| {
        table.parsed(key, "a way to pass lines on", |text| {
            let words = || format!("it must be {}", either(PassRule::ALL.map(PassRule::as_str)));
            PassRule::parse(text).ok_or_else(words)
        })
    };
    let written = PASS_KEYS.keys.iter().filter(|key| table.has(key));
    written.filter_map(|key| Some((category(key).ok()?, rule(key)?))).collect()
}

fn read_tolerance(table: Table<'_>) -> Option<Exact> {
    table.only(RECONCILE_KEYS.keys);
    let tolerance: Amount = table.decimal("tolerance", "an amount", Sign::NonNegative)?;
    Some(exact(tolerance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::invoice_mapping::{ColumnMapping, RowKind, Source};

    #[test]
    fn what_ships_is_read_without_a_problem() {
        for format in Format::ALL {
            let Some(text) = format.text() else { continue };
            let findings = Findings::default();
            check_shipped(format, text, &findings);
            assert_eq!(findings.into_result(), Ok(Vec::new()), "{format}");
        }
    }

    fn check_shipped(format: Format, text: &str, findings: &Findings) {
        let file = TomlFile::parse(format.as_str(), text, findings).expect("TOML");
        let root = file.root();
        root.only(INVOICE_KEYS.keys);
        let (layer, units) = (MappingLayer::read(&root), read_units(&root));
        for key in ["pass", "reconcile"] {
            assert!(!root.has(key), "{format} decides {key}");
        }
        if format == Format::En16931 {
            refuse_columns(&root);
            assert!(!units.is_empty());
        } else {
            check_end(&root, &layer);
            check_layer(&root, &layer, format);
            assert!(layer.has(Column::Sku) && layer.has(Column::Unit), "{format}");
        }
    }

    #[test]
    fn every_category_may_be_passed_on() {
        assert_eq!(PASS_KEYS.keys, LineCategory::ALL.map(LineCategory::as_str));
    }

    fn read(text: &str) -> Invoicing {
        let files = CatalogFiles::new([("providers/p/invoice.toml".to_owned(), text.to_owned())].into());
        let findings = Findings::default();
        let invoicing = read_invoice("p", &files, &findings);
        assert_eq!(findings.into_result(), Ok(Vec::new()));
        invoicing.expect("there is no problem")
    }

    fn columns(text: &str) -> ColumnMapping {
        match read(text).mapping {
            Mapping::Columns(mapping) => *mapping,
            Mapping::En16931 => panic!("it has columns"),
        }
    }

    #[test]
    fn a_file_stands_over_its_format_key_by_key() {
        let plain = columns("format = \"focus\"");
        let own = columns(
            "format = \"focus\"\n[file]\ndelimiter = \";\"\n[columns]\nsku = [\"x_Sku\", \"SkuId\"]\nunit_price = []\n\
             [[rows]]\nwhen = { ChargeCategory = \"Tax\" }\nis = \"skip\"\n\
             [[more]]\namount = \"x_Tax\"\nis = \"tax\"\n",
        );
        assert_eq!((own.file.delimiter, &own.file.date), (';', &plain.file.date));
        assert_eq!(own.file.dates_in_utc, plain.file.dates_in_utc);
        assert_eq!(own.columns[&Column::Amount], plain.columns[&Column::Amount]);
        let header = |header: &str| Source(vec![schemas::invoice_mapping::Part::Column(header.into())]);
        assert_eq!(own.columns[&Column::Sku], [header("x_Sku"), header("SkuId")]);
        assert!(
            plain.columns.contains_key(&Column::UnitPrice) && !own.columns.contains_key(&Column::UnitPrice)
        );
        assert_eq!((own.rows[0].is, &own.rows[1..]), (RowKind::Skip, &plain.rows[..]));
        assert_eq!(own.more.len(), plain.more.len() + 1);
    }

    #[test]
    fn units_are_exact_and_stand_over_those_of_the_format() {
        let own = read(
            "format = \"aws-cur\"\n[units]\n\"GB-Mo\" = \"GiBy.mo\"\n\"Tsd.\" = \"1000 1\"\nHours = \"min\"\n",
        );
        let unit = |name: &str| (own.units[name].factor.to_string(), own.units[name].unit.as_str());
        assert_eq!(unit("GB-Mo"), ("1".to_owned(), "GiBy.mo"));
        assert_eq!(unit("Tsd."), ("1000".to_owned(), "1"));
        assert_eq!(unit("Hours"), ("1".to_owned(), "min"));
        assert_eq!(read("format = \"aws-cur\"").units["Hours"].unit.as_str(), "h");
        assert!(!read("format = \"en16931\"").units.contains_key("Hours"));
    }

    #[test]
    fn a_day_has_no_column_for_its_end() {
        assert!(columns("format = \"focus\"").columns.contains_key(&Column::End));
        let days = columns("format = \"focus\"\n[file]\nend = \"day\"\n");
        assert!(!days.columns.contains_key(&Column::End));
    }
}
