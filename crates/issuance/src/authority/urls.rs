//! Where verifiers find CRL and issuer certificate (RFC 5280 sections 4.2.1.13 and 4.2.2.1).

use identity::hex;

use crate::certificate::extension;
use crate::der::{sequence, tag, tlv};
use crate::oid;

/// Longest base URL, so that certificates stay small.
const MAX_BYTES: usize = 256;

/// `http://crl.example.org`: the part before `/crl/<authority key id>.crl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlBaseUrl(String);

/// A text that is no base URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a base URL for CRLs, expected http://HOST[:PORT][/PATH] without query, at most {MAX_BYTES} bytes"
)]
pub struct CrlBaseUrlError {
    found: String,
}

impl CrlBaseUrl {
    /// Checks a base URL; one slash at its end is dropped. `https` is refused: whoever fetches a CRL to judge a certificate would
    /// need one to fetch it (RFC 5280 section 8).
    pub fn new(url: &str) -> Result<Self, CrlBaseUrlError> {
        let base = url.strip_suffix('/').unwrap_or(url);
        let after_scheme = base.strip_prefix("http://").unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]%".contains(&b);
        let fits = base.len() <= MAX_BYTES
            && !after_scheme.is_empty()
            && !after_scheme.starts_with(['/', ':'])
            && after_scheme.bytes().all(plain);
        if fits {
            Ok(Self(base.to_owned()))
        } else {
            Err(CrlBaseUrlError {
                found: url.chars().take(100).collect(),
            })
        }
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// CRL distribution point and caIssuers of the authority with this key id, both not critical.
    pub(super) fn extensions(&self, key_id: &[u8]) -> Vec<u8> {
        let key_id = hex::encode(key_id);
        let crl = tlv(
            tag::context(6),
            &[format!("{}/crl/{key_id}.crl", self.0).as_bytes()],
        );
        let certificate = tlv(
            tag::context(6),
            &[format!("{}/ca/{key_id}.cer", self.0).as_bytes()],
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

#[cfg(test)]
mod tests {
    use super::CrlBaseUrl;

    #[test]
    fn base_urls_are_plain_http() {
        for good in [
            "http://crl.example.org",
            "http://127.0.0.1:8080/",
            "http://[::1]:8080/pki",
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
        ] {
            assert!(CrlBaseUrl::new(bad).is_err(), "{bad:?}");
        }
    }
}
