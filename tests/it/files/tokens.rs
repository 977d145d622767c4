//! The words of a Rust source, without comments, literals and what only tests compile.
//!
//! It reads just enough of the language to find paths. It is no parser: a text that is not Rust
//! gives words that mean nothing, and the compiler is there to refuse it.
//!
//! Invariant: every word that is left stands in code that a build without tests compiles, as far as
//! `#[cfg(test)]` says so.

/// A word of a source: a name or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'t> {
    Name(&'t str),
    /// `::`
    Path,
    Mark(char),
}

/// The words of a source outside comments, literals and items under `#[cfg(test)]`.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    without_tests(&words(text))
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn words(text: &str) -> Vec<Token<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if let Some(name) = rest.strip_prefix("r#").filter(|name| name.starts_with(is_name)) {
            let end = name.find(|character| !is_name(character)).unwrap_or(name.len());
            words.push(Token::Name(&name[..end]));
            end + 2
        } else if is_name(first) {
            let end = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
            words.push(Token::Name(&rest[..end]));
            end
        } else if rest.starts_with("::") {
            words.push(Token::Path);
            2
        } else {
            if !first.is_whitespace() {
                words.push(Token::Mark(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    words
}

/// How long the block comment is that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// How long the string, the character or the lifetime is that `text` begins with, if it does.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix);
        let raw = |rest: &str| prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"');
        rest.is_some_and(|rest| rest.starts_with('"') || rest.starts_with('\'') || raw(rest))
    })?;
    let rest = &text[prefix.len()..];
    let length = if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &rest[hashes + 1..];
        hashes + 1 + inside.find(&end).map_or(inside.len(), |at| at + end.len())
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else {
        character(rest)
    };
    Some(prefix.len() + length)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == quote && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + quote.len_utf8())
}

/// `'a'` and `'\n'`, or `'a`, the lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), _) => quoted(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        (Some((at, first)), _) if is_name(first) => {
            text[at..].find(|character| !is_name(character)).map_or(text.len(), |end| at + end)
        }
        _ => 1,
    }
}

fn without_tests<'t>(words: &[Token<'t>]) -> Vec<Token<'t>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match attribute(&words[at..]) {
            Some(attribute) if is_for_tests(attribute) => {
                at += attribute.len() + item(&words[at + attribute.len()..])
            }
            Some(attribute) => at += attribute.len(),
            None => {
                kept.push(words[at]);
                at += 1;
            }
        }
    }
    kept
}

/// The attribute that `words` begin with.
fn attribute<'w, 't>(words: &'w [Token<'t>]) -> Option<&'w [Token<'t>]> {
    match words {
        [Token::Mark('#'), Token::Mark('['), ..] => Some(&words[..=1 + closing(&words[1..])]),
        [Token::Mark('#'), Token::Mark('!'), Token::Mark('['), ..] => {
            Some(&words[..=2 + closing(&words[2..])])
        }
        _ => None,
    }
}

/// Whether it is `cfg(test)`, or `cfg(all(test, …))`.
fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    use Token::{Mark, Name};
    matches!(
        attribute,
        [Mark('#'), Mark('['), Name("cfg"), Mark('('), Name("test"), Mark(')'), ..]
            | [Mark('#'), Mark('['), Name("cfg"), Mark('('), Name("all"), Mark('('), Name("test"), ..]
    )
}

/// Where the bracket closes that `words` begin with.
fn closing(words: &[Token<'_>]) -> usize {
    let mut depth = 0usize;
    let closes = words.iter().position(|word| {
        match word {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    closes.unwrap_or(words.len() - 1)
}

/// How many words the item has that follows an attribute, its other attributes too: up to a
/// semicolon, or to the end of its braces.
fn item(words: &[Token<'_>]) -> usize {
    let mut at = 0;
    let mut is_use = false;
    while at < words.len() {
        if let Some(attribute) = attribute(&words[at..]) {
            at += attribute.len();
            continue;
        }
        match words[at] {
            Token::Name("use") => is_use = true,
            Token::Mark(';') => return at + 1,
            Token::Mark('(' | '[') => at += closing(&words[at..]),
            Token::Mark('{') if is_use => at += closing(&words[at..]),
            Token::Mark('{') => return at + closing(&words[at..]) + 1,
            _ => {}
        }
        at += 1;
    }
    at
}
