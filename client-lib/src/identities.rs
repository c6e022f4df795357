//! What a program is and whom it trusts, at this moment: one snapshot of SVID and trust bundle, and the handle through which
//! everybody who needs the newest one gets it. One task writes, all others watch.

use std::fmt;
use std::sync::Arc;

use identity::{PeerVerifier, TrustBundle};
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use crate::authorize::Authorize;
use crate::svid::Svid;
use crate::tls;

/// An SVID and the trust bundle that was in force with it.
#[derive(Clone)]
pub struct Snapshot {
    svid: Arc<Svid>,
    bundle: Arc<TrustBundle>,
    verifier: Arc<PeerVerifier>,
}

/// The newest [`Snapshot`], for as long as somebody holds this. Cheap to clone; the rustls configurations made from it read it
/// at each handshake.
#[derive(Clone)]
pub struct Identities {
    newest: watch::Receiver<Arc<Snapshot>>,
    _keeper: Option<Arc<dyn Send + Sync>>,
}

impl Snapshot {
    /// This SVID with this bundle.
    pub fn new(svid: Arc<Svid>, bundle: Arc<TrustBundle>) -> Self {
        let verifier = Arc::new(PeerVerifier::new(&bundle));
        Self {
            svid,
            bundle,
            verifier,
        }
    }

    /// Who the program is.
    pub fn svid(&self) -> &Arc<Svid> {
        &self.svid
    }

    /// Whom it trusts.
    pub fn bundle(&self) -> &Arc<TrustBundle> {
        &self.bundle
    }

    /// The bundle, ready to judge peers.
    pub fn verifier(&self) -> &PeerVerifier {
        &self.verifier
    }
}

impl Identities {
    /// One snapshot that never changes.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self::watching(watch::channel(Arc::new(snapshot)).1, None)
    }

    /// Snapshots that another task sends. `keeper` is dropped with the last clone of this handle and of what was made from it.
    pub fn watching(newest: watch::Receiver<Arc<Snapshot>>, keeper: Option<Arc<dyn Send + Sync>>) -> Self {
        Self {
            newest,
            _keeper: keeper,
        }
    }

    /// The newest snapshot.
    pub fn current(&self) -> Arc<Snapshot> {
        self.newest.borrow().clone()
    }

    /// Waits for a snapshot that this handle has not seen yet; `None` when there will be none.
    pub async fn changed(&mut self) -> Option<Arc<Snapshot>> {
        self.newest.changed().await.ok()?;
        Some(self.newest.borrow_and_update().clone())
    }

    /// For programs that call: presents the newest SVID and admits servers by `peers`. The server name given to rustls is not
    /// looked at. TLS 1.3 only, no session is resumed.
    pub fn client_config(&self, peers: Authorize) -> ClientConfig {
        tls::client_config(self, peers)
    }

    /// For programs that are called: presents the newest SVID, demands a certificate and admits clients by `peers`. TLS 1.3
    /// only, no session is kept and no ticket sent, so every connection is judged.
    pub fn server_config(&self, peers: Authorize) -> ServerConfig {
        tls::server_config(self, peers)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot")
            .field(&self.svid)
            .field(&self.bundle)
            .finish()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.current()).finish()
    }
}
