//! Names that are nearly one of ours: most likely a slip, and ignoring it would bill something else
//! than was meant.
//!
//! Two names are near where they differ in case, hyphens, underscores and a plural at most, or
//! where one is another word for the other; and, of a member that is not there, where one letter is
//! wrong, missing, too many, or swapped with its neighbour. All other names are ignored.
//!
//! Invariant: our own names are near no other.

/// The members of the data, as [`plain`] has them, and other words for them.
const OURS: &[(&str, &str, &[&str])] = &[
    ("value", "value", &["quantity", "quantitie"]),
    ("dimensions", "dimension", &[]),
    ("provider", "provider", &[]),
    ("location", "location", &[]),
    ("resource", "resource", &[]),
    ("producer", "producer", &[]),
    ("correction", "correction", &[]),
];
/// No longer name is near: ours are short.
const LONGEST: usize = 24;

/// The member of ours that `name`, which is none, is nearly; `is_there` says which of ours the data
/// have.
pub fn near(name: &str, is_there: impl Fn(&str) -> bool) -> Option<&'static str> {
    if name.len() > LONGEST || !name.is_ascii() {
        return None;
    }
    let name = plain(name);
    let means = |(ours, plain, others): &&(&'static str, &str, &[&str])| {
        name == *plain
            || others.contains(&name.as_str())
            || (!is_there(ours) && differ_once(name.as_bytes(), plain.as_bytes()))
    };
    OURS.iter().find(means).map(|(ours, ..)| *ours)
}

/// Members that only the data have, where they stand beside them instead; ours, in whose place.
pub fn misplaced(name: &str) -> Option<&'static str> {
    let means = |ours: &&str| name.len() <= LONGEST && plain(name) == plain(ours);
    ["correction", "dimensions"].into_iter().find(means)
}

/// In lower case, without hyphens, underscores and the `s` of a plural.
fn plain(name: &str) -> String {
    let mut plain: String = name.chars().filter(|character| !matches!(character, '-' | '_')).collect();
    plain.make_ascii_lowercase();
    let singular = plain.strip_suffix('s').map(str::len);
    plain.truncate(singular.unwrap_or(plain.len()));
    plain
}

/// Whether one letter is wrong, missing or too many, or two neighbours are swapped.
fn differ_once(one: &[u8], other: &[u8]) -> bool {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[same..], &other[same..]);
    match (one, other) {
        ([], []) => false,
        ([a, b, one @ ..], [c, d, other @ ..]) if (a, b) == (d, c) && one == other => true,
        ([_, one_rest @ ..], [_, other_rest @ ..]) => {
            one_rest == other || one == other_rest || one_rest == other_rest
        }
        ([_], []) | ([], [_]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        for (name, ours) in [
            ("Value", "value"),
            ("values", "value"),
            ("quantities", "value"),
            ("Quantity", "value"),
            ("dimension", "dimensions"),
            ("DIMENSIONS", "dimensions"),
            ("corrections", "correction"),
            ("providers", "provider"),
            ("_resource", "resource"),
        ] {
            assert_eq!(near(name, |_| true), Some(ours), "{name}");
            assert_eq!(near(name, |_| false), Some(ours), "{name}");
        }
        for (name, ours) in [
            ("vlaue", "value"),
            ("valu", "value"),
            ("vallue", "value"),
            ("corection", "correction"),
            ("corections", "correction"),
            ("dimenison", "dimensions"),
            ("locatoin", "location"),
            ("producar", "producer"),
        ] {
            assert_eq!(near(name, |_| false), Some(ours), "{name}");
            assert_eq!(near(name, |there| there == ours), None, "{name}: the member it may mean is there");
        }
        let others = [
            "unit",
            "more",
            "x",
            "",
            "id",
            "source",
            "reason",
            "collection",
            "direction",
            "product",
            "allocation",
            "region",
            "résource",
            "valuevaluevaluevaluevaluevalue",
            "amount",
            "usage",
            "time",
            "subject",
        ];
        for name in others {
            assert_eq!(near(name, |_| false), None, "{name}");
        }
        for (ours, plain_ours, _) in OURS {
            assert_eq!(plain(ours), *plain_ours);
            let near = |other: &str| differ_once(plain_ours.as_bytes(), other.as_bytes());
            assert!(!OURS.iter().any(|(_, other, _)| near(other)), "{ours}");
        }
    }
}
