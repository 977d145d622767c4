//! How much of a SKU the ledger has within some dates, which an invoice's line may cover instead of
//! a month.
//!
//! What follows from it is deliberately not known here.
//!
//! Invariant: what is answered is the sum of values that count; what does not add up is not answered.

use crate::catalog::{Catalog, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::meter::Aggregation;
use crate::reconcile::Question;
use crate::run::{Periods, PoolKey, Resolved, Resolver};
use crate::usage::{CountedRows, UsageTotal};
use num_traits::Zero as _;
use schemas::id::ProviderId;
use schemas::time::Period;
use std::collections::{BTreeMap, BTreeSet};

/// The answers to questions about meters that add up, in the unit of the meter's result.
///
/// # Errors
/// When rows cannot be read.
pub(crate) async fn quantities_within(
    usage: &CountedRows,
    catalog: &Catalog,
    questions: &BTreeSet<Question>,
) -> Result<BTreeMap<Question, Exact>, RatingError> {
    let mut answers = BTreeMap::new();
    let mut by_dates: BTreeMap<(&ProviderId, Period), Vec<&Question>> = BTreeMap::new();
    for question in questions {
        by_dates.entry((&question.provider, question.within)).or_default().push(question);
    }
    for ((provider, within), questions) in by_dates {
        let Some(provider) = catalog.providers.get(provider) else { continue };
        let periods = Periods::only(&provider.id, within);
        let rows = usage.attributed(catalog, periods.cuts(catalog)).await?;
        let totals = rows.totals().await?;
        let prices = Resolver::new(catalog, &periods);
        for question in questions {
            if let Some(sum) = sum(question, provider, &totals, &prices) {
                answers.insert(question.clone(), sum);
            }
        }
    }
    Ok(answers)
}

fn sum(
    question: &Question,
    provider: &Provider,
    totals: &[UsageTotal],
    prices: &Resolver<'_>,
) -> Option<Exact> {
    let index = provider.skus.iter().position(|sku: &Sku| sku.id == question.sku)?;
    let metered = provider.skus[index].metered().filter(|metered| metered.rules.is_additive())?;
    let counts = matches!(metered.rules.values.aggregation(), Aggregation::Count);
    let is_asked = |pool: &PoolKey| {
        pool.provider == provider.id
            && pool.sku == index
            && question.sub_account.as_ref().is_none_or(|account| pool.sub_account.as_ref() == Some(account))
    };
    let mut sum = Exact::zero();
    for total in totals {
        if let Resolved::Rated(pools) = prices.resolve(&total.key)
            && pools.iter().any(is_asked)
        {
            sum += if counts { Exact::from_integer(total.events.into()) } else { exact(total.quantity) };
        }
    }
    Some(sum)
}
