//! The text of a price list, as people would write it.
//!
//! Invariant: a name of the list stands in it as a string of TOML, whatever its letters are.

use super::key::STANDARD;
use super::meters::DIMENSIONS;
use super::models::{Sku, length};
use jiff::civil::Date;
use std::fmt::Write as _;

/// The text of prices.toml: of a provider of the list, in force from a day on.
pub(super) fn prices((provider, from): (&str, Date), skus: &[Sku], contexts: &[String]) -> String {
    let mut text = format!(
        "# Prices of {}, taken over from the open price list of LiteLLM, to the last digit.\n\
         # Compare them with an invoice before they bill.\n\
         #\n\
         # Events have the dimensions {}.\n\
         # `service` is `standard` where nothing else was asked for.\n",
        comment(provider),
        list_of(&DIMENSIONS),
    );
    if !contexts.is_empty() {
        writeln!(
            text,
            "# `context` is the largest of these that the prompt has more tokens than:\n#   {}\n\
             # All tokens of the request have it, those of the answer, too.",
            contexts.join(" ")
        )
        .expect("writing to a string cannot fail");
    }
    for sku in skus {
        push(&mut text, from, sku);
    }
    text
}

fn push(text: &mut String, from: Date, sku: &Sku) {
    let Sku { id, model, of, price, until, contexts } = sku;
    let mut name = format!("{model}, {} {}", of.kind, of.counted);
    if of.service != STANDARD {
        name.push_str(&format!(", {}", of.service));
    }
    let mut matches =
        format!("model = {}, kind = {}, service = {}", quoted(model), quoted(of.kind), quoted(of.service));
    if let Some(contexts) = contexts {
        let contexts: Vec<String> = contexts.iter().map(|context| quoted(context)).collect();
        matches.push_str(&format!(", context = [{}]", contexts.join(", ")));
        name.push_str(&match of.above {
            0 => ", shorter prompts".to_owned(),
            above => format!(", prompts above {} tokens", length(above)),
        });
    }
    let until = until.map(|date| format!("  until      = \"{date}\"\n")).unwrap_or_default();
    let price = match price.is_zero() {
        true => "  model      = \"zero\"\n".to_owned(),
        false => format!("  model      = \"per_unit\"\n  unit_price = \"{price}\"\n"),
    };
    write!(
        text,
        "\n[[sku]]\nid         = {}\nname       = {}\nmeter      = {}\nmatch      = {{ {matches} }}\n\
         unit       = \"{}\"\nallocation = \"proportional\"\n\n  [[sku.price]]\n  from       = \"{from}\"\n{until}{price}",
        quoted(id.as_str()),
        quoted(&name),
        quoted(&of.counted.meter()),
        of.counted.unit(),
    )
    .expect("writing to a string cannot fail");
}

/// A string of TOML, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(letter)).expect("writing to a string cannot fail");
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A text within a comment, on its line.
fn comment(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// `a`, `b` and `c`.
fn list_of(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strings_of_toml() {
        for text in ["gpt-4o", "a\"b\\c", "line\nbreak\u{7f}", "Ünïcode"] {
            let read: toml::Table = format!("name = {}", quoted(text)).parse().expect("TOML");
            assert_eq!(read["name"].as_str(), Some(text));
        }
    }
}
