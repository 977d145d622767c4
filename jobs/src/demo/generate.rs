//! October 2025 as the nodes of a made-up operator report it: what the demo has instead of a world.
//!
//! One function makes every record, in order, and says what must come out of them. Files and a
//! Kafka topic are two ways to carry the same records. Nothing here reads the catalog or calls the
//! program it demonstrates, so that [`Expected`] is a second opinion and not an echo.
//!
//! Invariant: the records are the same bytes on every machine and on every day. There is no clock,
//! and the only randomness is [`Random`].

use rating::run::UnratedReason;
use schemas::decimal::QuantityTotal;
use schemas::rejection::Reason;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The files in the order in which they are written and read: by name. The topic gets their records
/// in the same order.
pub const FILES: [&str; 6] = [
    "01-torfeld-first-half.ndjson",
    "02-torfeld-second-half.ndjson.zst",
    "03-firn.ndjson.gz",
    "04-halyard.ndjson",
    "05-sent-again.ndjson",
    "06-late.ndjson",
];

/// What is wrong with the malformed records, and the reason each kind must be refused for.
pub const MALFORMED: [(Reason, &str); 10] = [
    (Reason::Utf8Invalid, "a name in Latin-1"),
    (Reason::JsonInvalid, "a line of a log file"),
    (Reason::JsonDuplicateName, "two ids in one event"),
    (Reason::NotAnObject, "a batch in one array"),
    (Reason::AttributeMissing, "no subject"),
    (Reason::TimeInvalid, "a time without an offset"),
    (Reason::TimeInFuture, "a clock in the year 2525"),
    (Reason::ValueInvalid, "a value that is no number"),
    (Reason::ValueNegative, "a negative value"),
    (Reason::ValueTooPrecise, "ten digits after the point"),
];

/// One record on its way.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its place in [`FILES`].
    pub file: usize,
    /// The Kafka key: who sent it. An id is unique for its sender, so records with the same id stay
    /// in order.
    pub key: &'a str,
    /// One line, without its end. Not always UTF-8.
    pub bytes: &'a [u8],
}

/// What must come out, as the generator knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub records: u64,
    pub rejected: BTreeMap<Reason, u64>,
    /// The same event again: the same bytes, or the same content written in another way.
    pub duplicates: u64,
    /// The same id with another value.
    pub conflicts: u64,
    /// Events that arrive when all others have, weeks after they happened. They count like any
    /// other.
    pub late: u64,
    /// Events of a project that no customer is bound to.
    pub unknown_project: u64,
    /// Events before or after the month as their provider counts it.
    pub other_month: u64,
    /// Events a microsecond before a month, a price or a payer changes.
    pub eve: u64,
    pub unrated: BTreeMap<UnratedReason, u64>,
    /// What each SKU counts for each customer, in the meter's unit. No customer: nobody is bound to
    /// the project.
    pub quantities: BTreeMap<(&'static str, Option<&'static str>), QuantityTotal>,
}

impl Expected {
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Every record is usage or rejected.
    pub fn usage(&self) -> u64 {
        self.records - self.rejected_total()
    }
}

/// Writes [`FILES`] into a folder that exists.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> io::Result<Expected> {
    let mut files =
        FILES.iter().map(|name| EventFile::create(&folder.join(name))).collect::<io::Result<Vec<_>>>()?;
    let expected = records(|record| files[record.file].line(record.bytes))?;
    files.into_iter().try_for_each(EventFile::finish)?;
    Ok(expected)
}

enum EventFile {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl EventFile {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("gz") => Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
            Some("zst") => Self::Zstd(zstd::Encoder::new(file, 1)?),
            _ => Self::Plain(file),
        })
    }

    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer,
            Self::Zstd(writer) => writer,
        };
        writer.write_all(bytes)?;
        writer.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer.finish()?,
            Self::Zstd(writer) => writer.finish()?,
        }
        .flush()
    }
}

/// Makes every record, in order.
///
/// # Errors
/// What `sink` fails with.
pub fn records<E>(sink: impl FnMut(Record<'_>) -> Result<(), E>) -> Result<Expected, E> {
    let mut month = Month {
        sink,
        random: Random(202_510),
        expected: Expected::default(),
        units: BTreeMap::new(),
        again: Vec::new(),
        late: Vec::new(),
        line: String::new(),
    };
    month.compute()?;
    month.storage()?;
    month.network()?;
    for (key, line) in std::mem::take(&mut month.again) {
        month.send(AGAIN, &key, line.as_bytes())?;
    }
    for (key, line) in std::mem::take(&mut month.late) {
        month.send(LATE, &key, line.as_bytes())?;
    }
    let total = |(share, units)| {
        (share, QuantityTotal::from_units(units).expect("a month of one operator fits in 29 digits"))
    };
    month.expected.quantities = month.units.into_iter().map(total).collect();
    Ok(month.expected)
}

const FIRST_HALF: usize = 0;
const SECOND_HALF: usize = 1;
const STORAGE: usize = 2;
const NETWORK: usize = 3;
const AGAIN: usize = 4;
const LATE: usize = 5;

/// A whole hour, counted from 2025-09-30T00:00:00Z.
type Hour = u64;

const fn october(day: u64, hour: u64) -> Hour {
    day * 24 + hour
}

/// Nodes report from two hours before the month in UTC to two hours after it.
const REPORTED: std::ops::Range<Hour> = 20..october(32, 2);

/// A provider's name, its month in hours of UTC, and where its events come from.
struct Provider {
    id: &'static str,
    month: std::ops::Range<Hour>,
    nodes: &'static [&'static str],
}

const TORFELD: Provider = Provider {
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
const FIRN: Provider =
    Provider { id: "firn", month: 21..october(31, 22), nodes: &["//firn/hel-1", "//firn/hel-2"] };
const HALYARD: Provider = Provider {
    id: "halyard",
    month: 24..october(32, 0),
    nodes: &["//halyard/fra-1", "//halyard/fra-2", "//halyard/lon-1"],
};

/// Torfeld's new prices: midnight in Berlin.
const PRICE_CHANGE: Hour = october(14, 22);
/// This node is cut off for two days. What it could not send arrives last.
const CUT_OFF: (&str, std::ops::Range<Hour>) = ("//torfeld/ber-07", october(9, 6)..october(11, 0));
/// This project changes its payer.
const MOVED: &str = "tide-gauge";
const MOVED_AT: Hour = october(20, 0);
const MOVED_TO: &str = "quayside";

/// A project and what it uses.
struct Project {
    name: &'static str,
    /// Nobody, where no binding names the project.
    customer: Option<&'static str>,
    /// Instances: standard, high-memory, GPU.
    instances: [u64; 3],
    /// GiB: hot, archive, snapshot.
    stored: [u64; 3],
    /// MB in an hour: to Europe, to the United States, to anywhere else.
    egress: [u64; 3],
    /// In an hour, about.
    requests: u64,
    ports: u64,
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

const PROJECTS: &[Project] = &[
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
    /// Who pays for what is used at a time.
    fn payer(&self, time: Time) -> Option<&'static str> {
        if self.name == MOVED && time.micros() >= MOVED_AT * HOUR_MICROS {
            Some(MOVED_TO)
        } else {
            self.customer
        }
    }
}

fn named(name: &str) -> &'static Project {
    PROJECTS.iter().find(|project| project.name == name).expect("the name is in PROJECTS")
}

const HOUR_MICROS: u64 = 3_600_000_000;
/// Values are counted in 10^-9.
const ONE: u128 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// A whole hour, or the microsecond before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    hour: Hour,
    is_eve: bool,
}

impl Time {
    /// Since 2025-09-30T00:00:00Z.
    fn micros(self) -> u64 {
        self.hour * HOUR_MICROS - u64::from(self.is_eve)
    }

    fn is_in(self, hours: &std::ops::Range<Hour>) -> bool {
        (hours.start * HOUR_MICROS..hours.end * HOUR_MICROS).contains(&self.micros())
    }

    /// RFC 3339, in UTC or as a clock `offset` hours ahead of it shows.
    fn push(self, text: &mut String, offset: u64) {
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
fn push_date_and_hour(text: &mut String, hour: Hour) {
    match hour / 24 {
        0 => text.push_str("2025-09-30T"),
        day @ 1..=31 => write!(text, "2025-10-{day:02}T").expect("a String takes any text"),
        day => write!(text, "2025-11-{:02}T", day - 31).expect("a String takes any text"),
    }
    write!(text, "{:02}", hour % 24).expect("a String takes any text");
}

/// One report of usage, before it is written.
#[derive(Clone, Copy)]
struct Event<'a> {
    provider: &'a Provider,
    /// Whether the event names its provider. If not, the only provider with a fitting SKU is found
    /// when the month is rated.
    names_provider: bool,
    node: &'static str,
    /// Unique for its node, together with the hour.
    series: &'a str,
    meter: &'static str,
    project: &'static Project,
    time: Time,
    value: u128,
    dimension: Option<(&'static str, &'static str)>,
    outcome: Result<&'static str, UnratedReason>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Usual,
    /// The same content: the time as a clock two hours ahead shows it, the value as a JSON number,
    /// and blanks.
    Other,
}

impl Event<'_> {
    fn push(&self, line: &mut String, spelling: Spelling) {
        let (offset, blank, quote) = match spelling {
            Spelling::Usual => (0, "", "\""),
            Spelling::Other => (2, " ", ""),
        };
        for text in [r#"{"specversion":"1.0","id":""#, self.series, "@"] {
            line.push_str(text);
        }
        push_date_and_hour(line, self.time.hour);
        if self.time.is_eve {
            line.push_str("-eve");
        }
        for text in [
            r#"","source":""#,
            self.node,
            r#"","type":""#,
            self.meter,
            r#"","subject":"projects/"#,
            self.project.name,
            r#"","time":"#,
            blank,
            "\"",
        ] {
            line.push_str(text);
        }
        self.time.push(line, offset);
        for text in [r#"","datacontenttype":"application/json","data":{"value":"#, blank, quote] {
            line.push_str(text);
        }
        push_decimal(line, self.value);
        line.push_str(quote);
        if let Some((name, value)) = self.dimension {
            for text in [r#","dimensions":{""#, name, "\":", blank, "\"", value, "\"}"] {
                line.push_str(text);
            }
        }
        if self.names_provider {
            for text in [r#","provider":""#, self.provider.id, "\""] {
                line.push_str(text);
            }
        }
        line.push_str("}}");
    }
}

/// Digits without trailing zeros after the point.
fn push_decimal(text: &mut String, units: u128) {
    write!(text, "{}", units / ONE).expect("a String takes any text");
    if !units.is_multiple_of(ONE) {
        write!(text, ".{:09}", units % ONE).expect("a String takes any text");
        text.truncate(text.trim_end_matches('0').len());
    }
}

/// One instance while it runs.
struct Instance {
    name: String,
    project: &'static Project,
    node: &'static str,
    class: &'static str,
    sku: &'static str,
    hours: std::ops::Range<Hour>,
    /// What was used of the first and of the last hour.
    first: u128,
    last: u128,
}

struct Month<F> {
    sink: F,
    random: Random,
    expected: Expected,
    units: BTreeMap<(&'static str, Option<&'static str>), i128>,
    /// Keys and lines of [`AGAIN`] and [`LATE`], in order.
    again: Vec<(String, String)>,
    late: Vec<(String, String)>,
    line: String,
}

impl<E, F: FnMut(Record<'_>) -> Result<(), E>> Month<F> {
    fn compute(&mut self) -> Result<(), E> {
        let instances = self.instances();
        for hour in REPORTED {
            let file = if hour < october(15, 0) { FIRST_HALF } else { SECOND_HALF };
            for instance in instances.iter().filter(|instance| instance.hours.contains(&hour)) {
                let value = match hour {
                    _ if hour == instance.hours.start => instance.first,
                    _ if hour + 1 == instance.hours.end => instance.last,
                    _ => ONE,
                };
                self.usage(file, &instance.event(hour, value))?;
            }
            // The regular reports of these hours are the first events after the boundary.
            let eve_of = match hour {
                _ if hour == TORFELD.month.start || hour == TORFELD.month.end || hour == PRICE_CHANGE => {
                    Some("fleet-api")
                }
                MOVED_AT => Some(MOVED),
                _ => None,
            };
            for instance in instances
                .iter()
                .filter(|instance| Some(instance.project.name) == eve_of && instance.hours.contains(&hour))
                .take(3)
            {
                let event = instance.event(hour, ONE / 4);
                self.usage(file, &Event { time: Time { hour, is_eve: true }, ..event })?;
            }
            // A class of instance that the price list does not have.
            if (october(8, 0)..october(11, 18)).contains(&hour) {
                let event = Event {
                    series: "vm-fpga-1",
                    dimension: Some(("class", "fpga")),
                    outcome: Err(UnratedReason::NoSku),
                    ..instances[0].event(hour, ONE)
                };
                self.usage(file, &Event { project: named("variant-call"), ..event })?;
            }
            self.malformed(file, TORFELD.nodes, hour)?;
        }
        Ok(())
    }

    fn instances(&mut self) -> Vec<Instance> {
        let mut instances = Vec::new();
        for project in PROJECTS {
            for (count, (class, sku)) in project.instances.iter().zip([
                ("standard", "TF-STD"),
                ("highmem", "TF-MEM"),
                ("gpu", "TF-GPU"),
            ]) {
                for _ in 0..*count {
                    let number = instances.len();
                    let seconds = |random: &mut Random| u128::from(1 + random.below(3599)) * ONE / 3600;
                    // Most run all the time; some are started or stopped within the month.
                    let hours = match self.random.below(10) {
                        0 => october(1 + self.random.below(28), self.random.below(24))..REPORTED.end,
                        1 => REPORTED.start..october(3 + self.random.below(28), self.random.below(24)),
                        _ => REPORTED,
                    };
                    let first = if hours.start == REPORTED.start { ONE } else { seconds(&mut self.random) };
                    let last = if hours.end == REPORTED.end { ONE } else { seconds(&mut self.random) };
                    let name = format!("vm-{:04}", number + 1);
                    instances.push(Instance {
                        name,
                        project,
                        node: TORFELD.nodes[number % TORFELD.nodes.len()],
                        class,
                        sku,
                        hours,
                        first,
                        last,
                    });
                }
            }
        }
        instances
    }

    /// A level per project and tier, reported as bytes times the seconds of the hour.
    fn storage(&mut self) -> Result<(), E> {
        let tiers = [("hot", "FN-HOT"), ("archive", "FN-ARCHIVE"), ("snapshot", "FN-SNAPSHOT")];
        let mut levels = Vec::new();
        for (index, project) in PROJECTS.iter().enumerate() {
            for (gib, (tier, sku)) in project.stored.iter().zip(tiers) {
                if *gib > 0 {
                    levels.push((
                        FIRN.nodes[index % FIRN.nodes.len()],
                        project,
                        format!("{}/{tier}", project.name),
                        tier,
                        sku,
                        gib * GIB,
                    ));
                }
            }
        }
        for hour in REPORTED {
            for (node, project, series, tier, sku, bytes) in &mut levels {
                // A level drifts upwards by some ten thousandths in an hour.
                *bytes += *bytes / 10_000 * self.random.below(9) / 10;
                let event = Event {
                    provider: &FIRN,
                    names_provider: false,
                    node,
                    series,
                    meter: "storage.example/bytes-stored",
                    project,
                    time: Time { hour, is_eve: false },
                    value: u128::from(*bytes) * 3600 * ONE,
                    dimension: Some(("tier", tier)),
                    outcome: Ok(sku),
                };
                self.usage(STORAGE, &event)?;
                if (hour == FIRN.month.start || hour == FIRN.month.end) && project.name == MOVED {
                    self.usage(
                        STORAGE,
                        &Event { time: Time { hour, is_eve: true }, value: u128::from(GIB) * ONE, ..event },
                    )?;
                }
            }
            self.malformed(STORAGE, FIRN.nodes, hour)?;
        }
        Ok(())
    }

    fn network(&mut self) -> Result<(), E> {
        let series: Vec<NetworkSeries> = PROJECTS
            .iter()
            .enumerate()
            .flat_map(|(index, project)| {
                NetworkSeries::of(project, HALYARD.nodes[index % HALYARD.nodes.len()])
            })
            .collect();
        for hour in REPORTED {
            for one in &series {
                let value = match one.hourly {
                    Hourly::Exactly(value) => value,
                    Hourly::About(value) => value / 5 + self.random.below(value * 8 / 5),
                };
                let event = Event {
                    provider: &HALYARD,
                    names_provider: true,
                    node: one.node,
                    series: &one.name,
                    meter: one.meter,
                    project: one.project,
                    time: Time { hour, is_eve: false },
                    value: u128::from(value) * ONE,
                    dimension: one.dimension,
                    outcome: Ok(one.sku),
                };
                self.usage(NETWORK, &event)?;
                if (hour == HALYARD.month.start || hour == HALYARD.month.end)
                    && one.project.name == "player-cdn"
                {
                    self.usage(NETWORK, &Event { time: Time { hour, is_eve: true }, ..event })?;
                }
                // A service that is metered before anybody has put it into the catalog.
                if one.project.customer == Some("marlow")
                    && one.sku == "HT-REQ"
                    && hour % 24 == 4
                    && HALYARD.month.contains(&hour)
                {
                    let series = format!("{}/scrubbing", one.project.name);
                    let event = Event {
                        series: &series,
                        meter: "network.example/ddos-scrubbing",
                        value: 6 * ONE,
                        outcome: Err(UnratedReason::UnknownMeter),
                        ..event
                    };
                    self.usage(NETWORK, &event)?;
                }
            }
            self.malformed(NETWORK, HALYARD.nodes, hour)?;
        }
        Ok(())
    }

    /// Sends an event, or keeps it for later, and counts it once. Now and then it is sent more than
    /// once.
    fn usage(&mut self, file: usize, event: &Event<'_>) -> Result<(), E> {
        self.count(event);
        if event.node == CUT_OFF.0 && event.time.is_in(&CUT_OFF.1) {
            self.expected.late += 1;
            let line = self.written(event, Spelling::Usual);
            self.late.push((event.node.to_owned(), line));
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        event.push(&mut line, Spelling::Usual);
        self.send(file, event.node, line.as_bytes())?;
        match self.random.below(10_000) {
            // An answer was lost and the node has tried again.
            0..20 => {
                self.expected.duplicates += 1;
                self.send(file, event.node, line.as_bytes())?;
            }
            20..40 => self.duplicate(event, Spelling::Usual),
            40..50 => self.duplicate(event, Spelling::Other),
            50 => {
                self.expected.conflicts += 1;
                let line = self.written(&Event { value: event.value + ONE / 8, ..*event }, Spelling::Usual);
                self.again.push((event.node.to_owned(), line));
            }
            _ => {}
        }
        self.line = line;
        Ok(())
    }

    fn duplicate(&mut self, event: &Event<'_>, spelling: Spelling) {
        self.expected.duplicates += 1;
        let line = self.written(event, spelling);
        self.again.push((event.node.to_owned(), line));
    }

    fn written(&self, event: &Event<'_>, spelling: Spelling) -> String {
        let mut line = String::with_capacity(320);
        event.push(&mut line, spelling);
        line
    }

    fn count(&mut self, event: &Event<'_>) {
        self.expected.eve += u64::from(event.time.is_eve);
        if !event.time.is_in(&event.provider.month) {
            self.expected.other_month += 1;
            return;
        }
        let payer = event.project.payer(event.time);
        match event.outcome {
            Err(reason) => *self.expected.unrated.entry(reason).or_default() += 1,
            Ok(sku) => {
                self.expected.unknown_project += u64::from(payer.is_none());
                let units = self.units.entry((sku, payer)).or_default();
                *units += i128::try_from(event.value).expect("a value has at most 28 digits");
            }
        }
    }

    /// Once in about two days, something that is no event. All kinds take turns.
    fn malformed(&mut self, file: usize, nodes: &[&'static str], hour: Hour) -> Result<(), E> {
        if self.random.below(45) > 0 {
            return Ok(());
        }
        let number = self.expected.rejected_total();
        let kind = usize::try_from(number).map_or(0, |number| number % MALFORMED.len());
        let (reason, _) = MALFORMED[kind];
        *self.expected.rejected.entry(reason).or_default() += 1;
        let node = nodes[usize::try_from(hour).map_or(0, |hour| hour % nodes.len())];
        let mut time = String::new();
        Time { hour, is_eve: false }.push(&mut time, 0);
        self.send(file, node, &malformed(reason, number, node, &time))
    }

    fn send(&mut self, file: usize, key: &str, bytes: &[u8]) -> Result<(), E> {
        self.expected.records += 1;
        (self.sink)(Record { file, key, bytes })
    }
}

impl Instance {
    fn event(&self, hour: Hour, value: u128) -> Event<'_> {
        Event {
            provider: &TORFELD,
            names_provider: true,
            node: self.node,
            series: &self.name,
            meter: "compute.example/instance-hours",
            project: self.project,
            time: Time { hour, is_eve: false },
            value,
            dimension: Some(("class", self.class)),
            outcome: Ok(self.sku),
        }
    }
}

/// What a project sends through one meter.
struct NetworkSeries {
    name: String,
    project: &'static Project,
    node: &'static str,
    meter: &'static str,
    dimension: Option<(&'static str, &'static str)>,
    sku: &'static str,
    hourly: Hourly,
}

#[derive(Clone, Copy)]
enum Hourly {
    Exactly(u64),
    About(u64),
}

impl NetworkSeries {
    fn of(project: &'static Project, node: &'static str) -> Vec<Self> {
        let series = |name: String, meter, dimension, sku, hourly| Self {
            name: format!("{}/{name}", project.name),
            project,
            node,
            meter,
            dimension,
            sku,
            hourly,
        };
        let mut all = Vec::new();
        // What goes anywhere else has no destination; the SKU without `match` takes it.
        let destinations = [(Some("eu"), "HT-EU"), (Some("us"), "HT-WORLD"), (None, "HT-WORLD")];
        for (megabytes, (destination, sku)) in
            project.egress.iter().zip(destinations).filter(|(megabytes, _)| **megabytes > 0)
        {
            let dimension = destination.map(|destination| ("destination", destination));
            let name = format!("egress-{}", destination.unwrap_or("elsewhere"));
            all.push(series(
                name,
                "network.example/egress",
                dimension,
                sku,
                Hourly::About(megabytes * 1_000_000),
            ));
        }
        if project.requests > 0 {
            all.push(series(
                "requests".to_owned(),
                "network.example/requests",
                None,
                "HT-REQ",
                Hourly::About(project.requests),
            ));
        }
        for port in 1..=project.ports {
            all.push(series(
                format!("port-{port}"),
                "network.example/port-hours",
                None,
                "HT-PORT",
                Hourly::Exactly(1),
            ));
        }
        all
    }
}

/// A record that must be refused for `reason`, which is one of [`MALFORMED`].
fn malformed(reason: Reason, number: u64, node: &str, time: &str) -> Vec<u8> {
    let head = format!(
        r#""specversion":"1.0","id":"malformed-{number}","source":"{node}","type":"compute.example/instance-hours""#
    );
    let event = |subject: &str, time: &str, value: &str| {
        format!(
            r#"{{{head}{subject},"time":"{time}","data":{{"value":"{value}","dimensions":{{"class":"standard"}}}}}}"#
        )
    };
    let subject = r#","subject":"projects/courses""#;
    let text = match reason {
        Reason::Utf8Invalid => {
            let mut bytes = event(r#","subject":"projects/caf?""#, time, "1").into_bytes();
            bytes.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xE9);
            return bytes;
        }
        Reason::JsonInvalid => format!("{time} WARN meter-agent on {node}: queue is full, waiting"),
        Reason::JsonDuplicateName => event(&format!(r#"{subject},"id":"malformed-{number}-b""#), time, "1"),
        Reason::NotAnObject => format!("[{}]", event(subject, time, "1")),
        Reason::AttributeMissing => event("", time, "1"),
        Reason::TimeInvalid => event(subject, time.trim_end_matches('Z'), "1"),
        Reason::TimeInFuture => event(subject, &time.replacen("2025", "2525", 1), "1"),
        Reason::ValueInvalid => event(subject, time, "n/a"),
        Reason::ValueNegative => event(subject, time, "-1"),
        Reason::ValueTooPrecise => event(subject, time, "0.0000000001"),
        other => unreachable!("{other} is no kind of MALFORMED"),
    };
    text.into_bytes()
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
/// enough to look alive, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not zero. The smallest numbers are a trifle more likely, which no
    /// event minds.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
