//! Whose lines an export has.
//!
//! Nothing is shared or summed here.
//!
//! Invariant: a scope has no line of anybody else, and none twice in two forms: where a partner bills
//! others, what the operator bills it is left out, because the partner's own lines add up to that.

use crate::posted::Numbered;
use crate::statement::Biller;
use schemas::id::{CustomerId, ProviderId};
use std::fmt;

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that the operator bills or bears.
    Operator,
    /// What the operator bills a customer; nothing where a partner bills it.
    Customer(CustomerId),
    /// What a partner bills and bears; of one that bills nobody, what it is billed.
    Partner(CustomerId),
    /// What a provider's invoices led to.
    Provider(ProviderId),
}

impl Scope {
    pub(super) fn keep(&self, lines: &mut Vec<Numbered<'_>>) {
        let of_operator = |line: &Numbered<'_>| line.line.biller == Biller::Operator;
        match self {
            Self::Operator => lines.retain(of_operator),
            Self::Customer(customer) => {
                lines.retain(|line| of_operator(line) && line.line.is_billed_to(customer));
            }
            Self::Partner(partner) => {
                let own = Biller::Partner(partner.clone());
                if lines.iter().any(|line| line.line.biller == own) {
                    lines.retain(|line| line.line.biller == own);
                } else {
                    lines.retain(|line| of_operator(line) && line.line.is_billed_to(partner));
                }
            }
            Self::Provider(provider) => {
                lines.retain(|line| of_operator(line) && line.line.provider == *provider);
            }
        }
    }

    /// Reads `customer=C`, `partner=C` or `provider=P`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, id) = text.split_once('=').ok_or_else(|| format!("{text:?} is not a scope; {USE}"))?;
        let wrong = |error| format!("{id:?} is not an id: {error}");
        match kind {
            "customer" => CustomerId::new(id).map(Self::Customer).map_err(wrong),
            "partner" => CustomerId::new(id).map(Self::Partner).map_err(wrong),
            "provider" => ProviderId::new(id).map(Self::Provider).map_err(wrong),
            _ => Err(format!("{kind:?} is not a kind of scope; {USE}")),
        }
    }
}

const USE: &str = "use customer=ID, partner=ID or provider=ID";

/// As it is parsed; `operator` is what is meant where nothing is said.
impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => formatter.write_str("operator"),
            Self::Customer(id) => write!(formatter, "customer={id}"),
            Self::Partner(id) => write!(formatter, "partner={id}"),
            Self::Provider(id) => write!(formatter, "provider={id}"),
        }
    }
}
