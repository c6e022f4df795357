//! The signing authorities at work: the active one, those it replaced whose leaves are still out, and the trust bundle of their
//! roots. All of it follows the store; a set is replaced as a whole.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use identity::leaf::Leaf;
use identity::{KeyDigest, Reason, TrustBundle, TrustDomain, hex};
use issuance::{AuthorityError, CrlBaseUrl, SigningAuthority};
use proto::Refusal;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::keys::{KeyFileError, KeyFolder};
use crate::store::{AuthorityRow, Store};

/// The authorities of one revision.
#[derive(Default)]
pub struct SignerSet {
    active: Option<Arc<SigningAuthority>>,
    replaced: Vec<Arc<SigningAuthority>>,
    /// Of every recorded authority, whether or not it can sign.
    chains: Vec<(Vec<u8>, Vec<CertificateDer<'static>>)>,
    /// Digests of the keys in these chains and of the roots' keys.
    keys: Vec<KeyDigest>,
}

/// Why a recorded authority cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Its key is not in the folder.
    #[error(
        "authority {key_id}: its key is not under keys/; restore the folder, or activate a new authority"
    )]
    KeyMissing {
        /// Its subject key id, hex.
        key_id: String,
    },
    /// Its key cannot be read.
    #[error("authority {key_id}: {source}")]
    Key {
        /// Its subject key id, hex.
        key_id: String,
        /// What is wrong.
        source: KeyFileError,
    },
    /// Key and chain do not make an authority.
    #[error("authority {key_id}: {source}")]
    Authority {
        /// Its subject key id, hex.
        key_id: String,
        /// What is wrong.
        source: AuthorityError,
    },
    /// A certificate of the record cannot be read.
    #[error("authority {key_id}: {why}")]
    Record {
        /// Its subject key id, hex.
        key_id: String,
        /// What is wrong.
        why: String,
    },
}

/// Keeps the set in force and the bundle that goes with it.
pub struct Signers {
    trust_domain: TrustDomain,
    keys: KeyFolder,
    crl_base_url: Option<CrlBaseUrl>,
    set: ArcSwap<SignerSet>,
    bundle: watch::Sender<Arc<TrustBundle>>,
    /// One takes over at a time: whoever read the store first must not have the last word.
    following: Mutex<()>,
}

impl Signers {
    /// Nothing at work yet.
    pub fn new(trust_domain: TrustDomain, keys: KeyFolder, crl_base_url: Option<CrlBaseUrl>) -> Self {
        let empty = TrustBundle::new(trust_domain.clone(), Vec::new()).expect("no root is none too many");
        Self {
            trust_domain,
            keys,
            crl_base_url,
            set: ArcSwap::default(),
            bundle: watch::Sender::new(Arc::new(empty)),
            following: Mutex::default(),
        }
    }

    /// Takes over what the store says now. An authority that was there before keeps its loaded key; an active one that cannot be
    /// loaded is an error, a replaced one is passed over: it would only have signed CRLs.
    pub fn follow(&self, store: &dyn Store, now: OffsetDateTime) -> Result<(), SignerError> {
        let _alone = self
            .following
            .lock()
            .expect("nothing panics while it holds this lock");
        let (rows, revision): (Vec<AuthorityRow>, u64) = {
            let state = store.read();
            (state.authorities().cloned().collect(), state.revision())
        };
        let known = self.set.load();
        let mut set = SignerSet::default();
        for row in &rows {
            let loaded = known
                .by_key_id(&row.key_id)
                .map(Arc::clone)
                .map_or_else(|| self.load(row, now).map(Arc::new), Ok);
            match loaded {
                Ok(signer) if row.replaced_at == 0 => set.active = Some(signer),
                Ok(signer) => set.replaced.push(signer),
                Err(e) if row.replaced_at == 0 => return Err(e),
                Err(e) => tracing::warn!("a replaced authority signs no more CRLs: {e}"),
            }
            set.remember(row);
        }
        // The roots first: nobody is to get a chain together with a bundle that does not hold its root.
        self.publish(&rows, revision);
        self.forget_keys(&known, &set);
        self.set.store(Arc::new(set));
        Ok(())
    }

    /// Removes the keys of those whose last leaf has ended.
    fn forget_keys(&self, known: &SignerSet, set: &SignerSet) {
        for gone in known
            .all()
            .filter(|signer| set.chain_of(signer.key_id()).is_none())
        {
            if let Err(e) = self.keys.remove(gone.public_key().digest()) {
                tracing::warn!("the key of an authority that signs no more stays: {e}");
            }
        }
    }

    fn publish(&self, rows: &[AuthorityRow], revision: u64) {
        let mut roots: Vec<CertificateDer<'static>> = Vec::new();
        for row in rows {
            let root = CertificateDer::from(row.root.clone());
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        self.bundle.send_if_modified(|bundle| {
            if bundle.roots() == roots.as_slice() {
                return false;
            }
            match TrustBundle::new(self.trust_domain.clone(), roots) {
                Ok(fresh) => {
                    *bundle = Arc::new(fresh.with_sequence(revision));
                    true
                }
                Err(e) => {
                    tracing::error!("the recorded roots make no trust bundle: {e}");
                    false
                }
            }
        });
    }

    fn load(&self, row: &AuthorityRow, now: OffsetDateTime) -> Result<SigningAuthority, SignerError> {
        let key_id = hex::encode(&row.key_id);
        let chain: Vec<CertificateDer<'_>> = row
            .chain
            .iter()
            .map(|cert| CertificateDer::from(cert.as_slice()))
            .collect();
        let own = chain
            .first()
            .ok_or_else(|| "its chain is empty".to_owned())
            .and_then(|own| Leaf::parse(own).map_err(|e| e.to_string()))
            .map_err(|why| SignerError::Record {
                key_id: key_id.clone(),
                why,
            })?;
        let prepared = self
            .keys
            .load(&self.trust_domain, own.key_digest())
            .map_err(|source| SignerError::Key {
                key_id: key_id.clone(),
                source,
            })?
            .ok_or_else(|| SignerError::KeyMissing {
                key_id: key_id.clone(),
            })?;
        // One that has ended is loaded as of its end, so that what depends on it can say so.
        let at = now.min(own.validity().not_after());
        prepared
            .activate(&chain, &CertificateDer::from(row.root.as_slice()), at)
            .map(|authority| authority.with_crl_base_url(self.crl_base_url.as_ref()))
            .map_err(|source| SignerError::Authority { key_id, source })
    }

    /// Whose members they sign for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The keys that authorities are loaded from.
    pub fn keys(&self) -> &KeyFolder {
        &self.keys
    }

    /// Whether a key is that of an authority or root: no leaf may have it.
    pub fn is_authority_key(&self, digest: KeyDigest) -> bool {
        self.set.load().keys.contains(&digest)
    }

    /// The set in force.
    pub fn current(&self) -> Arc<SignerSet> {
        self.set.load_full()
    }

    /// The bundle in force, and each after it.
    pub fn bundles(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.bundle.subscribe()
    }

    /// The bundle in force.
    pub fn bundle(&self) -> Arc<TrustBundle> {
        self.bundle.borrow().clone()
    }
}

impl SignerSet {
    /// The authority that signs now.
    pub fn active(&self) -> Result<&Arc<SigningAuthority>, Refusal> {
        self.active.as_ref().ok_or_else(|| {
            Refusal::new(
                Reason::NotReady,
                "the server has no signing authority yet; run `signet authority prepare` and `activate`",
            )
        })
    }

    /// The authority with this subject key id.
    pub fn by_key_id(&self, key_id: &[u8]) -> Option<&Arc<SigningAuthority>> {
        self.all().find(|signer| signer.key_id() == key_id)
    }

    /// The certificates above the leaves of this authority, without the root.
    pub fn chain_of(&self, key_id: &[u8]) -> Option<&[CertificateDer<'static>]> {
        self.chains
            .iter()
            .find(|(known, _)| known == key_id)
            .map(|(_, chain)| chain.as_slice())
    }

    fn remember(&mut self, row: &AuthorityRow) {
        let chain: Vec<_> = row.chain.iter().cloned().map(CertificateDer::from).collect();
        let certificates = row.chain.iter().chain([&row.root]);
        self.keys
            .extend(certificates.filter_map(|cert| Some(Leaf::parse(cert).ok()?.key_digest())));
        self.chains.push((row.key_id.clone(), chain));
    }

    /// The active one and those that it replaced.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningAuthority>> {
        self.active.iter().chain(&self.replaced)
    }
}
