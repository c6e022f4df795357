//! The signing authorities at work: the active one, those it replaced whose leaves are still out, and the trust bundle of their
//! roots. All of it follows the store; a set is replaced as a whole.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use identity::leaf::Leaf;
use identity::{KeyDigest, Reason, TrustBundle, TrustDomain, hex, moment};
use issuance::{AuthorityError, AuthorityPath, CrlBaseUrl, SigningAuthority};
use proto::Refusal;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::keys::{KeyFileError, KeyFolder};
use crate::config::ServerName;
use crate::store::{AuthorityRow, InstanceRow, Store};

/// The authorities of one revision.
#[derive(Default)]
pub struct SignerSet {
    active: Option<Arc<Signer>>,
    replaced: Vec<Arc<Signer>>,
    /// Of every recorded authority, whether or not it can sign.
    chains: Vec<Chain>,
}

/// An authority with its loaded key, under one certificate of that key. Another certificate makes another signer, since issuer name,
/// chain and validity come from it.
pub struct Signer {
    authority: SigningAuthority,
    generation: u32,
    /// As on record, which may have another order.
    recorded_chain: Vec<Vec<u8>>,
    recorded_root: Vec<u8>,
    /// The certificate above it that expires before its own.
    first_to_expire: Option<String>,
    trouble: Option<String>,
}

/// The certificates above the leaves that were signed under one certificate of an authority.
struct Chain {
    key_id: Vec<u8>,
    generation: u32,
    certificates: Vec<CertificateDer<'static>>,
}

impl Signer {
    /// How many certificates its key had before its present one.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Why clients and servers would reject what it signs, if they would.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether a certificate above the authority expires before the authority's own.
    pub fn ends_early(&self) -> bool {
        self.first_to_expire.is_some()
    }

    /// When it can sign no longer, and which certificate above it is the reason, if it is one of those.
    pub fn end(&self) -> String {
        let end = moment(self.not_after());
        match &self.first_to_expire {
            None => end,
            Some(certificate) => format!("{end}, limited by {certificate}"),
        }
    }

    fn is_of(&self, row: &AuthorityRow) -> bool {
        self.generation == row.generation
            && self.recorded_chain == row.chain
            && self.recorded_root == row.root
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, generation {}", self.authority, self.generation)
    }
}

impl Deref for Signer {
    type Target = SigningAuthority;

    fn deref(&self) -> &SigningAuthority {
        &self.authority
    }
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

impl SignerError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            SignerError::Authority { source, .. } => source.reason(),
            SignerError::KeyMissing { .. } => Reason::NotFound,
            SignerError::Key { .. } | SignerError::Record { .. } => Reason::Internal,
        }
    }
}

/// The names of the server that are on record.
pub(super) fn server_names(instance: Option<&InstanceRow>) -> Vec<ServerName> {
    let names = instance.into_iter().flat_map(|row| &row.server_names);
    names.filter_map(|name| name.parse().ok()).collect()
}

/// DNS names and addresses apart, as certificates have them.
pub(super) fn by_kind(names: &[ServerName]) -> (Vec<String>, Vec<IpAddr>) {
    let dns_names = names.iter().filter(|name| name.ip().is_none());
    (
        dns_names.map(|name| name.as_str().to_owned()).collect(),
        names.iter().filter_map(ServerName::ip).collect(),
    )
}

/// Keeps the set in force and the bundle that goes with it.
pub struct Signers {
    trust_domain: TrustDomain,
    keys: KeyFolder,
    crl_base_url: Option<CrlBaseUrl>,
    set: ArcSwap<SignerSet>,
    bundle: watch::Sender<Arc<TrustBundle>>,
    /// The key that was made for an authority of which it is not known whether it is recorded.
    unrecorded: Mutex<Option<KeyDigest>>,
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
            unrecorded: Mutex::default(),
            following: Mutex::default(),
        }
    }

    /// Takes over what the store says now. An authority whose certificates are as before keeps its loaded key; an active one that
    /// cannot be loaded is an error, a replaced one is passed over: it would only have signed CRLs.
    pub fn follow(&self, store: &dyn Store, now: OffsetDateTime) -> Result<(), SignerError> {
        let _alone = self
            .following
            .lock()
            .expect("nothing panics while it holds this lock");
        let (rows, revision, names) = {
            let state = store.read();
            let rows: Vec<AuthorityRow> = state.authorities().cloned().collect();
            (rows, state.revision(), server_names(state.instance()))
        };
        let known = self.set.load();
        let mut set = SignerSet::default();
        for row in &rows {
            let loaded = known
                .by_key_id(&row.key_id)
                .filter(|signer| signer.is_of(row))
                .map(Arc::clone)
                .map_or_else(|| self.load(row, &names, now).map(Arc::new), Ok);
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

    /// Removes the keys of authorities whose last leaf has expired, unless another one has the same key under another key id.
    fn forget_keys(&self, known: &SignerSet, set: &SignerSet) {
        for gone in known.all().filter(|signer| !set.has(signer.key_id())) {
            let digest = gone.public_key().digest();
            if set.all().any(|other| other.public_key().digest() == digest) {
                continue;
            }
            if let Err(e) = self.keys.remove(digest) {
                tracing::warn!("the key of an authority that signs no more stays: {e}");
            }
        }
    }

    fn publish(&self, rows: &[AuthorityRow], revision: u64) {
        let mut roots: Vec<CertificateDer<'static>> = Vec::new();
        let current = rows.iter().map(|row| &row.root);
        let earlier = rows.iter().flat_map(|row| &row.earlier).map(|own| &own.root);
        for root in current.chain(earlier) {
            let root = CertificateDer::from(root.clone());
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

    fn load(
        &self,
        row: &AuthorityRow,
        names: &[ServerName],
        now: OffsetDateTime,
    ) -> Result<Signer, SignerError> {
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
        let authority = prepared
            .resume(&chain, &CertificateDer::from(row.root.as_slice()))
            .map_err(|source| SignerError::Authority { key_id, source })?
            .with_crl_base_url(self.crl_base_url.as_ref());
        // An expired authority is verified as of its last second: expiry is reported on its own.
        let at = now.clamp(authority.validity().not_before(), authority.not_after());
        let (dns_names, addresses) = by_kind(names);
        let proved = authority.prove(&dns_names, &addresses, at);
        let first_to_expire = AuthorityPath::read(authority.chain(), authority.root())
            .ok()
            .and_then(|path| path.earlier_end().map(|(place, _)| place.to_string()));
        Ok(Signer {
            authority,
            generation: row.generation,
            recorded_chain: row.chain.clone(),
            recorded_root: row.root.clone(),
            first_to_expire,
            trouble: proved.err().map(|why| why.to_string()),
        })
    }

    /// Whose members they sign for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The keys that authorities are loaded from.
    pub fn keys(&self) -> &KeyFolder {
        &self.keys
    }

    /// The set in force.
    pub fn current(&self) -> Arc<SignerSet> {
        self.set.load_full()
    }

    pub(super) fn unrecorded(&self) -> Option<KeyDigest> {
        *self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_unrecorded(&self, key: Option<KeyDigest>) {
        *self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner) = key;
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
        self.chains.iter().any(|chain| chain.key_id == key_id)
    }

    /// The certificates above the leaves that this authority signed under the certificate of this generation, without the root.
    pub fn chain_of(&self, key_id: &[u8], generation: u32) -> Option<&[CertificateDer<'static>]> {
        self.chains
            .iter()
            .find(|chain| chain.key_id == key_id && chain.generation == generation)
            .map(|chain| chain.certificates.as_slice())
    }

    fn remember(&mut self, row: &AuthorityRow) {
        let mut add = |generation, chain: &[Vec<u8>]| {
            self.chains.push(Chain {
                key_id: row.key_id.clone(),
                generation,
                certificates: chain.iter().cloned().map(CertificateDer::from).collect(),
            });
        };
        add(row.generation, &row.chain);
        for own in &row.earlier {
            add(own.generation, &own.chain);
        }
    }

    /// The active one and those that it replaced.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.active.iter().chain(&self.replaced)
    }
}

#[cfg(test)]
mod tests;
