//! What a month may come to before somebody should look: limits of the running month.
//!
//! A limit changes no bill and stops nothing. What a month comes to is deliberately not known here.
//!
//! Invariant: a limit has an amount, or a growth, or both.

use crate::exact::Exact;
use crate::statement::Skus;
use num_traits::{One as _, Signed as _};
use schemas::id::{CustomerId, ProviderId, SkuId};
use schemas::money::Currency;

/// A `[[limit]]` of limits.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub id: Box<str>,
    /// Whose charges are added up; everybody's where it is `None`.
    pub customer: Option<CustomerId>,
    /// Of which SKUs; of all where it is `None`.
    pub of: Option<Vec<Skus>>,
    /// Only what is billed in it is added up.
    pub currency: Currency,
    /// The most that a month may come to, in the currency.
    pub amount: Option<Exact>,
    /// By which part of the month before a month may be above it: 0.5 for half as much again.
    pub growth: Option<Exact>,
}

impl Limit {
    /// Whether what a customer bears of a SKU counts towards it.
    pub fn covers(&self, customer: &CustomerId, provider: &ProviderId, sku: &SkuId) -> bool {
        self.customer.as_ref().is_none_or(|own| own == customer)
            && self.of.as_ref().is_none_or(|of| of.iter().any(|skus| skus.contain(provider, Some(sku))))
    }

    /// The most that a month may come to, in the currency, where the one before came to `before`. After a
    /// month of nothing, or of less, growth says nothing.
    pub fn most(&self, before: &Exact) -> Option<Exact> {
        let grown = self.growth.as_ref().filter(|_| before.is_positive());
        let grown = grown.map(|growth| before * (Exact::one() + growth));
        match (self.amount.clone(), grown) {
            (Some(amount), Some(grown)) => Some(amount.min(grown)),
            (amount, grown) => amount.or(grown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(of: Option<&str>, amount: Option<i64>, growth: Option<(i64, i64)>) -> Limit {
        let number = |(number, of): (i64, i64)| Exact::new(number.into(), of.into());
        Limit {
            id: "spend".into(),
            customer: None,
            of: of.map(|of| vec![Skus::parse(of).expect("a SKU")]),
            currency: Currency::from_code("EUR").expect("a currency"),
            amount: amount.map(|amount| number((amount, 1))),
            growth: growth.map(number),
        }
    }

    #[test]
    fn the_lower_of_amount_and_growth_holds() {
        #[track_caller]
        fn check(limit: &Limit, before: i64, expected: Option<i64>) {
            let most = limit.most(&Exact::from_integer(before.into()));
            assert_eq!(most, expected.map(|most| Exact::from_integer(most.into())));
        }
        check(&limit(None, Some(100), Some((1, 2))), 50, Some(75));
        check(&limit(None, Some(100), Some((1, 2))), 80, Some(100));
        check(&limit(None, None, Some((1, 2))), 80, Some(120));
        check(&limit(None, Some(100), Some((1, 2))), 0, Some(100));
        check(&limit(None, None, Some((1, 2))), 0, None);
        check(&limit(None, None, Some((1, 2))), -5, None);
    }

    #[test]
    fn a_limit_counts_what_it_names() {
        let customer = |id: &str| CustomerId::new(id).expect("a name");
        let provider = ProviderId::new("nimbus").expect("a name");
        let sku = |id: &str| SkuId::new(id).expect("a name");
        let one = limit(Some("nimbus/NB-GPU"), Some(1), None);
        assert!(one.covers(&customer("acme"), &provider, &sku("NB-GPU")));
        assert!(!one.covers(&customer("acme"), &provider, &sku("NB-STD")));
        assert!(limit(Some("nimbus/*"), Some(1), None).covers(&customer("acme"), &provider, &sku("NB-STD")));
        let of_acme = Limit { customer: Some(customer("acme")), ..limit(None, Some(1), None) };
        assert!(of_acme.covers(&customer("acme"), &provider, &sku("NB-STD")));
        assert!(!of_acme.covers(&customer("birch"), &provider, &sku("NB-STD")));
    }
}
