//! Prometheus' text format, version 0.0.4: one family of samples after the other.
//!
//! Numbers are written from integers, digit by digit. Every label value is escaped, because topics
//! and reasons are not ours to choose.

use ingest::metrics::HistogramReading;
use std::fmt::{Display, Write as _};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its name ends in `_total`.
    Counter,
    Gauge,
}

/// Seconds, from microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub u64);

impl Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MICROS: u64 = 1_000_000;
        let (whole, part) = (self.0 / MICROS, self.0 % MICROS);
        if part == 0 {
            write!(formatter, "{whole}")
        } else {
            write!(formatter, "{}", format!("{whole}.{part:06}").trim_end_matches('0'))
        }
    }
}

/// What one answer to a scrape consists of.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    pub fn finish(self) -> String {
        self.0
    }

    /// A family with one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help, [([], value)]);
    }

    /// A family with one sample for each set of labels; without samples it is not there at all.
    pub fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], impl Display)>,
    ) {
        assert_eq!(
            name.ends_with("_total"),
            kind == Kind::Counter,
            "{name}: counters, and nothing else, end in _total"
        );
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, if kind == Kind::Counter { "counter" } else { "gauge" }, help);
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// A histogram; `unit` writes its bounds and its sum in base units.
    pub fn histogram<D: Display>(
        &mut self,
        name: &str,
        help: &str,
        reading: &HistogramReading,
        unit: impl Fn(u64) -> D,
    ) {
        self.head(name, "histogram", help);
        for (bound, count) in &reading.buckets {
            self.sample(name, "_bucket", &[("le", &unit(*bound).to_string())], count);
        }
        self.sample(name, "_bucket", &[("le", "+Inf")], reading.count);
        self.sample(name, "_sum", &[], unit(reading.sum));
        self.sample(name, "_count", &[], reading.count);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!(
            "# HELP {name} {}\n# TYPE {name} {kind}\n",
            help.replace('\\', "\\\\").replace('\n', "\\n")
        ));
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let pairs: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        self.write(format_args!("{name}{suffix}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string cannot fail");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        let shown = [0, 1, 5_000, 250_000, 1_000_000, 1_761_984_000_123_400]
            .map(|micros| Seconds(micros).to_string());
        assert_eq!(shown, ["0", "0.000001", "0.005", "0.25", "1", "1761984000.1234"]);
    }

    #[test]
    fn families_histograms_and_escapes() {
        let mut text = Exposition::default();
        text.family(
            "a_total",
            Kind::Counter,
            "What a is.",
            [([("reason", "q\"b\\n\n")], 3), ([("reason", "x")], 0)],
        );
        text.family("none", Kind::Gauge, "Nothing.", std::iter::empty::<([(&str, &str); 1], u64)>());
        text.single("b", Kind::Gauge, "What b is.", -1);
        let reading =
            HistogramReading { buckets: vec![(5_000, 1), (1_000_000, 1)], count: 2, sum: 1_504_000 };
        text.histogram("c_seconds", "How long c takes.", &reading, Seconds);
        let expected = r#"# HELP a_total What a is.
# TYPE a_total counter
a_total{reason="q\"b\\n\n"} 3
a_total{reason="x"} 0
# HELP b What b is.
# TYPE b gauge
b -1
# HELP c_seconds How long c takes.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.005"} 1
c_seconds_bucket{le="1"} 1
c_seconds_bucket{le="+Inf"} 2
c_seconds_sum 1.504
c_seconds_count 2
"#;
        assert_eq!(text.finish(), expected);
    }
}
