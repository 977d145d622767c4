//! A model's prices, by what is counted and by length of the prompt.
//!
//! A price above a length is of the whole request: all tokens of one whose prompt is longer. A price
//! that the list has for some lengths or services only is taken over for these alone; for the others
//! nothing is made up.
//!
//! Invariant: of the SKUs of a model no two take the same event.

use super::key::{Priced, STANDARD, is_about_prices};
use super::list::{Entry, Members, number};
use super::meters::Counted;
use jiff::civil::Date;
use schemas::decimal::{Sign, UnitPrice};
use schemas::id::SkuId;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Something of the list that is in no price list of ours, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotTaken {
    /// The key of the list.
    pub key: String,
    pub because: String,
    /// How many models it is of.
    pub models: usize,
    /// The first of them.
    pub first: String,
}

/// One price of one model, for prompts of some lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sku {
    pub id: SkuId,
    pub model: String,
    pub of: Priced,
    pub price: UnitPrice,
    /// The day on which the model is withdrawn.
    pub until: Option<Date>,
    /// The lengths that it is for; `None` for all.
    pub contexts: Option<Vec<String>>,
}

/// What has been taken over of some models, and what has not.
pub(super) struct Taken {
    from: Date,
    /// Of the whole list, the smallest first, without 0.
    bounds: Vec<u64>,
    pub skus: Vec<Sku>,
    models: usize,
    left_out: BTreeMap<(String, String), BTreeSet<String>>,
}

/// What a model says its prices are: the key and the text of each.
type Prices = Vec<(Priced, String, Box<RawValue>)>;

/// Prices of what is counted, by service and by the length that a prompt must exceed, each with its key.
type ByLength = BTreeMap<(&'static str, u64), (UnitPrice, String)>;

impl Taken {
    pub fn new(from: Date, bounds: Vec<u64>) -> Self {
        Self { from, bounds, skus: Vec::new(), models: 0, left_out: BTreeMap::new() }
    }

    /// Takes over a model.
    pub fn add(&mut self, model: &str, entry: &Entry) {
        self.models += 1;
        let until = match self.withdrawn(model, entry) {
            Ok(until) => until,
            Err(because) => return self.leave("deprecation_date", because, model),
        };
        let (prices, others) = prices(entry);
        for (key, because) in others {
            self.leave(&key, because, model);
        }
        // By what is counted, then by service and length.
        let mut read: BTreeMap<(Counted, &'static str), ByLength> = BTreeMap::new();
        let mut contradicted = BTreeSet::new();
        for (of, key, value) in prices {
            let price = match number(&value) {
                Some(digits) => UnitPrice::from_decimal_text(digits, Sign::NonNegative),
                None => {
                    self.leave(&key, "its value is no number", model);
                    continue;
                }
            };
            match price {
                Err(error) => self.leave(&key, format!("{error}, and a price is taken over whole"), model),
                Ok(price) => {
                    let of_kind = read.entry((of.counted, of.kind)).or_default();
                    let known = of_kind.entry((of.service, of.above)).or_insert_with(|| (price, key.clone()));
                    if known.0 != price {
                        let because =
                            format!("{} says another price for the same, and neither is taken over", known.1);
                        self.leave(&key, because, model);
                        contradicted.insert(of);
                    }
                }
            }
        }
        let before = self.skus.len();
        for ((counted, kind), by_service) in read {
            let lengths: BTreeSet<u64> = by_service.keys().map(|(_, above)| *above).chain([0]).collect();
            let services: BTreeSet<&str> = by_service.keys().map(|(service, _)| *service).collect();
            for service in services {
                for above in &lengths {
                    let of = Priced { counted, kind, service, above: *above };
                    match by_service.get(&(service, *above)) {
                        Some(_) if contradicted.contains(&of) => {}
                        Some((price, _)) => self.push(model, of, *price, until, &lengths),
                        None => {
                            let length = match above {
                                0 => "shorter prompts".to_owned(),
                                above => format!("prompts above {} tokens", length(*above)),
                            };
                            let key = format!("{kind} {counted}, {service}");
                            self.leave(&key, format!("no price is said for {length}"), model);
                        }
                    }
                }
            }
        }
        if self.skus.len() == before {
            self.leave("(the model)", "it has no price that can be taken over", model);
        }
    }

    /// The day on which a model is withdrawn, or why it is left out.
    fn withdrawn(&mut self, model: &str, entry: &Entry) -> Result<Option<Date>, String> {
        const KEY: &str = "deprecation_date";
        let Some((_, value)) = entry.0.iter().rev().find(|(name, _)| name == KEY) else { return Ok(None) };
        let text = entry.text(KEY).unwrap_or_else(|| value.get().to_owned());
        match text.parse::<Date>() {
            Ok(date) if date <= self.from => Err(format!("it was withdrawn before {}", self.from)),
            Ok(date) => Ok(Some(date)),
            Err(_) => {
                self.leave(KEY, "it is no day; the prices have no end", model);
                Ok(None)
            }
        }
    }

    fn push(
        &mut self,
        model: &str,
        of: Priced,
        price: UnitPrice,
        until: Option<Date>,
        lengths: &BTreeSet<u64>,
    ) {
        let next = lengths.iter().copied().find(|length| *length > of.above);
        let is_for = |bound: &u64| *bound >= of.above && next.is_none_or(|next| *bound < next);
        let contexts = (lengths.len() > 1).then(|| {
            [0].iter().chain(&self.bounds).filter(|bound| is_for(bound)).map(|of| length(*of)).collect()
        });
        let mut id = format!("{model}:{}", of.kind);
        if of.counted != Counted::Tokens && of.counted != Counted::Requests {
            id.push_str(&format!("-{}", of.counted));
        }
        if of.service != STANDARD {
            id.push_str(&format!(":{}", of.service));
        }
        if of.above > 0 {
            id.push_str(&format!(":above-{}", length(of.above)));
        }
        match SkuId::new(id) {
            Ok(id) => self.skus.push(Sku { id, model: model.to_owned(), of, price, until, contexts }),
            Err(error) => self.leave("(the model)", format!("its name is no part of an id: {error}"), model),
        }
    }

    /// Says that a name stood in the list before.
    pub fn stands_twice(&mut self, model: &str) {
        self.leave("(the model)", "it stands in the list more than once; the last one counts", model);
    }

    fn leave(&mut self, key: &str, because: impl Into<String>, model: &str) {
        self.left_out.entry((key.to_owned(), because.into())).or_default().insert(model.to_owned());
    }

    pub fn models(&self) -> usize {
        self.models
    }

    pub fn meters(&self) -> Vec<Counted> {
        let meters: BTreeSet<Counted> = self.skus.iter().map(|sku| sku.of.counted).collect();
        meters.into_iter().collect()
    }

    /// The values of `context` that a gateway tells apart.
    pub fn contexts(&self) -> Vec<String> {
        match self.skus.iter().any(|sku| sku.contexts.is_some()) {
            true => [0].iter().chain(&self.bounds).map(|bound| length(*bound)).collect(),
            false => Vec::new(),
        }
    }

    pub fn not_taken(self) -> Vec<NotTaken> {
        let mut rows: Vec<NotTaken> = self
            .left_out
            .into_iter()
            .map(|((key, because), models)| NotTaken {
                key,
                because,
                models: models.len(),
                first: models.into_iter().next().expect("what is left out is of a model"),
            })
            .collect();
        rows.sort_by(|one, other| other.models.cmp(&one.models).then_with(|| one.cmp(other)));
        rows
    }
}

/// A length as the dimension `context` says it: `128k`, or the number where it is no thousands.
pub(super) fn length(tokens: u64) -> String {
    match tokens {
        0 => "0".to_owned(),
        tokens if tokens.is_multiple_of(1000) => format!("{}k", tokens / 1000),
        tokens => tokens.to_string(),
    }
}

/// The lengths at which a price of a model changes, without 0.
pub(super) fn bounds(entry: &Entry) -> BTreeSet<u64> {
    prices(entry).0.into_iter().map(|(of, _, _)| of.above).filter(|above| *above > 0).collect()
}

/// What a model says of prices: those whose keys are known, and the others with the reason.
fn prices(entry: &Entry) -> (Prices, Vec<(String, String)>) {
    const UNKNOWN: &str = "there is no meter for it";
    let (mut prices, mut others) = (Prices::new(), Vec::new());
    for (key, value) in &entry.0 {
        if let Some(of) = Priced::of(key) {
            prices.push((of, key.clone(), value.clone()));
        } else if key == "search_context_cost_per_query" {
            match serde_json::from_str::<Entry>(value.get()) {
                Ok(Members(members)) => {
                    for (member, value) in members {
                        let key = format!("{key}.{member}");
                        match Priced::of_search(&member) {
                            Some(of) => prices.push((of, key, value)),
                            None => others.push((key, UNKNOWN.to_owned())),
                        }
                    }
                }
                Err(_) => others.push((key.clone(), "it is no table of prices".to_owned())),
            }
        } else if key == "tiered_pricing" {
            match tiers(value) {
                Some((tiers, left)) => {
                    prices.extend(tiers);
                    others.extend(left.into_iter().map(|member| (member, UNKNOWN.to_owned())));
                }
                None => {
                    others.push((key.clone(), "its ranges are not of tokens, one after the other".to_owned()))
                }
            }
        } else if is_about_prices(key) {
            let because = if key == "alias_of" {
                "it is another name of a model; let events have that one"
            } else {
                UNKNOWN
            };
            others.push((key.clone(), because.to_owned()));
        }
    }
    (prices, others)
}

/// The prices of ranges of lengths, and the keys of ranges that are not known. `None` where a range has
/// no beginning in whole tokens, or does not begin where the one before it ends.
fn tiers(value: &RawValue) -> Option<(Prices, Vec<String>)> {
    let tiers: Vec<Entry> = serde_json::from_str(value.get()).ok()?;
    let (mut prices, mut others, mut end) = (Prices::new(), Vec::new(), Some(0));
    for Members(tier) in tiers {
        let range = tier.iter().find(|(name, _)| name == "range").map(|(_, value)| value)?;
        let range: Vec<Box<RawValue>> = serde_json::from_str(range.get()).ok()?;
        let [from, until] = range.as_slice() else { return None };
        let from = tokens(from)?;
        if Some(from) != end {
            return None;
        }
        end = tokens(until);
        for (key, value) in tier.into_iter().filter(|(name, _)| name != "range") {
            match Priced::of(&key).filter(|of| of.above == 0) {
                Some(of) => {
                    prices.push((Priced { above: from, ..of }, format!("tiered_pricing.{key}"), value))
                }
                None => others.push(format!("tiered_pricing.{key}")),
            }
        }
    }
    Some((prices, others))
}

/// A whole number of tokens, also as `256000.0`.
fn tokens(value: &RawValue) -> Option<u64> {
    let price = UnitPrice::from_decimal_text(number(value)?, Sign::NonNegative).ok()?;
    price.to_string().parse().ok()
}
