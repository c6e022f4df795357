//! How a source is set up, and its first certificate: from the folder if a good one lies there, else from the CA.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use identity::{Clock, Leaf, SpiffeId, TrustBundle};
use tokio::sync::watch;

use super::files::Files;
use super::keeper::Keeper;
use super::requester::{Requester, admits};
use super::{Status, X509Source};
use crate::boot_time::{LocalClock, Reading};
use crate::ca::{Ca, Wish};
use crate::dial::{Dial, Tcp};
use crate::error::Error;
use crate::folder::{Folder, Stored};
use crate::identities::{Identities, Snapshot};
use crate::key::KeyType;
use crate::proof::Proof;
use crate::renewal::Stage;
use crate::server::CaServer;
use crate::svid::Svid;

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
    clock: LocalClock,
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
            clock: LocalClock::system(),
        }
    }

    /// The CA, where the proof does not name it, or to go elsewhere than it says.
    pub fn server(self, server: CaServer) -> Self {
        Self {
            server: Some(server),
            ..self
        }
    }

    /// The trust bundle by which the CA is verified from the start; without it that of the folder, or the
    /// fingerprint, is used. It takes precedence over the one in the folder, so that a client that missed a
    /// replacement of the root can be mended; any bundle of the CA follows it.
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

    /// The wall clock of this machine, in place of the operating system's.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: LocalClock::with_wall(clock),
            ..self
        }
    }

    /// Waits for the first certificate and keeps it fresh from then on. An error that cannot pass by itself ends the wait at
    /// once, the others at the deadline.
    pub async fn start(self) -> Result<X509Source, Error> {
        let folder = self.folder.map(Folder::new).transpose()?;
        let (status_sender, status) = watch::channel(Status::default());
        let mut files = Files::new(folder, status_sender.clone());
        // A folder that cannot be read does not stop a source that has a working proof.
        let (stored, damage) = match files.run(Folder::read).await {
            None => (None, None),
            Some(Ok(stored)) => (stored, None),
            Some(Err(error)) => (None, Some(error)),
        };
        let server = self.server.or_else(|| stored.as_ref().map(|s| s.server.clone()));
        let server = server.ok_or_else(|| damage.map_or(Error::NoServer, Error::from))?;
        let mut ca = Ca::new(server).dialled_by(self.dial).clocked_by(self.clock);
        let wish = stored
            .as_ref()
            .map_or(self.wish.clone(), |stored| continued(self.wish, stored));
        let stored = stored.filter(|s| s.server == *ca.server());
        let proof = stored.as_ref().and_then(|stored| stored.proof);
        let own = stored.as_ref().and_then(svid_of);
        let by_hand = self.bundle;
        let known = by_hand
            .clone()
            .or_else(|| stored.filter(|_| own.is_some()).map(|s| Arc::new(s.bundle)));
        if let Some(known) = &known {
            ca = ca.trusting(known.clone());
        }
        if let Some(own) = &own {
            ca = ca.timed_by(own.receipt());
        }
        let now = ca.clock().read();
        let usable = own
            .as_ref()
            .zip(known)
            .and_then(|(own, known)| in_force(own, known, &now));
        let requester = Requester::new(ca, self.proof, wish, self.key_type, files).enrolled_with(proof);
        let mut keeper = Keeper::new(requester, status_sender.clone(), by_hand.is_none());
        let first = match usable {
            Some(snapshot) => {
                let serial = snapshot.svid().leaf().serial();
                status_sender.send_modify(|status| status.stored = Some(serial));
                snapshot
            }
            None => {
                keeper
                    .first(own.filter(|own| !has_lapsed(own, &now)), self.first_fetch)
                    .await?
            }
        };
        let (sender, newest) = watch::channel(Arc::new(first));
        let task = tokio::spawn(keeper.run(sender));
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

/// The certificate in the folder, if peers would have accepted it when it was received.
fn svid_of(stored: &Stored) -> Option<Svid> {
    stored
        .svid_as_received()
        .inspect_err(|error| tracing::warn!(%error, "certificate in the folder is not used"))
        .ok()?
}

/// A certificate that can be used until it is renewed, with its bundle.
fn in_force(own: &Svid, bundle: Arc<TrustBundle>, now: &Reading) -> Option<Snapshot> {
    let is_usable = own.receipt().is_in_force(own.leaf().validity(), now) && admits(&bundle, own).is_ok();
    is_usable.then(|| Snapshot::new(Arc::new(own.clone()), bundle))
}

fn has_lapsed(own: &Svid, now: &Reading) -> bool {
    own.receipt().stage(own.receipt().renew_in(0.0), now) == Stage::Lapsed
}

/// Ends the task with the last holder of the source.
struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
