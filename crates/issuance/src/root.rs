//! The root of a trust domain: it signs authorities and nothing else.

use std::fmt;
use std::time::Duration;

use identity::{TrustDomain, Validity};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::authority::{AuthorityError, AuthorityFacts, key_id_of, within};
use crate::authority_key::{AuthorityKey, AuthorityKeyType};
use crate::certificate::{
    Issued, Issuer, SignError, Template, authority_extensions, authority_name, name_of,
};
use crate::csr::{AuthorityCsr, PublicKey};
use crate::profile::{Profile, ProfileName};
use crate::{KeyError, der, oid};

/// A root with its private key.
pub struct RootAuthority {
    trust_domain: TrustDomain,
    issuer: Issuer,
    certificate: CertificateDer<'static>,
    validity: Validity,
}

/// Why there is no root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Certificate and key do not make a root.
    #[error("root: {0}")]
    Certificate(#[from] AuthorityError),
    /// The life is out of range, or nothing could be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl RootError {
    /// The stable word for it.
    pub fn reason(&self) -> identity::Reason {
        match self {
            RootError::Key(error) => error.reason(),
            RootError::Certificate(error) => error.reason(),
            RootError::Sign(error) => error.reason(),
        }
    }
}

impl RootAuthority {
    /// Makes a key and signs its own certificate, `CN=<trust domain> root <year>-<4 hex>`, without path length, so that it can be
    /// cross-signed. The life is within the root profile.
    pub fn create(
        trust_domain: TrustDomain,
        life: Duration,
        key_type: AuthorityKeyType,
        now: OffsetDateTime,
    ) -> Result<Self, RootError> {
        let validity = validity(&Profile::default_of(ProfileName::Root), life, now)?;
        let key = AuthorityKey::generate(key_type)?;
        let name = subject(&trust_domain, "root", now, key.public());
        let key_id = key_id_of(&key);
        let issuer = Issuer::new(key, name, key_id);
        let issued = issuer.certificate(&Template {
            subject: &issuer.name,
            key: issuer.key.public(),
            validity,
            now,
            extensions: &[&authority_extensions(&trust_domain, None)],
        })?;
        Ok(Self {
            trust_domain,
            certificate: issued.der,
            validity,
            issuer,
        })
    }

    /// Reads a root that was made before: its key as PKCS#8 in PEM, and its certificate.
    pub fn from_parts(
        key_pem: &str,
        passphrase: Option<&str>,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, RootError> {
        let facts = AuthorityFacts::read(&certificate)?;
        let key = AuthorityKey::from_pem(key_pem, passphrase)?;
        facts.fits(&key, &facts.trust_domain)?;
        Ok(Self {
            trust_domain: facts.trust_domain,
            issuer: Issuer::new(key, facts.subject, facts.key_id),
            certificate,
            validity: facts.validity,
        })
    }

    /// The private key as PKCS#8 in PEM, encrypted under a passphrase if one is given.
    pub fn to_pkcs8_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        self.issuer.key.to_pem(passphrase)
    }

    /// Signs an authority of this trust domain: CA:TRUE, path length 0, `CN=<trust domain> authority
    /// <year>-<4 hex>`. Only the key comes from the CSR. The lifetime is `life`, at most the profile's limit.
    /// It never outlives the root; where it would, it is clipped and says so.
    pub fn sign_intermediate(
        &self,
        csr: &AuthorityCsr,
        profile: &Profile,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Issued, SignError> {
        let (validity, life_clipped) = self.intermediate_validity(csr, profile, life, now)?;
        let key = csr.public_key();
        let issued = self.issuer.certificate(&Template {
            subject: &subject(&self.trust_domain, "authority", now, key),
            key,
            validity,
            now,
            extensions: &[&authority_extensions(&self.trust_domain, Some(0))],
        })?;
        Ok(Issued {
            life_clipped,
            ..issued
        })
    }

    /// What [`RootAuthority::sign_intermediate`] would give, or why it would not, and whether the root's end clips it.
    pub fn intermediate_validity(
        &self,
        csr: &AuthorityCsr,
        profile: &Profile,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<(Validity, bool), SignError> {
        if *csr.trust_domain() != self.trust_domain {
            return Err(SignError::TrustDomain {
                found: csr.trust_domain().id(),
                expected: self.trust_domain.clone(),
            });
        }
        let digest = csr.public_key().digest();
        if digest == self.issuer.key.public().digest() {
            return Err(SignError::KeyIsAuthority { digest });
        }
        within(self.validity, validity(profile, life, now)?, now)
    }

    /// Whose root it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// From when until when it counts.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Its public key.
    pub fn public_key(&self) -> &PublicKey {
        self.issuer.key.public()
    }
}

impl fmt::Debug for RootAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RootAuthority({}, until {})",
            self.trust_domain,
            self.validity.not_after()
        )
    }
}

fn validity(profile: &Profile, life: Duration, now: OffsetDateTime) -> Result<Validity, SignError> {
    let life = profile.life(Some(life), None, None)?;
    Ok(Validity::starting(now, life).expect("a life of 10 s or more ends after it begins"))
}

fn subject(trust_domain: &TrustDomain, what: &str, now: OffsetDateTime, key: &PublicKey) -> Vec<u8> {
    let name = authority_name(trust_domain, what, now.year(), key);
    name_of(oid::COMMON_NAME, &der::utf8_string(&name))
}
