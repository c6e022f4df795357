//! How a source is set up, and its first certificate: from the folder if a good one lies there, else from the CA.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use identity::{Clock, Leaf, SpiffeId, SystemClock, TrustBundle};
use tokio::sync::watch;

use super::keeper::{Keeper, blocking};
use super::{Status, X509Source};
use crate::ca::{Ca, Wish};
use crate::dial::{Dial, Tcp};
use crate::error::Error;
use crate::folder::{Folder, Stored};
use crate::identities::{Identities, Snapshot};
use crate::key::KeyType;
use crate::proof::Proof;
use crate::server::CaServer;

/// How long the first certificate may take, unless the caller says otherwise.
const FIRST_FETCH: Duration = Duration::from_secs(30);

/// A source that is being set up.
#[derive(Clone, Debug)]
pub struct Builder {
    proof: Proof,
    server: Option<CaServer>,
    bundle: Option<Arc<TrustBundle>>,
    dial: Arc<dyn Dial>,
    wish: Wish,
    key_type: KeyType,
    folder: Option<PathBuf>,
    first_fetch: Duration,
}

impl Builder {
    pub(super) fn new(proof: Proof) -> Self {
        Self {
            server: proof.server(),
            proof,
            bundle: None,
            dial: Arc::new(Tcp),
            wish: Wish::default(),
            key_type: KeyType::default(),
            folder: None,
            first_fetch: FIRST_FETCH,
        }
    }

    /// The CA, where the proof does not name it, or to go elsewhere than it says.
    pub fn server(self, server: CaServer) -> Self {
        Self {
            server: Some(server),
            ..self
        }
    }

    /// The trust bundle by which the CA is verified from the start; without it the fingerprint is used.
    pub fn bundle(self, bundle: TrustBundle) -> Self {
        Self {
            bundle: Some(Arc::new(bundle)),
            ..self
        }
    }

    /// The road to the CA; the default is TCP.
    pub fn dialled_by(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial, ..self }
    }

    /// Who to be; needed only by a caller that is granted several identities.
    pub fn spiffe_id(mut self, id: SpiffeId) -> Self {
        self.wish.spiffe_id = Some(id);
        self
    }

    /// A DNS name beside the SPIFFE ID; may be called again.
    pub fn dns_name(mut self, name: impl Into<String>) -> Self {
        self.wish.dns_names.push(name.into());
        self
    }

    /// How long each certificate should count; the default is the registration's.
    pub fn life(mut self, life: Duration) -> Self {
        self.wish.life = Some(life);
        self
    }

    /// The kind of key; the default is P-256.
    pub fn key_type(self, key_type: KeyType) -> Self {
        Self { key_type, ..self }
    }

    /// Keeps the certificate in this folder too, and starts from what lies there.
    pub fn folder(self, path: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(path.into()),
            ..self
        }
    }

    /// How long [`Builder::start`] may wait for the first certificate; the default is 30 s.
    pub fn first_fetch_within(self, first_fetch: Duration) -> Self {
        Self { first_fetch, ..self }
    }

    /// Waits for the first certificate and keeps it fresh from then on. An error that cannot pass by itself ends the wait at
    /// once, the others at the deadline.
    pub async fn start(self) -> Result<X509Source, Error> {
        let folder = self.folder.map(Folder::new).transpose()?;
        let stored = match &folder {
            Some(folder) => {
                blocking({
                    let folder = folder.clone();
                    move || folder.read()
                })
                .await?
            }
            None => None,
        };
        let server = self.server.or_else(|| stored.as_ref().map(|s| s.server.clone()));
        let mut ca = Ca::new(server.ok_or(Error::NoServer)?).dialled_by(self.dial);
        if let Some(bundle) = self.bundle {
            ca = ca.trusting(bundle);
        }
        let wish = stored
            .as_ref()
            .map_or(self.wish.clone(), |stored| continued(self.wish, stored));
        let first = stored.filter(|s| s.server == *ca.server()).and_then(good);
        let mut keeper = Keeper::new(ca, self.proof, wish, self.key_type, folder);
        let first = match first {
            Some(snapshot) => snapshot,
            None => keeper.first(self.first_fetch).await?,
        };
        let (sender, newest) = watch::channel(Arc::new(first));
        let (status_sender, status) = watch::channel(Status::default());
        let task = tokio::spawn(keeper.run(sender, status_sender));
        let guard = Arc::new(Guard(task.abort_handle()));
        Ok(X509Source {
            identities: Identities::watching(newest, Some(guard)),
            status,
        })
    }
}

/// What the caller did not say is wished for as before.
fn continued(wish: Wish, stored: &Stored) -> Wish {
    let names = stored.chain.first().and_then(|leaf| Leaf::parse(leaf).ok());
    let before = names.map(|leaf| leaf.dns_names().to_vec()).unwrap_or_default();
    Wish {
        life: wish.life.or(stored.life),
        dns_names: if wish.dns_names.is_empty() {
            before
        } else {
            wish.dns_names
        },
        ..wish
    }
}

/// What was stored, if it can still be used; anything else is fetched anew.
fn good(stored: Stored) -> Option<Snapshot> {
    let svid = stored.svid(SystemClock.now()).ok()??;
    Some(Snapshot::new(Arc::new(svid), Arc::new(stored.bundle)))
}

/// Ends the task with the last holder of the source.
struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
