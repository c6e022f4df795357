//! Client certificates, judged at each call. *Own* means: byte for byte the certificate that the record holds under its serial.
//! Whatever else chains to our root is a stranger's, whatever it says: a sibling authority under a company's root must not mint
//! administrators. A foreign authority's certificate counts only through a provider that the configuration names.

use std::sync::Arc;

use identity::leaf::Leaf;
use identity::verify::{ChainVerifier, Usage, VerifyError};
use identity::{Reason, Serial, SpiffeId};
use proto::Refusal;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::connection::Connection;
use crate::store::entry::{Issued, field, fingerprint};
use crate::store::{Place, Store};

/// Why a certificate is revoked of which only the key was.
const KEY_COMPROMISED: &str = "its key was revoked for compromise";

/// A certificate that this authority issued, with what the record says of it.
#[derive(Debug)]
pub struct OwnCertificate {
    /// The identity that it certifies.
    pub id: SpiffeId,
    /// The facts of the certificate.
    pub leaf: Leaf,
    /// Its entry in the record.
    pub issued: Issued,
    /// The position of that entry.
    pub position: u64,
}

/// The purpose for which a certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To get a certificate.
    Issuance,
    /// To administer.
    Administration,
}

/// A certificate of a configured foreign authority.
#[derive(Clone, Debug)]
pub struct ForeignCertificate {
    /// The provider's name in the configuration.
    pub provider: String,
    /// What the provider's `idFrom` names.
    pub id: String,
}

/// Where a foreign certificate says who its holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFrom {
    /// Subject attribute serialNumber (2.5.4.5).
    SerialNumber,
    /// Subject attribute commonName.
    CommonName,
    /// The one URI SAN.
    Uri,
    /// Other name hardwareModuleName (RFC 4108 section 5), its serial number in hex.
    HardwareModuleName,
}

/// A foreign authority whose certificates are proof of an identity.
#[derive(Clone, Debug)]
pub struct CertificateProvider {
    /// Its name in registrations.
    pub name: String,
    /// Its roots.
    pub roots: ChainVerifier,
    /// Where its certificates name their holder.
    pub id_from: IdFrom,
}

/// A client certificate that counts.
#[derive(Clone, Debug)]
pub enum Verified {
    /// One of ours.
    Own(Arc<OwnCertificate>),
    /// A configured foreign authority's.
    Foreign(ForeignCertificate),
}

/// Judges client certificates against the record and the configured foreign authorities.
pub struct CertificateJudge {
    store: Arc<dyn Store>,
    providers: Vec<CertificateProvider>,
}

impl CertificateJudge {
    /// A judge for holders of the certificates in the record and of the providers' certificates.
    pub fn new(store: Arc<dyn Store>, providers: Vec<CertificateProvider>) -> Self {
        Self { store, providers }
    }

    /// The verdict on the connection's certificate at this moment; `None` if it presented none.
    pub fn judge(
        &self,
        connection: &Connection,
        purpose: Purpose,
        now: OffsetDateTime,
    ) -> Result<Option<Verified>, Refusal> {
        let Some(presented) = connection.chain().first() else {
            return Ok(None);
        };
        let own = match connection.recognised() {
            Some(known) => known,
            None => connection.remember(self.recognise(presented, now)?.map(Arc::new)),
        };
        match own {
            Some(own) => {
                self.is_valid(own, purpose, now)?;
                Ok(Some(Verified::Own(Arc::clone(own))))
            }
            None => self.foreign(connection.chain(), now).map(Some),
        }
    }

    /// Finds the presented certificate in the journal. Read once for each connection. A certificate that is
    /// not in memory is not ours or has expired, and a look into the journal's indexes would cost more than
    /// its holder may ask for.
    fn recognise(
        &self,
        presented: &CertificateDer<'_>,
        now: OffsetDateTime,
    ) -> Result<Option<OwnCertificate>, Refusal> {
        let leaf = Leaf::parse(presented)
            .map_err(|e| Refusal::new(Reason::CertificateNotSvid, format!("client certificate: {e}")))?;
        let serial = leaf.serial();
        let place = self.store.read().position_of(serial, now.unix_timestamp());
        let positions = match place {
            Place::At(position) => vec![position],
            Place::Unknown => self
                .store
                .find(field::SERIAL, fingerprint(&[serial.as_bytes()]))?,
            Place::None => Vec::new(),
        };
        for position in positions {
            let issued = self.store.entry(position)?.and_then(|entry| entry.issued);
            if let Some(issued) = issued.filter(|issued| issued.der == **presented) {
                let id = leaf.svid_id().map_err(|e| {
                    Refusal::new(Reason::CertificateNotSvid, format!("client certificate: {e}"))
                })?;
                return Ok(Some(OwnCertificate {
                    id,
                    leaf,
                    issued,
                    position,
                }));
            }
        }
        let not_after = leaf.validity().not_after();
        if now > not_after && self.is_named_by(&leaf) {
            return Err(refuse(&VerifyError::Expired { not_after, now }));
        }
        Ok(None)
    }

    /// Whether the certificate says that one of our authorities signed it. Nothing is granted for that.
    fn is_named_by(&self, leaf: &Leaf) -> bool {
        let state = self.store.read();
        leaf.authority_key_id()
            .is_some_and(|key_id| state.authorities().any(|authority| authority.key_id == key_id))
    }

    /// Revocation, time, and the authority that signed it: each may have changed since the last call. A leaf
    /// never outlives what is above it, so that its own validity is that of the whole path.
    ///
    /// One that begins later than now is still renewed if it was recorded before the last accepted correction
    /// of the clock: it was issued while the clock was ahead, to a holder that may have no other proof.
    fn is_valid(&self, own: &OwnCertificate, purpose: Purpose, now: OffsetDateTime) -> Result<(), Refusal> {
        let serial = own.leaf.serial();
        let validity = own.leaf.validity();
        if now > validity.not_after() {
            let not_after = validity.not_after();
            return Err(refuse(&VerifyError::Expired { not_after, now }));
        }
        let state = self.store.read();
        let was_corrected = purpose == Purpose::Issuance && own.position < state.last_correction();
        if now < validity.not_before() && !was_corrected {
            let not_before = validity.not_before();
            return Err(refuse(&VerifyError::NotYetValid { not_before, now }));
        }
        if let Some(revocation) = state.revocation(serial) {
            return Err(revoked(serial, &revocation.reason));
        }
        if state.is_compromised(&own.issued.key_digest) {
            return Err(revoked(serial, KEY_COMPROMISED));
        }
        if state.authority(&own.issued.authority).is_none() {
            return Err(Refusal::new(
                Reason::CertificateUntrusted,
                format!(
                    "the authority that signed client certificate {serial} is no longer trusted; enrol again"
                ),
            ));
        }
        Ok(())
    }

    fn foreign(&self, chain: &[CertificateDer<'_>], now: OffsetDateTime) -> Result<Verified, Refusal> {
        let mut nearest: Option<VerifyError> = None;
        for provider in &self.providers {
            match provider.roots.verify(chain, Usage::Client, now) {
                Ok(leaf) => {
                    if self.store.read().is_compromised(leaf.key_digest().as_bytes()) {
                        return Err(revoked(leaf.serial(), KEY_COMPROMISED));
                    }
                    return provider.identify(&leaf).map(|id| {
                        Verified::Foreign(ForeignCertificate {
                            provider: provider.name.clone(),
                            id,
                        })
                    });
                }
                // To object to its hour or use says more than not to know its issuer.
                Err(e) if !matches!(e, VerifyError::Untrusted { .. }) || nearest.is_none() => {
                    nearest = Some(e)
                }
                Err(_) => {}
            }
        }
        match nearest {
            Some(e) if !matches!(e, VerifyError::Untrusted { .. }) => Err(refuse(&e)),
            _ => Err(Refusal::new(
                Reason::CertificateUntrusted,
                "client certificate is neither in this authority's record nor of a configured provider; \
                 expected one that was issued here, or a provider under authentication.certificate",
            )),
        }
    }
}

impl CertificateProvider {
    fn identify(&self, leaf: &Leaf) -> Result<String, Refusal> {
        let (what, found) = match self.id_from {
            IdFrom::SerialNumber => ("subject serialNumber (2.5.4.5)", leaf.subject_serial_number()),
            IdFrom::CommonName => ("subject commonName", leaf.common_name()),
            IdFrom::Uri => (
                "one URI SAN",
                leaf.uris()
                    .first()
                    .map(String::as_str)
                    .filter(|_| leaf.uris().len() == 1),
            ),
            IdFrom::HardwareModuleName => ("hardwareModuleName (RFC 4108)", leaf.hardware_serial()),
        };
        found.map(str::to_owned).ok_or_else(|| {
            Refusal::new(
                Reason::CertificateUntrusted,
                format!(
                    "client certificate of provider {:?} has no {what}, expected it to name its holder",
                    self.name
                ),
            )
        })
    }
}

impl OwnCertificate {
    /// Its serial number.
    pub fn serial(&self) -> Serial {
        self.leaf.serial()
    }
}

fn revoked(serial: Serial, why: &str) -> Refusal {
    let message = format!("client certificate {serial} was revoked ({why}); enrol again");
    Refusal::new(Reason::CertificateRevoked, message).with("name", serial)
}

fn refuse(error: &VerifyError) -> Refusal {
    Refusal::new(error.reason(), format!("client certificate: {error}"))
}
