//! The records of a ledger that is made for rating: which record a row is follows from its number and
//! the seed.
//!
//! Nothing is kept of a row, so a history may be longer than memory: a duplicate computes the event
//! that it repeats, a correction its target. It deliberately knows nothing of prices and of payers.
//!
//! Invariant: the same shape gives the same records on every machine.

use schemas::time::{BillingMonth, Instant, Period, start_of_day};
use std::iter::successors;

/// The month that is rated; the others lie before it.
pub const MONTH: &str = "2025-10";
pub const SUBJECTS: u64 = 5_000;
pub const NODES: u64 = 800;
/// The few hundred rows around this distance are near each other, as in one batch.
const NEAR: u64 = 100_000;
/// Of so many rows that follow each other the same number are each part.
const BLOCK: u64 = 1_000;
/// Those of a block that repeat another row, and so have no number of their own.
const REPEATS: u64 = 51;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What is used, by every subject: the events of a series differ in subject, time and quantity.
pub struct Series {
    pub meter: &'static str,
    pub provider: &'static str,
    pub dimensions: &'static [(&'static str, &'static str)],
    /// The SKU of the month's catalog that takes them.
    pub sku: &'static str,
    /// In 10⁻⁹ of the meter's unit.
    step: i128,
    /// The quantity is `step` times a number below this.
    steps: u64,
}

const fn series(
    meter: &'static str,
    provider: &'static str,
    dimensions: &'static [(&'static str, &'static str)],
    sku: &'static str,
    step: i128,
    steps: u64,
) -> Series {
    Series { meter, provider, dimensions, sku, step, steps }
}

/// Ten of them, so that subjects and series make 50,000 groups. `nimbus` is in Berlin's time zone, the
/// others are in UTC; NB-STD has tiers, NB-GPU another price from the middle of the month.
pub const SERIES: [Series; 10] = {
    const COMPUTE: &str = "compute.example/instance-hours";
    const STORAGE: &str = "storage.example/bytes-stored";
    const EGRESS: &str = "network.example/egress";
    const MILLI: i128 = 1_000_000;
    const ONE: i128 = 1_000_000_000;
    [
        series(COMPUTE, "nimbus", &[("class", "standard"), ("region", "ams")], "NB-STD", MILLI, 7_000),
        series(COMPUTE, "nimbus", &[("class", "standard"), ("region", "fra")], "NB-STD", MILLI, 7_000),
        series(COMPUTE, "nimbus", &[("class", "gpu"), ("region", "ams")], "NB-GPU", MILLI, 7_000),
        series(COMPUTE, "nimbus", &[("class", "burst"), ("region", "ams")], "NB-OTHER", MILLI, 7_000),
        series(STORAGE, "stow", &[("tier", "hot")], "ST-HOT", 3_600 * ONE, 1_000_000_000),
        series(STORAGE, "stow", &[("tier", "cold")], "ST-COLD", 3_600 * ONE, 1_000_000_000),
        series(EGRESS, "lynx", &[("destination", "eu")], "LX-EU", ONE, 1_000_000_000),
        series(EGRESS, "lynx", &[("destination", "us")], "LX-WORLD", ONE, 1_000_000_000),
        series("network.example/requests", "lynx", &[], "LX-REQ", ONE, 1_000),
        series("network.example/port-hours", "lynx", &[], "LX-PORT", ONE, 2),
    ]
};

/// How long a history is, and which of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// In the month that is rated.
    pub events: u64,
    /// In each month before it there are a twentieth as many.
    pub months: u64,
    pub seed: u64,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Usage,
    /// Of an earlier row, word for word.
    Duplicate,
    /// Of an earlier row, with another quantity.
    Conflict,
    Correction,
}

/// One record, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The number of the row that has this name first, where it has one at all.
    pub name: Name,
    pub series: usize,
    pub subject: u64,
    pub time: Instant,
    pub quantity: i128,
    pub correction: Option<Corrected>,
}

/// What becomes the `source` and the `id` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    pub node: u64,
    pub id: u128,
    /// Who counts the event, and its number in that count. Of a thousand numbers one was lost.
    pub producer: u64,
    pub seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrected {
    pub voids: bool,
    pub target: Name,
}

/// The questions that are asked about one row, each with an answer of its own.
#[derive(Clone, Copy)]
enum Ask {
    Part = 1,
    Earlier,
    Target,
    Series,
    Subject,
    Skew,
    Time,
    Late,
    Quantity,
    IdHigh,
    IdLow,
}

/// The rows of a shape, by number.
pub struct History {
    shape: Shape,
    /// The oldest first, in UTC.
    months: Vec<Period>,
}

impl History {
    pub fn of(shape: Shape) -> Self {
        let last = BillingMonth::parse(MONTH).expect("a month");
        let months = successors(Some(last), |month| month.previous());
        let utc = |month: BillingMonth| month.period_in(&jiff::tz::TimeZone::UTC).expect("a period");
        let months = usize::try_from(shape.months).map(|count| months.take(count).map(utc).collect());
        let mut months: Vec<_> = months.expect("months are few");
        months.reverse();
        Self { shape, months }
    }

    /// How many rows there are. Those beyond are records that arrive later.
    pub fn rows(&self) -> u64 {
        self.before() + self.shape.events
    }

    /// The month that is rated, in UTC.
    pub fn month(&self) -> Period {
        *self.months.last().expect("there is a month")
    }

    /// The rows of each month before the one that is rated.
    fn share(&self) -> u64 {
        self.shape.events / 20
    }

    fn before(&self) -> u64 {
        self.share() * (self.shape.months - 1)
    }

    /// The month that a row arrives in, the row's number in it and how many there are.
    fn place(&self, row: u64) -> (Period, u64, u64) {
        match row.checked_sub(self.before()) {
            Some(number) => (self.month(), number, self.shape.events),
            None => {
                let month = usize::try_from(row / self.share()).expect("months are few");
                (self.months[month], row % self.share(), self.share())
            }
        }
    }

    /// When ingest read a row. It never decreases.
    pub fn arrival(&self, row: u64) -> Instant {
        let (month, number, count) = self.place(row);
        let length = i128::from(month.end().micros() - month.start().micros());
        // Those that arrive later come as fast as the others came.
        let since = length * i128::from(number) / i128::from(count.max(1));
        let micros = month.start().micros() + i64::try_from(since).expect("less than a few months");
        Instant::from_micros(micros).expect("an instant")
    }

    /// The record of a row.
    pub fn record(&self, row: u64) -> Made {
        match self.part(row) {
            Part::Usage | Part::Correction => self.event(row),
            Part::Duplicate => self.event(self.earlier(row)),
            Part::Conflict => {
                let first = self.event(self.earlier(row));
                Made { quantity: first.quantity + SERIES[first.series].step, ..first }
            }
        }
    }

    fn part(&self, row: u64) -> Part {
        match self.slot(row) {
            0..50 => Part::Duplicate,
            50 => Part::Conflict,
            REPEATS => Part::Correction,
            _ => Part::Usage,
        }
    }

    /// The place of a row in its block, shuffled.
    fn slot(&self, row: u64) -> u64 {
        let (block, nth) = (row / BLOCK, row % BLOCK);
        let answer = self.answer(block, Ask::Part);
        let (even, odd) = (10 * (1 + answer % 99), [1, 3, 7, 9]);
        let odd = odd[usize::try_from(answer / 99 % 4).expect("a remainder")];
        // The first row is usage: it is what a search backwards ends at.
        let start = if block == 0 { BLOCK - 1 } else { answer / 396 % BLOCK };
        // A step that is prime to the size comes to every place once.
        (start + nth * (even + odd)) % BLOCK
    }

    /// The number of a row among those that repeat no other, of which none is left out.
    fn number(&self, row: u64) -> u64 {
        let before = row / BLOCK * (BLOCK - REPEATS);
        before + self.slot(row).checked_sub(REPEATS).expect("it repeats no other")
    }

    /// The row that a duplicate or a conflict repeats: four of five are near.
    fn earlier(&self, row: u64) -> u64 {
        let answer = self.answer(row, Ask::Earlier);
        let reach = if answer.is_multiple_of(5) { row } else { NEAR };
        self.back_from(row, 1 + answer / 5 % reach.max(1), |part| {
            matches!(part, Part::Usage | Part::Correction)
        })
    }

    /// The first row at or before that distance that is such a part.
    fn back_from(&self, row: u64, distance: u64, wanted: impl Fn(Part) -> bool) -> u64 {
        let mut found = row.saturating_sub(distance);
        while found > 0 && !wanted(self.part(found)) {
            found -= 1;
        }
        found
    }

    /// The row that a correction names: half of them lie long before it, a tenth after it, the rest
    /// shortly before. One in fifty was corrected already, one in fifty is a correction.
    fn target(&self, row: u64) -> u64 {
        let answer = self.answer(row, Ask::Target);
        let (choice, rest) = (answer % 100, answer / 100);
        let usage = |part| part == Part::Usage;
        let near = 1 + rest % NEAR;
        match choice {
            0..4 => {
                let other = self.back_from(row, near, |part| part == Part::Correction);
                if choice < 2 && other > 0 { self.target(other) } else { other }
            }
            4..50 => self.back_from(row, 1 + rest % row, usage),
            50..60 => {
                let mut found = row + near;
                while !usage(self.part(found)) {
                    found += 1;
                }
                // The last ones have nothing after them.
                if found < self.rows() { found } else { self.back_from(row, near, usage) }
            }
            _ => self.back_from(row, near, usage),
        }
    }

    /// The event of a row that is usage or a correction.
    fn event(&self, row: u64) -> Made {
        let own = self.usage(row);
        if self.part(row) != Part::Correction {
            return own;
        }
        let target = self.event(self.target(row));
        let voids = own.name.seq.is_multiple_of(2);
        let quantity = if voids { 0 } else { own.quantity % (SERIES[target.series].step * 1_000) };
        Made {
            name: Name { node: target.name.node, ..own.name },
            quantity,
            correction: Some(Corrected { voids, target: target.name }),
            ..target
        }
    }

    fn usage(&self, row: u64) -> Made {
        let number = self.answer(row, Ask::Series) % (SERIES.len() as u64);
        let series = usize::try_from(number).expect("a remainder");
        let (even, skew) = (self.answer(row, Ask::Subject), self.answer(row, Ask::Skew));
        // Half of the usage is everybody's, and of the other half the first subjects have most.
        let subject = if even.is_multiple_of(2) {
            even / 2 % SUBJECTS
        } else {
            (even / 2 % SUBJECTS) * (skew % SUBJECTS) / SUBJECTS
        };
        let steps = self.answer(row, Ask::Quantity) % SERIES[series].steps;
        let id = u128::from(self.answer(row, Ask::IdHigh)) << 64 | u128::from(self.answer(row, Ask::IdLow));
        let (node, count) = (self.number(row) % NODES, self.number(row) / NODES);
        Made {
            name: Name { node, id, producer: node, seq: count + count / 999 },
            series,
            subject,
            time: self.time(row),
            quantity: SERIES[series].step * i128::from(steps),
            correction: None,
        }
    }

    /// When it was used: minutes before it arrived, days where it is late. What arrives after the
    /// history is from anywhere in the month.
    fn time(&self, row: u64) -> Instant {
        let (month, number, count) = self.place(row);
        let (start, end) = (month.start().micros(), month.end().micros());
        let answer = i64::try_from(self.answer(row, Ask::Time) >> 1).expect("63 bits");
        let late = i64::try_from(self.answer(row, Ask::Late) >> 1).expect("63 bits");
        let micros = if number >= count {
            start + answer % (end - start)
        } else {
            let minutes = self.arrival(row).micros() - answer % (600 * SECOND);
            let days = minutes - (1 + late / 100 % 5) * DAY;
            if late % 100 == 0 && days >= start { days } else { minutes.max(start) }
        };
        Instant::from_micros(micros - micros % 1_000).expect("an instant")
    }

    /// Bits as good as random (splitmix64 of the row, the question and the seed).
    fn answer(&self, row: u64, ask: Ask) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let key = self.shape.seed.wrapping_add((ask as u64).wrapping_mul(GOLDEN));
        mix(mix(key) ^ row.wrapping_mul(GOLDEN))
    }
}

fn mix(value: u64) -> u64 {
    let one = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    two ^ (two >> 31)
}

/// `bindings.csv` of the catalog: of a hundred subjects one changes its customer within the month, at
/// midnight or, one in five, at an odd instant, and one in two hundred is left by its customer.
pub fn bindings(month: Period, customers: u64) -> String {
    let mut text = "subject,customer,from,until\n".to_owned();
    let zone = &jiff::tz::TimeZone::UTC;
    let begun = start_of_day(jiff::civil::date(2023, 1, 1), zone).expect("a day");
    for subject in 0..SUBJECTS {
        let day = i64::try_from(1 + subject / 100 % 28).expect("a day of a month");
        let odd = if subject / 100 % 5 == 0 { 45_296_789_000 } else { 0 };
        let change = Instant::from_micros(month.start().micros() + day * DAY + odd).expect("an instant");
        let (name, customer) = (subject_name(subject), subject % customers);
        let mut bound = |customer: u64, from: Instant, until: String| {
            text.push_str(&format!("{name},{},{from},{until}\n", customer_name(customer)));
        };
        match subject % 200 {
            17 | 117 => {
                bound(customer, begun, change.to_string());
                bound((customer + 1) % customers, change, String::new());
            }
            55 => bound(customer, begun, change.to_string()),
            _ => bound(customer, begun, String::new()),
        }
    }
    text
}

pub fn subject_name(subject: u64) -> String {
    format!("projects/p{subject:04}")
}

pub fn customer_name(customer: u64) -> String {
    format!("customer-{customer:02}")
}
