//! Follows the trust bundle of the CA. A stream that ends is opened again after a pause that grows, unless it
//! lasted.

use std::sync::Arc;
use std::time::Duration;

use identity::TrustBundle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Status;
use super::keeper::Newest;
use crate::ca::Ca;
use crate::error::Error;
use crate::renewal::{Backoff, jitter};

/// A stream that was open for this long has not failed early.
const LASTING: Duration = Duration::from_secs(60);

/// Subscribes to the bundle, again and again, and passes on each state of it.
pub(super) async fn follow(
    mut ca: Ca,
    newest: &Newest,
    status: &watch::Sender<Status>,
    bundles: &mpsc::Sender<TrustBundle>,
) {
    let mut backoff = Backoff::new();
    loop {
        let current = newest.borrow().clone();
        ca = ca
            .trusting(current.bundle().clone())
            .timed_by(current.svid().receipt());
        let started = Instant::now();
        let error = follow_once(&mut ca, bundles).await.err();
        if started.elapsed() >= LASTING {
            backoff = Backoff::new();
        }
        let pause = backoff.pause(error.as_ref().and_then(Error::retry_after), None, jitter());
        if let Some(error) = error {
            tracing::info!(%error, ?pause, "trust bundle not followed");
            status.send_modify(|s| s.bundle_error = Some(Arc::new(error)));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Passes on the messages of one stream until it ends.
async fn follow_once(ca: &mut Ca, bundles: &mpsc::Sender<TrustBundle>) -> Result<(), Error> {
    let mut stream = ca.watch_bundle().await?;
    while let Some(bundle) = stream.next().await? {
        // The receiver ends together with this task.
        if bundles.send(bundle).await.is_err() {
            break;
        }
    }
    Ok(())
}
