//! Where verifiers find CRL and issuer certificate (RFC 5280 sections 4.2.1.13 and 4.2.2.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use identity::dns_name::DnsName;

use super::AuthorityLocation;
use crate::certificate::extension;
use crate::der::{sequence, tag, tlv};
use crate::oid;

/// Longest base URL, so that certificates stay small.
const MAX_BYTES: usize = 256;

/// `http://crl.example.org`: the part before `/crl/<location>.crl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlBaseUrl(String);

/// A text that is not a base URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a base URL for CRLs: {why}; expected http://HOST[:PORT][/PATH] without query, at most {MAX_BYTES} bytes"
)]
pub struct CrlBaseUrlError {
    found: String,
    why: &'static str,
}

impl CrlBaseUrl {
    /// Checks a base URL (RFC 3986); one slash at its end is dropped. `https` is refused: a verifier that
    /// fetches a CRL would need another CRL to verify the certificate it is fetched under (RFC 5280 section
    /// 8).
    pub fn new(url: &str) -> Result<Self, CrlBaseUrlError> {
        let base = url.strip_suffix('/').unwrap_or(url);
        match problem(base) {
            None => Ok(Self(base.to_owned())),
            Some(why) => Err(CrlBaseUrlError {
                found: url.chars().take(100).collect(),
                why,
            }),
        }
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// CRL distribution point and caIssuers of the authority that publishes there, both not critical.
    pub(super) fn extensions(&self, location: &AuthorityLocation) -> Vec<u8> {
        let crl = tlv(
            tag::context(6),
            &[format!("{}/crl/{location}.crl", self.0).as_bytes()],
        );
        let certificate = tlv(
            tag::context(6),
            &[format!("{}/ca/{location}.cer", self.0).as_bytes()],
        );
        let full_name = tlv(tag::context_constructed(0), &[&crl]);
        let point = tlv(tag::context_constructed(0), &[&full_name]);
        let access = sequence(&[&oid::element(oid::CA_ISSUERS), &certificate]);
        [
            extension(
                oid::CRL_DISTRIBUTION_POINTS,
                false,
                &sequence(&[&sequence(&[&point])]),
            ),
            extension(oid::AUTHORITY_INFO_ACCESS, false, &sequence(&[&access])),
        ]
        .concat()
    }
}

/// Why verifiers could not fetch from it. Every certificate carries the URL, so a mistake in it is expensive.
fn problem(base: &str) -> Option<&'static str> {
    if base.len() > MAX_BYTES {
        return Some("it is too long");
    }
    let Some(rest) = base.strip_prefix("http://") else {
        return Some("its scheme is not http");
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host_fits, port) = match authority.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, port)) => (host.parse::<Ipv6Addr>().is_ok(), port),
            None => (false, ""),
        },
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (
                host.parse::<Ipv4Addr>().is_ok() || DnsName::new(host).is_ok(),
                port,
            )
        }
    };
    if !host_fits {
        return Some("its host is not a DNS name, an IPv4 address, or an IPv6 address in brackets");
    }
    if !is_port(port) {
        return Some("its port is not a number from 1 to 65535");
    }
    (!is_path(path)).then_some("its path has an empty or relative segment, or a character that is neither unreserved nor percent-encoded")
}

/// Nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Nothing, or segments of unreserved characters and percent-encoded octets, each after a slash, none of them
/// relative.
fn is_path(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return path.is_empty();
    };
    segments.split('/').all(|segment| {
        let mut bytes = segment.bytes();
        let mut fits = !matches!(segment, "" | "." | "..");
        while let Some(b) = bytes.next() {
            fits &= match b {
                b'%' => [bytes.next(), bytes.next()]
                    .iter()
                    .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
                b => b.is_ascii_alphanumeric() || b"-._~".contains(&b),
            };
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::CrlBaseUrl;

    #[test]
    fn base_urls_are_plain_http() {
        for good in [
            "http://crl.example.org",
            "http://127.0.0.1:8080/",
            "http://[::1]:8080/pki",
            "http://crl/a/b%20c/~d",
        ] {
            assert!(CrlBaseUrl::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://",
            "http:///x",
            "https://a",
            "ftp://a",
            "http://a?b",
            "http://a b",
            "http://a\n",
            "http://[[",
            "http://[::1",
            "http://[::1]x",
            "http://[fe80::1%25eth0]",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a:80:80",
            "http://user@a",
            "http://a_b",
            "http://127.1",
            "http://a..b",
            "http://a//b",
            "http://a/../b",
            "http://a/%2",
            "http://a/%zz",
            "http://a#b",
        ] {
            assert!(CrlBaseUrl::new(bad).is_err(), "{bad:?}");
        }
        let error = CrlBaseUrl::new("http://[[").unwrap_err().to_string();
        assert!(error.contains("its host is not a DNS name"), "{error}");
    }
}
