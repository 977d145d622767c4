//! The accounts of the operator's general ledger, into which lines are posted.
//!
//! What is posted, and on which side, is deliberately not known here.
//!
//! Invariant: a name has no placeholder that its account does not fill in.

use crate::words::words;
use schemas::id::{CustomerId, ProviderId};

/// What `gl.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneralLedger {
    pub(super) payable: AccountName,
    pub(super) clearing: AccountName,
    pub(super) receivable: AccountName,
    pub(super) retained: AccountName,
}

/// The name of an account, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountName(pub(super) Vec<NamePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamePart {
    Text(Box<str>),
    Filled(Placeholder),
}

words! {
    /// What stands between braces in the name of an account.
    pub enum Placeholder {
        Provider = "provider",
        Customer = "customer",
        Reason = "reason",
    }
}

/// An account, of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account<'l> {
    /// What the provider is owed.
    Payable,
    /// What goes through, and ends at zero.
    Clearing,
    /// What a customer owes.
    Receivable(&'l CustomerId),
    /// What the operator bears, by its reason.
    Retained(&'l str),
}

impl GeneralLedger {
    /// The name of an account of a provider's line.
    pub fn name(&self, provider: &ProviderId, account: Account<'_>) -> String {
        let (name, filled) = match account {
            Account::Payable => (&self.payable, ""),
            Account::Clearing => (&self.clearing, ""),
            Account::Receivable(customer) => (&self.receivable, customer.as_str()),
            Account::Retained(reason) => (&self.retained, reason),
        };
        let part = |part: &NamePart| match part {
            NamePart::Text(text) => text.to_string(),
            NamePart::Filled(Placeholder::Provider) => provider.to_string(),
            NamePart::Filled(Placeholder::Customer | Placeholder::Reason) => filled.to_owned(),
        };
        name.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let text = |text: &str| NamePart::Text(text.into());
        let name = |begin: &str, placeholder| AccountName(vec![text(begin), NamePart::Filled(placeholder)]);
        let ledger = GeneralLedger {
            payable: name("3300-", Placeholder::Provider),
            clearing: AccountName(vec![text("1590")]),
            receivable: AccountName(vec![
                NamePart::Filled(Placeholder::Provider),
                text("/"),
                NamePart::Filled(Placeholder::Customer),
            ]),
            retained: name("6850-", Placeholder::Reason),
        };
        let provider = ProviderId::new("lynx").expect("a name");
        let customer = CustomerId::new("acme").expect("a name");
        let name = |account| ledger.name(&provider, account);
        assert_eq!(name(Account::Payable), "3300-lynx");
        assert_eq!(name(Account::Clearing), "1590");
        assert_eq!(name(Account::Receivable(&customer)), "lynx/acme");
        assert_eq!(name(Account::Retained("unattributed")), "6850-unattributed");
    }
}
