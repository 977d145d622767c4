//! The names that FOCUS has for units of UCUM: `GiB-Months` for `GiBy.mo`, `GB/Hour` for `GBy/h`.
//!
//! Whether a text is a unit is deliberately not judged here; the catalog has done that.
//!
//! Invariant: a name is never empty, and two units of different meaning have different names.

use schemas::money::Currency;

/// What a number of nothing in particular counts.
const UNITS: &str = "Units";

/// The name of a unit; of none, that of a count.
pub fn focus_unit(ucum: Option<&str>) -> String {
    let Some(ucum) = ucum else { return UNITS.to_owned() };
    if Currency::from_code(ucum).is_some() {
        return ucum.to_owned();
    }
    named(ucum).unwrap_or_else(|| ucum.to_owned())
}

/// A name, alone and of many.
struct Name {
    one: String,
    many: String,
}

/// `None` where a part has no name.
fn named(ucum: &str) -> Option<String> {
    let (mut above, mut below): (Vec<Name>, Vec<Name>) = (Vec::new(), Vec::new());
    let mut count = 1u128;
    let (mut rest, mut divides) = match ucum.strip_prefix('/') {
        Some(rest) => (rest, true),
        None => (ucum, false),
    };
    loop {
        let end = component_end(rest);
        let (symbol, exponent) = exponent_of(&rest[..end]);
        let (symbol, annotation) = match symbol.split_once('{') {
            Some((symbol, annotation)) => (symbol, annotation.strip_suffix('}')),
            None => (symbol, None),
        };
        let downwards = divides != exponent.is_negative();
        let times = exponent.unsigned_abs();
        match number(symbol, times) {
            Some(number) if !downwards => count = count.checked_mul(number)?,
            Some(1) => {}
            Some(_) => return None,
            None if !symbol.is_empty() => {
                for _ in 0..times {
                    let name = name_of(symbol)?;
                    if downwards { below.push(name) } else { above.push(name) }
                }
            }
            None => {}
        }
        if let Some(name) = annotation.and_then(counted) {
            if downwards { below.push(name) } else { above.push(name) }
        }
        if end == rest.len() {
            break;
        }
        divides = rest[end..].starts_with('/');
        rest = &rest[end + 1..];
    }
    let mut name = if count == 1 { String::new() } else { format!("{count} ") };
    match above.pop() {
        None => name.push_str(UNITS),
        Some(last) => {
            let first: String = above.iter().map(|name| format!("{}-", name.one)).collect();
            name.push_str(&first);
            name.push_str(&last.many);
        }
    }
    let below: Vec<String> = below.into_iter().map(|name| name.one).collect();
    Some(if below.is_empty() { name } else { format!("{name}/{}", below.join("-")) })
}

/// Where a component ends: at the next operator outside of an annotation.
fn component_end(text: &str) -> usize {
    let mut in_annotation = false;
    let ends = text.bytes().position(|byte| {
        match byte {
            b'{' => in_annotation = true,
            b'}' => in_annotation = false,
            _ => {}
        }
        !in_annotation && matches!(byte, b'.' | b'/')
    });
    ends.unwrap_or(text.len())
}

/// `h-1` → (`h`, -1); an annotation keeps its digits, and so does a plain number.
fn exponent_of(component: &str) -> (&str, i32) {
    let (symbol, annotation) = component.find('{').map_or((component, ""), |at| component.split_at(at));
    let digits = symbol.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (head, number) = symbol.split_at(symbol.len() - digits);
    let (head, sign) = match head.as_bytes().last() {
        Some(b'-') => (&head[..head.len() - 1], -1),
        Some(b'+') => (&head[..head.len() - 1], 1),
        _ => (head, 1),
    };
    match number.parse::<i32>() {
        // `10*3` is a number whatever follows it.
        Ok(exponent) if !head.is_empty() && annotation.is_empty() && !head.ends_with(['*', '^']) => {
            (head, sign * exponent)
        }
        _ => (component, 1),
    }
}

/// A plain number, or a power of ten, to an exponent.
fn number(symbol: &str, times: u32) -> Option<u128> {
    let power = symbol.strip_prefix("10*").or_else(|| symbol.strip_prefix("10^"));
    let base = match power {
        Some("") => 10,
        Some(exponent) => 10u128.checked_pow(exponent.parse().ok()?)?,
        None => symbol.parse().ok()?,
    };
    base.checked_pow(times)
}

/// What an annotation counts: `request` → `Requests`.
fn counted(annotation: &str) -> Option<Name> {
    let word: String = annotation.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut letters = word.chars();
    let first = letters.next()?.to_ascii_uppercase();
    let one: String = std::iter::once(first).chain(letters).collect();
    let many = if one.ends_with('s') { one.clone() } else { format!("{one}s") };
    Some(Name { one, many })
}

fn name_of(symbol: &str) -> Option<Name> {
    let time = match symbol {
        "s" => "Second",
        "min" => "Minute",
        "h" => "Hour",
        "d" => "Day",
        "wk" => "Week",
        "mo" => "Month",
        "%" => return Some(Name { one: "Percent".to_owned(), many: "Percent".to_owned() }),
        _ => "",
    };
    if !time.is_empty() {
        return Some(Name { one: time.to_owned(), many: format!("{time}s") });
    }
    // Sizes of data have the same form of one and of many.
    for (atom, short) in [("By", "B"), ("bit", "b")] {
        if let Some(prefix) = symbol.strip_suffix(atom) {
            let prefix = if prefix == "k" { "K" } else { prefix };
            let known = ["", "K", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let name = format!("{prefix}{short}");
            return known.contains(&prefix).then(|| Name { one: name.clone(), many: name });
        }
    }
    for (atom, one, many) in [
        ("Hz", "hertz", "hertz"),
        ("W", "watt", "watts"),
        ("J", "joule", "joules"),
        ("s", "second", "seconds"),
    ] {
        let Some(prefix) = symbol.strip_suffix(atom) else { continue };
        let prefix = match prefix {
            "" => "",
            "k" => "kilo",
            "M" => "mega",
            "G" => "giga",
            "T" => "tera",
            "P" => "peta",
            "E" => "exa",
            "m" => "milli",
            "u" => "micro",
            "n" => "nano",
            _ => return None,
        };
        let one = counted(&format!("{prefix}{one}"))?.one;
        let many = counted(&format!("{prefix}{many}"))?.many;
        return Some(Name { many: if atom == "Hz" { one.clone() } else { many }, one });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_names_of_focus() {
        for (ucum, name) in [
            ("GiBy.mo", "GiB-Months"),
            ("h", "Hours"),
            ("1", "Units"),
            ("GBy", "GB"),
            ("kBy", "KB"),
            ("EUR", "EUR"),
            ("By.s", "B-Seconds"),
            ("GBy/h", "GB/Hour"),
            ("h-1", "Units/Hour"),
            ("{request}", "Requests"),
            ("10*3{request}", "1000 Requests"),
            ("10*6", "1000000 Units"),
            ("1000.{token}", "1000 Tokens"),
            ("Mbit/s", "Mb/Second"),
            ("kW.h", "Kilowatt-Hours"),
            ("MHz", "Megahertz"),
            ("ms", "Milliseconds"),
            ("{core}.h", "Core-Hours"),
            ("KiBy.d/mo", "KiB-Days/Month"),
        ] {
            assert_eq!(focus_unit(Some(ucum)), name, "{ucum}");
        }
        assert_eq!(focus_unit(None), "Units");
        // A number below has no name there.
        assert_eq!(focus_unit(Some("By/10*3")), "By/10*3");
    }
}
