//! focus.toml: the services of providers and SKUs as FOCUS calls them.
//!
//! Invariant: a category that is kept is one of FOCUS 1.4, and its subcategory belongs to it.

use super::files::CatalogFiles;
use super::format::{FOCUS, FOCUS_LIST, FOCUS_PROVIDER_KEYS, FOCUS_SKU_KEYS, PRICES, TableKeys};
use super::sku::declared_skus;
use super::toml::{Table, TomlFile, name};
use crate::catalog::focus::{FocusEntry, FocusTerms, NoServiceKind, ServiceKind};
use crate::catalog::problem::Findings;
use schemas::id::{ProviderId, SkuId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Nothing where there is no file. `folders` are those of the providers.
pub(super) fn read_focus(files: &CatalogFiles, folders: &BTreeSet<&str>, findings: &Findings) -> FocusTerms {
    let read = || {
        let (path, text) = files.get_key_value(FOCUS)?;
        TomlFile::parse(path, text, findings)
    };
    let Some(file) = read() else { return FocusTerms::default() };
    let root = file.root();
    root.only(FOCUS_LIST.keys);
    let skus: Option<BTreeSet<SkuId>> = folders
        .iter()
        .map(|folder| declared_skus(folder, files))
        .collect::<Option<Vec<_>>>()
        .map(|of_each| of_each.into_iter().flatten().collect());
    let is_provider = |id: &ProviderId| folders.contains(id.as_str());
    let is_sku = |id: &SkuId| skus.as_ref().is_none_or(|skus| skus.contains(id));
    let provider = Kind {
        key: "provider",
        what: "provider",
        keys: FOCUS_PROVIDER_KEYS,
        declare: "give it a folder below providers",
    };
    let declare = format!("declare it in a {PRICES}");
    let sku = Kind { key: "sku", what: "SKU", keys: FOCUS_SKU_KEYS, declare: &declare };
    FocusTerms {
        providers: provider.read(&root, name(ProviderId::new), is_provider),
        skus: sku.read(&root, name(SkuId::new), is_sku),
    }
}

/// What an entry may be of.
struct Kind<'k> {
    key: &'static str,
    what: &'static str,
    keys: TableKeys,
    declare: &'k str,
}

impl Kind<'_> {
    fn read<T: Ord + fmt::Display, E: fmt::Display>(
        &self,
        root: &Table<'_>,
        read: impl Fn(&str) -> Result<T, E>,
        is_known: impl Fn(&T) -> bool,
    ) -> BTreeMap<T, FocusEntry> {
        let (key, what) = (self.key, self.what);
        let mut entries = BTreeMap::new();
        let Some(table) = root.optional_table(key, format!("the `{key}`")) else { return entries };
        let table = table.of_names().with_example("{ service = \"Nimbus Compute\" }");
        for id in table.keys() {
            let Some(entry) = table.optional_table(id.value, format!("the {what} {}", id.value)) else {
                continue;
            };
            let entry_of = read_entry(&entry, self.keys);
            match read(id.value) {
                Ok(id_of) if is_known(&id_of) => {
                    entries.insert(id_of, entry_of);
                }
                Ok(id_of) => {
                    let message = format!("the {what} {id_of} is not declared");
                    table.problem(id.line, message, format!("{}, or correct the name", self.declare));
                }
                Err(error) => {
                    table.problem(
                        id.line,
                        format!("the {what} {:?} is not a name: {error}", id.value),
                        "correct it",
                    );
                }
            }
        }
        entries
    }
}

fn read_entry(table: &Table<'_>, keys: TableKeys) -> FocusEntry {
    table.only(keys.keys);
    let label = |key: &str| if table.has(key) { table.label(key).map(String::into_boxed_str) } else { None };
    let unit = || {
        let label = table.called(table.name()).with_example("Requests").label("unit");
        label.map(String::into_boxed_str)
    };
    FocusEntry {
        service: label("service"),
        kind: read_kind(table),
        unit: if keys.keys.contains(&"unit") && table.has("unit") { unit() } else { None },
    }
}

fn read_kind(table: &Table<'_>) -> Option<ServiceKind> {
    let subcategory = if table.has("subcategory") { Some(table.text("subcategory")?) } else { None };
    if !table.has("category") {
        let subcategory = subcategory?;
        table.problem(
            subcategory.line,
            format!("{} has a `subcategory` and no `category`", table.name()),
            "add the category that it belongs to",
        );
        return None;
    }
    let category = table.text("category")?;
    match ServiceKind::new(category.value, subcategory.map(|text| text.value)) {
        Ok(kind) => Some(kind),
        Err(error) => {
            let (line, message) = match (error, subcategory) {
                (NoServiceKind::Subcategory(of), Some(text)) => (
                    text.line,
                    format!("`subcategory = {:?}` of {} is none of {of}", text.value, table.name()),
                ),
                _ => (
                    category.line,
                    format!("`category = {:?}` of {} is none of FOCUS 1.4", category.value, table.name()),
                ),
            };
            table.problem(line, message, format!("use one of: {}", error.words().join(", ")));
            None
        }
    }
}
