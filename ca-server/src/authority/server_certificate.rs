//! The server's own certificate: signed by its own authority, recorded like any other, in memory only and made anew at each start,
//! at half of its life, and when the authority is replaced.

use std::net::IpAddr;
use std::sync::Arc;

use identity::{Reason, SpiffeId, SpiffeIdError, TrustDomain, Validity};
use issuance::{Draft, LeafKey, Profile};
use proto::Refusal;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::signers::by_kind;
use super::{Authority, answer, wish};
use crate::clock::require_undisputed;
use crate::config::ServerName;
use crate::store::{self, Command, IssueCommand, IssueFacts, Outcome};

/// Under which names clients reach the server, and the identity that goes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNames {
    id: SpiffeId,
    dns_names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl ServerNames {
    /// From at least one name; the first gives the SPIFFE ID `/server/<name>` (an address's colons become dashes).
    pub fn new(trust_domain: &TrustDomain, names: &[ServerName]) -> Result<Self, SpiffeIdError> {
        let first = names.first().map_or("localhost", ServerName::as_str);
        let id = trust_domain.id_with_path(&format!("/server/{}", first.replace(':', "-")))?;
        let (dns_names, addresses) = by_kind(names);
        Ok(Self {
            id,
            dns_names,
            addresses,
        })
    }

    /// `spiffe://<trust domain>/server/<first name>`
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }
}

impl Authority {
    /// Makes a key, and signs and records a certificate for it.
    pub async fn issue_server_certificate(
        &self,
        names: &ServerNames,
        profile: &Profile,
    ) -> Result<(CertifiedKey, Validity), Refusal> {
        let internal = |why: String| Refusal::new(Reason::Internal, why);
        require_undisputed(self.clock.as_ref())?;
        let key = LeafKey::generate().map_err(|e| internal(e.to_string()))?;
        let now = self.clock.now();
        let draft = Draft {
            profile: *profile,
            spiffe_id: names.id.clone(),
            dns_names: names.dns_names.clone(),
            ip_addresses: names.addresses.clone(),
            subject_serial_number: None,
            key: key.public_key().clone(),
            life: profile.default_life(),
            now,
        }
        .check()
        .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        let signers = self.signers.current();
        let signer = signers.active()?;
        let signed = signer
            .sign(draft)
            .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        let facts = IssueFacts {
            spiffe_id: names.id.to_string(),
            key_digest: *signed.key_digest.as_bytes(),
            wish: wish::digest(&names.id, &names.dns_names, None),
            parent: None,
            token: None,
            registration: None,
            refuse_forks: false,
            now: now.unix_timestamp(),
        };
        let issued = store::Issued {
            der: signed.der.to_vec(),
            serial: signed.serial.as_bytes().to_vec(),
            spiffe_id: facts.spiffe_id.clone(),
            key_digest: facts.key_digest.to_vec(),
            not_before: signed.validity.not_before().unix_timestamp(),
            not_after: signed.validity.not_after().unix_timestamp(),
            method: "server".to_owned(),
            caller: names.id.to_string(),
            authority: signer.key_id().to_vec(),
            authority_generation: signer.generation(),
            wish: facts.wish.to_vec(),
            profile: profile.name().word().to_owned(),
            life_clipped: signed.life_clipped,
            ..store::Issued::default()
        };
        let command = Command::Issue(Box::new(IssueCommand { facts, issued }));
        match answer(self.store.submit(command)).await? {
            Outcome::Recorded { .. } => {}
            other => {
                return Err(internal(format!(
                    "the record answered {other:?} to the server's certificate"
                )));
            }
        }
        self.metrics
            .issued(profile.name(), "server", std::time::Duration::ZERO);
        let chain: Vec<CertificateDer<'static>> = std::iter::once(signed.der)
            .chain(signer.chain().iter().cloned())
            .collect();
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec()));
        let signing_key = rustls::crypto::ring::sign::any_supported_type(&pkcs8)
            .map_err(|e| internal(format!("the server's key: {e}")))?;
        Ok((
            CertifiedKey::new(chain, Arc::clone(&signing_key)),
            signed.validity,
        ))
    }
}
