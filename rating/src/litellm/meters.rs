//! The meters that an inference gateway's events are counted by.
//!
//! They are the same for every provider, so that a gateway sends the same events whoever serves a
//! model. Each is a text for meters.toml.
//!
//! Invariant: every meter adds up the values of events of its own type, and has all of [`DIMENSIONS`].

use crate::words::words;

words! {
    /// What events count, by the last word of their type.
    pub enum Counted {
        Tokens = "tokens",
        Characters = "characters",
        Seconds = "seconds",
        Images = "images",
        Pixels = "pixels",
        Pages = "pages",
        Requests = "requests",
    }
}

/// The dimensions of all of these meters.
pub const DIMENSIONS: [&str; 4] = ["model", "kind", "service", "context"];

impl Counted {
    /// The type of the meter, and of its events.
    pub fn meter(self) -> String {
        format!("inference/{self}")
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            _ => "1",
        }
    }

    /// The meter as meters.toml says it.
    pub fn text(self) -> String {
        let dimensions: Vec<String> = DIMENSIONS.iter().map(|name| format!("{name:?}")).collect();
        format!(
            "[[meter]]\ntype        = \"{}\"\nunit        = \"{}\"\naggregation = \"sum\"\ndimensions  = [{}]\n",
            self.meter(),
            self.unit(),
            dimensions.join(", ")
        )
    }
}
