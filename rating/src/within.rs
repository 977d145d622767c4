//! How much of a SKU the ledger has within some dates, which an invoice's line may cover instead of
//! a month.
//!
//! What follows from it is deliberately not known here.
//!
//! Invariant: what is answered comes about as the quantity of a cost line does, from what was used
//! within the dates.

use crate::catalog::{Catalog, Provider};
use crate::error::RatingError;
use crate::exact::Exact;
use crate::reconcile::Question;
use crate::run::{Periods, Pools, with_pools};
use crate::usage::CountedRows;
use num_traits::Zero as _;
use schemas::id::ProviderId;
use schemas::time::Period;
use std::collections::{BTreeMap, BTreeSet};

/// The answers to questions, in the units of the SKUs, as their prices count.
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
        let is_asked = |of: &Provider, sku: usize| {
            of.id == provider.id && questions.iter().any(|question| question.sku == of.skus[sku].id)
        };
        let mut answer = |pools: &Pools<'_>| {
            for question in &questions {
                if let Some(sum) = sum(question, provider, pools) {
                    answers.insert((*question).clone(), sum);
                }
            }
        };
        with_pools(usage, catalog, &periods, is_asked, &mut answer).await?;
    }
    Ok(answers)
}

fn sum(question: &Question, provider: &Provider, pools: &Pools<'_>) -> Option<Exact> {
    let index = provider.skus.iter().position(|sku| sku.id == question.sku)?;
    let sku = &provider.skus[index];
    let factor = sku.metered()?.factor.within(question.billing_period);
    let mut sum = Exact::zero();
    for (pool, used) in pools {
        let is_asked = pool.provider == provider.id
            && pool.sku == index
            && question.sub_account.as_ref().is_none_or(|account| pool.sub_account.as_ref() == Some(account));
        if is_asked {
            sum += used.counted(&factor, &sku.prices[pool.price].terms);
        }
    }
    Some(sum)
}
