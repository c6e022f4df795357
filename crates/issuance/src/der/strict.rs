//! Walks a whole encoding and refuses whatever DER does not allow, before anything is read for its meaning.

use super::{DerError, Element, tag};

/// Deepest nesting; a CSR with an otherName in its SAN needs 12.
const MAX_DEPTH: usize = 24;

/// Checks that `der` is one element in DER, all the way down. The work is bounded by length times depth.
pub(crate) fn check(der: &[u8]) -> Result<(), DerError> {
    element(&Element::only(der)?, 0)
}

fn element(element: &Element<'_>, depth: usize) -> Result<(), DerError> {
    if depth >= MAX_DEPTH {
        return Err(DerError("nested too deeply"));
    }
    let universal = element.tag & 0xc0 == 0;
    let constructed = element.tag & tag::CONSTRUCTED != 0;
    match element.tag {
        tag::SEQUENCE | tag::SET => inside(element, depth),
        _ if universal && constructed => Err(DerError("constructed encoding of a primitive type")),
        _ if universal => primitive(element),
        _ if constructed => inside(element, depth),
        _ => Ok(()),
    }
}

fn inside(parent: &Element<'_>, depth: usize) -> Result<(), DerError> {
    let mut reader = parent.contents();
    while !reader.is_empty() {
        element(&reader.any()?, depth + 1)?;
    }
    Ok(())
}

fn primitive(element: &Element<'_>) -> Result<(), DerError> {
    let value = element.value;
    let (fine, rule) = match element.tag {
        tag::BOOLEAN => (matches!(value, [0x00 | 0xff]), "boolean is neither 00 nor ff"),
        tag::INTEGER | tag::ENUMERATED => (is_minimal_integer(value), "integer is not minimal"),
        tag::BIT_STRING => (is_bit_string(value), "bit string with wrong unused bits"),
        tag::NULL => (value.is_empty(), "null with contents"),
        tag::OID => (is_oid(value), "object identifier is not minimal or cut short"),
        tag::UTF8_STRING => (std::str::from_utf8(value).is_ok(), "string is not UTF-8"),
        0x10 | 0x11 => (false, "primitive encoding of a constructed type"),
        0x00 => (false, "end-of-contents octets"),
        _ => (true, ""),
    };
    if fine { Ok(()) } else { Err(DerError(rule)) }
}

fn is_minimal_integer(value: &[u8]) -> bool {
    match value {
        [] => false,
        [_] => true,
        [first, second, ..] => !matches!((first, second >> 7), (0x00, 0) | (0xff, 1)),
    }
}

fn is_bit_string(value: &[u8]) -> bool {
    match value {
        [unused] => *unused == 0,
        [unused @ 0..=7, .., last] => last & ((1 << unused) - 1) == 0,
        _ => false,
    }
}

/// X.690 section 8.19.2: sub-identifiers do not begin with 80 and the last one ends.
fn is_oid(value: &[u8]) -> bool {
    let begins = std::iter::once(true).chain(value.iter().map(|octet| octet & 0x80 == 0));
    let ends = value.last().is_some_and(|octet| octet & 0x80 == 0);
    ends && begins.zip(value).all(|(begins, octet)| !begins || *octet != 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::tlv;

    #[test]
    fn what_ber_allows_and_der_does_not_is_refused() {
        for (bytes, why) in [
            (&[0x01, 0x01, 0x01][..], "boolean is neither 00 nor ff"),
            (&[0x02, 0x02, 0x00, 0x01], "integer is not minimal"),
            (&[0x02, 0x02, 0xff, 0x80], "integer is not minimal"),
            (&[0x02, 0x00], "integer is not minimal"),
            (&[0x03, 0x02, 0x04, 0x0f], "bit string with wrong unused bits"),
            (&[0x03, 0x02, 0x08, 0x00], "bit string with wrong unused bits"),
            (&[0x03, 0x01, 0x01], "bit string with wrong unused bits"),
            (&[0x05, 0x01, 0x00], "null with contents"),
            (
                &[0x06, 0x02, 0x80, 0x01],
                "object identifier is not minimal or cut short",
            ),
            (
                &[0x06, 0x01, 0x81],
                "object identifier is not minimal or cut short",
            ),
            (&[0x0c, 0x01, 0xff], "string is not UTF-8"),
            (
                &[0x24, 0x03, 0x04, 0x01, 0x00],
                "constructed encoding of a primitive type",
            ),
            (&[0x10, 0x00], "primitive encoding of a constructed type"),
            (&[0x30, 0x02, 0x00, 0x00], "end-of-contents octets"),
            (&[0x05, 0x00, 0x00], "bytes follow the end"),
        ] {
            assert_eq!(check(bytes), Err(DerError(why)), "{bytes:02x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nest = |depth: usize| (0..depth).fold(vec![0x05, 0x00], |inner, _| tlv(tag::SEQUENCE, &[&inner]));
        assert_eq!(check(&nest(12)), Ok(()));
        assert_eq!(check(&nest(10_000)), Err(DerError("nested too deeply")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }
    }
}
