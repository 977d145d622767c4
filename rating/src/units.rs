//! Units of measure and exact conversion between them: the part of UCUM that usage is metered and
//! priced in.
//!
//! The grammar is UCUM 2.2 (ucum.org), sections 2.1 and 2.2, without square brackets and
//! parentheses. Three things are not as in UCUM, because a bill depends on them:
//! - `bit` and `By` are a dimension of their own. UCUM (table 22) makes them plain numbers, so that
//!   bytes would convert to requests.
//! - A currency of ISO 4217 is a unit by itself, which converts to itself alone: the events carry the
//!   amount.
//! - `mo` has no length by itself. UCUM's mean Gregorian month is nobody's billing month, so the
//!   price list says how long it is.
//!
//! `PiBy` and `EiBy` go on where UCUM's table 23 ends (IEC 80000-13). The year is left out: write
//! days.
//!
//! Invariant: a factor is an exact rational; nothing is rounded here.

use crate::exact::{Exact, exact};
use num_bigint::BigInt;
use num_traits::One;
use schemas::decimal::{DecimalError, QuantityTotal, Sign};
use schemas::money::Currency;
use schemas::time::Period;
use std::collections::BTreeSet;
use std::fmt;

/// A unit as it was written, and what it means.
#[derive(Debug, Clone)]
pub struct Unit {
    text: Box<str>,
    factor: Exact,
    dimension: Dimension,
}

/// Exponents of the base units: bit, s, J and the month of unknown length; or a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Dimension {
    data: i32,
    time: i32,
    energy: i32,
    months: i32,
    currency: Option<Currency>,
}

/// Why a text is not a unit, or a unit does not convert to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("the unit is empty")]
    Empty,
    #[error("`{symbol}` in the unit `{unit}` is not a unit that is known here")]
    Unknown { unit: String, symbol: String },
    #[error("the unit `{unit}` is malformed: {detail}")]
    Malformed { unit: String, detail: &'static str },
    #[error("`{from}` ({from_dimension}) does not convert to `{to}` ({to_dimension})")]
    Dimension { from: String, from_dimension: String, to: String, to_dimension: String },
    #[error("`{from}` converts to `{to}` only when the length of the month is known")]
    MonthUnknown { from: String, to: String },
    #[error("it must be a number above zero, a space and a unit of time, like `730 h`")]
    NotADuration,
    #[error("its number is wrong: {0}")]
    DurationNumber(DecimalError),
}

/// Beyond this an exponent or a number is a typing error, not a unit.
const MAX_DIGITS: usize = 9;
const MAX_EXPONENT: i32 = 99;

impl Unit {
    /// Reads a case-sensitive UCUM term, such as `GiBy.mo`, `By/s`, `h-1` or `10*3{request}`.
    ///
    /// # Errors
    /// [`UnitError`], naming the symbol that is not understood.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let malformed = |detail| UnitError::Malformed { unit: text.to_owned(), detail };
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("only printable ASCII without spaces is allowed"));
        }
        if let Some(currency) = Currency::from_code(text) {
            let dimension = Dimension { currency: Some(currency), ..Dimension::default() };
            return Ok(Self { text: text.into(), factor: Exact::one(), dimension });
        }
        // Evaluated from left to right, `.` and `/` alike; a leading `/` inverts what follows it
        // (section 2.2.1).
        let (mut rest, mut divides) = match text.strip_prefix('/') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let mut unit = Self { text: text.into(), factor: Exact::one(), dimension: Dimension::default() };
        loop {
            let (component, after) =
                split_component(rest).ok_or_else(|| malformed("a `{` is never closed"))?;
            let (factor, dimension) = component_value(text, component)?;
            if divides {
                unit.factor /= factor;
                unit.dimension = unit.dimension.plus(dimension, -1);
            } else {
                unit.factor *= factor;
                unit.dimension = unit.dimension.plus(dimension, 1);
            }
            match after.as_bytes().first() {
                None => return Ok(unit),
                Some(operator) => divides = *operator == b'/',
            }
            rest = &after[1..];
        }
    }

    /// The currency that it is, where it is one.
    pub fn currency(&self) -> Option<Currency> {
        self.dimension.currency
    }

    /// The unit as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A symbol in it that is a unit and can hardly be meant, in words: a part of a byte, a million
    /// seconds.
    pub fn doubt(&self) -> Option<String> {
        let mut rest = self.text.strip_prefix('/').unwrap_or(&self.text);
        while let Some((component, after)) = split_component(rest) {
            let symbol = component.split('{').next().unwrap_or_default();
            if let Some((symbol, exponent)) = split_exponent(symbol)
                && let Some(doubt) = doubt(symbol, exponent)
            {
                return Some(doubt);
            }
            match after.get(1..) {
                Some(next) => rest = next,
                None => break,
            }
        }
        None
    }
}

impl PartialEq for Unit {
    /// By meaning, not by spelling (section 2.0.2).
    fn eq(&self, other: &Self) -> bool {
        self.factor == other.factor && self.dimension == other.dimension
    }
}

impl Eq for Unit {}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

/// By what a quantity in `from` is multiplied to be a quantity in `to`. `month` is the length of a
/// month in seconds; it is needed only where months do not cancel out.
///
/// # Errors
/// [`UnitError::Dimension`] and [`UnitError::MonthUnknown`], both naming the two units.
pub fn conversion(from: &Unit, to: &Unit, month: Option<&Exact>) -> Result<Exact, UnitError> {
    let months = from.dimension.months - to.dimension.months;
    let resolved = |unit: &Unit| Dimension {
        time: unit.dimension.time + unit.dimension.months,
        months: 0,
        ..unit.dimension
    };
    if resolved(from) != resolved(to) {
        return Err(UnitError::Dimension {
            from: from.text.to_string(),
            from_dimension: from.dimension.to_string(),
            to: to.text.to_string(),
            to_dimension: to.dimension.to_string(),
        });
    }
    let factor = &from.factor / &to.factor;
    match month {
        _ if months == 0 => Ok(factor),
        Some(seconds) => Ok(factor * seconds.pow(months)),
        None => Err(UnitError::MonthUnknown { from: from.text.to_string(), to: to.text.to_string() }),
    }
}

/// By what a quantity is multiplied to be one of another unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Factor {
    Fixed(Exact),
    /// A month is as long as the billing period.
    Calendar {
        /// The factor if a month had one second.
        with_second: Exact,
        /// How many months it has as factors.
        months: i32,
    },
}

impl Factor {
    /// From one unit to another where a month is as long as the billing period; `None` where no month
    /// is involved.
    ///
    /// # Errors
    /// As [`conversion`].
    pub fn calendar(from: &Unit, to: &Unit) -> Result<Option<Self>, UnitError> {
        let with_second = conversion(from, to, Some(&Exact::one()))?;
        let months = from.dimension.months - to.dimension.months;
        Ok((months != 0).then_some(Self::Calendar { with_second, months }))
    }

    /// The factor within a billing period.
    pub fn within(&self, period: Period) -> Exact {
        match self {
            Self::Fixed(factor) => factor.clone(),
            Self::Calendar { with_second, months } => {
                let micros = period.end().micros() - period.start().micros();
                with_second * Exact::new(micros.into(), 1_000_000.into()).pow(*months)
            }
        }
    }

    /// The seconds of the month that it counts with between two units, within a billing period; `None`
    /// where it counts without one.
    pub fn month(&self, from: &Unit, to: &Unit, period: Period) -> Option<Exact> {
        let of_months = self.within(period) / conversion(from, to, Some(&Exact::one())).ok()?;
        match from.dimension.months - to.dimension.months {
            1 => Some(of_months),
            -1 => Some(of_months.recip()),
            _ => None,
        }
    }
}

/// What a quantity is multiplied by where one unit is taken for another: by prefixes, bits and bytes,
/// hundredths, lengths of time, and a month of so many seconds. 1 is none of these.
pub fn ratios(month: Option<&Exact>) -> BTreeSet<Exact> {
    let whole = |number: u32| Exact::from_integer(number.into());
    let between = |scales: &[Exact]| -> BTreeSet<Exact> {
        scales.iter().flat_map(|one| scales.iter().map(move |other| one / other)).collect()
    };
    let prefixes = PREFIXES.iter().map(|(_, base, exponent)| whole(*base).pow(*exponent));
    let prefixes = between(&prefixes.chain([Exact::one()]).collect::<Vec<_>>());
    let [bit, byte] = [whole(1), whole(8)];
    let mut ratios = between(&[Exact::one(), whole(100)]);
    for data in between(&[bit, byte]) {
        ratios.extend(prefixes.iter().map(|prefix| prefix * &data));
    }
    let times = ["s", "min", "h", "d", "wk"].iter().filter_map(|symbol| atom(symbol));
    let times: Vec<Exact> = times.map(|(factor, ..)| factor).chain(month.cloned()).collect();
    ratios.extend(between(&times));
    ratios.remove(&Exact::one());
    ratios
}

/// The seconds of a length of time such as `730 h` or `30 d`.
///
/// # Errors
/// Anything but a positive decimal, one space and a unit of time.
pub fn duration(text: &str) -> Result<Exact, UnitError> {
    let (number, unit) = text.split_once(' ').ok_or(UnitError::NotADuration)?;
    let number = QuantityTotal::parse(number, Sign::NonNegative).map_err(UnitError::DurationNumber)?;
    let unit = Unit::parse(unit)?;
    if number.is_zero() || unit.dimension != (Dimension { time: 1, ..Dimension::default() }) {
        return Err(UnitError::NotADuration);
    }
    Ok(exact(number) * unit.factor)
}

/// Splits off the text up to the next operator outside of an annotation. `None` if an annotation is
/// not closed.
fn split_component(text: &str) -> Option<(&str, &str)> {
    let mut in_annotation = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => in_annotation = true,
            b'}' => in_annotation = false,
            b'.' | b'/' if !in_annotation => return Some(text.split_at(index)),
            _ => {}
        }
    }
    (!in_annotation).then_some((text, ""))
}

/// The value of one component: a number, an annotation, or a prefix, an atom and an exponent.
fn component_value(unit: &str, component: &str) -> Result<(Exact, Dimension), UnitError> {
    let malformed = |detail| UnitError::Malformed { unit: unit.to_owned(), detail };
    let symbol = match component.split_once('{') {
        None => component,
        // The text of an annotation has no meaning; alone it is the unit 1 (section 2.1.4).
        Some((symbol, annotation)) => match annotation.strip_suffix('}') {
            Some(inside) if !inside.contains(['{', '}']) => {
                if symbol.is_empty() {
                    return Ok((Exact::one(), Dimension::default()));
                }
                symbol
            }
            _ => return Err(malformed("an annotation must be one `{…}` at the end of a symbol")),
        },
    };
    if symbol.is_empty() {
        return Err(malformed("a unit is missing beside `.` or `/`"));
    }
    if symbol.bytes().all(|byte| byte.is_ascii_digit()) {
        // Section 2.2.2. Zero would divide by zero.
        let number: u64 = if symbol.len() <= MAX_DIGITS {
            symbol.parse().map_err(|_| malformed("a number is out of range"))?
        } else {
            0
        };
        if number == 0 {
            return Err(malformed("a number in a unit must be from 1 to 999999999"));
        }
        return Ok((Exact::from_integer(number.into()), Dimension::default()));
    }
    let (symbol, exponent) =
        split_exponent(symbol).ok_or_else(|| malformed("an exponent must be from -99 to 99 and not 0"))?;
    let (factor, dimension) = simple_unit(symbol)
        .ok_or_else(|| UnitError::Unknown { unit: unit.to_owned(), symbol: symbol.to_owned() })?;
    // The prefix is raised to the power together with its atom (section 2.2.3).
    Ok((factor.pow(exponent), Dimension::default().plus(dimension, exponent)))
}

/// `10*-6` → (`10*`, -6); `h` → (`h`, 1).
fn split_exponent(symbol: &str) -> Option<(&str, i32)> {
    let digits = symbol.bytes().rev().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Some((symbol, 1));
    }
    let (head, number) = symbol.split_at(symbol.len() - digits);
    let (head, sign) = match head.as_bytes().last() {
        Some(b'-') => (&head[..head.len() - 1], -1),
        Some(b'+') => (&head[..head.len() - 1], 1),
        _ => (head, 1),
    };
    let exponent: i32 = number.parse().ok()?;
    (1..=MAX_EXPONENT).contains(&exponent).then_some((head, sign * exponent))
}

/// A prefix, if any, and an atom (section 2.1.2). An atom of its own comes first, so `min` is the
/// minute.
fn simple_unit(symbol: &str) -> Option<(Exact, Dimension)> {
    if let Some((factor, dimension, _)) = atom(symbol) {
        return Some((factor, dimension));
    }
    PREFIXES.iter().find_map(|(prefix, base, exponent)| {
        let (factor, dimension, metric) = atom(symbol.strip_prefix(prefix)?)?;
        metric.then(|| (factor * Exact::from_integer(BigInt::from(*base)).pow(*exponent), dimension))
    })
}

/// The reason why a symbol can hardly be meant.
fn doubt(symbol: &str, exponent: i32) -> Option<String> {
    if atom(symbol).is_some_and(|(_, dimension, _)| dimension.data == 0) {
        return None;
    }
    let (prefix, atom, name) = NAMES.iter().find_map(|(atom, name)| {
        let prefix = symbol.strip_suffix(atom)?;
        let known = prefix.is_empty() || PREFIXES.iter().any(|(known, ..)| *known == prefix);
        known.then_some((prefix, *atom, *name))
    })?;
    let meant = |other: &str, word: &str| {
        format!("`{symbol}` is {word} {name}; `{other}{atom}` would be meant more often")
    };
    match prefix {
        "m" | "u" | "n" if atom == "s" => None,
        "m" => Some(meant("M", "thousandths of")),
        "u" => Some(meant("M", "millionths of")),
        "n" => Some(meant("G", "billionths of")),
        "M" if atom == "s" => Some(meant("m", "millions of")),
        "G" | "T" | "P" | "E" if atom == "s" => Some(meant("n", "billions, or more, of")),
        binary if binary.ends_with('i') && !matches!(atom, "By" | "bit") => {
            let decimal = if binary == "Ki" { "k" } else { &binary[..1] };
            Some(meant(decimal, "a power of 1024 of"))
        }
        _ if exponent.abs() > 1 && matches!(atom, "By" | "bit") => {
            Some(format!("`{symbol}{exponent}` is a power of {name}; `{symbol}` would be meant more often"))
        }
        _ => None,
    }
}

/// The atoms that take prefixes, for people; an atom that ends like another stands before it.
const NAMES: [(&str, &str); 6] =
    [("bit", "bits"), ("By", "bytes"), ("Hz", "hertz"), ("J", "joules"), ("W", "watts"), ("s", "seconds")];

/// Longest first: `Mi` before `M`.
const PREFIXES: [(&str, u32, i32); 15] = [
    ("Ki", 2, 10),
    ("Mi", 2, 20),
    ("Gi", 2, 30),
    ("Ti", 2, 40),
    ("Pi", 2, 50),
    ("Ei", 2, 60),
    ("k", 10, 3),
    ("M", 10, 6),
    ("G", 10, 9),
    ("T", 10, 12),
    ("P", 10, 15),
    ("E", 10, 18),
    ("m", 10, -3),
    ("u", 10, -6),
    ("n", 10, -9),
];

/// An atom's value in base units, its dimension, and whether it takes prefixes (section 2.3).
fn atom(symbol: &str) -> Option<(Exact, Dimension, bool)> {
    const NONE: Dimension = Dimension { data: 0, time: 0, energy: 0, months: 0, currency: None };
    const DATA: Dimension = Dimension { data: 1, ..NONE };
    const TIME: Dimension = Dimension { time: 1, ..NONE };
    let (numerator, denominator, dimension, metric): (u32, u32, _, _) = match symbol {
        "10*" | "10^" => (10, 1, NONE, false),
        "%" => (1, 100, NONE, false),
        "bit" => (1, 1, DATA, true),
        "By" => (8, 1, DATA, true),
        "s" => (1, 1, TIME, true),
        "min" => (60, 1, TIME, false),
        "h" => (3_600, 1, TIME, false),
        "d" => (86_400, 1, TIME, false),
        "wk" => (604_800, 1, TIME, false),
        "mo" => (1, 1, Dimension { months: 1, ..NONE }, false),
        "Hz" => (1, 1, Dimension { time: -1, ..NONE }, true),
        "J" => (1, 1, Dimension { energy: 1, ..NONE }, true),
        "W" => (1, 1, Dimension { energy: 1, time: -1, ..NONE }, true),
        _ => return None,
    };
    Some((Exact::new(numerator.into(), denominator.into()), dimension, metric))
}

impl Dimension {
    fn plus(self, other: Self, times: i32) -> Self {
        Self {
            data: self.data + other.data * times,
            time: self.time + other.time * times,
            energy: self.energy + other.energy * times,
            months: self.months + other.months * times,
            currency: self.currency,
        }
    }
}

/// `data × time`, `energy × time^-1`, `a number`.
impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(currency) = self.currency {
            return write!(formatter, "money in {currency}");
        }
        let parts: Vec<String> =
            [("data", self.data), ("energy", self.energy), ("time", self.time), ("months", self.months)]
                .into_iter()
                .filter(|(_, exponent)| *exponent != 0)
                .map(
                    |(name, exponent)| {
                        if exponent == 1 { name.to_owned() } else { format!("{name}^{exponent}") }
                    },
                )
                .collect();
        formatter.write_str(if parts.is_empty() { "a number".to_owned() } else { parts.join(" × ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::display;

    #[track_caller]
    fn check(from: &str, to: &str, month: Option<&str>, expected: &str) {
        let convert = || {
            let month = month.map(duration).transpose()?;
            conversion(&Unit::parse(from)?, &Unit::parse(to)?, month.as_ref())
        };
        let shown: Result<String, UnitError> = convert().map(|factor| display(&factor));
        assert_eq!(shown.unwrap_or_else(|error| error.to_string()), expected, "{from} to {to}");
    }

    #[test]
    fn conversions_are_exact() {
        check("By", "GBy", None, "0.000000001");
        check("By", "GiBy", None, "0.000000000931322574615478515625");
        check("GiBy", "By", None, "1073741824");
        check("TBy", "TiBy", None, "0.9094947017729282379150390625");
        check("EiBy", "By", None, "1152921504606846976");
        check("Mbit/s", "By/s", None, "125000");
        check("s", "h", None, "1/3600");
        check("wk", "d", None, "7");
        check("min", "ms", None, "60000");
        check("kW.h", "J", None, "3600000");
        check("kW.h", "MW.h", None, "0.001");
        check("W", "J/s", None, "1");
        check("Hz", "s-1", None, "1");
        check("kHz", "/s", None, "1000");
        check("%", "1", None, "0.01");
        check("{request}", "10*3", None, "0.001");
        check("{request}", "10^3{req}", None, "0.001");
        check("1000", "{call/thousand}", None, "1000");
        check("h{core.hours}", "h", None, "1");
        check("ks2", "s2", None, "1000000");
        check("s+2", "s2", None, "1");
        check("10*-6", "1", None, "0.000001");
        check("By/s/s", "By.s-2", None, "1");
    }

    #[test]
    fn a_month_is_as_long_as_the_price_list_says() {
        check("By.s", "GiBy.mo", Some("730 h"), "1/2821793513472000");
        check("GiBy.mo", "By.s", Some("730 h"), "2821793513472000");
        check("GiBy.d", "GiBy.mo", Some("30 d"), "1/30");
        check("By.mo", "GiBy.mo", None, "0.000000000931322574615478515625");
        check(
            "By.s",
            "GiBy.mo",
            None,
            "`By.s` converts to `GiBy.mo` only when the length of the month is known",
        );
        check(
            "s",
            "mo",
            Some("730"),
            "it must be a number above zero, a space and a unit of time, like `730 h`",
        );
        check(
            "s",
            "mo",
            Some("0 h"),
            "it must be a number above zero, a space and a unit of time, like `730 h`",
        );
        check(
            "s",
            "mo",
            Some("1 mo"),
            "it must be a number above zero, a space and a unit of time, like `730 h`",
        );
        check(
            "s",
            "mo",
            Some("1e3 h"),
            "its number is wrong: it must be digits, optionally a point and more digits, and nothing else",
        );
    }

    #[test]
    fn a_mismatch_names_both_units() {
        check("By.s", "GBy", None, "`By.s` (data × time) does not convert to `GBy` (data)");
        check("By", "1", None, "`By` (data) does not convert to `1` (a number)");
        check("h", "{request}", None, "`h` (time) does not convert to `{request}` (a number)");
        check("kW", "kW.h", None, "`kW` (energy × time^-1) does not convert to `kW.h` (energy)");
        check("By.mo", "By", Some("730 h"), "`By.mo` (data × months) does not convert to `By` (data)");
    }

    #[test]
    fn what_is_no_unit_is_named() {
        let refused =
            |text: &str| Unit::parse(text).map(|unit| unit.to_string()).expect_err("no unit").to_string();
        assert_eq!(refused("GB"), "`GB` in the unit `GB` is not a unit that is known here");
        assert_eq!(
            refused("GBy.months"),
            "`months` in the unit `GBy.months` is not a unit that is known here"
        );
        for text in ["kh", "Kimin", "k", "By2x", "a", "-1", "GiB", "hour", "m", "K"] {
            assert!(refused(text).ends_with("not a unit that is known here"), "{text}");
        }
        for text in [
            "By.",
            ".By",
            "//s",
            "By..s",
            "h0",
            "s-100",
            "s99999999999",
            "0",
            "1000000000",
            "By{",
            "By}",
            "{a}By",
            "By{a}{b}",
            "{{a}}",
            "By s",
            "GBy\u{b7}s",
        ] {
            let message = refused(text);
            assert!(message.contains("malformed") || message.contains("not a unit"), "{text}: {message}");
        }
        assert_eq!(refused(""), "the unit is empty");
    }

    #[test]
    fn a_unit_that_can_hardly_be_meant_is_doubted() {
        let doubt = |text: &str| Unit::parse(text).expect("a unit").doubt().unwrap_or_default();
        assert_eq!(doubt("mBy"), "`mBy` is thousandths of bytes; `MBy` would be meant more often");
        for (text, symbol) in [
            ("mBy.s", "mBy"),
            ("h.mBy", "mBy"),
            ("mbit/s", "mbit"),
            ("/nBy", "nBy"),
            ("uBy{raw}", "uBy"),
            ("mW.h", "mW"),
            ("mHz", "mHz"),
            ("Ms", "Ms"),
            ("KiHz", "KiHz"),
            ("By2", "By2"),
        ] {
            assert!(doubt(text).starts_with(&format!("`{symbol}` is ")), "{text}: {}", doubt(text));
        }
        for text in [
            "1",
            "h",
            "ms",
            "us",
            "ns",
            "ks",
            "min",
            "mo",
            "MBy",
            "MiBy",
            "Kibit",
            "GiBy.mo",
            "By/s",
            "kW.h",
            "MHz",
            "10*3{request}",
            "%",
            "s-1",
        ] {
            assert_eq!(doubt(text), "", "{text}");
        }
    }

    #[test]
    fn units_are_equal_by_meaning() {
        let unit = |text: &str| Unit::parse(text).expect("a unit");
        assert_eq!(unit("kW.h"), unit("h.kW"));
        assert_eq!(unit("1"), unit("{request}"));
        assert_ne!(unit("GBy"), unit("GiBy"));
        assert_ne!(unit("mo"), unit("s"));
    }
}
