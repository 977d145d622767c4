//! Texts that are put together: what stands between braces is a name, all else is text.
//!
//! What a name stands for is deliberately the caller's.
//!
//! Invariant: pieces are in the order of the text, and no name is blank.

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// The pieces of a text. Braces with nothing between them stand for nothing, so that `{}EUR` is a text.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (before, after) = rest.split_once('{').unwrap_or((rest, ""));
        if before.contains('}') {
            return Err("a `}` closes nothing");
        }
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        if before.len() == rest.len() {
            break;
        }
        let (name, after) = after.split_once('}').ok_or("a `{` is never closed")?;
        if name.contains('{') {
            return Err("a `{` stands between braces");
        }
        if !name.is_empty() && name.trim().is_empty() {
            return Err("there are only blanks between its braces");
        }
        pieces.extend((!name.is_empty()).then_some(Piece::Name(name)));
        rest = after;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::Piece::{Name, Text};
    use super::*;

    #[test]
    fn names_stand_between_braces() {
        assert_eq!(pieces("{Artikel}/{Ziel}"), Ok(vec![Name("Artikel"), Text("/"), Name("Ziel")]));
        assert_eq!(pieces("3300-{provider}."), Ok(vec![Text("3300-"), Name("provider"), Text(".")]));
        assert_eq!(pieces("{}EUR"), Ok(vec![Text("EUR")]));
        assert_eq!(pieces("1590"), Ok(vec![Text("1590")]));
        assert_eq!(pieces(""), Ok(vec![]));
        for wrong in ["{a", "a}", "{a{b}}", "a{", "{ }", "{a}}"] {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
    }
}
