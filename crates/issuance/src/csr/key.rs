//! Which public keys are accepted, decided on their encoding alone, before any arithmetic: P-256, P-384 (RFC 5480), Ed25519
//! (RFC 8410), RSA of 2048, 3072 or 4096 bits with e = 65537 (RFC 8017).

use std::fmt;

use identity::KeyDigest;
use ring::agreement;
use ring::rand::SystemRandom;

use super::CsrError;
use crate::der::{Element, tag};
use crate::oid;

/// The kinds of keys that certificates are issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
}

impl KeyType {
    /// The kind as people write it.
    pub fn word(self) -> &'static str {
        match self {
            KeyType::P256 => "P-256",
            KeyType::P384 => "P-384",
            KeyType::Ed25519 => "Ed25519",
            KeyType::Rsa2048 => "RSA-2048",
            KeyType::Rsa3072 => "RSA-3072",
            KeyType::Rsa4096 => "RSA-4096",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A public key of an accepted kind whose holder has proved to hold the private one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key_type: KeyType,
    spki: Vec<u8>,
    digest: KeyDigest,
}

impl PublicKey {
    pub(crate) fn new(key_type: KeyType, spki: &[u8]) -> Self {
        Self {
            key_type,
            spki: spki.to_vec(),
            digest: KeyDigest::of(spki),
        }
    }

    /// What kind of key it is.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Its SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }
}

/// A public key that is acceptable by its encoding; whether its point is on the curve shows only in arithmetic.
pub(super) struct KeyRef<'a> {
    pub(super) key_type: KeyType,
    /// The contents of `subjectPublicKey`.
    pub(super) bits: &'a [u8],
}

impl<'a> KeyRef<'a> {
    pub(super) fn read(spki: &Element<'a>) -> Result<Self, CsrError> {
        let mut outer = spki.contents();
        let algorithm = outer.take(tag::SEQUENCE, "key algorithm missing")?;
        let bits = outer
            .take(tag::BIT_STRING, "public key bits missing")?
            .octets_of_bit_string()?;
        outer.finish("public key has extra elements")?;

        let mut inner = algorithm.contents();
        let kind = inner.take(tag::OID, "key algorithm without type")?.value;
        let parameters = if inner.is_empty() {
            None
        } else {
            Some(inner.any()?)
        };
        inner.finish("key algorithm has extra elements")?;

        let key_type = match (kind, parameters) {
            (oid::EC_PUBLIC_KEY, parameters) => ec_key_type(parameters.as_ref(), bits)?,
            (oid::ED25519, None) => ed25519_key_type(bits)?,
            (oid::ED25519, Some(_)) => return Err(CsrError::malformed("Ed25519 key with parameters")),
            (oid::RSA, Some(parameters)) if parameters.tag == tag::NULL => rsa_key_type(bits)?,
            (oid::RSA, _) => return Err(CsrError::malformed("RSA key without NULL parameters")),
            (unknown, _) => {
                return Err(CsrError::KeyType {
                    found: format!("of algorithm {}", oid::dotted(unknown)),
                });
            }
        };
        Ok(Self { key_type, bits })
    }
}

/// RFC 5480 sections 2.1.1 and 2.2.
fn ec_key_type(parameters: Option<&Element<'_>>, point: &[u8]) -> Result<KeyType, CsrError> {
    let refused = |found: String| Err(CsrError::KeyType { found });
    let (key_type, coordinate) = match parameters.map(|p| (p.tag, p.value)) {
        Some((tag::OID, oid::P256)) => (KeyType::P256, 32),
        Some((tag::OID, oid::P384)) => (KeyType::P384, 48),
        Some((tag::OID, curve)) => return refused(format!("on the curve {}", oid::dotted(curve))),
        Some((tag::SEQUENCE, _)) => return refused("on a curve with explicit parameters".to_owned()),
        _ => return refused("on no named curve".to_owned()),
    };
    match point {
        [0x04, rest @ ..] if rest.len() == 2 * coordinate => Ok(key_type),
        [0x02 | 0x03, rest @ ..] if rest.len() == coordinate => {
            refused("a compressed point, which is not read here".to_owned())
        }
        [0x00] => Err(CsrError::malformed("public key is the point at infinity")),
        _ => Err(CsrError::malformed(
            "public key is not an uncompressed point of its curve",
        )),
    }
}

fn ed25519_key_type(point: &[u8]) -> Result<KeyType, CsrError> {
    let Ok(mut y) = <[u8; 32]>::try_from(point) else {
        return Err(CsrError::malformed("Ed25519 key is not of 32 bytes"));
    };
    // The sign of x does not change the order.
    y[31] &= 0x7f;
    if SMALL_ORDER.contains(&y) {
        return Err(CsrError::KeyWeak {
            why: "the Ed25519 point is of small order, anybody can sign for it".to_owned(),
        });
    }
    Ok(KeyType::Ed25519)
}

/// The y coordinates, little-endian, of points whose order divides 8, canonical or not: 0, 1, the two of order 8, p - 1, p, p + 1.
/// A signature by such a key proves nothing.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    near_p(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_p(0xec, 0xff, 0x7f),
    near_p(0xed, 0xff, 0x7f),
    near_p(0xee, 0xff, 0x7f),
];

const fn near_p(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut y = [middle; 32];
    y[0] = first;
    y[31] = last;
    y
}

/// RFC 8017 appendix A.1.1. Sizes are compared, nothing is computed.
fn rsa_key_type(key: &[u8]) -> Result<KeyType, CsrError> {
    crate::der::check(key)?;
    let mut parts = Element::only_tagged(key, tag::SEQUENCE, "RSA key is not a sequence")?.contents();
    let modulus = parts.take(tag::INTEGER, "RSA modulus missing")?.value;
    let exponent = parts.take(tag::INTEGER, "RSA exponent missing")?.value;
    parts.finish("RSA key has extra elements")?;
    let magnitude = match modulus {
        [0, rest @ ..] => rest,
        [first, ..] if first & 0x80 != 0 => return Err(CsrError::malformed("RSA modulus is negative")),
        all => all,
    };
    let weak = |why: String| Err(CsrError::KeyWeak { why });
    let leading = magnitude
        .first()
        .map_or(8, |first| first.leading_zeros() as usize);
    let key_type = match 8 * magnitude.len() - leading.min(8 * magnitude.len()) {
        2048 => KeyType::Rsa2048,
        3072 => KeyType::Rsa3072,
        4096 => KeyType::Rsa4096,
        bits => return weak(format!("RSA modulus of {bits} bits, expected 2048, 3072 or 4096")),
    };
    if magnitude.last().is_some_and(|last| last & 1 == 0) {
        return weak("RSA modulus is even".to_owned());
    }
    if exponent != [0x01, 0x00, 0x01] {
        return weak("RSA exponent is not 65537".to_owned());
    }
    Ok(key_type)
}

/// Whether an elliptic-curve point satisfies the equation of its curve. Asked only after a signature failed, to tell a broken key
/// from a broken signature; ring checks a peer's point before it agrees on a secret (NIST SP 800-56A section 5.6.2.3.3).
pub(super) fn is_on_curve(key: &KeyRef<'_>) -> bool {
    let curve = match key.key_type {
        KeyType::P256 => &agreement::ECDH_P256,
        KeyType::P384 => &agreement::ECDH_P384,
        _ => return true,
    };
    agreement::EphemeralPrivateKey::generate(curve, &SystemRandom::new())
        .and_then(|ours| {
            let theirs = agreement::UnparsedPublicKey::new(curve, key.bits);
            agreement::agree_ephemeral(ours, &theirs, |_| ())
        })
        .is_ok()
}
