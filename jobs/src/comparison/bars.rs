//! Amounts as bars, each in a row of a table with its words and its number, so that the picture says
//! nothing that is not written beside it.
//!
//! A whole is a bar from zero. Its parts follow, each beginning where the one before ended, so that the last
//! one ends where the whole does. Nothing is added up for a number that is shown.
//!
//! Invariant: no bar leaves the picture, whatever the signs and sizes of amounts.

use crate::show::escaped;
use crate::statement::digits;
use schemas::decimal::Amount;
use schemas::money::Currency;

/// One bar.
pub struct Bar {
    /// HTML.
    pub words: String,
    pub amount: Amount,
    pub kind: Kind,
}

/// What a bar stands for; said by its shape, and not by its colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Filled.
    Whole,
    /// Filled; of less than nothing dashed.
    Part,
    /// Empty, with a thick edge.
    Waits,
}

/// The width of the picture.
const WIDTH: i128 = 1000;

/// A table of bars, with a caption, which is HTML.
pub fn bars(caption: &str, bars: &[Bar], currency: Currency) -> String {
    let spans = spans(bars);
    let ends = || spans.iter().flat_map(|(from, to)| [*from, *to]);
    let (least, most) = (ends().min().unwrap_or_default().min(0), ends().max().unwrap_or_default().max(0));
    // One more, so that it is never nothing; a hair's breadth is lost by it.
    let unit = most.saturating_sub(least) / WIDTH + 1;
    let at = |units: i128| (units - least) / unit;
    let zero = at(0);
    let mut html = format!(
        "<figure>\n<figcaption>{caption}</figcaption>\n<table class=\"bars\">\n\
         <thead><tr><th scope=\"col\">What</th><th scope=\"col\"><span class=\"note\">from nothing on, each from the end of the one before</span></th>\
         <th scope=\"col\" class=\"number\">{currency}</th></tr></thead>\n<tbody>\n"
    );
    for (bar, (from, to)) in bars.iter().zip(&spans) {
        let class = match bar.kind {
            Kind::Whole => "whole",
            Kind::Waits => "waits",
            Kind::Part if bar.amount.is_negative() => "less",
            Kind::Part => "part",
        };
        let (left, right) = (at(*from.min(to)), at(*from.max(to)));
        // What is there is seen, however little it is.
        let width = if bar.amount.is_zero() { 0 } else { (right - left).max(2) };
        html.push_str(&format!(
            "<tr class=\"{class}\"><th scope=\"row\">{}</th><td class=\"bar\"><svg viewBox=\"-2 0 1004 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\"><line x1=\"{zero}\" y1=\"0\" x2=\"{zero}\" y2=\"20\"/><rect x=\"{}\" y=\"4\" width=\"{width}\" height=\"12\"/></svg></td><td class=\"number\">{}</td></tr>\n",
            bar.words,
            left.min(WIDTH - width),
            escaped(&digits(bar.amount, currency)),
        ));
    }
    html.push_str("</tbody>\n</table>\n</figure>\n");
    html
}

/// Where each bar begins and ends.
fn spans(bars: &[Bar]) -> Vec<(i128, i128)> {
    let mut end = 0_i128;
    let span = |bar: &Bar| {
        let from = if bar.kind == Kind::Whole { 0 } else { end };
        let to = from.saturating_add(bar.amount.units());
        end = if bar.kind == Kind::Whole { 0 } else { to };
        (from, to)
    };
    bars.iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::decimal::Sign;

    fn bar(amount: &str, kind: Kind) -> Bar {
        Bar { words: amount.to_owned(), amount: Amount::parse(amount, Sign::Any).expect("an amount"), kind }
    }

    /// Left edge and width of each bar.
    fn drawn(of: &[Bar]) -> Vec<(i128, i128)> {
        let html = bars("", of, Currency::from_code("EUR").expect("a currency"));
        let number = |rect: &str, name: &str| {
            let (_, rest) = rect.split_once(&format!(" {name}=\"")).expect("it is there");
            rest.split('"').next().and_then(|text| text.parse().ok()).expect("a number")
        };
        html.split("<rect").skip(1).map(|rect| (number(rect, "x"), number(rect, "width"))).collect()
    }

    #[test]
    fn parts_go_on_where_the_one_before_ended_and_end_where_the_whole_does() {
        let drawn = drawn(&[
            bar("100", Kind::Whole),
            bar("80", Kind::Part),
            bar("30", Kind::Part),
            bar("-10", Kind::Part),
        ]);
        assert_eq!(drawn, [(0, 909), (0, 727), (727, 272), (909, 90)]);
    }

    #[test]
    fn nothing_and_the_largest_amounts_stay_in_the_picture() {
        assert_eq!(drawn(&[bar("0", Kind::Whole), bar("0", Kind::Part)]), [(0, 0), (0, 0)]);
        let (most, least) = ("99999999999999999999.999999999999999999", "-99999999999999999999");
        for (left, width) in drawn(&[
            bar(most, Kind::Whole),
            bar(most, Kind::Part),
            bar(most, Kind::Part),
            bar(least, Kind::Waits),
            bar("0.000000000000000001", Kind::Part),
        ]) {
            assert!(left >= 0 && width >= 2 && left + width <= WIDTH, "{left} {width}");
        }
    }
}
