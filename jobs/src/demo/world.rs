//! The made-up operator: its providers and their nodes, its projects and what they use, the hours
//! of October 2025, and the moments at which something changes.
//!
//! It is the catalog told a second time, and deliberately does not read it: a test compares both.

use std::fmt::Write as _;

/// A whole hour, counted from 2025-09-30T00:00:00Z.
pub type Hour = u64;

pub const fn october(day: u64, hour: u64) -> Hour {
    day * 24 + hour
}

/// Nodes report from two hours before the month in UTC to two hours after it.
pub const REPORTED: std::ops::Range<Hour> = 20..october(32, 2);

/// A provider's name, its month in hours of UTC, and where its events come from.
pub struct Provider {
    pub id: &'static str,
    pub month: std::ops::Range<Hour>,
    pub nodes: &'static [&'static str],
}

pub const TORFELD: Provider = Provider {
    id: "torfeld",
    month: 22..october(31, 23),
    nodes: &[
        "//torfeld/ber-01",
        "//torfeld/ber-02",
        "//torfeld/ber-03",
        "//torfeld/ber-04",
        "//torfeld/ber-05",
        "//torfeld/ber-06",
        "//torfeld/ber-07",
        "//torfeld/ber-08",
        "//torfeld/ber-09",
        "//torfeld/ber-10",
    ],
};
pub const FIRN: Provider =
    Provider { id: "firn", month: 21..october(31, 22), nodes: &["//firn/hel-1", "//firn/hel-2"] };
pub const HALYARD: Provider = Provider {
    id: "halyard",
    month: 24..october(32, 0),
    nodes: &["//halyard/fra-1", "//halyard/fra-2", "//halyard/lon-1"],
};

/// Torfeld's new prices: midnight in Berlin.
pub const PRICE_CHANGE: Hour = october(14, 22);
/// This node is cut off for two days. The events that it could not send arrive last.
pub const CUT_OFF: (&str, std::ops::Range<Hour>) = ("//torfeld/ber-07", october(9, 6)..october(11, 0));
/// This project changes its payer.
pub const MOVED: &str = "tide-gauge";
pub const MOVED_AT: Hour = october(20, 0);
const MOVED_TO: &str = "quayside";

/// A project and what it uses.
pub struct Project {
    pub name: &'static str,
    /// Nobody, where no binding names the project.
    pub customer: Option<&'static str>,
    /// Instances: standard, high-memory, GPU.
    pub instances: [u64; 3],
    /// GiB: hot, archive, snapshot.
    pub stored: [u64; 3],
    /// MB in an hour: to Europe, to the United States, to anywhere else.
    pub egress: [u64; 3],
    /// In an hour, about.
    pub requests: u64,
    pub ports: u64,
}

const fn project(
    name: &'static str,
    customer: &'static str,
    instances: [u64; 3],
    stored: [u64; 3],
    egress: [u64; 3],
    requests: u64,
    ports: u64,
) -> Project {
    Project { name, customer: Some(customer), instances, stored, egress, requests, ports }
}

pub const PROJECTS: &[Project] = &[
    project("fleet-api", "brindle", [14, 2, 0], [900, 0, 400], [2400, 800, 0], 61_000, 0),
    project("fleet-sim", "brindle", [22, 0, 2], [5200, 0, 0], [300, 0, 0], 0, 0),
    project("arm-telemetry", "brindle", [9, 3, 0], [14_000, 22_000, 0], [1100, 0, 0], 240_000, 0),
    project("vision-train", "brindle", [4, 0, 4], [26_000, 0, 0], [150, 0, 0], 0, 0),
    project("firmware-ci", "brindle", [12, 0, 0], [1100, 0, 0], [700, 200, 90], 0, 0),
    project("parts-shop", "brindle", [5, 1, 0], [160, 0, 60], [900, 0, 0], 18_000, 0),
    project("field-logs", "brindle", [3, 0, 0], [7300, 9000, 0], [250, 0, 0], 0, 0),
    project("sequencer", "castor", [8, 6, 0], [31_000, 48_000, 0], [1500, 600, 0], 0, 1),
    project("align", "castor", [30, 4, 0], [12_000, 0, 0], [400, 0, 0], 0, 0),
    project("variant-call", "castor", [18, 4, 1], [8000, 0, 0], [350, 0, 0], 0, 0),
    project("cohort-db", "castor", [4, 5, 0], [4200, 0, 2100], [120, 0, 0], 5000, 0),
    project("lab-portal", "castor", [3, 0, 0], [90, 0, 30], [310, 0, 0], 9000, 0),
    project("run-archive-2019", "castor", [0, 0, 0], [0, 61_000, 0], [0, 0, 0], 0, 0),
    project("climate-model", "linden", [26, 4, 0], [9000, 15_000, 0], [800, 450, 0], 0, 1),
    project("lattice", "linden", [16, 0, 1], [2600, 0, 0], [200, 0, 0], 0, 0),
    project("courses", "linden", [10, 1, 0], [1300, 0, 500], [2100, 0, 0], 42_000, 0),
    project("mail", "linden", [6, 1, 0], [3900, 2800, 900], [640, 120, 40], 0, 0),
    project("thesis-store", "linden", [1, 0, 0], [700, 3300, 0], [60, 0, 0], 0, 0),
    project("student-vms", "linden", [24, 0, 0], [1900, 0, 0], [1300, 0, 0], 0, 0),
    project("corpus", "linden", [2, 1, 0], [2200, 0, 0], [90, 0, 0], 0, 0),
    project(MOVED, "linden", [3, 0, 0], [410, 0, 0], [180, 0, 0], 7000, 0),
    project("transcode", "marlow", [20, 0, 2], [6100, 0, 0], [500, 0, 0], 0, 0),
    project("player-cdn", "marlow", [8, 2, 0], [3400, 0, 0], [52_000, 9500, 2600], 880_000, 2),
    project("newsroom", "marlow", [7, 1, 0], [800, 0, 300], [3100, 700, 120], 120_000, 0),
    project("live-captions", "marlow", [5, 0, 1], [140, 0, 0], [620, 240, 0], 0, 0),
    project("picture-desk", "marlow", [4, 0, 0], [9600, 14_000, 0], [2700, 310, 0], 36_000, 0),
    project("bakery", "quayside", [2, 0, 0], [40, 0, 20], [130, 0, 0], 2500, 0),
    project("notary", "quayside", [2, 0, 0], [210, 400, 0], [45, 0, 0], 0, 0),
    project("surf-school", "quayside", [1, 0, 0], [35, 0, 0], [95, 30, 20], 0, 0),
    project("brewery", "quayside", [3, 0, 0], [75, 0, 0], [160, 0, 0], 3100, 0),
    project("theatre", "quayside", [3, 0, 0], [620, 0, 0], [410, 0, 0], 6400, 0),
    project("museum", "quayside", [4, 0, 0], [1700, 2600, 0], [530, 180, 60], 0, 0),
    project("print-works", "quayside", [2, 0, 0], [190, 0, 0], [70, 0, 0], 0, 0),
    project("ferry-times", "quayside", [2, 0, 0], [20, 0, 0], [240, 0, 0], 14_000, 1),
    project("metering", "ops", [4, 1, 0], [1500, 3000, 0], [80, 0, 0], 0, 0),
    project("status-page", "ops", [2, 0, 0], [15, 0, 0], [110, 40, 10], 4000, 0),
    Project {
        name: "fernweh",
        customer: None,
        instances: [2, 0, 0],
        stored: [60, 0, 0],
        egress: [25, 0, 0],
        requests: 0,
        ports: 0,
    },
];

impl Project {
    /// The customer who pays for usage at a time.
    pub fn payer(&self, time: Time) -> Option<&'static str> {
        if self.name == MOVED && time.micros() >= MOVED_AT * HOUR_MICROS {
            Some(MOVED_TO)
        } else {
            self.customer
        }
    }
}

pub fn named(name: &str) -> &'static Project {
    PROJECTS.iter().find(|project| project.name == name).expect("the name is in PROJECTS")
}

const HOUR_MICROS: u64 = 3_600_000_000;
/// Values are counted in 10^-9.
pub const ONE: u128 = 1_000_000_000;
pub const GIB: u64 = 1 << 30;

/// A whole hour, or the microsecond before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    pub hour: Hour,
    pub is_eve: bool,
}

impl Time {
    /// Since 2025-09-30T00:00:00Z.
    fn micros(self) -> u64 {
        self.hour * HOUR_MICROS - u64::from(self.is_eve)
    }

    pub fn is_in(self, hours: &std::ops::Range<Hour>) -> bool {
        (hours.start * HOUR_MICROS..hours.end * HOUR_MICROS).contains(&self.micros())
    }

    /// RFC 3339, in UTC or as a clock `offset` hours ahead of it shows.
    pub fn push(self, text: &mut String, offset: u64) {
        let hour = self.hour - u64::from(self.is_eve) + offset;
        push_date_and_hour(text, hour);
        text.push_str(if self.is_eve { ":59:59.999999" } else { ":00:00" });
        match offset {
            0 => text.push('Z'),
            _ => write!(text, "+{offset:02}:00").expect("a String takes any text"),
        }
    }
}

/// `2025-10-01T08`.
pub fn push_date_and_hour(text: &mut String, hour: Hour) {
    match hour / 24 {
        0 => text.push_str("2025-09-30T"),
        day @ 1..=31 => write!(text, "2025-10-{day:02}T").expect("a String takes any text"),
        day => write!(text, "2025-11-{:02}T", day - 31).expect("a String takes any text"),
    }
    write!(text, "{:02}", hour % 24).expect("a String takes any text");
}
