//! How a metered quantity comes about: scopes, and the windows of each, for people and as JSON.
//!
//! Invariant: of a percentile, a maximum and a minimum the windows that decide it are shown, whatever else
//! there is no room for.

use super::reader::{HIDDEN, Reader};
use super::words::number;
use crate::show::{plural, printable};
use rating::exact;
use rating::meter::{Empty, Explained, Figure, Measured, Over, Scope};
use serde_json::json;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The scopes, and the windows of each, that a terminal has room for.
const SCOPES_SHOWN: usize = 8;
const WINDOWS_SHOWN: usize = 8;
/// Beside the windows that decide, those next to them on either side.
const NEXT_SHOWN: usize = 2;

/// Whether one of the windows is the value of all.
fn is_one_of_them(over: Over) -> bool {
    matches!(over, Over::Percentile { .. } | Over::Max | Over::Min { .. })
}

/// What windows in which nothing counts are to a scope's value.
fn empty(over: Over) -> Option<Empty> {
    match over {
        Over::Min { empty } | Over::Average { empty } | Over::Percentile { empty, .. } => Some(empty),
        Over::Sum | Over::Max => None,
    }
}

/// How many windows a value is taken of.
fn taken_of(scope: &Explained, over: Over) -> u64 {
    match empty(over) {
        Some(Empty::Zero) => scope.in_all,
        Some(Empty::Skip) | None => scope.windows.len() as u64,
    }
}

/// A window beside those that decide: above them, one of them, or below.
fn beside(scope: &Explained, figure: &Figure) -> Ordering {
    figure.value.metered.cmp(&scope.value.metered)
}

/// How the quantity of a line comes about: of each scope the windows that decide it, where one value of
/// them all is taken, and the greatest where all of them count.
pub(super) fn scopes_text(scopes: &[Explained], unit: &str, over: Option<Over>, to: &Reader<'_>) -> String {
    let mut text = String::new();
    for scope in scopes.iter().take(SCOPES_SHOWN) {
        let value = &scope.value;
        let counted = match value.metered == value.incremented {
            true => String::new(),
            false => format!(", counted as {}", number(&value.incremented)),
        };
        let many = plural(scope.windows.len() as u64, "window", "windows");
        let name = name(&scope.scope, to);
        let line = format!("  {name}: {} {unit}{counted}, of {many}", number(&value.metered));
        text.push_str(&printable(&line));
        text.push('\n');
        for line in windows_text(scope, unit, over) {
            writeln!(text, "    {line}").expect("writing to a string cannot fail");
        }
    }
    if scopes.len() > SCOPES_SHOWN {
        writeln!(text, "  … and {} more", scopes.len() - SCOPES_SHOWN)
            .expect("writing to a string cannot fail");
    }
    text
}

fn name(scope: &Scope, to: &Reader<'_>) -> String {
    match scope {
        Scope::Account => "the account".to_owned(),
        Scope::Customer(customer) => to.name(customer.as_ref()),
        Scope::Subject(subject) | Scope::Resource(subject, _) if !to.may_see_subject(subject) => {
            HIDDEN.to_owned()
        }
        Scope::Subject(subject) => subject.to_string(),
        Scope::Resource(subject, labels) => {
            let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{subject} {}", labels.collect::<Vec<_>>().join(";"))
        }
    }
}

fn windows_text(scope: &Explained, unit: &str, over: Option<Over>) -> Vec<String> {
    let mut figures: Vec<&Figure> = scope.windows.iter().collect();
    figures.sort_by(|one, other| other.value.metered.cmp(&one.value.metered));
    let figure = |figure: &Figure| format!("{} {} {unit}", figure.window, number(&figure.value.metered));
    let Some(over) = over.filter(|over| is_one_of_them(*over)) else {
        let mut lines: Vec<String> = figures.iter().take(WINDOWS_SHOWN).map(|of| figure(of)).collect();
        if figures.len() > WINDOWS_SHOWN {
            lines.push(format!("… and {} lower ones", figures.len() - WINDOWS_SHOWN));
        }
        return lines;
    };
    let of = |side: Ordering| figures.iter().copied().filter(move |figure| beside(scope, figure) == side);
    let (above, same, below) = (of(Ordering::Greater), of(Ordering::Equal), of(Ordering::Less));
    let above: Vec<&Figure> = above.collect();
    let (same, below) = (same.collect::<Vec<_>>(), below.collect::<Vec<_>>());
    let mut lines = vec![rule(scope, over)];
    let higher = &above[above.len().saturating_sub(NEXT_SHOWN)..];
    if above.len() > higher.len() {
        lines.push(format!("… {} higher", above.len() - higher.len()));
    }
    lines.extend(higher.iter().map(|of| figure(of)));
    if same.is_empty() {
        lines.push("a window in which nothing counts decides".to_owned());
    }
    lines.extend(same.iter().take(WINDOWS_SHOWN).map(|of| format!("{} decides", figure(of))));
    if same.len() > WINDOWS_SHOWN {
        lines.push(format!("… and {} like them", same.len() - WINDOWS_SHOWN));
    }
    lines.extend(below.iter().take(NEXT_SHOWN).map(|of| figure(of)));
    if below.len() > NEXT_SHOWN {
        lines.push(format!("… and {} lower", below.len() - NEXT_SHOWN));
    }
    lines
}

/// How one window of all is chosen.
fn rule(scope: &Explained, over: Over) -> String {
    let in_all = taken_of(scope, over);
    let many = plural(in_all, "window", "windows");
    let idle = in_all - scope.windows.len() as u64;
    let idle = match idle {
        0 => String::new(),
        idle => format!(", {idle} of them 0 because nothing counts in them"),
    };
    match over {
        Over::Percentile { percentile, .. } => {
            let dropped = percentile.dropped(in_all);
            let dropped = match dropped {
                0 => "none is dropped, the highest decides".to_owned(),
                1 => "the highest is dropped, the next one decides".to_owned(),
                more => format!("the {more} highest are dropped, the next one decides"),
            };
            format!("percentile {} of {many}{idle}: {dropped}", percentile.get())
        }
        Over::Min { .. } => format!("the smallest of {many}{idle}"),
        Over::Sum | Over::Max | Over::Average { .. } => format!("the greatest of {many}{idle}"),
    }
}

pub(super) fn scopes_json(scopes: &[Explained], over: Option<Over>, to: &Reader<'_>) -> serde_json::Value {
    let figure = |value: &Measured| (exact::display(&value.metered), exact::display(&value.incremented));
    let decides = over.filter(|over| is_one_of_them(*over));
    let scope = |scope: &Explained| {
        let (quantity, counted) = figure(&scope.value);
        let named = match &scope.scope {
            Scope::Account => json!({}),
            Scope::Customer(customer) => {
                json!({ "customer": customer.as_ref().map(|customer| to.name(Some(customer))) })
            }
            Scope::Subject(subject) | Scope::Resource(subject, _) if !to.may_see_subject(subject) => {
                json!({ "customer": HIDDEN })
            }
            Scope::Subject(subject) => json!({ "subject": subject.to_string() }),
            Scope::Resource(subject, labels) => {
                let labels: BTreeMap<&str, &str> = labels.iter().collect();
                json!({ "subject": subject.to_string(), "resource": labels })
            }
        };
        let windows: Vec<_> = scope
            .windows
            .iter()
            .map(|window| {
                let (quantity, counted) = figure(&window.value);
                let decides = decides.map(|_| beside(scope, window) == Ordering::Equal);
                json!({
                    "from": window.window.start().to_string(), "until": window.window.end().to_string(),
                    "quantity": quantity, "counted": counted, "decides": decides,
                })
            })
            .collect();
        let of_all = over.map(|over| taken_of(scope, over));
        let dropped = match over {
            Some(Over::Percentile { percentile, .. }) => of_all.map(|of_all| percentile.dropped(of_all)),
            Some(_) | None => None,
        };
        json!({
            "scope": named, "quantity": quantity, "counted": counted,
            "windows_in_all": of_all, "dropped": dropped, "windows": windows,
        })
    };
    scopes.iter().map(scope).collect()
}
