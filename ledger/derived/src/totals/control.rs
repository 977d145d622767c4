//! Control totals: how many events there are and how much they say, by meter and by day.
//!
//! They are taken from rows on another way than cells are, so that a cell that is lost or counted
//! twice is found out.
//!
//! Invariant: sums are exact, and one that does not fit is an error.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A number of events and the sum of their values, in units of 10^-9.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub events: i64,
    #[serde(with = "as_text")]
    pub value: i128,
}

/// JSON's numbers are not read everywhere with 38 digits.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Sum {
    /// # Panics
    /// When it does not fit: 10^10 of the largest values do.
    pub fn add(&mut self, other: Self) {
        self.events = self.events.checked_add(other.events).expect("fewer than 2^63 events");
        self.value = self.value.checked_add(other.value).expect("10^10 of the largest values fit");
    }
}

/// The usage rows of one meter, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterControl {
    /// All usage rows.
    pub usage: Sum,
    /// Those that are in cells.
    pub plain: Sum,
    /// Those whose id their shard had before.
    pub repeats: Sum,
    /// Corrections that repeat no id.
    pub corrections: Sum,
    /// Rows that are the first of their id in their shard, and not in the ledger.
    pub crossing: Sum,
}

impl MeterControl {
    fn add(&mut self, other: &Self) {
        self.usage.add(other.usage);
        self.plain.add(other.plain);
        self.repeats.add(other.repeats);
        self.corrections.add(other.corrections);
        self.crossing.add(other.crossing);
    }

    /// Whether the parts are the whole.
    fn adds_up(&self) -> bool {
        let mut sum = self.plain;
        for part in [self.repeats, self.corrections, self.crossing] {
            sum.add(part);
        }
        sum == self.usage
    }
}

/// What some rows add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    pub rows: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// Repeats with the same content, and with another.
    pub duplicates: u64,
    pub conflicts: u64,
    /// Usage rows that have a number of their producer.
    pub numbered: u64,
    pub meters: BTreeMap<String, MeterControl>,
    /// What the cells of a day say of each meter. Days are counted from 1970, in UTC.
    pub days: BTreeMap<i32, BTreeMap<String, Sum>>,
}

impl Control {
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.usage += other.usage;
        self.rejected += other.rejected;
        self.gaps += other.gaps;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.numbered += other.numbered;
        for (meter, control) in &other.meters {
            self.meters.entry(meter.clone()).or_default().add(control);
        }
        for (day, meters) in &other.days {
            let here = self.days.entry(*day).or_default();
            for (meter, sum) in meters {
                here.entry(meter.clone()).or_default().add(*sum);
            }
        }
    }

    /// The first meter whose parts are not the whole; none where all add up.
    pub fn fault(&self) -> Option<String> {
        let mut by_meter: BTreeMap<&str, Sum> = BTreeMap::new();
        for (meter, sum) in self.days.values().flatten() {
            by_meter.entry(meter).or_default().add(*sum);
        }
        let odd = self.meters.iter().find(|(meter, control)| {
            let of_days = by_meter.get(meter.as_str()).copied().unwrap_or_default();
            !control.adds_up() || of_days != control.plain
        });
        let rows = self.usage + self.rejected + self.gaps;
        match odd {
            Some((meter, control)) => {
                Some(format!("the totals of {meter} do not add up to its rows: {control:?}"))
            }
            None if rows != self.rows => Some(format!("{} rows are {rows} by kind", self.rows)),
            None if by_meter.keys().any(|meter| !self.meters.contains_key(*meter)) => {
                Some("there are totals of a meter without rows".to_owned())
            }
            None => None,
        }
    }
}
