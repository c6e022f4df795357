//! The name under which an authority publishes its CRL and its certificate, as in `/crl/<name>.crl` and
//! `/ca/<name>.cer`.
//!
//! A CRL applies only to certificates whose issuer has its name (RFC 5280 sections 5.1.2.3 and 6.3.3). So a
//! certificate of a known key with another subject has locations of its own.

use std::fmt;
use std::str::FromStr;

use identity::hex;

/// Longest key identifier, in bytes: SHA-512 is the longest hash that one is made of.
const MAX_KEY_ID: usize = 64;

/// `<key id>`, or `<key id>-<generation>` for a certificate of the key whose subject differs from that of an
/// earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityLocation {
    key_id: Vec<u8>,
    generation: u32,
}

/// A text that is not such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an authority's files, expected KEYID or KEYID-GENERATION")]
pub struct AuthorityLocationError;

impl AuthorityLocation {
    /// Of the key with this id; generation 0 is the first.
    pub fn new(key_id: &[u8], generation: u32) -> Self {
        Self {
            key_id: key_id.to_vec(),
            generation,
        }
    }

    /// The key id.
    pub fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// The number that distinguishes it from other locations of the key.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

impl fmt::Display for AuthorityLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.key_id))?;
        match self.generation {
            0 => Ok(()),
            generation => write!(f, "-{generation}"),
        }
    }
}

impl FromStr for AuthorityLocation {
    type Err = AuthorityLocationError;

    fn from_str(text: &str) -> Result<Self, AuthorityLocationError> {
        let (key_id, generation) = match text.split_once('-') {
            None => (text, 0),
            Some((key_id, digits)) => {
                let generation: u32 = digits.parse().map_err(|_| AuthorityLocationError)?;
                // One name for each: no sign, no leading zero.
                if generation == 0 || generation.to_string() != digits {
                    return Err(AuthorityLocationError);
                }
                (key_id, generation)
            }
        };
        if key_id.len() > 2 * MAX_KEY_ID {
            return Err(AuthorityLocationError);
        }
        let key_id = hex::decode(key_id)
            .filter(|id| !id.is_empty())
            .ok_or(AuthorityLocationError)?;
        Ok(Self { key_id, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_it_is_printed() {
        for (location, text) in [
            (AuthorityLocation::new(&[0x0a, 0xbc], 0), "0abc"),
            (AuthorityLocation::new(&[0x0a, 0xbc], 12), "0abc-12"),
        ] {
            assert_eq!(location.to_string(), text);
            assert_eq!(text.parse(), Ok(location));
        }
        let long = "a".repeat(130);
        for bad in [
            "",
            "-1",
            "0abc-",
            "0abc-0",
            "0abc-01",
            "0abc-+1",
            "0abc--1",
            "0abc-4294967296",
            "0abc-1-1",
            "zz",
            &long,
        ] {
            assert_eq!(
                bad.parse::<AuthorityLocation>(),
                Err(AuthorityLocationError),
                "{bad}"
            );
        }
    }
}
