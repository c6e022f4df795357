//! The structure of a certification request (RFC 2986 section 4), taken apart completely.

use std::borrow::Cow;

use super::extensions::{self, Extension};
use super::key::{self, KeyRef};
use super::{CsrError, MAX_BYTES, PublicKey, signature};
use crate::der::{self, Element, Reader, tag};
use crate::oid;

/// Longest serialNumber attribute that is read (`ub-serial-number`, RFC 5280 appendix A.1).
const MAX_SERIAL_NUMBER: usize = 64;

/// A request whose structure is right; nothing of it is verified yet.
pub(super) struct Request<'a> {
    /// What is signed.
    signed: &'a [u8],
    subject: Element<'a>,
    spki: Element<'a>,
    algorithm: Element<'a>,
    signature: &'a [u8],
    extensions: Requested<'a>,
}

/// The extension requests of a CSR, of which there may be one.
#[derive(Default)]
struct Requested<'a> {
    lists: usize,
    extensions: Vec<Extension<'a>>,
}

/// The request in DER, whatever form it came in. The limit comes first.
pub(super) fn to_der(input: &[u8]) -> Result<Cow<'_, [u8]>, CsrError> {
    if input.len() > MAX_BYTES {
        return Err(CsrError::TooLarge { found: input.len() });
    }
    // No CSR is shorter than 128 bytes, so the length octet of DER is not ASCII and no text begins like this.
    match input {
        [tag::SEQUENCE, 0x80..=0xff, ..] => Ok(Cow::Borrowed(input)),
        _ => from_pem(input).map(Cow::Owned),
    }
}

fn from_pem(input: &[u8]) -> Result<Vec<u8>, CsrError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
    let at = input
        .windows(BEGIN.len())
        .position(|window| window == BEGIN)
        .ok_or_else(|| CsrError::malformed("neither DER nor PEM"))?;
    let text = std::str::from_utf8(&input[at..]).map_err(|_| CsrError::malformed("PEM is not text"))?;
    let block = LABELS
        .iter()
        .find(|label| text[BEGIN.len()..].starts_with(&format!("{label}-----")))
        .and_then(|label| {
            let end = format!("-----END {label}-----");
            text.find(&end).map(|at| text.split_at(at + end.len()))
        });
    let Some((block, after)) = block else {
        return Err(CsrError::malformed(
            "PEM block is not a whole CERTIFICATE REQUEST",
        ));
    };
    if !after.trim_ascii().is_empty() {
        return Err(CsrError::malformed("bytes follow the PEM block"));
    }
    let pem = pem::parse(block).map_err(|e| CsrError::malformed(format!("PEM: {e}")))?;
    Ok(pem.into_contents())
}

impl<'a> Request<'a> {
    pub(super) fn read(input: &'a [u8]) -> Result<Self, CsrError> {
        der::check(input)?;
        let whole = Element::only_tagged(input, tag::SEQUENCE, "request is not a sequence")?;
        let mut outer = whole.contents();
        let signed = outer.take(tag::SEQUENCE, "request information missing")?;
        let algorithm = outer.take(tag::SEQUENCE, "signature algorithm missing")?;
        let signature = outer
            .take(tag::BIT_STRING, "signature missing")?
            .octets_of_bit_string()?;
        outer.finish("request has extra elements")?;

        let mut inner = signed.contents();
        let version = inner.take(tag::INTEGER, "version missing")?;
        if version.value != [0] {
            return Err(CsrError::malformed("version is not 0"));
        }
        let subject = inner.take(tag::SEQUENCE, "subject missing")?;
        check_name(&subject)?;
        let spki = inner.take(tag::SEQUENCE, "public key missing")?;
        let attributes = inner.take(tag::context_constructed(0), "attributes missing")?;
        inner.finish("request information has extra elements")?;

        Ok(Self {
            signed: signed.whole,
            subject,
            spki,
            algorithm,
            signature,
            extensions: read_attributes(attributes.contents())?,
        })
    }

    /// Key policy first, so that no arithmetic is done for a key that is refused anyway; then the self-signature.
    pub(super) fn verify(&self) -> Result<PublicKey, CsrError> {
        let key = KeyRef::read(&self.spki)?;
        let verdict = signature::verify(&key, &self.algorithm, self.signed, self.signature);
        if verdict.is_err() && !key::is_on_curve(&key) {
            return Err(CsrError::malformed("public key is not a point on its curve"));
        }
        verdict?;
        Ok(PublicKey::new(key.key_type, self.spki.whole))
    }

    /// The extensions that are asked for. Two lists of them are two readings of one request.
    pub(super) fn extensions(&self) -> Result<&[Extension<'a>], CsrError> {
        if self.extensions.lists > 1 {
            return Err(CsrError::Extension {
                found: "a second list of extensions".to_owned(),
            });
        }
        Ok(&self.extensions.extensions)
    }

    /// The subject's first serialNumber, if it is printable and not too long; the subject counts for nothing else.
    pub(super) fn subject_serial_number(&self) -> Option<String> {
        let mut names = self.subject.contents();
        while let Ok(set) = names.any() {
            let mut attributes = set.contents();
            while let Ok(attribute) = attributes.any() {
                let mut parts = attribute.contents();
                let (Ok(kind), Ok(value)) = (parts.any(), parts.any()) else {
                    return None;
                };
                if kind.value == oid::SERIAL_NUMBER {
                    return printable(&value);
                }
            }
        }
        None
    }
}

fn printable(value: &Element<'_>) -> Option<String> {
    let text = std::str::from_utf8(value.value).ok()?;
    let fits = matches!(value.tag, tag::PRINTABLE_STRING | tag::UTF8_STRING)
        && (1..=MAX_SERIAL_NUMBER).contains(&text.len())
        && text.bytes().all(is_printable_string);
    fits.then(|| text.to_owned())
}

/// The characters of PrintableString (X.680 section 41.4).
pub(crate) fn is_printable_string(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

fn check_name(name: &Element<'_>) -> Result<(), CsrError> {
    let mut names = name.contents();
    while !names.is_empty() {
        let set = names.take(tag::SET, "subject is not a list of sets")?;
        let mut attributes = set.contents();
        if attributes.is_empty() {
            return Err(CsrError::malformed("subject has an empty set"));
        }
        while !attributes.is_empty() {
            let attribute = attributes.take(tag::SEQUENCE, "subject attribute is not a sequence")?;
            let mut parts = attribute.contents();
            parts.take(tag::OID, "subject attribute without type")?;
            parts.any()?;
            parts.finish("subject attribute has extra elements")?;
        }
    }
    Ok(())
}

/// Attributes are ignored, except the extension request (RFC 2985 section 5.4.2).
fn read_attributes(mut attributes: Reader<'_>) -> Result<Requested<'_>, CsrError> {
    let mut requested = Requested::default();
    while !attributes.is_empty() {
        let attribute = attributes.take(tag::SEQUENCE, "attribute is not a sequence")?;
        let mut parts = attribute.contents();
        let kind = parts.take(tag::OID, "attribute without type")?;
        let values = parts.take(tag::SET, "attribute without values")?;
        parts.finish("attribute has extra elements")?;
        if values.value.is_empty() {
            return Err(CsrError::malformed("attribute without values"));
        }
        if kind.value == oid::EXTENSION_REQUEST {
            requested.lists += 1;
            requested.extensions.extend(extensions::read(values.contents())?);
        }
    }
    Ok(requested)
}
