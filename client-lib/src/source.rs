//! The X.509 source: enrols, renews by itself and follows the trust bundle. One task keeps the state; everybody else watches it
//! through [`Identities`], so that a renewal is in force with the next handshake.

mod builder;
mod files;
mod follow;
mod keeper;
mod requester;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use identity::{Serial, SpiffeId, TrustBundle};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::error::Error;
use crate::folder::Folder;
use crate::identities::Identities;
use crate::proof::Proof;
use crate::renewal::ClockSkew;
use crate::svid::Svid;

pub use builder::Builder;

/// An identity that stays fresh for as long as this, a clone of it, or a configuration made from it is held.
#[derive(Clone, Debug)]
pub struct X509Source {
    identities: Identities,
    status: watch::Receiver<Status>,
}

/// How the source is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Certificates put to use since the start, the first one not counted.
    pub rotations: u64,
    /// When the next renewal begins.
    pub renew_at: Option<OffsetDateTime>,
    /// What the last attempt to renew failed with; none after a success.
    pub renewal_error: Option<Arc<Error>>,
    /// Why the trust bundle is not followed just now.
    pub bundle_error: Option<Arc<Error>>,
    /// Why the newest certificate, or a key, is in memory only; none once a certificate is stored again.
    pub storage_error: Option<Arc<Error>>,
    /// The certificate that is in the folder; none without a folder.
    pub stored: Option<Serial>,
    /// How the clocks of this machine and of the CA differed when that was noticed; none while they agree.
    pub clock_skew: Option<ClockSkew>,
}

impl X509Source {
    /// A source that enrols with this proof.
    pub fn builder(proof: Proof) -> Builder {
        Builder::new(proof)
    }

    /// A source that goes on from the certificate in this folder and keeps it fresh there: renewal is its only proof.
    pub fn resume(folder: impl Into<PathBuf>) -> Result<Builder, Error> {
        let folder = Folder::new(folder)?;
        let path = folder.path().to_owned();
        Ok(Builder::new(Proof::folder(folder)).folder(path))
    }

    /// The newest SVID. It is the last good one during an outage of the CA; whether it still counts is in its validity.
    pub fn svid(&self) -> Arc<Svid> {
        self.identities.current().svid().clone()
    }

    /// Who this program is.
    pub fn id(&self) -> SpiffeId {
        self.svid().id().clone()
    }

    /// The newest trust bundle.
    pub fn bundle(&self) -> Arc<TrustBundle> {
        self.identities.current().bundle().clone()
    }

    /// The handle that configurations are made from.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// How the source is doing, and each change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// Configurations and snapshots are had from the source directly.
impl Deref for X509Source {
    type Target = Identities;
    fn deref(&self) -> &Identities {
        &self.identities
    }
}

#[cfg(test)]
mod tests;
