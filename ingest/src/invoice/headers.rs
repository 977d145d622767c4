//! Which columns of a file are wanted, and which of its headers are these.
//!
//! Headers compare without case, blanks and `_`. Of `Maßeinheit (UnitOfMeasure)` the part in brackets
//! counts too, where no header is the name as a whole.
//!
//! Invariant: a wanted column is in one place of the file, or in none.

use super::error::{InvoiceError, quoted};

/// More columns than any provider's report has; the widest have some hundreds.
pub const MAX_COLUMNS: usize = 4096;

/// How a header compares.
pub fn plain(name: &str) -> String {
    let counts = |character: &char| !character.is_whitespace() && *character != '_';
    name.chars().filter(counts).flat_map(char::to_lowercase).collect()
}

/// The part in brackets at the end of a header.
fn bracketed(name: &str) -> Option<String> {
    let (before, part) = name.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    (!before.trim().is_empty() && !part.trim().is_empty()).then(|| plain(part))
}

/// Where a wanted column's value is in a record, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// The columns that a mapping asks for, each once.
#[derive(Debug, Default)]
pub struct Wanted {
    names: Vec<Box<str>>,
    plain: Vec<String>,
}

/// A header that is a wanted column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Whole,
    InBrackets,
}

impl Wanted {
    /// Asks for a column by its header.
    pub fn slot(&mut self, name: &str) -> Slot {
        let wanted = plain(name);
        let slot = self.plain.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            self.names.push(name.into());
            self.plain.push(wanted);
            self.names.len() - 1
        });
        Slot(slot)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The header that was asked for.
    pub fn name(&self, slot: Slot) -> &str {
        &self.names[slot.0]
    }

    /// What a header of a file is.
    pub fn fits(&self, header: &str) -> Vec<(Slot, Fit)> {
        let (whole, part) = (plain(header), bracketed(header));
        let fit = |(slot, wanted): (usize, &String)| {
            if *wanted == whole {
                Some((Slot(slot), Fit::Whole))
            } else if Some(wanted) == part.as_ref() {
                Some((Slot(slot), Fit::InBrackets))
            } else {
                None
            }
        };
        self.plain.iter().enumerate().filter_map(fit).collect()
    }

    /// For each wanted column its place among the headers of a file.
    ///
    /// # Errors
    /// Two headers that are the same column.
    pub fn places<'a>(
        &self,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Option<usize>>, InvoiceError> {
        let mut places: Vec<Option<(Fit, usize, &str)>> = vec![None; self.len()];
        for (place, header) in headers.into_iter().enumerate() {
            for (slot, fit) in self.fits(header) {
                match places[slot.0] {
                    Some((known, _, other)) if known == fit => {
                        let both = format!("{} and {}", quoted(other), quoted(header));
                        return Err(InvoiceError::new(format!(
                            "two columns of the file are this one, {both}: name one of them otherwise"
                        ))
                        .in_column(self.name(slot)));
                    }
                    Some((known, ..)) if known < fit => {}
                    _ => places[slot.0] = Some((fit, place, header)),
                }
            }
        }
        Ok(places.into_iter().map(|found| found.map(|(_, place, _)| place)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Wanted {
        let mut wanted = Wanted::default();
        for name in names {
            wanted.slot(name);
        }
        wanted
    }

    #[track_caller]
    fn check(names: &[&str], headers: &[&str], expected: &[Option<usize>]) {
        let places = wanted(names).places(headers.iter().copied());
        assert_eq!(places.expect("no header is there twice"), expected);
    }

    #[test]
    fn headers_compare_without_case_blanks_and_underscores() {
        check(&["BilledCost"], &["x", "billed_cost"], &[Some(1)]);
        check(&["billed cost"], &["BILLED COST "], &[Some(0)]);
        check(&["BilledCost"], &["Billed-Cost", "BilledCosts"], &[None]);
        check(&["Währung"], &["WÄHRUNG"], &[Some(0)]);
    }

    #[test]
    fn the_part_in_brackets_counts_where_nothing_is_the_name_itself() {
        check(
            &["unit_of_measure", "Maßeinheit (UnitOfMeasure)"],
            &["Maßeinheit (UnitOfMeasure)"],
            &[Some(0), Some(0)],
        );
        check(&["UnitOfMeasure"], &["Maßeinheit (UnitOfMeasure)", "UnitOfMeasure"], &[Some(1)]);
        check(&["UnitOfMeasure"], &["UnitOfMeasure", "Maßeinheit (UnitOfMeasure)"], &[Some(0)]);
        check(&["Maßeinheit"], &["Maßeinheit (UnitOfMeasure)"], &[None]);
        check(&["x"], &["(x)", "y ()"], &[None]);
    }

    #[test]
    fn two_headers_that_are_one_column_are_refused_where_it_is_wanted() {
        let headers = ["cost", "Co_st", "other", "OTHER"];
        let error = wanted(&["Cost"]).places(headers).expect_err("it is there twice");
        assert_eq!(error.column.as_deref(), Some("Cost"));
        assert!(error.problem.contains("\"cost\" and \"Co_st\""), "{error}");
        check(&["third"], &headers, &[None]);
    }
}
