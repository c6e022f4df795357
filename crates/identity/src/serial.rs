//! Certificate serial numbers: positive, at most 20 octets (RFC 5280 section 4.1.2.2), written as lower-case hex.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// Longest serial number, in octets (RFC 5280 section 4.1.2.2).
pub const MAX_BYTES: usize = 20;

/// A positive serial number: big-endian, no leading zero octet, compared by value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial {
    bytes: [u8; MAX_BYTES],
    start: u8,
}

/// A number that RFC 5280 does not allow as a serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a serial number, expected a positive number of at most 40 hex digits")]
pub struct SerialError {
    found: String,
}

impl Serial {
    /// From big-endian octets; leading zeroes are dropped. Zero and more than 20 octets are refused.
    pub fn from_bytes(octets: &[u8]) -> Result<Self, SerialError> {
        let significant = &octets[octets.iter().take_while(|b| **b == 0).count()..];
        if significant.is_empty() || significant.len() > MAX_BYTES {
            return Err(SerialError {
                found: hex::encode(&octets[..octets.len().min(2 * MAX_BYTES)]),
            });
        }
        let start = MAX_BYTES - significant.len();
        let mut bytes = [0; MAX_BYTES];
        bytes[start..].copy_from_slice(significant);
        Ok(Self {
            bytes,
            start: u8::try_from(start).expect("at most 20"),
        })
    }

    /// Big-endian octets without leading zeroes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }

    /// The first eight octets of the number right-aligned in twenty are no digest, so look-up tables use the last eight,
    /// which are random in Signet's serials.
    pub fn fingerprint(&self) -> u64 {
        let mut tail = [0; 8];
        tail.copy_from_slice(&self.bytes[MAX_BYTES - 8..]);
        u64::from_be_bytes(tail)
    }
}

impl PartialOrd for Serial {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Serial {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = SerialError;
    fn from_str(s: &str) -> Result<Self, SerialError> {
        let wrong = || SerialError {
            found: s.chars().take(100).collect(),
        };
        if s.len() > 3 * (MAX_BYTES + 1) {
            return Err(wrong());
        }
        Self::from_bytes(&hex::decode(s).ok_or_else(wrong)?).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_has_two_digits_a_byte_and_no_leading_zero_byte() {
        let serial = Serial::from_bytes(&[0, 0x0a, 0xbc]).unwrap();
        assert_eq!(serial.to_string(), "0abc");
        for spelling in ["0abc", "abc", "0A:BC", "00:0a:bc"] {
            assert_eq!(spelling.parse(), Ok(serial), "{spelling}");
        }
    }

    #[test]
    fn zero_too_long_and_text_are_refused() {
        for bad in ["", "0", "00", "xyz", &"ab".repeat(21)] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
        assert!("ff".repeat(20).parse::<Serial>().is_ok());
    }

    #[test]
    fn order_is_by_value() {
        let small: Serial = "ff".parse().unwrap();
        let large: Serial = "0100".parse().unwrap();
        assert!(small < large);
    }
}
