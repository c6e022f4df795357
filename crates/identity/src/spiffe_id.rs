//! SPIFFE IDs and trust domains that are valid by construction (SPIFFE-ID standard, sections 2 and 2.3).
//!
//! The grammar is the `spiffe` crate's. What it would normalise (an upper-case scheme or trust domain) is refused here: two
//! spellings of one identity are a door for whoever compares bytes.

use std::fmt;
use std::str::FromStr;

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
pub const MAX_ID_BYTES: usize = 2048;
/// Longest trust domain name, in bytes (SPIFFE-ID section 2.1).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

const PREFIX: &str = "spiffe://";

/// A trust domain name, `example.org`: 1 to 255 bytes of `[a-z0-9.-_]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// A SPIFFE ID, `spiffe://example.org/ns/default/sa/details`; the path may be absent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    uri: String,
    path_at: usize,
}

/// The paths that Signet sets apart (`/agent/`, `/server/`, `/admin/`, `/device/`), and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// No path: a signing authority (X509-SVID section 3.1), never an end entity.
    Authority,
    /// Any path that is not reserved.
    Workload,
    /// `/agent/<node>`
    Agent,
    /// `/server/<name>`
    Server,
    /// `/admin/<name>`
    Admin,
    /// `/device/<id>`
    Device,
}

/// Why a text is no SPIFFE ID or trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Longer than the standard supports.
    #[error("SPIFFE ID of {found} bytes, expected at most {MAX_ID_BYTES}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The grammar of SPIFFE-ID section 2 does not hold.
    #[error("{found:?} is not a SPIFFE ID: {why}; expected spiffe://<trust domain>/<path>")]
    Grammar {
        /// The text, cut to a readable length.
        found: String,
        /// The rule that it breaks.
        why: String,
    },
    /// Valid only after normalisation.
    #[error("{found:?} is not in canonical form, expected {expected:?}")]
    NotCanonical {
        /// The text, cut to a readable length.
        found: String,
        /// Its canonical form.
        expected: String,
    },
    /// Not a trust domain name.
    #[error("{found:?} is not a trust domain: {why}; expected 1 to 255 of a-z, 0-9, '.', '-', '_'")]
    TrustDomain {
        /// The text, cut to a readable length.
        found: String,
        /// The rule that it breaks.
        why: String,
    },
}

impl TrustDomain {
    /// Parses a bare name; a `spiffe://` prefix, a port or upper case is refused.
    pub fn new(name: &str) -> Result<Self, SpiffeIdError> {
        let wrong = |why: String| SpiffeIdError::TrustDomain {
            found: shorten(name),
            why,
        };
        if name.len() > MAX_TRUST_DOMAIN_BYTES {
            return Err(wrong(format!("{} bytes long", name.len())));
        }
        let parsed = spiffe::TrustDomain::new(name).map_err(|e| wrong(e.to_string()))?;
        if parsed.as_str() != name {
            return Err(wrong(format!(
                "not in canonical form, which is {:?}",
                parsed.as_str()
            )));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name, without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SPIFFE ID of the trust domain itself, `spiffe://example.org`: that of its signing authorities.
    pub fn id(&self) -> SpiffeId {
        let uri = format!("{PREFIX}{}", self.0);
        SpiffeId {
            path_at: uri.len(),
            uri,
        }
    }

    /// The SPIFFE ID with this path; `path` begins with `/`.
    pub fn id_with_path(&self, path: &str) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::new(&format!("{PREFIX}{}{path}", self.0))
    }
}

impl SpiffeId {
    /// Parses a SPIFFE ID; input that is not byte-equal to its canonical form is refused.
    pub fn new(uri: &str) -> Result<Self, SpiffeIdError> {
        if uri.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong { found: uri.len() });
        }
        let parsed = spiffe::SpiffeId::new(uri).map_err(|e| SpiffeIdError::Grammar {
            found: shorten(uri),
            why: e.to_string(),
        })?;
        let canonical = parsed.to_string();
        if canonical != uri {
            return Err(SpiffeIdError::NotCanonical {
                found: shorten(uri),
                expected: shorten(&canonical),
            });
        }
        Ok(Self {
            path_at: uri.len() - parsed.path().len(),
            uri: canonical,
        })
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The name of its trust domain.
    pub fn trust_domain_name(&self) -> &str {
        &self.uri[PREFIX.len()..self.path_at]
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_name().to_owned())
    }

    /// The path with its leading `/`, or nothing.
    pub fn path(&self) -> &str {
        &self.uri[self.path_at..]
    }

    /// Whether the ID lies in this trust domain.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_name() == trust_domain.as_str()
    }

    /// What the path says of its holder.
    pub fn role(&self) -> Role {
        match self.path().split('/').nth(1) {
            None => Role::Authority,
            Some("agent") => Role::Agent,
            Some("server") => Role::Server,
            Some("admin") => Role::Admin,
            Some("device") => Role::Device,
            Some(_) => Role::Workload,
        }
    }
}

impl Role {
    /// The word that a registration's `role` has for it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Authority => "authority",
            Role::Workload => "workload",
            Role::Agent => "agent",
            Role::Server => "server",
            Role::Admin => "admin",
            Role::Device => "device",
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;
    fn from_str(s: &str) -> Result<Self, SpiffeIdError> {
        Self::new(s)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;
    fn from_str(s: &str) -> Result<Self, SpiffeIdError> {
        Self::new(s)
    }
}

/// Cuts hostile text to what fits an error message.
fn shorten(text: &str) -> String {
    const READABLE: usize = 120;
    if text.len() <= READABLE {
        return text.to_owned();
    }
    let cut = (0..=READABLE)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}...", &text[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_the_standard_are_accepted_and_taken_apart() {
        let id = SpiffeId::new("spiffe://example.org/ns/default/sa/details").unwrap();
        assert_eq!(id.trust_domain_name(), "example.org");
        assert_eq!(id.path(), "/ns/default/sa/details");
        assert_eq!(id.role(), Role::Workload);
        for ok in [
            "spiffe://10.0.0.1/x",
            "spiffe://td/...",
            "spiffe://td/.a",
            "spiffe://a_b-c.d",
            "spiffe://td/A",
        ] {
            assert_eq!(SpiffeId::new(ok).unwrap().as_str(), ok);
        }
    }

    #[test]
    fn reserved_paths_are_told_by_their_first_segment() {
        let role = |s: &str| SpiffeId::new(s).unwrap().role();
        assert_eq!(role("spiffe://td"), Role::Authority);
        assert_eq!(role("spiffe://td/admin/x"), Role::Admin);
        assert_eq!(role("spiffe://td/administrator"), Role::Workload);
        assert_eq!(role("spiffe://td/device"), Role::Device);
        assert_eq!(role("spiffe://td/ns/admin"), Role::Workload);
    }

    #[test]
    fn hostile_spellings_are_refused_and_never_normalised() {
        for bad in [
            "",
            "spiffe",
            "spiffe:",
            "spiffe://",
            "spiffe:///x",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://td/",
            "spiffe://td//a",
            "spiffe://td/a/",
            "spiffe://td/.",
            "spiffe://td/a/../b",
            "spiffe://td/a%2fb",
            "spiffe://td:80/a",
            "spiffe://u@td/a",
            "spiffe://td/a?q",
            "spiffe://td/a#f",
            "spiffe://td/a\0",
            "spiffe://td/a\n",
            "spiffe://td/ä",
            "https://td/a",
            " spiffe://td/a",
            "spiffe://td /a",
        ] {
            assert!(SpiffeId::new(bad).is_err(), "{bad:?} was accepted");
        }
        let long = format!("spiffe://td/{}", "a".repeat(MAX_ID_BYTES - 12));
        assert_eq!(long.len(), MAX_ID_BYTES);
        assert!(SpiffeId::new(&long).is_ok());
        assert_eq!(
            SpiffeId::new(&(long + "a")),
            Err(SpiffeIdError::TooLong { found: 2049 })
        );
    }

    #[test]
    fn trust_domains_take_names_only() {
        assert!(TrustDomain::new("example.org").is_ok());
        assert!(TrustDomain::new(&"a".repeat(255)).is_ok());
        for bad in [
            "",
            "Example.org",
            "spiffe://td",
            "td/x",
            "td:1",
            "a b",
            &"a".repeat(256),
        ] {
            assert!(TrustDomain::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_again_is_identity(uri in "spiffe://[a-z0-9._-]{1,30}(/[a-zA-Z0-9_-]{1,20}){0,5}") {
            let id = SpiffeId::new(&uri).unwrap();
            prop_assert_eq!(id.to_string(), uri);
            prop_assert_eq!(SpiffeId::new(id.as_str()).unwrap(), id);
        }

        #[test]
        fn whatever_is_accepted_is_canonical(text in "\\PC{0,80}") {
            for candidate in [text.clone(), format!("spiffe://td/{text}")] {
                if let Ok(id) = SpiffeId::new(&candidate) {
                    prop_assert_eq!(id.as_str(), candidate);
                    prop_assert!(id.path().split('/').skip(1).all(|s| !s.is_empty() && s != "." && s != ".."));
                }
            }
        }
    }
}
