//! A join token: all that a caller without an identity needs to enrol once. Its text is `sgt1.` and the unpadded base64url of
//! JSON `{"id","secret","server","fingerprint","trustDomain"}`. The server keeps only the digest of the text; a caller sends
//! the text after it has verified the server by the fingerprint, never before.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::digest::DigestError;
use crate::{Fingerprint, SpiffeIdError, TrustDomain};

/// Longest text that is decoded, in bytes.
pub const MAX_BYTES: usize = 4 * 1024;
/// Longest host name (RFC 1035 section 2.3.4), in bytes.
const MAX_HOST_BYTES: usize = 253;

/// A join token. The secret stands in no `Debug` and in no error.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: Zeroizing<String>,
    server: String,
    fingerprint: Fingerprint,
    trust_domain: TrustDomain,
}

/// Why a text is no join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// Longer than any token.
    #[error("join token of {found} bytes, expected at most {MAX_BYTES}")]
    TooLong {
        /// How long it is.
        found: usize,
    },
    /// Something else than a token of ours.
    #[error(
        "text is no join token, expected it to begin with {prefix}; print one with `signet token create`",
        prefix = JoinToken::PREFIX
    )]
    Prefix,
    /// The part after the prefix is damaged.
    #[error(
        "join token is damaged: expected unpadded base64url of a JSON object of texts; copy the whole token"
    )]
    Damaged,
    /// A field is absent or empty.
    #[error("join token has no {field}, expected id, secret, server, fingerprint and trustDomain")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// The address is none.
    #[error("server {found:?} of the join token is no address, expected HOST:PORT")]
    Server {
        /// What is there.
        found: String,
    },
    /// The fingerprint is none.
    #[error("fingerprint of the join token: {0}")]
    Fingerprint(#[from] DigestError),
    /// The trust domain is none.
    #[error("trust domain of the join token: {0}")]
    TrustDomain(#[from] SpiffeIdError),
}

/// The JSON. Fields are optional here so that an error names the absent one and quotes none.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: Option<String>,
    secret: Option<Zeroizing<String>>,
    server: Option<String>,
    fingerprint: Option<String>,
    trust_domain: Option<String>,
}

impl JoinToken {
    /// What every token begins with.
    pub const PREFIX: &'static str = "sgt1.";

    /// A token with these fields. `server` is `HOST:PORT`, an IPv6 address in brackets; neither `id` nor `secret` may be empty.
    pub fn new(
        id: impl Into<String>,
        secret: Zeroizing<String>,
        server: impl Into<String>,
        fingerprint: Fingerprint,
        trust_domain: TrustDomain,
    ) -> Result<Self, JoinTokenError> {
        let (id, server) = (id.into(), server.into());
        if id.is_empty() {
            return Err(JoinTokenError::Missing { field: "id" });
        }
        if secret.is_empty() {
            return Err(JoinTokenError::Missing { field: "secret" });
        }
        if split_address(&server).is_none() {
            return Err(JoinTokenError::Server {
                found: server.chars().take(100).collect(),
            });
        }
        let token = Self {
            id,
            secret,
            server,
            fingerprint,
            trust_domain,
        };
        match token.text().len() {
            found if found > MAX_BYTES => Err(JoinTokenError::TooLong { found }),
            _ => Ok(token),
        }
    }

    /// Reads a token. White space around the text is stripped, unknown fields of the JSON are ignored.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return Err(JoinTokenError::TooLong { found: text.len() });
        }
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(JoinTokenError::Prefix)?;
        let json = URL_SAFE_NO_PAD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| JoinTokenError::Damaged)?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| JoinTokenError::Damaged)?;
        let missing = |field| move || JoinTokenError::Missing { field };
        Self::new(
            wire.id.ok_or_else(missing("id"))?,
            wire.secret.ok_or_else(missing("secret"))?,
            wire.server.ok_or_else(missing("server"))?,
            wire.fingerprint.ok_or_else(missing("fingerprint"))?.parse()?,
            TrustDomain::new(&wire.trust_domain.ok_or_else(missing("trustDomain"))?)?,
        )
    }

    /// The whole text, without a newline: what a caller is given, and what it sends as its bearer.
    pub fn text(&self) -> Zeroizing<String> {
        let wire = Wire {
            id: Some(self.id.clone()),
            secret: Some(self.secret.clone()),
            server: Some(self.server.clone()),
            fingerprint: Some(self.fingerprint.to_string()),
            trust_domain: Some(self.trust_domain.as_str().to_owned()),
        };
        let json = Zeroizing::new(serde_json::to_vec(&wire).expect("texts are JSON"));
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*json));
        Zeroizing::new([Self::PREFIX, &encoded].concat())
    }

    /// SHA-256 of the whole text without white space around it: what the server keeps at rest, so that any changed character
    /// is another token.
    pub fn digest_of(text: &str) -> [u8; 32] {
        crate::digest::sha256(text.trim().as_bytes())
    }

    /// The public name of the token, by which it is listed and revoked.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Where the server is, as `HOST:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The one root that the caller trusts.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The trust domain that the server must prove to serve.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

/// Takes `HOST:PORT` apart; the brackets of an IPv6 address are dropped. `None` if it is no address of a server.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| digits && *port != 0)?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let (host, fits) = match bracketed {
        Some(inner) => (inner, inner.parse::<std::net::Ipv6Addr>().is_ok()),
        None => (host, host.bytes().all(named)),
    };
    (fits && !host.is_empty() && host.len() <= MAX_HOST_BYTES).then_some((host, port))
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("server", &self.server)
            .field("fingerprint", &self.fingerprint)
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(server: &str) -> Result<JoinToken, JoinTokenError> {
        let secret = Zeroizing::new("s3cret-\"quoted\"".to_owned());
        let trust_domain = TrustDomain::new("example.org").unwrap();
        JoinToken::new("t1", secret, server, Fingerprint::of(b"root"), trust_domain)
    }

    fn of_json(json: &str) -> Result<JoinToken, JoinTokenError> {
        JoinToken::parse(&format!("sgt1.{}", URL_SAFE_NO_PAD.encode(json)))
    }

    #[test]
    fn a_token_reads_what_it_prints() {
        for server in [
            "ca.example.org:15012",
            "127.0.0.1:1",
            "[::1]:65535",
            "localhost:80",
        ] {
            let token = token(server).unwrap();
            let text = token.text();
            assert!(text.starts_with(JoinToken::PREFIX) && !text.contains('='));
            let read = JoinToken::parse(&format!("\n {} \r\n", *text)).unwrap();
            assert_eq!(read, token);
            assert_eq!(read.secret(), "s3cret-\"quoted\"");
            assert_eq!(read.server(), server);
        }
    }

    #[test]
    fn the_digest_is_of_the_text_without_white_space_around_it() {
        let text = token("a:1").unwrap().text();
        assert_eq!(
            JoinToken::digest_of(&text),
            JoinToken::digest_of(&format!("{}\n", *text))
        );
        let changed = text.replace("sgt1.e", "sgt1.f");
        assert_ne!(JoinToken::digest_of(&text), JoinToken::digest_of(&changed));
    }

    #[test]
    fn unknown_fields_are_ignored_and_absent_ones_named() {
        let print = Fingerprint::of(b"root");
        let all = format!(
            r#"{{"id":"t1","secret":"x","server":"a:1","fingerprint":"{print}","trustDomain":"td","new":[1]}}"#
        );
        assert!(of_json(&all).is_ok());
        for field in ["id", "secret", "server", "fingerprint", "trustDomain"] {
            let without = all.replace(&format!("\"{field}\":"), "\"other\":");
            assert_eq!(of_json(&without), Err(JoinTokenError::Missing { field }));
        }
        let doubled = all.replace("\"new\":[1]", "\"secret\":\"y\"");
        assert_eq!(of_json(&doubled), Err(JoinTokenError::Damaged));
    }

    #[test]
    fn the_secret_stands_in_no_debug_and_no_error() {
        let token = token("a:1").unwrap();
        assert!(!format!("{token:?}").contains("s3cret"));
        let error = of_json(r#"{"id":7,"secret":"s3cret"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_token_is_refused_before_it_is_decoded() {
        assert_eq!(JoinToken::parse(""), Err(JoinTokenError::Prefix));
        assert_eq!(
            JoinToken::parse("eyJhbGciOiJub25lIn0.e30."),
            Err(JoinTokenError::Prefix)
        );
        assert_eq!(JoinToken::parse("sgt1.***"), Err(JoinTokenError::Damaged));
        assert_eq!(JoinToken::parse("sgt1.e30="), Err(JoinTokenError::Damaged));
        let long = format!("sgt1.{}", "A".repeat(MAX_BYTES));
        assert_eq!(
            JoinToken::parse(&long),
            Err(JoinTokenError::TooLong { found: long.len() })
        );
        let deep = "[".repeat(3_000);
        assert_eq!(of_json(&deep), Err(JoinTokenError::Damaged));
    }

    #[test]
    fn a_server_without_host_or_port_is_refused() {
        for bad in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "::1:80",
            "[::1",
            "[a]:1",
            "a b:1",
            "http://a:1",
            "[::1]",
            "a/b:1",
        ] {
            assert!(matches!(token(bad), Err(JoinTokenError::Server { .. })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = JoinToken::parse(&text);
            let _ = of_json(&text);
            let _ = split_address(&text);
        }
    }
}
