//! The signing authorities of one revision, and where each publishes its CRL and its certificate.

use std::sync::Arc;

use identity::Reason;
use issuance::AuthorityLocation;
use proto::Refusal;
use rustls_pki_types::CertificateDer;

use super::{Recorded, Signer};

/// The authorities of one revision.
#[derive(Default)]
pub struct SignerSet {
    pub(super) active: Option<Arc<Signer>>,
    pub(super) replaced: Vec<Arc<Signer>>,
    /// Earlier certificates of the keys of these with another subject: they sign CRLs for the leaves under
    /// them.
    pub(super) earlier: Vec<Arc<Signer>>,
    /// Of every recorded authority, whether or not it can sign; those of one key newest first.
    chains: Vec<Chain>,
}

/// The certificates above the leaves that were signed under one certificate of an authority.
struct Chain {
    location: AuthorityLocation,
    generation: u32,
    certificates: Vec<CertificateDer<'static>>,
}

impl SignerSet {
    /// The authority that signs now.
    pub fn active(&self) -> Result<&Arc<Signer>, Refusal> {
        self.active.as_ref().ok_or_else(|| {
            Refusal::new(
                Reason::NotReady,
                "the server has no signing authority yet; run `signet authority prepare` and `activate`",
            )
        })
    }

    /// The authority with this subject key id.
    pub fn by_key_id(&self, key_id: &[u8]) -> Option<&Arc<Signer>> {
        self.all().find(|signer| signer.key_id() == key_id)
    }

    /// Whether an authority with this subject key id is recorded.
    pub fn has(&self, key_id: &[u8]) -> bool {
        self.chains.iter().any(|chain| chain.location.key_id() == key_id)
    }

    /// The certificates above the leaves that this authority signed under the certificate of this generation,
    /// without the root.
    pub fn chain_of(&self, key_id: &[u8], generation: u32) -> Option<&[CertificateDer<'static>]> {
        self.chain(key_id, generation)
            .map(|chain| chain.certificates.as_slice())
    }

    /// Where the CRL is that applies to the leaves that this authority signed under the certificate of this
    /// generation.
    pub fn location_of(&self, key_id: &[u8], generation: u32) -> Option<&AuthorityLocation> {
        self.chain(key_id, generation).map(|chain| &chain.location)
    }

    /// Whether something is published there.
    pub fn has_location(&self, location: &AuthorityLocation) -> bool {
        self.chains.iter().any(|chain| chain.location == *location)
    }

    /// The certificate that is published there: the newest of those with the same subject.
    pub fn certificate_at(&self, location: &AuthorityLocation) -> Option<&CertificateDer<'static>> {
        let mut chains = self.chains.iter();
        chains
            .find(|chain| chain.location == *location)?
            .certificates
            .first()
    }

    /// The active one and those that it replaced.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.active.iter().chain(&self.replaced)
    }

    /// Those that sign CRLs, one for each location.
    pub fn crl_signers(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.all().chain(&self.earlier)
    }

    pub(super) fn remember(&mut self, recorded: &Recorded<'_>) {
        self.chains.push(Chain {
            location: AuthorityLocation::new(recorded.key_id, recorded.location),
            generation: recorded.generation,
            certificates: recorded.chain.iter().cloned().map(CertificateDer::from).collect(),
        });
    }

    /// Whether a newer certificate of the key with the same subject signs the CRL.
    pub(super) fn publishes_at(&self, recorded: &Recorded<'_>) -> bool {
        self.crl_signers().any(|signer| {
            signer.key_id() == recorded.key_id && signer.location().generation() == recorded.location
        })
    }

    /// The signer that was loaded from exactly this.
    pub(super) fn loaded(&self, recorded: &Recorded<'_>) -> Option<&Arc<Signer>> {
        self.crl_signers().find(|signer| signer.is_of(recorded))
    }

    fn chain(&self, key_id: &[u8], generation: u32) -> Option<&Chain> {
        self.chains
            .iter()
            .find(|chain| chain.location.key_id() == key_id && chain.generation == generation)
    }
}
