//! An X.509-SVID that its holder can use: chain, key, and facts of the leaf. One exists only if peers would accept it and the
//! key belongs to it, so nothing is ever published that fails in the first handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use identity::{KeyDigest, Leaf, PeerVerifier, Reason, SpiffeId, TrustBundle, Usage, VerifyError};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::boot_time::{BootTime, Reading};
use crate::key::{KeyError, PrivateKey};
use crate::renewal::{Receipt, Terms};

/// A certificate chain with its key, verified as peers verify it.
#[derive(Clone)]
pub struct Svid {
    id: SpiffeId,
    leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    certified: Arc<CertifiedKey>,
    receipt: Receipt,
}

/// Why a chain and a key are no usable SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidRefused {
    /// Peers would refuse it.
    #[error("peers would refuse the certificate: {0}")]
    Peers(#[from] VerifyError),
    /// It belongs to another key.
    #[error("certificate is for the key {found}, expected {expected}")]
    Key {
        /// The digest of the key in the certificate.
        found: KeyDigest,
        /// The digest of the key at hand.
        expected: KeyDigest,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Unusable(#[from] KeyError),
}

impl SvidRefused {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            SvidRefused::Peers(why) => why.reason(),
            SvidRefused::Key { .. } | SvidRefused::Unusable(_) => Reason::CertificateNotSvid,
        }
    }
}

impl Svid {
    /// Takes a chain, leaf first, if both peers that call and peers that are called would accept it at `now`, and if `key` is
    /// the leaf's. It is received now.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        bundle: &TrustBundle,
        now: OffsetDateTime,
    ) -> Result<Self, SvidRefused> {
        let leaf = verified_leaf(&chain, &key, bundle, now)?;
        let terms = Terms {
            validity: leaf.validity(),
            renew_after: None,
            clipped: false,
            requested: None,
        };
        let at = Reading {
            wall: now,
            boot: BootTime::now(),
        };
        let age = Receipt::age(&terms, None, Duration::MAX, &at);
        Self::of(chain, key, leaf, Receipt::new(&terms, at, age))
    }

    /// As [`Svid::new`], if peers would have accepted the chain at its receipt, by the clock of the CA. The
    /// clock of this machine decides nothing.
    pub fn received(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        bundle: &TrustBundle,
        receipt: Receipt,
    ) -> Result<Self, SvidRefused> {
        let leaf = verified_leaf(&chain, &key, bundle, receipt.ca_time())?;
        Self::of(chain, key, leaf, receipt)
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        leaf: Leaf,
        receipt: Receipt,
    ) -> Result<Self, SvidRefused> {
        Ok(Self {
            id: leaf.svid_id().map_err(VerifyError::from)?,
            certified: Arc::new(CertifiedKey::new(chain.clone(), key.signing_key()?)),
            leaf,
            chain,
            key,
            receipt,
        })
    }

    /// Who the holder is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The facts of the leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Leaf first, then intermediates, in DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// When it was received.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Chain and key as rustls takes them.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

/// The leaf of a chain that peers accept at `now` and whose key is this.
fn verified_leaf(
    chain: &[CertificateDer<'static>],
    key: &PrivateKey,
    bundle: &TrustBundle,
    now: OffsetDateTime,
) -> Result<Leaf, SvidRefused> {
    let verifier = PeerVerifier::new(bundle);
    verifier.verify(chain, Usage::Client, now)?;
    let leaf = verifier.verify(chain, Usage::Server, now)?.leaf;
    if leaf.key_digest() == key.digest() {
        return Ok(leaf);
    }
    Err(SvidRefused::Key {
        found: leaf.key_digest(),
        expected: key.digest(),
    })
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serial = self.leaf.serial();
        write!(
            f,
            "Svid({}, serial {serial}, until {})",
            self.id,
            self.leaf.validity().not_after()
        )
    }
}
