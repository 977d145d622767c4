//! How a provider cuts time into billing periods and rounds what it bills.
//!
//! Nothing is rounded here, but in `rounding`.
//!
//! Invariant: only what may be left out has a default, and none of it moves money by itself.

use super::format::{ROUNDING_KEYS, STEPS_KEYS};
use super::toml::Table;
use crate::rounding::{Places, RoundingMode};
use schemas::time::Anchor;

/// The day on which billing periods begin; the first where none is given.
pub(super) fn read_anchor(table: &Table<'_>) -> Option<Anchor> {
    if !table.has("anchor") {
        return Some(Anchor::FIRST);
    }
    table.parsed("anchor", "a day of a month", |text| Anchor::parse(text).ok_or("it must be from 1 to 31"))
}

/// How lines, and the steps of their arithmetic, are rounded.
pub(super) fn read_rounding(table: &Table<'_>) -> Option<(RoundingMode, Option<Places>)> {
    table.only(ROUNDING_KEYS.keys);
    let mode = read_mode(table);
    let mut steps = Some(None);
    if table.has("steps") {
        steps = table.optional_table("steps", "the rounding of steps".to_owned()).and_then(|table| {
            table.only(STEPS_KEYS.keys);
            let places = table.parsed("places", "a number of places", |text| {
                let places = text.parse::<u32>().ok().filter(|places| places.to_string() == text);
                places.filter(|places| *places <= 18).ok_or("it must be a whole number from 0 to 18")
            });
            let mode = read_mode(&table);
            Some(Some(Places { places: places?, mode: mode? }))
        });
    }
    Some((mode?, steps?))
}

pub(super) fn read_mode(table: &Table<'_>) -> Option<RoundingMode> {
    table.parsed("mode", "a rounding mode", |text| {
        RoundingMode::parse(text).ok_or_else(|| {
            format!("it must be one of: {}", RoundingMode::ALL.map(RoundingMode::as_str).join(", "))
        })
    })
}
