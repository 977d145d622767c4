//! Signing: the key, and what may be signed.

// Modules in reading order.
pub mod key; // the secret key
pub mod signer; // what may be signed, and what must not
