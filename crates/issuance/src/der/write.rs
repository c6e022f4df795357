//! Puts DER together. Contents come as slices that are laid end to end.

use time::OffsetDateTime;

use super::tag;

/// One element around these contents.
pub(crate) fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    let octets = length.to_be_bytes();
    if length < 0x80 {
        out.push(octets[octets.len() - 1]);
    } else {
        let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
        out.push(0x80 | u8::try_from(significant.len()).expect("a usize has at most 8 octets"));
        out.extend_from_slice(significant);
    }
    for part in contents {
        out.extend_from_slice(part);
    }
    out
}

/// SEQUENCE.
pub(crate) fn sequence(contents: &[&[u8]]) -> Vec<u8> {
    tlv(tag::SEQUENCE, contents)
}

/// OCTET STRING.
pub(crate) fn octet_string(octets: &[u8]) -> Vec<u8> {
    tlv(tag::OCTET_STRING, &[octets])
}

/// BIT STRING of whole octets.
pub(crate) fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(tag::BIT_STRING, &[&[0], octets])
}

/// BIT STRING with a named-bit list of up to eight bits, the first in the high bit; trailing zeroes are dropped (X.690 section
/// 11.2.2).
pub(crate) fn named_bits(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).expect("at most 7");
    tlv(tag::BIT_STRING, &[&[unused, bits]])
}

/// A positive INTEGER from its big-endian octets.
pub(crate) fn integer(octets: &[u8]) -> Vec<u8> {
    let leading = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = &octets[leading.min(octets.len().saturating_sub(1))..];
    match significant.first() {
        Some(first) if first & 0x80 == 0 => tlv(tag::INTEGER, &[significant]),
        _ => tlv(tag::INTEGER, &[&[0], significant]),
    }
}

/// PrintableString; the caller knows that the characters are in its set.
pub(crate) fn printable_string(text: &str) -> Vec<u8> {
    tlv(tag::PRINTABLE_STRING, &[text.as_bytes()])
}

/// UTF8String.
pub(crate) fn utf8_string(text: &str) -> Vec<u8> {
    tlv(tag::UTF8_STRING, &[text.as_bytes()])
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5), whole seconds in UTC.
pub(crate) fn time(at: OffsetDateTime) -> Vec<u8> {
    let at = at.to_offset(time::UtcOffset::UTC);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if (1950..2050).contains(&at.year()) {
        let year = format!("{:02}", at.year() % 100);
        tlv(tag::UTC_TIME, &[year.as_bytes(), rest.as_bytes()])
    } else {
        let year = format!("{:04}", at.year());
        tlv(tag::GENERALIZED_TIME, &[year.as_bytes(), rest.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{Element, check};
    use time::macros::datetime;

    #[test]
    fn what_is_written_is_strict_der_and_reads_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let contents = vec![7; length];
            let der = octet_string(&contents);
            check(&der).unwrap();
            assert_eq!(Element::only(&der).unwrap().value, contents);
        }
        for octets in [&[][..], &[0], &[0, 0], &[0x7f], &[0x80], &[0, 0x80], &[0, 0, 1]] {
            check(&integer(octets)).unwrap();
        }
        for bits in [0x80, 0x06, 0x01] {
            check(&named_bits(bits)).unwrap();
        }
    }

    #[test]
    fn times_change_their_form_in_2050() {
        assert_eq!(time(datetime!(2049-12-31 23:59:59 UTC))[2..], *b"491231235959Z");
        assert_eq!(time(datetime!(2050-01-01 00:00:00 UTC))[2..], *b"20500101000000Z");
    }
}
