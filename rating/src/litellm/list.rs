//! The list as it is written: models by name, each with its keys and the text of their values.
//!
//! Numbers stay the digits that stand there; nothing passes through a float. What a key means is
//! deliberately not known here.
//!
//! Invariant: every member of the file is kept, also one of a name that stands there twice.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// The members of an object, in their order.
#[derive(Debug)]
pub(super) struct Members<V>(pub Vec<(String, V)>);

/// A model and what the list says of it.
pub(super) type Entry = Members<Box<RawValue>>;

impl Entry {
    /// The text of a member; `None` where it is missing or something else.
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)?;
        serde_json::from_str(value.get()).ok()
    }
}

/// The digits of a number as they are written; `None` where the value is something else.
pub(super) fn number(value: &RawValue) -> Option<&str> {
    let text = value.get();
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(text)
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Read<V> {
            type Value = Members<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read(PhantomData))
    }
}
