//! The rows of each dataset.
//!
//! How a row comes about is in the dataset's own file.
//!
//! Invariant: rows are in the order of their lines.

use super::export::Export;
use super::parts::Splits;
use super::row::Row;
use super::{billing_period, cost_and_usage, invoice_detail};
use crate::error::RatingError;
use crate::posted::Numbered;
use schemas::focus::Dataset;

impl Export<'_> {
    /// The rows of a dataset.
    ///
    /// # Errors
    /// A number that does not fit.
    pub fn rows(&self, dataset: Dataset, lines: &[Numbered<'_>]) -> Result<Vec<Row>, RatingError> {
        let mut rows = Vec::new();
        match dataset {
            Dataset::CostAndUsage => {
                let (partners, mut splits) = (self.catalog.partners(), Splits::default());
                for line in lines {
                    rows.extend(cost_and_usage::rows(self, line, (&partners, &mut splits))?);
                }
            }
            Dataset::InvoiceDetail => {
                for line in lines {
                    rows.extend(invoice_detail::row(self, line)?);
                }
            }
            Dataset::BillingPeriod => rows = billing_period::rows(self, lines)?,
        }
        Ok(rows)
    }
}
