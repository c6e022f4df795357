//! Takes DER apart, one element at a time, without copying.

use super::{DerError, tag};

/// One tag, length and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// The contents octets.
    pub(crate) value: &'a [u8],
    /// Tag, length and contents.
    pub(crate) whole: &'a [u8],
}

/// Reads elements from the front of a run of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element; lengths are definite and minimal (X.690 section 10.1).
    pub(crate) fn any(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError("element missing"))?;
        if tag & 0x1f == 0x1f {
            return Err(DerError("tag number above 30"));
        }
        let (length, header) = read_length(after_tag)?;
        let header = header + 1;
        let end = header
            .checked_add(length)
            .filter(|end| *end <= self.rest.len())
            .ok_or(DerError("element is cut short"))?;
        let (whole, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Element {
            tag,
            value: &whole[header..],
            whole,
        })
    }

    /// The next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8, missing: &'static str) -> Result<Element<'a>, DerError> {
        self.take_if(tag)?.ok_or(DerError(missing))
    }

    /// The next element if it has this tag.
    pub(crate) fn take_if(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.rest.first() == Some(&tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self, extra: &'static str) -> Result<(), DerError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DerError(extra))
        }
    }
}

impl<'a> Element<'a> {
    /// Reads the one element that `bytes` consist of.
    pub(crate) fn only(bytes: &'a [u8]) -> Result<Self, DerError> {
        let mut reader = Reader::new(bytes);
        let element = reader.any()?;
        reader.finish("bytes follow the end")?;
        Ok(element)
    }

    /// Reads the one element with this tag that `bytes` consist of.
    pub(crate) fn only_tagged(bytes: &'a [u8], tag: u8, missing: &'static str) -> Result<Self, DerError> {
        Self::only(bytes).and_then(|element| element.expect(tag, missing))
    }

    pub(crate) fn expect(self, tag: u8, otherwise: &'static str) -> Result<Self, DerError> {
        if self.tag == tag {
            Ok(self)
        } else {
            Err(DerError(otherwise))
        }
    }

    /// Reads what is inside.
    pub(crate) fn contents(&self) -> Reader<'a> {
        Reader::new(self.value)
    }

    /// The bytes of a BIT STRING of whole octets.
    pub(crate) fn octets_of_bit_string(&self) -> Result<&'a [u8], DerError> {
        match (self.tag, self.value.split_first()) {
            (tag::BIT_STRING, Some((0, octets))) => Ok(octets),
            _ => Err(DerError("bit string is not of whole octets")),
        }
    }
}

/// The length and how many octets it took.
fn read_length(bytes: &[u8]) -> Result<(usize, usize), DerError> {
    const CUT: DerError = DerError("length is cut short");
    let (&first, rest) = bytes.split_first().ok_or(CUT)?;
    let count = match first {
        0..=0x7f => return Ok((usize::from(first), 1)),
        0x80 => return Err(DerError("indefinite length")),
        // Four octets count 4 GiB, far beyond every limit; more cannot be needed.
        0x81..=0x84 => usize::from(first & 0x7f),
        _ => return Err(DerError("length of more than four octets")),
    };
    let octets = rest.get(..count).ok_or(CUT)?;
    let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
    if octets[0] == 0 || length < 0x80 {
        return Err(DerError("length is not minimal"));
    }
    Ok((length, count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_in_order_and_nothing_may_follow() {
        let mut reader = Reader::new(&[0x02, 0x01, 0x07, 0x05, 0x00]);
        assert_eq!(reader.take(tag::INTEGER, "").unwrap().value, [7]);
        assert_eq!(reader.finish("more"), Err(DerError("more")));
        assert_eq!(reader.take_if(tag::INTEGER), Ok(None));
        assert_eq!(reader.any().unwrap().whole, [0x05, 0x00]);
        assert!(reader.finish("more").is_ok());
    }

    #[test]
    fn lengths_are_definite_minimal_and_within_the_bytes() {
        for (bytes, why) in [
            (&[0x30, 0x80, 0, 0][..], "indefinite length"),
            (&[0x30, 0x81, 0x01, 0], "length is not minimal"),
            (&[0x30, 0x82, 0x00, 0x80], "length is not minimal"),
            (&[0x30, 0x85, 0, 0, 0, 0, 1], "length of more than four octets"),
            (&[0x30, 0x82, 0x01], "length is cut short"),
            (&[0x30], "length is cut short"),
            (&[0x30, 0x02, 0x05], "element is cut short"),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], "element is cut short"),
            (&[0x1f, 0x20, 0x00], "tag number above 30"),
            (&[], "element missing"),
        ] {
            assert_eq!(Reader::new(bytes).any(), Err(DerError(why)), "{bytes:02x?}");
        }
    }
}
