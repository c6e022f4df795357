//! The authority that signs: first a key and a CSR, then, with the chain that somebody signed for it, the uses that the key has:
//! end-entity certificates and CRLs, nothing else. The states are types: only an activated authority signs.

mod constraints;
mod error;
mod facts;
mod location;
mod path;
mod path_certificate;
mod urls;

use std::fmt;
use std::net::IpAddr;

use identity::{PeerVerifier, SpiffeId, TrustBundle, TrustDomain, Usage, Validity};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::authority_key::{AuthorityKey, AuthorityKeyType};
use crate::certificate::{self, Issued, Issuer, SignError, Template, extension, key_id, name_of};
use crate::crl::{self, Revoked};
use crate::csr::PublicKey;
use crate::der::{self, octet_string, sequence, tag, tlv};
use crate::draft::CheckedDraft;
use crate::{KeyError, MIN_LIFE, oid};
use constraints::Constraints;

pub use error::AuthorityError;
pub(crate) use facts::AuthorityFacts;
pub use location::{AuthorityLocation, AuthorityLocationError};
pub use path::{AuthorityPath, CertificatePlace};
pub use urls::{CrlBaseUrl, CrlBaseUrlError};

/// An authority's key that waits for its certificate.
#[derive(Debug)]
pub struct PreparedAuthority {
    trust_domain: TrustDomain,
    key: AuthorityKey,
}

/// An authority whose key, chain, profile and trust domain fit together.
pub struct SigningAuthority {
    trust_domain: TrustDomain,
    issuer: Issuer,
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
    /// The time in which every certificate of the path is valid.
    validity: Validity,
    /// What the certificates of the path permit; mostly empty.
    constraints: Vec<Constraints>,
    /// The extensions that are the same in every leaf.
    leaf_extensions: Vec<u8>,
    /// Where its CRL and certificate are, if anywhere.
    location_extensions: Vec<u8>,
}

impl PreparedAuthority {
    /// Makes a key for an authority of this trust domain.
    pub fn generate(trust_domain: TrustDomain, key_type: AuthorityKeyType) -> Result<Self, KeyError> {
        Ok(Self {
            trust_domain,
            key: AuthorityKey::generate(key_type)?,
        })
    }

    /// Reads the key that [`PreparedAuthority::to_pkcs8_pem`] wrote, or a P-256 or P-384 key of openssl's.
    pub fn from_pkcs8_pem(
        trust_domain: TrustDomain,
        pem: &str,
        passphrase: Option<&str>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            trust_domain,
            key: AuthorityKey::from_pem(pem, passphrase)?,
        })
    }

    /// The private key as PKCS#8 in PEM, encrypted under a passphrase if one is given.
    pub fn to_pkcs8_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        self.key.to_pem(passphrase)
    }

    /// The authority's public key.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public()
    }

    /// Whose members it will sign for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A CSR in DER that asks for the intermediate profile, key id included, so that a signer who copies what is asked for (as
    /// `openssl x509 -req -copy_extensions copy` does) makes an authority that works.
    pub fn csr(&self) -> Result<Vec<u8>, SignError> {
        let key_id = octet_string(&key_id(self.key.public().digest()));
        let extensions = [
            certificate::authority_extensions(&self.trust_domain, Some(0)),
            extension(oid::SUBJECT_KEY_ID, false, &key_id),
        ]
        .concat();
        let request = sequence(&[
            &oid::element(oid::EXTENSION_REQUEST),
            &tlv(tag::SET, &[&sequence(&[&extensions])]),
        ]);
        // `ub-common-name` is 64 (RFC 5280 appendix A.1); the subject is for people, signers choose their own.
        let common_name: String = self.trust_domain.as_str().chars().take(64).collect();
        self.key.sign_structure(&sequence(&[
            &der::integer(&[0]),
            &name_of(oid::COMMON_NAME, &der::utf8_string(&common_name)),
            self.key.public().spki_der(),
            &tlv(tag::context_constructed(0), &[&request]),
        ]))
    }

    /// Activates the authority, if its certificate (the first of `chain`) is for this key, has the
    /// intermediate profile and the trust domain, and clients and servers that trust `root` accept now what
    /// it signs. A root among `chain` is left out. The error names the certificate and the field that are
    /// wrong.
    pub fn activate(
        self,
        chain: &[CertificateDer<'_>],
        root: &CertificateDer<'_>,
        now: OffsetDateTime,
    ) -> Result<SigningAuthority, AuthorityError> {
        let authority = self.resume(chain, root)?;
        AuthorityPath::read(chain, root)?.has_no_others()?;
        authority.prove(&[], &[], now)?;
        Ok(authority)
    }

    /// An authority that was activated before, whatever time it is now: outside of its validity it signs
    /// nothing.
    pub fn resume(
        self,
        chain: &[CertificateDer<'_>],
        root: &CertificateDer<'_>,
    ) -> Result<SigningAuthority, AuthorityError> {
        let own = chain
            .iter()
            .find(|certificate| *certificate != root)
            .ok_or_else(|| AuthorityError::Chain {
                why: "it holds no certificate apart from the root".to_owned(),
            })?;
        let own = AuthorityFacts::read(own)?;
        own.fits(&self.key, &self.trust_domain)?;
        let path = AuthorityPath::read(chain, root)?;
        Ok(SigningAuthority {
            trust_domain: self.trust_domain,
            issuer: Issuer::new(self.key, own.subject, own.key_id),
            root: root.clone().into_owned(),
            validity: path.validity(),
            constraints: path.constraints(),
            chain: path.into_chain(),
            leaf_extensions: leaf_extensions(),
            location_extensions: Vec::new(),
        })
    }
}

impl SigningAuthority {
    /// The same authority, whose certificates say where its CRL and its own certificate are:
    /// `<base>/crl/<location>.crl` and `<base>/ca/<location>.cer`. Generation 0 is the first location of the
    /// key.
    pub fn with_crl_base_url(self, base: Option<&CrlBaseUrl>, generation: u32) -> Self {
        let location = AuthorityLocation::new(&self.issuer.key_id, generation);
        Self {
            location_extensions: base.map(|base| base.extensions(&location)).unwrap_or_default(),
            ..self
        }
    }

    /// Signs an end-entity certificate. It is valid only while every certificate above it is: where it would
    /// end later it is clipped and says so. A name that the path's name constraints exclude is refused.
    pub fn sign(&self, draft: CheckedDraft) -> Result<Issued, SignError> {
        if !draft.spiffe_id.is_member_of(&self.trust_domain) {
            return Err(SignError::TrustDomain {
                found: draft.spiffe_id,
                expected: self.trust_domain.clone(),
            });
        }
        if draft.key.digest() == self.issuer.key.public().digest() {
            return Err(SignError::KeyIsAuthority {
                digest: draft.key.digest(),
            });
        }
        let (validity, life_clipped) = within(self.validity, draft.validity, draft.now)?;
        self.permits(&draft.dns_names, &draft.ip_addresses)?;
        let subject = draft.subject_serial_number.as_deref().map_or_else(
            || sequence(&[]),
            |number| name_of(oid::SERIAL_NUMBER, &der::printable_string(number)),
        );
        let names = certificate::subject_alt_name(
            draft.spiffe_id.as_str(),
            &draft.dns_names,
            &draft.ip_addresses,
            draft.subject_serial_number.is_none(),
        );
        let issued = self.issuer.certificate(&Template {
            subject: &subject,
            key: &draft.key,
            validity,
            now: draft.now,
            extensions: &[&names, &self.leaf_extensions, &self.location_extensions],
        })?;
        Ok(Issued {
            life_clipped,
            ..issued
        })
    }

    /// A full CRL of its leaves, in DER. `number` never falls from one to the next; the caller keeps it.
    pub fn crl(
        &self,
        number: u64,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
        revoked: &[Revoked],
    ) -> Result<Vec<u8>, SignError> {
        crl::sign(&self.issuer, number, this_update, next_update, revoked)
    }

    /// Its key id, the SKI of its certificate.
    pub fn key_id(&self) -> &[u8] {
        &self.issuer.key_id
    }

    /// Its public key, which no leaf may have.
    pub fn public_key(&self) -> &PublicKey {
        self.issuer.key.public()
    }

    /// Whose members it signs for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// From when until when it may sign: while every certificate of its path is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// When it, or the first certificate above it, expires.
    pub fn not_after(&self) -> OffsetDateTime {
        self.validity.not_after()
    }

    /// Its certificate and those between it and the root, which is not among them.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The trust anchor that it was activated with.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Refuses names that certificates above the leaf exclude.
    fn permits(&self, dns_names: &[String], ip_addresses: &[IpAddr]) -> Result<(), SignError> {
        for constraints in &self.constraints {
            if let Some(name) = constraints.forbids(dns_names, ip_addresses) {
                return Err(SignError::NameConstraints {
                    name,
                    certificate: constraints.place().to_string(),
                });
            }
        }
        Ok(())
    }

    /// Checks that clients and servers accept at `now` a certificate with these names, by the rules for each
    /// certificate of the path and by verifying a probe that does not leave this function.
    pub fn prove(
        &self,
        dns_names: &[String],
        ip_addresses: &[IpAddr],
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        AuthorityPath::read(&self.chain, &self.root)?.check(&self.trust_domain, now)?;
        for constraints in &self.constraints {
            if let Some(name) = constraints.forbids(dns_names, ip_addresses) {
                return Err(AuthorityError::Path {
                    place: Box::new(constraints.place().clone()),
                    field: "nameConstraints",
                    why: format!("exclude {name}, a name of the server"),
                });
            }
        }
        let wrong = |why: String| AuthorityError::Chain { why };
        let id: SpiffeId = self
            .trust_domain
            .id_with_path("/probe")
            .map_err(|e| wrong(e.to_string()))?;
        let names = certificate::subject_alt_name(id.as_str(), dns_names, ip_addresses, true);
        let lifetime = Validity::starting(now, MIN_LIFE).expect("ten seconds end after they begin");
        let probe = self.issuer.certificate(&Template {
            subject: &sequence(&[]),
            key: self.issuer.key.public(),
            validity: self.validity.intersection(lifetime).unwrap_or(lifetime),
            now,
            extensions: &[&names, &self.leaf_extensions],
        })?;
        let mut chain = vec![probe.der];
        chain.extend(self.chain.iter().cloned());
        let bundle = TrustBundle::new(self.trust_domain.clone(), vec![self.root.clone()])
            .map_err(|e| wrong(e.to_string()))?;
        let verifier = PeerVerifier::new(&bundle);
        for usage in [Usage::Server, Usage::Client] {
            verifier
                .verify(&chain, usage, now)
                .map_err(|e| wrong(e.to_string()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SigningAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_id = identity::hex::encode(&self.issuer.key_id);
        write!(
            f,
            "SigningAuthority({}, key id {key_id}, until {})",
            self.trust_domain,
            self.not_after()
        )
    }
}

/// The part of `wanted` in which the issuer is valid, and whether it ends earlier.
pub(crate) fn within(
    issuer: Validity,
    wanted: Validity,
    now: OffsetDateTime,
) -> Result<(Validity, bool), SignError> {
    if now < issuer.not_before() {
        return Err(SignError::NotBegun {
            not_before: issuer.not_before(),
            now,
        });
    }
    let ends_as_wanted = |part: &Validity| part.not_after() == wanted.not_after();
    let clipped = issuer
        .intersection(wanted)
        .filter(|part| ends_as_wanted(part) || part.not_after() - now >= MIN_LIFE);
    match clipped {
        Some(validity) => Ok((validity, !ends_as_wanted(&validity))),
        None => Err(SignError::Ended {
            not_after: issuer.not_after(),
            now,
        }),
    }
}

/// X509-SVID section 4: critical digitalSignature, serverAuth and clientAuth, and an explicit CA:FALSE, which is an empty sequence.
fn leaf_extensions() -> Vec<u8> {
    const DIGITAL_SIGNATURE: u8 = 0x80;
    let uses = sequence(&[&oid::element(oid::SERVER_AUTH), &oid::element(oid::CLIENT_AUTH)]);
    [
        extension(oid::KEY_USAGE, true, &der::named_bits(DIGITAL_SIGNATURE)),
        extension(oid::EXTENDED_KEY_USAGE, false, &uses),
        extension(oid::BASIC_CONSTRAINTS, true, &sequence(&[])),
    ]
    .concat()
}

/// The key id that a certificate made here gets.
pub(crate) fn key_id_of(key: &AuthorityKey) -> Vec<u8> {
    key_id(key.public().digest()).to_vec()
}

#[cfg(test)]
mod tests;
