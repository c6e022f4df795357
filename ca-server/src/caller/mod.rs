//! Who calls: one [`Attested`] value out of a join token, a JSON Web Token, a client certificate, or the kernel's word on
//! `admin.sock`. It is made at each call; nothing of it outlives the request but what the record says.

pub mod certificate;
pub mod connection;
pub mod gathered;
pub mod jwt;
mod token;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use identity::{JoinToken, Reason};
use proto::Refusal;
use time::OffsetDateTime;

pub use certificate::{
    CertificateJudge, CertificateProvider, ForeignCertificate, OwnCertificate, Purpose, Verified,
};
pub use connection::{Connection, Peer};
pub use jwt::{JwtProvider, VerifiedJwt};
pub use token::TokenProof;

use crate::store::Store;

/// What a caller brought.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The connection that the request came by.
    pub connection: &'a Connection,
    /// Text behind `authorization: Bearer `, if any.
    pub bearer: Option<&'a str>,
    /// Whether a bearer that does not verify is ignored beside a certificate that does: stock proxies send their token file
    /// unseen, expired or not.
    pub lenient_bearer: bool,
}

/// Without the bearer, which is a secret.
impl fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("peer", &self.connection.peer())
            .field("has_bearer", &self.bearer.is_some())
            .field("lenient_bearer", &self.lenient_bearer)
            .finish_non_exhaustive()
    }
}

/// A caller that has proved who it is.
#[derive(Clone, Debug)]
pub enum Attested {
    /// By a bearer.
    Bearer {
        /// What it is.
        bearer: Bearer,
        /// A certificate that verified beside it: both must name one identity.
        beside: Option<Verified>,
    },
    /// By a certificate of ours: a renewal.
    Own(Arc<OwnCertificate>),
    /// By a certificate of a configured foreign authority.
    Foreign(ForeignCertificate),
    /// By opening `admin.sock`.
    Kernel {
        /// User id.
        uid: u32,
        /// Process id.
        pid: i32,
    },
}

/// A bearer that verified.
#[derive(Clone, Debug)]
pub enum Bearer {
    /// A join token.
    Token(TokenProof),
    /// A JSON Web Token.
    Jwt(VerifiedJwt),
}

/// An attested caller, and whether a bearer was passed over.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// Who calls.
    pub attested: Attested,
    /// A bearer did not verify and was ignored beside a certificate that did.
    pub bearer_ignored: bool,
}

/// Attests callers by the configured methods.
pub struct Callers {
    store: Arc<dyn Store>,
    certificates: ArcSwap<CertificateJudge>,
    jwt: ArcSwap<Vec<JwtProvider>>,
}

impl Callers {
    /// Callers who prove themselves by the record, by these foreign authorities, or by these issuers.
    pub fn new(store: Arc<dyn Store>, certificates: CertificateJudge, jwt: Vec<JwtProvider>) -> Self {
        Self {
            store,
            certificates: ArcSwap::from_pointee(certificates),
            jwt: ArcSwap::from_pointee(jwt),
        }
    }

    /// Puts other foreign authorities and issuers in force, for calls made from now on.
    pub fn replace(&self, certificates: CertificateJudge, jwt: Vec<JwtProvider>) {
        self.certificates.store(Arc::new(certificates));
        self.jwt.store(Arc::new(jwt));
    }

    /// Judges what a caller brought. A bearer decides if present, else the certificate. Whether two that verify name one identity is
    /// the registrations' to say: [`Registrations::agree`](crate::registration::Registrations::agree).
    pub fn attest(&self, evidence: Evidence<'_>, now: OffsetDateTime) -> Result<Attestation, Refusal> {
        let plain = |attested| Attestation {
            attested,
            bearer_ignored: false,
        };
        if let (Peer::Kernel { uid, pid }, None) = (evidence.connection.peer(), evidence.bearer) {
            return Ok(plain(Attested::Kernel { uid, pid }));
        }
        let certificate = self
            .certificates
            .load()
            .judge(evidence.connection, Purpose::Issuance, now);
        let Some(bearer) = evidence.bearer else {
            return match certificate? {
                Some(verified) => Ok(plain(Attested::from(verified))),
                None => Err(Refusal::new(
                    Reason::NoProof,
                    "the call carries no proof of identity; send a join token or a JWT as bearer, or present a client certificate",
                )),
            };
        };
        let beside = certificate.ok().flatten();
        let bearer = self.judge_bearer(bearer, now);
        match (bearer, beside) {
            (bearer, Some(verified)) if evidence.lenient_bearer && is_used_up(&bearer, &verified) => {
                Ok(Attestation {
                    attested: Attested::from(verified),
                    bearer_ignored: true,
                })
            }
            (bearer, beside) => bearer.map(|bearer| plain(Attested::Bearer { bearer, beside })),
        }
    }

    /// The verdict on the connection's certificate alone, for administration.
    pub fn certificate(
        &self,
        connection: &Connection,
        now: OffsetDateTime,
    ) -> Result<Option<Verified>, Refusal> {
        self.certificates
            .load()
            .judge(connection, Purpose::Administration, now)
    }

    fn judge_bearer(&self, bearer: &str, now: OffsetDateTime) -> Result<Bearer, Refusal> {
        if bearer.starts_with(JoinToken::PREFIX) {
            token::verify(self.store.as_ref(), bearer, now).map(Bearer::Token)
        } else {
            jwt::verify(&self.jwt.load(), bearer, now).map(Bearer::Jwt)
        }
    }
}

/// Whether a bearer proves nothing beside this certificate: it does not verify, or is the token that the certificate's holder began
/// with and goes on sending.
fn is_used_up(bearer: &Result<Bearer, Refusal>, certificate: &Verified) -> bool {
    match bearer {
        Err(_) => true,
        Ok(Bearer::Token(token)) => token.is_redeemed && matches!(certificate, Verified::Own(_)),
        Ok(Bearer::Jwt(_)) => false,
    }
}

impl Attested {
    /// The join token, if it is one that decides.
    pub fn token(&self) -> Option<&TokenProof> {
        match self {
            Attested::Bearer {
                bearer: Bearer::Token(token),
                ..
            } => Some(token),
            _ => None,
        }
    }

    /// The method as the record has it.
    pub fn method(&self) -> &'static str {
        match self {
            Attested::Bearer { bearer, .. } => match bearer {
                Bearer::Token(_) => "token",
                Bearer::Jwt(_) => "jwt",
            },
            Attested::Own(_) => "renewal",
            Attested::Foreign(_) => "certificate",
            Attested::Kernel { .. } => "admin",
        }
    }
}

impl From<Verified> for Attested {
    fn from(verified: Verified) -> Self {
        match verified {
            Verified::Own(own) => Attested::Own(own),
            Verified::Foreign(foreign) => Attested::Foreign(foreign),
        }
    }
}

/// The caller as the record and audit lines name it; never a secret.
impl fmt::Display for Attested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attested::Bearer { bearer, .. } => match bearer {
                Bearer::Token(token) => write!(f, "token:{}", token.id),
                Bearer::Jwt(jwt) => write!(f, "jwt:{}:{}", jwt.provider, jwt.subject),
            },
            Attested::Own(own) => f.write_str(own.id.as_str()),
            Attested::Foreign(foreign) => write!(f, "certificate:{}:{}", foreign.provider, foreign.id),
            Attested::Kernel { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
        }
    }
}

#[cfg(test)]
mod tests;
