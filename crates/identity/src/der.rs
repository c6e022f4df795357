//! Walks a whole encoding and refuses whatever DER does not allow (X.690 sections 8, 10 and 11), before
//! anything is read for its meaning: two readers of one certificate must not find two meanings in it.

/// Deepest nesting; a certificate with a name in its CRL distribution point needs 12.
const MAX_DEPTH: usize = 24;

/// Why bytes are not DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not DER: {0}")]
pub struct DerError(&'static str);

impl DerError {
    /// The rule that the bytes break.
    pub fn rule(&self) -> &'static str {
        self.0
    }
}

/// Checks that `der` is exactly one element in DER, all the way down. The work is bounded by length times
/// depth.
pub fn check(der: &[u8]) -> Result<(), DerError> {
    match element(der, 0)? {
        [] => Ok(()),
        _ => Err(DerError("bytes follow the end")),
    }
}

/// Whether the elements of a SEQUENCE that [`check`] accepted all have this tag.
pub(crate) fn has_only(tag: u8, sequence: &[u8]) -> bool {
    let header = sequence.get(1..).and_then(|after_tag| length(after_tag).ok());
    let Some((_, mut rest)) = header else {
        return false;
    };
    while let Some((&found, after_tag)) = rest.split_first() {
        match length(after_tag) {
            Ok((skipped, value)) if found == tag && skipped <= value.len() => rest = &value[skipped..],
            _ => return false,
        }
    }
    true
}

/// Checks the first element and returns the bytes that follow it.
fn element(bytes: &[u8], depth: usize) -> Result<&[u8], DerError> {
    if depth >= MAX_DEPTH {
        return Err(DerError("nested too deeply"));
    }
    let (&tag, rest) = bytes.split_first().ok_or(DerError("cut short"))?;
    if tag & 0x1f == 0x1f {
        return Err(DerError("tag of more than one byte"));
    }
    let (length, rest) = length(rest)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(DerError("cut short"))?;
    match tag {
        0x30 | 0x31 => inside(value, depth)?,
        0xa0..=0xbe => inside(value, depth)?,
        0x80..=0x9e => {}
        0x00..=0x1e => primitive(tag, value)?,
        0x20..=0x3e => return Err(DerError("constructed encoding of a primitive type")),
        _ => return Err(DerError("tag that occurs in no certificate")),
    }
    Ok(rest)
}

fn inside(mut value: &[u8], depth: usize) -> Result<(), DerError> {
    while !value.is_empty() {
        value = element(value, depth + 1)?;
    }
    Ok(())
}

/// Reads a definite length in its shortest form (X.690 section 10.1).
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = bytes.split_first().ok_or(DerError("cut short"))?;
    match first {
        0..=0x7f => Ok((usize::from(first), rest)),
        0x80 => Err(DerError("indefinite length")),
        0x81..=0x84 => {
            let (octets, rest) = rest
                .split_at_checked(usize::from(first & 0x7f))
                .ok_or(DerError("cut short"))?;
            let value = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            if octets[0] == 0 || value < 0x80 {
                return Err(DerError("length is not minimal"));
            }
            Ok((value, rest))
        }
        _ => Err(DerError("length of more than four bytes")),
    }
}

fn primitive(tag: u8, value: &[u8]) -> Result<(), DerError> {
    let (fine, rule) = match tag {
        0x01 => (matches!(value, [0x00 | 0xff]), "boolean is neither 00 nor ff"),
        0x02 | 0x0a => (is_minimal_integer(value), "integer is not minimal"),
        0x03 => (is_bit_string(value), "bit string with wrong unused bits"),
        0x05 => (value.is_empty(), "null with contents"),
        0x06 => (is_oid(value), "object identifier is not minimal or cut short"),
        0x0c => (std::str::from_utf8(value).is_ok(), "string is not UTF-8"),
        0x17 => (is_time(value, 12), "time is not YYMMDDhhmmssZ"),
        0x18 => (is_time(value, 14), "time is not YYYYMMDDhhmmssZ"),
        0x10 | 0x11 => (false, "primitive encoding of a constructed type"),
        0x00 => (false, "end-of-contents octets"),
        // Octets, and strings from NumericString to BMPString.
        0x04 | 0x12..=0x16 | 0x1a..=0x1c | 0x1e => (true, ""),
        _ => (false, "tag that occurs in no certificate"),
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

/// Whole seconds in UTC (RFC 5280 section 4.1.2.5, which leaves out the fractions of X.690 section 11.7).
fn is_time(value: &[u8], digits: usize) -> bool {
    matches!(value, [time @ .., b'Z'] if time.len() == digits && time.iter().all(u8::is_ascii_digit))
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

    #[test]
    fn encodings_that_ber_allows_and_der_does_not_are_refused() {
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
            (b"\x17\x0b2601011200Z", "time is not YYMMDDhhmmssZ"),
            (b"\x17\x102601011200+01000", "time is not YYMMDDhhmmssZ"),
            (b"\x18\x1120260101120000.5Z", "time is not YYYYMMDDhhmmssZ"),
            (
                &[0x24, 0x03, 0x04, 0x01, 0x00],
                "constructed encoding of a primitive type",
            ),
            (&[0x10, 0x00], "primitive encoding of a constructed type"),
            (&[0x30, 0x02, 0x00, 0x00], "end-of-contents octets"),
            (&[0x30, 0x80, 0x00, 0x00], "indefinite length"),
            (&[0x05, 0x81, 0x00], "length is not minimal"),
            (&[0x05, 0x85, 0, 0, 0, 0, 0], "length of more than four bytes"),
            (&[0x1f, 0x81, 0x01, 0x00], "tag of more than one byte"),
            (&[0x30, 0x03, 0x05, 0x00], "cut short"),
            (&[0x43, 0x02, 0x07, 0x80], "tag that occurs in no certificate"),
            (&[0x07, 0x01, 0x2a], "tag that occurs in no certificate"),
            (&[0x05, 0x00, 0x00], "bytes follow the end"),
            (&[], "cut short"),
        ] {
            assert_eq!(check(bytes), Err(DerError(why)), "{bytes:02x?}");
        }
        assert_eq!(check(&[0x30, 0x05, 0x01, 0x01, 0xff, 0x05, 0x00]), Ok(()));
    }

    #[test]
    fn the_elements_of_a_sequence_have_one_tag() {
        assert!(has_only(6, &[0x30, 0x06, 6, 1, 0x2a, 6, 1, 0x2a]));
        assert!(!has_only(6, &[0x30, 0x06, 6, 1, 0x2a, 0x86, 1, 0x2a]));
        assert!(!has_only(6, &[0x30, 0x03, 6, 2, 0x2a]));
        assert!(!has_only(6, &[]));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| -> Vec<u8> {
            (0..depth).fold(vec![0x05, 0x00], |inner, _| {
                let length = u8::try_from(inner.len()).unwrap();
                [vec![0x30, length], inner].concat()
            })
        };
        assert_eq!(check(&nested(12)), Ok(()));
        assert_eq!(check(&nested(24)), Err(DerError("nested too deeply")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }
    }
}
