//! October 2025 as the nodes of a made-up operator report it.
//!
//! One function makes every record, in order, and counts what must come out of them. Files and a
//! Kafka topic are two ways to carry the same records. Nothing here reads the catalog or calls the
//! program it demonstrates, so that [`Expected`] is a second opinion and not an echo.
//!
//! Invariant: the records are the same bytes on every machine and on every day. There is no clock,
//! and the only randomness is [`Random`].

use super::expected::{Expected, MALFORMED};
use super::world::{
    CUT_OFF, FIRN, GIB, HALYARD, Hour, MOVED, MOVED_AT, ONE, PRICE_CHANGE, PROJECTS, Project, Provider,
    REPORTED, TORFELD, Time, named, october, push_date_and_hour,
};
use rating::run::UnratedReason;
use schemas::decimal::QuantityTotal;
use schemas::rejection::Reason;
use std::collections::BTreeMap;
use std::fmt::Write as _;

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

/// Makes every record, in order.
///
/// # Errors
/// The error of `sink`.
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
    /// The part of the first and of the last hour that was used.
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

/// The events of a project for one meter.
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
        // Traffic to anywhere else has no destination; the SKU without `match` takes it.
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
