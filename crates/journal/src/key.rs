//! The server's journal key (Ed25519, PKCS#8 of RFC 8410): who lacks it cannot change what was signed and stay unnoticed.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::JournalError;

/// A new journal key, as PKCS#8 DER.
///
/// # Errors
/// `BadKey` if the system gives no random bytes.
pub fn generate_signing_key() -> Result<Zeroizing<Vec<u8>>, JournalError> {
    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(|_| JournalError::BadKey {
            why: "the system gave no random bytes".to_owned(),
        })
}

/// The Ed25519 public key of a journal key: the one that `Verified` names.
///
/// # Errors
/// `BadKey` if it is none.
pub fn public_key(pkcs8: &[u8]) -> Result<[u8; 32], JournalError> {
    parse(pkcs8).map(|key| public_key_of(&key))
}

pub(crate) fn parse(pkcs8: &[u8]) -> Result<Ed25519KeyPair, JournalError> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
        .map_err(|why| JournalError::BadKey { why: why.to_string() })
}

pub(crate) fn public_key_of(key: &Ed25519KeyPair) -> [u8; 32] {
    key.public_key()
        .as_ref()
        .try_into()
        .expect("an Ed25519 public key has 32 bytes (RFC 8032)")
}
