//! One file per verb. Each does its work and gives a value; what is printed is made from that
//! value.

pub mod catalog; // check and publish
pub mod compact; // few files out of many
pub mod doctor; // is everything as it should be
pub mod explain; // from a charge to its events
pub mod ingest; // sources into the ledger
pub mod init; // a configuration and an empty ledger
pub mod rate; // a month's charges
pub mod shards; // how the ledger is divided
pub mod sign; // heads the operator can be held to
pub mod verify; // everything recomputed from storage
