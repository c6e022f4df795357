//! SHA-256 digests that name things: a root certificate by its `Fingerprint`, a public key by its `KeyDigest`.

use std::fmt;
use std::str::FromStr;

use crate::hex;

const SHA256_BYTES: usize = 32;

/// SHA-256 of a root certificate's DER: what a caller without a trust anchor knows of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; SHA256_BYTES]);

/// SHA-256 of a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; SHA256_BYTES]);

/// A text that is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a SHA-256 digest, expected 64 hex digits (colons and capitals are accepted)")]
pub struct DigestError {
    found: String,
}

impl Fingerprint {
    /// The fingerprint of this certificate.
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(sha256(certificate_der))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; SHA256_BYTES] {
        &self.0
    }
}

impl KeyDigest {
    /// The digest of this SubjectPublicKeyInfo.
    pub fn of(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }

    /// From the bytes that a record holds.
    pub fn from_bytes(bytes: [u8; SHA256_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; SHA256_BYTES] {
        &self.0
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; SHA256_BYTES] {
    let mut out = [0; SHA256_BYTES];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

fn parse(text: &str) -> Result<[u8; SHA256_BYTES], DigestError> {
    let wrong = || DigestError {
        found: text.chars().take(100).collect(),
    };
    if text.chars().filter(|c| *c != ':').count() != 2 * SHA256_BYTES {
        return Err(wrong());
    }
    hex::decode(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(wrong)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, DigestError> {
        parse(s).map(Self)
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyDigest {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, DigestError> {
        parse(s).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_what_it_prints_and_what_openssl_prints() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint.to_string(), text);
        let colons: Vec<String> = text
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8_lossy(c).to_uppercase())
            .collect();
        assert_eq!(colons.join(":").parse(), Ok(fingerprint));
        assert!(text[1..].parse::<Fingerprint>().is_err());
        assert!("zz".repeat(32).parse::<Fingerprint>().is_err());
    }
}
