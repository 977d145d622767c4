//! Proofs about a ledger, for whoever checks a row, a batch, a head or all rows of a subject.
//!
//! `docs/format.md` says which bytes are hashed. There is no storage, no network, no clock and no
//! async here: whoever has the bytes can check them, offline, on any machine.
//!
//! Invariant: a check that passes shows what it says to anyone who trusts the key of the head, and
//! no check says more than was hashed.

// Modules in reading order.
pub mod hash; // one type for each kind of hash
pub mod lanes; // SHA-256 of many messages at once
pub mod merkle; // RFC 6962 trees
pub mod leaf_key; // the secret of a ledger: nonces and labels
pub mod row; // the bytes of a row that a proof covers
pub mod seal; // rows -> leaves -> roots
pub mod unknown; // whose an entry is that is not one of this version's
pub mod record; // what one commit says, and the log entry that follows from it
pub mod subject; // all rows of a subject in a batch, and that there are no others
pub mod head; // signed heads
