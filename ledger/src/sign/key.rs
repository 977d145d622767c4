//! The secret key that heads are signed with, as a file and as a signer.
//!
//! It deliberately decides nothing: what may be signed is [`super::signer`]'s to say.
//!
//! Invariant: a key never appears in what is printed.

use crate::error::LedgerError;
use crate::secret::{self, Words};
use crate::store::Location;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use proof::head::{SignedHead, VerifierKey};
use proof::merkle::TreeHead;
use signed_note::{Note, StandardSigner, is_key_name_valid, new_ed25519_verifier_key};
use std::fmt;

/// The only kind of key there is, as signed notes number them.
const ED25519: u8 = 1;

const WORDS: Words = Words {
    taken: "there is a file already; a key is never overwritten",
    gone: "there is no signer's key; make one with `atcost signer new-key`",
    wanted: "it is not the key of a signer; restore it from a copy, or make one with `atcost signer new-key`",
    open: "others may read the signer's key, and sign in its name; set its mode to 0600",
    closed_to: 0o077,
};

/// The secret key that heads are signed with.
pub struct SignerKey {
    signer: StandardSigner,
    verifier: VerifierKey,
}

impl SignerKey {
    /// Makes a key and writes it to a new file that its owner alone may read.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be one or the file exists, `Storage` otherwise.
    pub async fn create(location: &Location, name: &str) -> Result<VerifierKey, LedgerError> {
        if !is_key_name_valid(name) || name.chars().any(char::is_control) {
            return Err(LedgerError::invalid(
                &format!("{name:?}"),
                "a key's name has no space and no +; take the name of your organisation's domain",
            ));
        }
        let secret = secret::random(location)?;
        secret::create(location, format!("{}\n", private_text(name, &secret)), &WORDS).await?;
        Ok(verifier_text(name, &secret).parse().expect("a key that was just made is well formed"))
    }

    /// # Errors
    /// `Invalid` when it is missing or everybody may read it, `Corrupt` when it is no key.
    pub async fn read(location: &Location) -> Result<Self, LedgerError> {
        let text = secret::read(location, &WORDS).await?;
        Self::parse(&text).ok_or_else(|| LedgerError::corrupt(location, WORDS.wanted))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        let signer = StandardSigner::new(text).ok()?;
        let (_, rest) = text.split_once("PRIVATE+KEY+")?;
        let (name, rest) = rest.split_once('+')?;
        let (_, key) = rest.split_once('+')?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        let secret: [u8; 32] = key.get(1..)?.try_into().ok()?;
        // One spelling, so that no bit of the file can change unnoticed.
        (text == private_text(name, &secret)).then_some(())?;
        Some(Self { signer, verifier: verifier_text(name, &secret).parse().ok()? })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a head. The same head is signed with the same bytes each time.
    pub(crate) fn sign(&self, origin: &str, head: &TreeHead) -> SignedHead {
        let mut note =
            Note::new(&SignedHead::text(origin, head), &[]).expect("a checkpoint is a well-formed text");
        note.add_sigs(&[&self.signer]).expect("a key that was read can sign");
        SignedHead::parse(&note.to_bytes()).expect("a head that was just signed is one")
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignerKey({})", self.verifier)
    }
}

fn verifier_text(name: &str, secret: &[u8; 32]) -> String {
    new_ed25519_verifier_key(name, &SigningKey::from_bytes(secret).verifying_key())
}

fn private_text(name: &str, secret: &[u8; 32]) -> String {
    let verifier = verifier_text(name, secret);
    let id = verifier.split('+').nth(1).expect("a verifier key has an id");
    format!("PRIVATE+KEY+{name}+{id}+{}", BASE64_STANDARD.encode([&[ED25519][..], secret].concat()))
}
