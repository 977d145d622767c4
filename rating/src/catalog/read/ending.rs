//! Ends that nobody expects to come: other systems write them where there is no end.
//!
//! Whether such an end is refused or only pointed out is deliberately the reader's.
//!
//! Invariant: no end in this century's price lists is called one.

/// Whether a date, or an instant that begins with one, stands for no end: the last day of 2099, as
/// spreadsheets have it, or anything later.
pub(super) fn means_for_ever(text: &str) -> bool {
    let has_year = text.len() >= 10 && text.bytes().take(4).all(|byte| byte.is_ascii_digit());
    has_year && text.get(..10).is_some_and(|date| date >= "2099-12-31")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_means_none_is_known() {
        for text in
            ["9999-12-31", "9999-12-31T23:59:59Z", "2099-12-31", "2100-01-01", "2999-01-01T00:00:00+01:00"]
        {
            assert!(means_for_ever(text), "{text}");
        }
        for text in ["2099-12-30", "2026-01-01", "", "9999", "for ever and ever", "größe-größe"] {
            assert!(!means_for_ever(text), "{text}");
        }
    }
}
