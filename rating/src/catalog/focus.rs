//! What FOCUS asks of every charge and a price list does not say: its service, the service's category,
//! and the name of a unit.
//!
//! No column is filled here, and no unit of UCUM is translated.
//!
//! Invariant: a subcategory belongs to the category beside it, as FOCUS 1.4 has them.

use schemas::focus::V1_4;
use schemas::id::{ProviderId, SkuId};
use std::collections::BTreeMap;

/// What `focus.toml` says; nothing where there is no such file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FocusTerms {
    pub(super) providers: BTreeMap<ProviderId, FocusEntry>,
    pub(super) skus: BTreeMap<SkuId, FocusEntry>,
}

/// What is said of a provider or of a SKU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FocusEntry {
    pub service: Option<Box<str>>,
    pub kind: Option<ServiceKind>,
    /// Of a SKU only.
    pub unit: Option<Box<str>>,
}

/// A `ServiceCategory` and one of its `ServiceSubcategory`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceKind {
    category: &'static str,
    subcategory: &'static str,
}

impl ServiceKind {
    /// What nothing is said of.
    const OTHER: Self = Self { category: "Other", subcategory: "Other (Other)" };

    /// Without a subcategory, the one that the category has for all else.
    ///
    /// # Errors
    /// [`NoServiceKind`], with the words that FOCUS has.
    pub fn new(category: &str, subcategory: Option<&str>) -> Result<Self, NoServiceKind> {
        let (category, all) =
            CATEGORIES.iter().find(|(name, _)| *name == category).ok_or(NoServiceKind::Category)?;
        let found = match subcategory {
            None => all.last(),
            Some(subcategory) => all.iter().find(|name| **name == subcategory),
        };
        let subcategory = found.ok_or(NoServiceKind::Subcategory(category))?;
        Ok(Self { category, subcategory })
    }

    pub fn category(self) -> &'static str {
        self.category
    }

    pub fn subcategory(self) -> &'static str {
        self.subcategory
    }
}

/// Why words are no [`ServiceKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoServiceKind {
    /// FOCUS has no such category.
    Category,
    /// This category has no such subcategory.
    Subcategory(&'static str),
}

impl NoServiceKind {
    /// The words that FOCUS has, one of which it must be.
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Category => CATEGORIES.iter().map(|(name, _)| *name).collect(),
            Self::Subcategory(of) => {
                CATEGORIES.iter().filter(|(name, _)| *name == of).flat_map(|(_, all)| *all).copied().collect()
            }
        }
    }
}

impl FocusTerms {
    /// `ServiceName`: the SKU's, else the provider's, else the provider's name. Of a line without a SKU
    /// it is the provider's.
    pub fn service<'t>(&'t self, provider: &ProviderId, sku: Option<&SkuId>, name: &'t str) -> &'t str {
        let mut said = self.said(provider, sku);
        said.find_map(|entry| entry.service.as_deref()).unwrap_or(name)
    }

    /// `ServiceCategory` and `ServiceSubcategory`: those of the SKU, else of the provider, else `Other`.
    pub fn kind(&self, provider: &ProviderId, sku: Option<&SkuId>) -> ServiceKind {
        self.said(provider, sku).find_map(|entry| entry.kind).unwrap_or(ServiceKind::OTHER)
    }

    /// The name of a SKU's unit, where it is said.
    pub fn unit(&self, sku: &SkuId) -> Option<&str> {
        self.skus.get(sku)?.unit.as_deref()
    }

    /// What is said of a SKU, then what is said of its provider.
    fn said(&self, provider: &ProviderId, sku: Option<&SkuId>) -> impl Iterator<Item = &FocusEntry> {
        let of_sku = sku.and_then(|sku| self.skus.get(sku));
        of_sku.into_iter().chain(self.providers.get(provider))
    }
}

/// Each category with its subcategories; the last is for all else.
const CATEGORIES: &[(&str, &[&str])] = V1_4.services;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_subcategory_is_for_all_else() {
        for (category, all) in CATEGORIES {
            assert_eq!(all.last().copied(), Some(format!("Other ({category})").as_str()));
        }
        assert_eq!(CATEGORIES.len(), 19);
        assert_eq!(CATEGORIES.iter().map(|(_, all)| all.len()).sum::<usize>(), 82);
        assert_eq!(ServiceKind::new("Other", None), Ok(ServiceKind::OTHER));
    }

    #[test]
    fn a_subcategory_is_of_its_category() {
        let kind = ServiceKind::new("Compute", Some("Virtual Machines")).expect("FOCUS has both");
        assert_eq!((kind.category(), kind.subcategory()), ("Compute", "Virtual Machines"));
        let wrong = ServiceKind::new("Storage", Some("Virtual Machines")).expect_err("it is of Compute");
        assert_eq!(wrong, NoServiceKind::Subcategory("Storage"));
        assert!(wrong.words().contains(&"Object Storage"));
        assert_eq!(ServiceKind::new("compute", None), Err(NoServiceKind::Category));
    }

    #[test]
    fn a_sku_is_asked_before_its_provider() {
        let provider = ProviderId::new("nimbus").expect("a name");
        let sku = |id: &str| SkuId::new(id).expect("a name");
        let kind = |category, subcategory| Some(ServiceKind::new(category, subcategory).expect("a kind"));
        let of_provider =
            FocusEntry { service: Some("Nimbus".into()), kind: kind("Compute", None), unit: None };
        let of_sku = FocusEntry { service: None, kind: kind("Storage", None), unit: Some("Requests".into()) };
        let terms = FocusTerms {
            providers: [(provider.clone(), of_provider)].into(),
            skus: [(sku("A"), of_sku)].into(),
        };
        assert_eq!(terms.service(&provider, Some(&sku("A")), "Nimbus GmbH"), "Nimbus");
        assert_eq!(terms.kind(&provider, Some(&sku("A"))).category(), "Storage");
        assert_eq!(terms.kind(&provider, Some(&sku("B"))).subcategory(), "Other (Compute)");
        assert_eq!(terms.kind(&provider, None).category(), "Compute");
        assert_eq!((terms.unit(&sku("A")), terms.unit(&sku("B"))), (Some("Requests"), None));
        let nobody = ProviderId::new("otter").expect("a name");
        assert_eq!(terms.service(&nobody, None, "Otter Names Oy"), "Otter Names Oy");
        assert_eq!(terms.kind(&nobody, None), ServiceKind::OTHER);
    }
}
