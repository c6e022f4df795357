//! The names that a CSR wishes for (RFC 5280 section 4.2.1.6): at most one SPIFFE ID, host names, and others that nobody grants.

use std::fmt;
use std::net::IpAddr;

use identity::{DnsName, SpiffeId};

use super::{CsrError, MAX_NAMES};
use crate::der::{Element, tag};
use crate::oid;

/// Longest part of a foreign name that is shown.
const MAX_SHOWN: usize = 200;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) uri: Option<SpiffeId>,
    pub(super) dns: Vec<String>,
    pub(super) other: Vec<OtherName>,
}

/// A name that is neither a SPIFFE ID nor a host name, kept so that a refusal can tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherName {
    kind: &'static str,
    text: String,
}

impl OtherName {
    /// The kind of name: `IP`, `DNS` (not a host name), `email`, `directory name`, `registered ID`, `other name`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The name, in printable characters.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for OtherName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.text)
    }
}

/// Sorts general names by kind; the count is limited first.
pub(super) fn judge(general_names: &[Element<'_>]) -> Result<Names, CsrError> {
    if general_names.len() > MAX_NAMES {
        return Err(CsrError::TooManyNames {
            found: general_names.len(),
        });
    }
    const URI: u8 = tag::context(6);
    const DNS: u8 = tag::context(2);
    let mut names = Names::default();
    for name in general_names {
        match name.tag {
            URI => {
                let id = SpiffeId::new(ia5(name.value)?).map_err(|e| CsrError::San { why: e.to_string() })?;
                if let Some(first) = names.uri.replace(id) {
                    return Err(CsrError::San {
                        why: format!("two URI SANs, the first is {first}; expected at most one"),
                    });
                }
            }
            DNS => {
                let text = ia5(name.value)?;
                match DnsName::new(text).map(String::from) {
                    Err(_) => names.other.push(other("DNS", text)),
                    // A name that is requested twice is one request for it.
                    Ok(name) if names.dns.contains(&name) => {}
                    Ok(name) => names.dns.push(name),
                }
            }
            _ => names.other.push(foreign(name)?),
        }
    }
    Ok(names)
}

/// Whether this is a DNS name in the canonical form in which certificates hold it.
pub fn is_host_name(text: &str) -> bool {
    DnsName::new(text).is_ok_and(|name| name.as_str() == text)
}

fn foreign(name: &Element<'_>) -> Result<OtherName, CsrError> {
    const EMAIL: u8 = tag::context(1);
    const IP: u8 = tag::context(7);
    const REGISTERED_ID: u8 = tag::context(8);
    Ok(match name.tag {
        EMAIL => other("email", ia5(name.value)?),
        IP => other("IP", &address(name.value)?.to_string()),
        REGISTERED_ID => other("registered ID", &oid::dotted(name.value)),
        0xa0 => other("other name", &identity::hex::encode(first(name.value))),
        0xa3 => other("X.400 address", &identity::hex::encode(first(name.value))),
        0xa4 => other("directory name", &identity::hex::encode(first(name.value))),
        0xa5 => other("EDI party name", &identity::hex::encode(first(name.value))),
        _ => return Err(CsrError::malformed("subject alternative name of an unknown form")),
    })
}

fn first(value: &[u8]) -> &[u8] {
    &value[..value.len().min(MAX_SHOWN / 2)]
}

fn other(kind: &'static str, text: &str) -> OtherName {
    let text = text
        .chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_default)
        .collect();
    OtherName { kind, text }
}

fn address(octets: &[u8]) -> Result<IpAddr, CsrError> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|_| CsrError::malformed("IP address is not of 4 or 16 bytes"))
}

fn ia5(value: &[u8]) -> Result<&str, CsrError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.is_ascii())
        .ok_or_else(|| CsrError::malformed("name is not ASCII"))
}

#[cfg(test)]
mod tests {
    use super::is_host_name;

    #[test]
    fn only_the_canonical_form_of_a_dns_name_is_a_host_name() {
        assert!(is_host_name("a.b-c.example"));
        for other in ["A.example", "a.example.", "*.example", "10.0.0.1", "127.1", ""] {
            assert!(!is_host_name(other), "{other}");
        }
    }
}
