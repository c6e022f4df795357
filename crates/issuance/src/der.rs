//! The Distinguished Encoding Rules (X.690 sections 8, 10 and 11), as much of them as PKCS#10 and X.509 need.
//!
//! Reading is strict: a CSR has one encoding, and whoever sends another one wants two readers to see two things. General ASN.1
//! parsers are lax here. Writing is exact: a certificate carries issuer name and public key byte for byte as they were.

mod read;
mod write;

pub(crate) use read::{Element, Reader};
pub(crate) use write::{
    bit_string, integer, named_bits, octet_string, printable_string, sequence, time, tlv, utf8_string,
};

/// Identifier octets (X.690 section 8.1.2); only tag numbers below 31 occur.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// A context-specific primitive element.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }
    /// A context-specific constructed element.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// The rule of DER, or of the structure that was expected, which the bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DerError(pub(crate) &'static str);

/// Checks that `der` is one element in DER, all the way down, before anything is read for its meaning.
pub(crate) fn check(der: &[u8]) -> Result<(), DerError> {
    identity::der::check(der).map_err(|error| DerError(error.rule()))
}
