//! The gauges of a month, in Prometheus' text format.
//!
//! They are for a file that a collector reads, because ingest, which has an endpoint, never consults the
//! catalog. docs/operations.md lists them.
//!
//! Invariant: numbers are written with all their digits; no float is made of them here. Labels are as
//! few as limits and providers.

use super::look::{Status, digits};
use anyhow::Context as _;
use rating::limits::LimitState;
use std::fs;
use std::path::Path;

type Sample = (Vec<(&'static str, String)>, String);

/// Writes the gauges, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_gauges(status: &Status, path: &Path) -> anyhow::Result<()> {
    let failed = || format!("{}: the metrics cannot be written", path.display());
    let mut hidden = path.file_name().with_context(failed)?.to_owned();
    hidden.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(hidden);
    fs::write(&unfinished, text(status)).with_context(failed)?;
    fs::rename(&unfinished, path).with_context(failed)
}

fn text(status: &Status) -> String {
    let period = || ("period", status.month.to_string());
    let of_limits = |value: &dyn Fn(&super::look::Told) -> Option<String>| -> Vec<Sample> {
        let sample = |told: &super::look::Told| {
            let labels = vec![("limit", told.id.clone()), ("currency", told.currency.to_string()), period()];
            Some((labels, value(told)?))
        };
        status.limits.iter().filter_map(sample).collect()
    };
    let flag = |is: bool| Some(u8::from(is).to_string());
    let missing = status.providers.iter().map(|(provider, of)| {
        (vec![("provider", provider.to_string()), period()], u8::from(of.is_missing).to_string())
    });
    let late: u64 = status.arrivals.iter().map(|of| of.late).sum();
    let one = |value: String| vec![(vec![period()], value)];
    let families = [
        (
            "atcost_limit_used",
            "What counts towards a limit so far.",
            of_limits(&|told| Some(digits(&told.used))),
        ),
        (
            "atcost_limit_most",
            "What may count towards a limit at most, where it can be told.",
            of_limits(&|told| told.most.as_ref().map(digits)),
        ),
        (
            "atcost_limit_passed",
            "1 where a limit is passed, 0 elsewhere.",
            of_limits(&|told| flag(told.state == LimitState::Passed)),
        ),
        (
            "atcost_limit_untold",
            "1 where whether a limit is passed cannot be told, 0 elsewhere.",
            of_limits(&|told| flag(told.state == LimitState::Untold)),
        ),
        (
            "atcost_month_invoice_missing",
            "1 where a provider has costs and no complete invoice, 0 elsewhere.",
            missing.collect(),
        ),
        ("atcost_month_late_sources", "Sources that were not heard for a day.", one(late.to_string())),
        (
            "atcost_month_missing_rows",
            "Rows of the table completeness: what may be missing.",
            one(status.completeness.len().to_string()),
        ),
        (
            "atcost_month_open_rows",
            "Rows of the comparison that are open or awaited.",
            one(status.open.values().sum::<u64>().to_string()),
        ),
        (
            "atcost_month_in_the_way",
            "What is in the way of the close, counted.",
            one(status.blockers.len().to_string()),
        ),
        (
            "atcost_month_as_of_timestamp_seconds",
            "When the month was looked at, or its end, in seconds since 1970.",
            one((status.as_of.micros() / 1_000_000).to_string()),
        ),
    ];
    families.into_iter().map(|(name, help, samples)| family(name, help, &samples)).collect()
}

/// A family without samples is not there at all.
fn family(name: &str, help: &str, samples: &[Sample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        text.push_str(&format!("{name}{{{}}} {value}\n", labels.join(",")));
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_says_what_it_is_and_escapes_its_labels() {
        let samples = vec![(vec![("limit", "a\"b\\c\n".to_owned())], "1.5".to_owned())];
        let expected = "# HELP m help\n# TYPE m gauge\nm{limit=\"a\\\"b\\\\c\\n\"} 1.5\n";
        assert_eq!(family("m", "help", &samples), expected);
        assert_eq!(family("m", "help", &[]), "");
    }
}
