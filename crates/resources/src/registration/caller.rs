//! The lines of `callers`: which proof admits a program that asks the CA itself.

use std::fmt;

use identity::SpiffeId;

use crate::pattern::Pattern;

/// The provider name of our own JWT-SVIDs.
const SELF: &str = "self";

/// A line of `callers`. Prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// `token`: a join token made for this identity.
    Token,
    /// `jwt:<provider>:<pattern of sub>`; provider `self` takes a SPIFFE ID.
    Jwt {
        /// Name of the issuer in the configuration.
        provider: String,
        /// Pattern of `sub`.
        subject: Pattern,
    },
    /// `certificate:<provider>:<pattern of the id>`.
    Certificate {
        /// Name of the foreign authority in the configuration.
        provider: String,
        /// Pattern of what `idFrom` names.
        id: Pattern,
    },
}

/// What a caller proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// It holds a join token for the identity.
    Token,
    /// It holds a JWT.
    Jwt {
        /// Name of the issuer in the configuration; `self` for our own.
        provider: &'a str,
        /// Its `sub`.
        subject: &'a str,
    },
    /// It holds the key of a foreign certificate.
    Certificate {
        /// Name of the foreign authority in the configuration.
        provider: &'a str,
        /// What `idFrom` names.
        id: &'a str,
    },
}

impl Caller {
    pub(super) const EXPECTED: &str =
        "token, jwt:<name>:<pattern>, jwt:self:<SPIFFE ID> or certificate:<name>:<pattern>";

    pub(super) fn new(line: &str) -> Option<Self> {
        if line == "token" {
            return Some(Caller::Token);
        }
        let (method, rest) = line.split_once(':')?;
        let (provider, pattern) = rest.split_once(':')?;
        if !is_provider(provider) || pattern.is_empty() {
            return None;
        }
        let (provider, compiled) = (provider.to_owned(), Pattern::new(pattern));
        match method {
            // A SPIFFE ID holds no star, so its pattern is exact.
            "jwt" if provider == SELF && SpiffeId::new(pattern).is_err() => None,
            "jwt" => Some(Caller::Jwt {
                provider,
                subject: compiled,
            }),
            "certificate" => Some(Caller::Certificate {
                provider,
                id: compiled,
            }),
            _ => None,
        }
    }

    /// Whether the proof is one that this line admits.
    pub fn admits(&self, proof: &Proof<'_>) -> bool {
        match (self, proof) {
            (Caller::Token, Proof::Token) => true,
            (
                Caller::Jwt { provider, subject },
                Proof::Jwt {
                    provider: name,
                    subject: proved,
                },
            ) => provider == name && subject.matches(proved),
            (
                Caller::Certificate { provider, id },
                Proof::Certificate {
                    provider: name,
                    id: proved,
                },
            ) => provider == name && id.matches(proved),
            _ => false,
        }
    }

    /// Whether some caller may be admitted by both lines. Two patterns with stars are taken to have a text in
    /// common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: &Pattern, b: &Pattern| {
            a.matches(b.as_str()) || b.matches(a.as_str()) || !(a.is_exact() || b.is_exact())
        };
        match (self, other) {
            (Caller::Token, Caller::Token) => true,
            (
                Caller::Jwt { provider, subject },
                Caller::Jwt {
                    provider: name,
                    subject: text,
                },
            ) => provider == name && meet(subject, text),
            (
                Caller::Certificate { provider, id },
                Caller::Certificate {
                    provider: name,
                    id: text,
                },
            ) => provider == name && meet(id, text),
            _ => false,
        }
    }

    /// Whether it is a JWT of an issuer other than ourselves.
    pub(super) fn is_foreign_jwt(&self) -> bool {
        matches!(self, Caller::Jwt { provider, .. } if provider != SELF)
    }
}

/// Names in the configuration: letters, digits, dots, dashes, underscores.
fn is_provider(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(allowed)
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Token => f.write_str("token"),
            Caller::Jwt { provider, subject } => write!(f, "jwt:{provider}:{subject}"),
            Caller::Certificate { provider, id } => write!(f, "certificate:{provider}:{id}"),
        }
    }
}
