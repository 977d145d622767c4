//! The answer for programs, and what its exit status says.
//!
//! docs/status.md has its shape; names stay, and new ones may come.

use super::look::{Here, InTheWay, OfProvider, Status, Told, digits};
use super::page;
use crate::show::{Answer, Verdict};
use crate::verbs::invoice::standing;
use rating::limits::LimitState;
use rating::run::CompletenessRow;
use schemas::decimal::Amount;
use schemas::money::Currency;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The rows of what may be missing that are listed one by one.
const LISTED: usize = 100;

fn sums(sums: &BTreeMap<Currency, Amount>) -> Value {
    sums.iter().map(|(currency, sum)| (currency.to_string(), Value::String(sum.to_string()))).collect()
}

fn of_provider(of: &OfProvider) -> Value {
    let here = |here: &Here| {
        json!({
            "invoice": here.invoice.to_string(), "version": here.version, "standing": standing(here.standing),
        })
    };
    let part = |part: fn(&super::look::OfCurrency) -> Amount| {
        sums(&of.sums.iter().map(|(currency, sums)| (*currency, part(sums))).collect())
    };
    json!({
        "so_far": part(|sums| sums.so_far), "estimate": part(|sums| sums.estimate),
        "invoices": of.invoices.iter().map(here).collect::<Value>(), "invoice_missing": of.is_missing,
    })
}

fn limit(told: &Told) -> Value {
    json!({
        "limit": told.id, "customer": told.customer.as_ref().map(ToString::to_string),
        "currency": told.currency.code(), "used": digits(&told.used), "most": told.most.as_ref().map(digits),
        "before": told.before.as_ref().map(digits), "percent": told.percent, "state": told.state.as_str(),
        "note": told.note,
    })
}

fn missing(row: &CompletenessRow) -> Value {
    json!({
        "kind": row.kind.as_str(), "provider": row.provider.as_ref().map(ToString::to_string),
        "meter": row.meter.as_ref().map(ToString::to_string), "source": row.source,
        "subject": row.subject.as_ref().map(ToString::to_string), "detail": row.detail,
        "from": row.from.to_string(), "until": row.until.to_string(),
        "missing": row.missing.map(|missing| missing.to_string()),
    })
}

impl Answer for Status {
    fn json(&self) -> anyhow::Result<Value> {
        let came_in = self.arrivals.iter().map(|of| {
            let source = |of: &rating::usage::SourceArrivals| {
                json!({ "source": of.source, "records": of.records, "last": of.last.to_string() })
            };
            json!({
                "events": of.events, "records": of.records, "sources": of.sources,
                "last": of.last.to_string(), "received": of.received.to_string(), "late": of.late,
                "stalest": of.stalest.iter().map(source).collect::<Value>(),
            })
        });
        let mut customers: Map<String, Value> = Map::new();
        for ((customer, currency), sum) in &self.customers {
            let of = customers.entry(customer.to_string()).or_insert_with(|| json!({}));
            of[currency.code()] = Value::String(sum.to_string());
        }
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &self.completeness {
            *kinds.entry(row.kind.as_str()).or_default() += 1;
        }
        let open = self.open.iter().map(|((provider, class), rows)| {
            json!({ "provider": provider.to_string(), "class": class.as_str(), "rows": rows })
        });
        let in_the_way = self.blockers.iter().map(
            |InTheWay { what, help, command }| json!({ "what": what, "help": help, "command": command }),
        );
        Ok(json!({
            "period": self.month.to_string(), "as_of": self.as_of.to_string(), "over": self.not_over.is_empty(),
            "not_over": self.not_over, "closed": self.is_closed, "ledger_version": self.version.to_string(),
            "records": {
                "received": self.counts.received, "usage": self.counts.usage, "rejected": self.counts.rejected,
                "duplicates": self.counts.duplicates, "conflicts": self.counts.conflicts, "gaps": self.counts.gaps,
            },
            "came_in": came_in.collect::<Value>(),
            "missing": { "rows": kinds, "first": self.completeness.iter().take(LISTED).map(missing).collect::<Value>() },
            "providers": self.providers.iter().map(|(id, of)| (id.to_string(), of_provider(of))).collect::<Value>(),
            "customers": customers, "retained": sums(&self.retained),
            "open": open.collect::<Value>(), "in_the_way": in_the_way.collect::<Value>(),
            "limits": self.limits.iter().map(limit).collect::<Value>(),
        }))
    }

    fn text(&self) -> String {
        page::page(self)
    }

    /// A month that goes on is never ready to be closed, so that limits alone decide.
    fn verdict(&self) -> Verdict {
        if self.limits.iter().all(|told| told.state == LimitState::Within) {
            Verdict::Fine
        } else {
            Verdict::Discrepancy
        }
    }
}
