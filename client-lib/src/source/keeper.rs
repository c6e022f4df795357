//! The task behind a source: two loops, one that renews and one that follows the trust bundle. *When* is decided in `renewal`.

use std::sync::Arc;
use std::time::Duration;

use identity::{Clock as _, Reason, SystemClock, TrustBundle, Usage};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::Status;
use crate::ca::{Ca, Wish};
use crate::error::Error;
use crate::folder::{Folder, FolderError, Stored};
use crate::identities::Snapshot;
use crate::key::{KeyType, PrivateKey};
use crate::proof::Proof;
use crate::renewal::{self, Backoff, Stage, jitter};
use crate::svid::{Svid, SvidRefused};

/// Longest sleep: the wall clock may be set while we sleep, and suspended machines do not count the time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

pub(super) struct Keeper {
    ca: Ca,
    proof: Proof,
    wish: Wish,
    key_type: KeyType,
    folder: Option<Folder>,
    /// The key that was sent and not answered. A lost answer is asked for again with it.
    pending: Option<PrivateKey>,
}

type Newest = watch::Sender<Arc<Snapshot>>;

impl Keeper {
    pub(super) fn new(ca: Ca, proof: Proof, wish: Wish, key_type: KeyType, folder: Option<Folder>) -> Self {
        Self {
            ca,
            proof,
            wish,
            key_type,
            folder,
            pending: None,
        }
    }

    /// The first certificate, within `deadline`.
    pub(super) async fn first(&mut self, deadline: Duration) -> Result<Snapshot, Error> {
        let mut last = None;
        let attempts = async {
            let mut backoff = Backoff::new();
            loop {
                match self.enrol().await {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(e) if !e.may_pass() => return Err(e),
                    Err(e) => {
                        let pause = backoff.pause(e.retry_after(), jitter());
                        tracing::info!(error = %e, ?pause, "no certificate yet");
                        last = Some(e);
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        };
        match tokio::time::timeout(deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(match last {
                Some(last) => Error::Deadline {
                    after: deadline,
                    last: Box::new(last),
                },
                None => Error::Silent {
                    address: self.ca.server().address().to_owned(),
                    after: deadline,
                },
            }),
        }
    }

    /// Keeps the certificate and the bundle fresh for ever.
    pub(super) async fn run(self, newest: Newest, status: watch::Sender<Status>) {
        let follower = self.ca.clone();
        tokio::join!(self.renew(&newest, &status), follow(follower, &newest, &status));
    }

    async fn renew(mut self, newest: &Newest, status: &watch::Sender<Status>) {
        loop {
            let svid = newest.borrow().svid().clone();
            let due = renewal::renew_at(svid.leaf().validity(), jitter());
            status.send_modify(|s| s.renew_at = Some(due));
            wait_until_due(due, newest).await;
            let mut backoff = Backoff::for_life(svid.leaf().validity());
            while let Err(error) = self.attempt(&svid, newest, status).await {
                let pause = backoff.pause(error.retry_after(), jitter());
                let until = svid.leaf().validity().not_after();
                tracing::warn!(id = %svid.id(), %until, %error, ?pause, "certificate not renewed");
                status.send_modify(|s| s.renewal_error = Some(Arc::new(error)));
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn attempt(
        &mut self,
        own: &Svid,
        newest: &Newest,
        status: &watch::Sender<Status>,
    ) -> Result<(), Error> {
        // The bundle may have been followed since; the server is verified by the newest.
        self.ca = self.ca.clone().trusting(newest.borrow().bundle().clone());
        let next = match self.renew_own(own).await {
            // The server's clock may run ahead of ours.
            Err(Error::Refused(refusal)) if refusal.reason() == Reason::CertificateExpired => {
                self.enrol().await?
            }
            other => other?,
        };
        tracing::info!(svid = ?next.svid(), "certificate renewed");
        newest.send_modify(|current| *current = Arc::new(newer_bundle(&next, current.bundle())));
        status.send_modify(|s| {
            s.rotations += 1;
            s.renewal_error = None;
        });
        Ok(())
    }

    async fn renew_own(&mut self, own: &Svid) -> Result<Snapshot, Error> {
        let validity = own.leaf().validity();
        let now = SystemClock.now();
        if renewal::stage(validity, validity.middle(), now) == Stage::Lapsed {
            return self.enrol().await;
        }
        let key = self.pending_key().await?;
        let answer = self.ca.renew(own, &key, &self.wish).await;
        self.answered(answer).await
    }

    async fn enrol(&mut self) -> Result<Snapshot, Error> {
        let key = self.pending_key().await?;
        let answer = self.ca.enrol(&self.proof, &key, &self.wish).await;
        self.answered(answer).await
    }

    /// The key of a request that was not answered, or a fresh one.
    async fn pending_key(&mut self) -> Result<PrivateKey, Error> {
        if let Some(key) = &self.pending {
            return Ok(key.clone());
        }
        let key_type = self.key_type;
        let key = match self.folder.clone() {
            Some(folder) => blocking(move || folder.pending_key(key_type)).await?,
            None => PrivateKey::generate(key_type)?,
        };
        self.pending = Some(key.clone());
        Ok(key)
    }

    /// Stores a certificate that came; forgets a key that will never be accepted; keeps it in all other cases.
    async fn answered(&mut self, answer: Result<Snapshot, Error>) -> Result<Snapshot, Error> {
        let answer = answer.and_then(|snapshot| self.judged(snapshot));
        match &answer {
            Ok(snapshot) => {
                self.pending = None;
                // A full disk must not cost the identity: the certificate is used all the same.
                if let Err(error) = self.store(snapshot).await {
                    tracing::warn!(%error, "certificate is used but not stored");
                }
            }
            Err(error) if error.reason().is_about_the_key() => {
                self.pending = None;
                if let Some(folder) = self.folder.clone() {
                    blocking(move || folder.forget_pending()).await?;
                }
            }
            Err(_) => {}
        }
        answer
    }

    /// Peers may have a newer bundle than the answer: what that one does not admit is not put to use.
    fn judged(&self, answer: Snapshot) -> Result<Snapshot, Error> {
        let Some(known) = self.ca.known_bundle() else {
            return Ok(answer);
        };
        let snapshot = newer_bundle(&answer, known);
        let chain = snapshot.svid().chain();
        let verdict = snapshot
            .verifier()
            .verify(chain, Usage::Client, SystemClock.now());
        verdict.map_err(SvidRefused::from)?;
        Ok(snapshot)
    }

    async fn store(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let stored = Stored::of(snapshot, self.ca.server(), self.wish.life);
        blocking(move || folder.write(&stored)).await
    }
}

/// The SVID of `snapshot` with its bundle or the `other`, whichever is newer.
fn newer_bundle(snapshot: &Snapshot, other: &Arc<TrustBundle>) -> Snapshot {
    let own = snapshot.bundle();
    let bundle = if own.sequence() >= other.sequence() {
        own
    } else {
        other
    };
    Snapshot::new(snapshot.svid().clone(), bundle.clone())
}

/// Runs file work where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FolderError> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.expect("folder code does not panic and is not aborted")?)
}

/// Waits for the time, or for a bundle under which the own certificate no longer counts.
async fn wait_until_due(due: OffsetDateTime, newest: &Newest) {
    let mut changes = newest.subscribe();
    loop {
        let now = SystemClock.now();
        let orphaned = {
            let snapshot = changes.borrow_and_update().clone();
            let chain = snapshot.svid().chain();
            snapshot.verifier().verify(chain, Usage::Client, now).is_err()
        };
        let left = Duration::try_from(due - now).unwrap_or(Duration::ZERO);
        if left.is_zero() || orphaned {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            _ = changes.changed() => {}
        }
    }
}

/// Subscribes to the bundle, again and again.
async fn follow(mut ca: Ca, newest: &Newest, status: &watch::Sender<Status>) {
    let mut backoff = Backoff::new();
    loop {
        ca = ca.trusting(newest.borrow().bundle().clone());
        let error = follow_once(&mut ca, newest, status, &mut backoff).await.err();
        let pause = backoff.pause(error.as_ref().and_then(Error::retry_after), jitter());
        if let Some(error) = error {
            tracing::info!(%error, ?pause, "trust bundle not followed");
            status.send_modify(|s| s.bundle_error = Some(Arc::new(error)));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Publishes what one stream brings until it ends.
async fn follow_once(
    ca: &mut Ca,
    newest: &Newest,
    status: &watch::Sender<Status>,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    let mut stream = ca.watch_bundle().await?;
    while let Some(bundle) = stream.next().await? {
        *backoff = Backoff::new();
        status.send_modify(|s| s.bundle_error = None);
        newest.send_if_modified(|current| {
            let changed = **current.bundle() != bundle;
            if changed {
                tracing::info!(?bundle, "trust bundle changed");
                *current = Arc::new(Snapshot::new(current.svid().clone(), Arc::new(bundle)));
            }
            changed
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeCa, WEB, root};

    #[tokio::test]
    async fn an_answer_that_a_newer_bundle_does_not_admit_is_refused_and_its_key_kept() {
        let fake = FakeCa::start().await;
        let newer = Arc::new(root().bundle().with_sequence(7));
        let proof = Proof::token(fake.token());
        let ca = fake.client().trusting(newer);
        let mut keeper = Keeper::new(ca, proof, Wish::default(), KeyType::P256, None);
        let key = keeper.pending_key().await.unwrap();
        let answer = fake.root.snapshot(WEB, Duration::from_secs(60));
        let refused = keeper.answered(Ok(answer.clone())).await;
        assert!(matches!(refused, Err(Error::Svid(_))));
        assert_eq!(keeper.pending_key().await.unwrap().digest(), key.digest());
        keeper.ca = fake.client();
        assert!(keeper.answered(Ok(answer)).await.is_ok());
        assert_ne!(keeper.pending_key().await.unwrap().digest(), key.digest());
    }
}
