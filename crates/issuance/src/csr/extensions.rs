//! The extensions that a CSR asks for: which are ignored, and which are refused because asking for them is an attack or a mistake.

use std::collections::BTreeSet;

use super::CsrError;
use crate::der::{self, Element, Reader, tag};
use crate::oid;

/// One extension (RFC 5280 section 4.1).
pub(super) struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    /// What the OCTET STRING holds.
    value: &'a [u8],
}

/// Who asks: only an authority may ask to be one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    EndEntity,
    Authority,
}

/// Reads the values of the extension request: exactly one list.
pub(super) fn read(mut values: Reader<'_>) -> Result<Vec<Extension<'_>>, CsrError> {
    let list = values.take(tag::SEQUENCE, "extensions are not a sequence")?;
    values.finish("extension request has two values")?;
    let mut list = list.contents();
    let mut extensions = Vec::new();
    while !list.is_empty() {
        let extension = list.take(tag::SEQUENCE, "extension is not a sequence")?;
        let mut parts = extension.contents();
        let oid = parts.take(tag::OID, "extension without type")?.value;
        let critical = match parts.take_if(tag::BOOLEAN)? {
            None => false,
            Some(flag) if flag.value == [0xff] => true,
            Some(_) => return Err(CsrError::malformed("default value is encoded")),
        };
        let value = parts.take(tag::OCTET_STRING, "extension without value")?.value;
        parts.finish("extension has extra elements")?;
        extensions.push(Extension { oid, critical, value });
    }
    Ok(extensions)
}

/// The general names of the subject alternative name, as tag and contents, if every extension may be asked for.
pub(super) fn judge<'a>(extensions: &[Extension<'a>], asker: Asker) -> Result<Vec<Element<'a>>, CsrError> {
    let refused = |found: &str| CsrError::Extension {
        found: found.to_owned(),
    };
    let (mut seen, mut names) = (BTreeSet::new(), Vec::new());
    for extension in extensions {
        if !seen.insert(extension.oid) {
            return Err(refused(&format!(
                "extension {} twice",
                oid::dotted(extension.oid)
            )));
        }
        match extension.oid {
            oid::SUBJECT_ALT_NAME => names = general_names(extension.value)?,
            oid::BASIC_CONSTRAINTS if is_ca(extension.value)? && asker == Asker::EndEntity => {
                return Err(refused("CA:TRUE"));
            }
            oid::KEY_USAGE => {
                if let (Some(bit), Asker::EndEntity) = (signing_bit(extension.value)?, asker) {
                    return Err(refused(&format!("key usage {bit}")));
                }
            }
            oid::NAME_CONSTRAINTS => return Err(refused("name constraints")),
            oid::BASIC_CONSTRAINTS | oid::EXTENDED_KEY_USAGE | oid::SUBJECT_KEY_ID => {}
            unknown if extension.critical => {
                return Err(refused(&format!(
                    "critical extension {}, which is unknown here",
                    oid::dotted(unknown)
                )));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn general_names(value: &[u8]) -> Result<Vec<Element<'_>>, CsrError> {
    let list = known(value, tag::SEQUENCE, "subject alternative name is not a sequence")?;
    let mut reader = list.contents();
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(reader.any()?);
    }
    if names.is_empty() {
        return Err(CsrError::malformed("subject alternative name without names"));
    }
    Ok(names)
}

/// RFC 5280 section 4.2.1.9.
fn is_ca(value: &[u8]) -> Result<bool, CsrError> {
    let mut parts = known(value, tag::SEQUENCE, "basic constraints are not a sequence")?.contents();
    let ca = match parts.take_if(tag::BOOLEAN)? {
        None => false,
        Some(flag) if flag.value == [0xff] => true,
        Some(_) => return Err(CsrError::malformed("default value is encoded")),
    };
    parts.take_if(tag::INTEGER)?;
    parts.finish("basic constraints have extra elements")?;
    Ok(ca)
}

/// Which of the two bits that sign certificates or CRLs is set, if any (RFC 5280 section 4.2.1.3).
fn signing_bit(value: &[u8]) -> Result<Option<&'static str>, CsrError> {
    let bits = known(value, tag::BIT_STRING, "key usage is not a bit string")?;
    let first = bits.value.get(1).copied().unwrap_or(0);
    Ok(match (first & 0x04 != 0, first & 0x02 != 0) {
        (true, _) => Some("keyCertSign"),
        (_, true) => Some("cRLSign"),
        _ => None,
    })
}

/// The contents of a known extension are held to DER as the rest is.
fn known<'a>(value: &'a [u8], tag: u8, otherwise: &'static str) -> Result<Element<'a>, CsrError> {
    der::check(value)?;
    Ok(Element::only_tagged(value, tag, otherwise)?)
}
