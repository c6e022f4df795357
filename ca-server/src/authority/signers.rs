//! The signing authorities at work: the active one, those it replaced whose leaves are still out, and the trust bundle of their
//! roots. All of it follows the store; a set is replaced as a whole.

mod set;

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use identity::leaf::Leaf;
use identity::{KeyDigest, Reason, TrustBundle, TrustDomain, hex, moment};
use issuance::{AuthorityError, AuthorityLocation, AuthorityPath, CrlBaseUrl, SigningAuthority};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::keys::{KeyFileError, KeyFolder};
use crate::config::ServerName;
use crate::store::{AuthorityRow, EarlierCertificate, InstanceRow, Store};

pub use set::SignerSet;

/// An authority with its loaded key, under one certificate of that key. Another certificate makes another
/// signer, since issuer name, chain and validity come from it.
pub struct Signer {
    authority: SigningAuthority,
    generation: u32,
    location: AuthorityLocation,
    /// As on record, which may have another order.
    recorded_chain: Vec<Vec<u8>>,
    recorded_root: Vec<u8>,
    /// The certificate above it that expires before its own.
    first_to_expire: Option<String>,
    trouble: Option<String>,
}

impl Signer {
    /// How many certificates its key had before its present one.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Where its CRL and its certificate are published.
    pub fn location(&self) -> &AuthorityLocation {
        &self.location
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

    fn is_of(&self, recorded: &Recorded<'_>) -> bool {
        self.key_id() == recorded.key_id
            && self.generation == recorded.generation
            && self.location.generation() == recorded.location
            && self.recorded_chain == recorded.chain
            && self.recorded_root == recorded.root
    }
}

/// One certificate of an authority's key, as the store has it.
#[derive(Clone, Copy)]
struct Recorded<'a> {
    key_id: &'a [u8],
    generation: u32,
    location: u32,
    chain: &'a [Vec<u8>],
    root: &'a [u8],
}

impl<'a> Recorded<'a> {
    fn current(row: &'a AuthorityRow) -> Self {
        Self {
            key_id: &row.key_id,
            generation: row.generation,
            location: row.location,
            chain: &row.chain,
            root: &row.root,
        }
    }

    fn earlier(row: &'a AuthorityRow, own: &'a EarlierCertificate) -> Self {
        Self {
            key_id: &row.key_id,
            generation: own.generation,
            location: own.location,
            chain: &own.chain,
            root: &own.root,
        }
    }

    /// All of the key, newest first.
    fn all(row: &'a AuthorityRow) -> impl Iterator<Item = Self> {
        let earlier = row.earlier.iter().rev();
        std::iter::once(Self::current(row)).chain(earlier.map(|own| Self::earlier(row, own)))
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

    /// Takes over what the store says now. An authority whose certificates are as before keeps its loaded
    /// key; an active one that cannot be loaded is an error, a replaced one is passed over: it would only
    /// have signed CRLs.
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
            for recorded in Recorded::all(row) {
                set.remember(&recorded);
                let is_current = recorded.generation == row.generation;
                // Of certificates with the same subject the newest signs the CRL.
                if !is_current && set.publishes_at(&recorded) {
                    continue;
                }
                let loaded = match known.loaded(&recorded) {
                    Some(signer) => Ok(Arc::clone(signer)),
                    None => self.load(&recorded, &names, now).map(Arc::new),
                };
                match loaded {
                    Ok(signer) if !is_current => set.earlier.push(signer),
                    Ok(signer) if row.replaced_at == 0 => set.active = Some(signer),
                    Ok(signer) => set.replaced.push(signer),
                    Err(e) if is_current && row.replaced_at == 0 => return Err(e),
                    Err(e) => tracing::warn!("a replaced authority signs no more CRLs: {e}"),
                }
            }
        }
        // The roots first: nobody is to get a chain together with a bundle that does not hold its root.
        self.publish(&rows, revision);
        self.forget_keys(&known, &set);
        self.set.store(Arc::new(set));
        Ok(())
    }

    /// Removes the keys of authorities whose last leaf has expired, unless another one has the same key under
    /// another key id.
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
        recorded: &Recorded<'_>,
        names: &[ServerName],
        now: OffsetDateTime,
    ) -> Result<Signer, SignerError> {
        let key_id = hex::encode(recorded.key_id);
        let chain: Vec<CertificateDer<'_>> = recorded
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
            .resume(&chain, &CertificateDer::from(recorded.root))
            .map_err(|source| SignerError::Authority { key_id, source })?
            .with_crl_base_url(self.crl_base_url.as_ref(), recorded.location);
        // An expired authority is verified as of its last second: expiry is reported on its own.
        let at = now.clamp(authority.validity().not_before(), authority.not_after());
        let (dns_names, addresses) = by_kind(names);
        let proved = authority.prove(&dns_names, &addresses, at);
        let first_to_expire = AuthorityPath::read(authority.chain(), authority.root())
            .ok()
            .and_then(|path| path.earlier_end().map(|(place, _)| place.to_string()));
        Ok(Signer {
            location: AuthorityLocation::new(authority.key_id(), recorded.location),
            authority,
            generation: recorded.generation,
            recorded_chain: recorded.chain.to_vec(),
            recorded_root: recorded.root.to_vec(),
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

#[cfg(test)]
mod tests;
