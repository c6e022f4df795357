//! The task behind a source. One loop owns the certificate, the bundle and the folder; another follows the
//! trust bundle of the CA and passes it on. *When* to act is decided in `renewal`.

use std::sync::Arc;
use std::time::Duration;

use identity::{TrustBundle, VerifyError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Status;
use super::follow::follow;
use super::requester::{KeyStorage, Requester, admits, newer_bundle};
use crate::boot_time::Reading;
use crate::ca::check_order;
use crate::error::{AnswerError, Error};
use crate::identities::Snapshot;
use crate::renewal::{Backoff, Receipt, Stage, jitter};
use crate::svid::Svid;

/// Longest sleep: tokio's clock stops while the machine is suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Shortest sleep, in case a clock does not advance.
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);

pub(super) struct Keeper {
    requester: Requester,
    status: watch::Sender<Status>,
    /// Whether the fingerprint of the root may replace a bundle from the folder that does not admit the
    /// server; not where a bundle was given by hand.
    may_bootstrap: bool,
    /// A bundle of the CA that does not admit the present certificate; the next one takes it.
    awaited: Option<Arc<TrustBundle>>,
}

pub(super) type Newest = watch::Sender<Arc<Snapshot>>;

/// When to try to renew one certificate.
struct Plan {
    receipt: Receipt,
    renew_in: Duration,
    backoff: Backoff,
    /// Not before this, after a failure.
    retry_at: Option<Instant>,
    /// The CA has a bundle that does not admit the certificate.
    is_orphaned: bool,
}

impl Keeper {
    pub(super) fn new(requester: Requester, status: watch::Sender<Status>, may_bootstrap: bool) -> Self {
        Self {
            requester,
            status,
            may_bootstrap,
            awaited: None,
        }
    }

    /// The first certificate, within `deadline`: renewed with `own`, where there is one that may still be
    /// valid.
    pub(super) async fn first(&mut self, own: Option<Svid>, deadline: Duration) -> Result<Snapshot, Error> {
        let mut last = None;
        let result = tokio::time::timeout(deadline, self.first_attempts(own, &mut last)).await;
        let snapshot = match (result, last) {
            (Ok(result), _) => result?,
            (Err(_), Some(last)) => {
                return Err(Error::Deadline {
                    after: deadline,
                    last: Box::new(last),
                });
            }
            (Err(_), None) => {
                return Err(Error::Silent {
                    address: self.requester.ca.server().address().to_owned(),
                    after: deadline,
                });
            }
        };
        self.requester.store(&snapshot).await;
        Ok(snapshot)
    }

    async fn first_attempts(
        &mut self,
        mut own: Option<Svid>,
        last: &mut Option<Error>,
    ) -> Result<Snapshot, Error> {
        let mut backoff = Backoff::new();
        loop {
            let result = self
                .requester
                .obtain(own.as_ref(), KeyStorage::RequiredForToken)
                .await;
            match result {
                // The bundle in the folder may be older than the server's root; proof and fingerprint remain.
                Err(Error::Impostor { .. }) if own.is_some() && self.may_bootstrap => {
                    own = None;
                    self.requester.ca = self.requester.ca.clone().without_bundle();
                }
                Err(error) if error.may_pass() => {
                    let pause = backoff.pause(error.retry_after(), None, jitter());
                    tracing::info!(%error, ?pause, "no certificate yet");
                    *last = Some(error);
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// Keeps the certificate and the bundle fresh until it is aborted.
    pub(super) async fn run(self, newest: Newest) {
        let (sender, bundles) = mpsc::channel(1);
        let (ca, status) = (self.requester.ca.clone(), self.status.clone());
        tokio::join!(
            self.renew(&newest, bundles),
            follow(ca, &newest, &status, &sender)
        );
    }

    async fn renew(mut self, newest: &Newest, mut bundles: mpsc::Receiver<TrustBundle>) {
        let mut plan = self.plan(newest);
        loop {
            self.watch_clock(newest);
            if plan.is_due(&self.requester.now()) {
                plan = match self.attempt(newest, &plan).await {
                    Ok(()) => self.plan(newest),
                    Err(error) => self.failed(plan, newest, error),
                };
            }
            if self.requester.files.left().is_some_and(|left| left.is_zero()) {
                let snapshot = newest.borrow().clone();
                self.requester.store(&snapshot).await;
            }
            let pause = plan.left(&self.requester.now());
            let pause = self.requester.files.left().map_or(pause, |left| pause.min(left));
            tokio::select! {
                () = tokio::time::sleep(pause.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)) => {}
                Some(bundle) = bundles.recv() => {
                    plan.is_orphaned |= self.consider(bundle, newest).await;
                }
            }
        }
    }

    /// Plans the renewal of the newest certificate.
    fn plan(&mut self, newest: &Newest) -> Plan {
        let svid = newest.borrow().svid().clone();
        self.requester.files.limit_to(svid.receipt().life());
        let plan = Plan::of(svid.receipt().clone());
        let renew_at = plan.receipt.due_at(plan.renew_in, &self.requester.now());
        self.status.send_modify(|status| status.renew_at = Some(renew_at));
        plan
    }

    /// Reports when the wall clock begins or ends to differ from the CA's.
    fn watch_clock(&self, newest: &Newest) {
        let svid = newest.borrow().svid().clone();
        let (validity, now) = (svid.leaf().validity(), self.requester.now());
        let skew = svid.receipt().clock_skew(validity, &now);
        if skew.is_some() == self.status.borrow().clock_skew.is_some() {
            return;
        }
        match &skew {
            Some(skew) => tracing::warn!(id = %svid.id(), "{skew}"),
            None => tracing::info!(id = %svid.id(), "the clock of this machine agrees with the CA again"),
        }
        self.status.send_modify(|status| status.clock_skew = skew);
    }

    fn failed(&self, mut plan: Plan, newest: &Newest, error: Error) -> Plan {
        let left = plan.receipt.left(&self.requester.now());
        let pause = plan.backoff.pause(error.retry_after(), left, jitter());
        plan.retry_at = Some(Instant::now() + pause);
        let svid = newest.borrow().svid().clone();
        let until = svid.leaf().validity().not_after();
        tracing::warn!(id = %svid.id(), %until, %error, ?pause, "certificate not renewed");
        self.status
            .send_modify(|status| status.renewal_error = Some(Arc::new(error)));
        plan
    }

    async fn attempt(&mut self, newest: &Newest, plan: &Plan) -> Result<(), Error> {
        let current = newest.borrow().clone();
        // The bundle may have been followed since; the server is verified by the newest.
        self.requester.rely_on(current.bundle(), &plan.receipt);
        let is_lapsed = plan.receipt.stage(plan.renew_in, &self.requester.now()) == Stage::Lapsed;
        let own = Some(&**current.svid()).filter(|_| !is_lapsed);
        let next = self.requester.obtain(own, KeyStorage::Preferred).await?;
        let next = match self.awaited.take() {
            Some(awaited) if admits(&awaited, next.svid()).is_ok() => {
                self.report_bundle(None);
                newer_bundle(&next, &awaited)
            }
            _ => next,
        };
        tracing::info!(svid = ?next.svid(), "certificate renewed");
        self.requester.store(&next).await;
        newest.send_replace(Arc::new(next));
        self.status.send_modify(|status| {
            status.rotations += 1;
            status.renewal_error = None;
        });
        Ok(())
    }

    /// Takes a bundle of the CA, unless it is older than the present one. One that does not admit the present
    /// certificate waits for the next one; true if that is to be requested now.
    async fn consider(&mut self, bundle: TrustBundle, newest: &Newest) -> bool {
        let current = newest.borrow().clone();
        if let Err(error) = check_order(&bundle, current.bundle()) {
            self.report_bundle(Some(error));
            return false;
        }
        let is_new =
            bundle.roots() != current.bundle().roots() || bundle.sequence() != current.bundle().sequence();
        let bundle = Arc::new(bundle);
        if let Err(why) = admits(&bundle, current.svid()) {
            self.report_bundle(Some(AnswerError::OrphaningBundle {
                sequence: bundle.sequence(),
                why: VerifyError::clone(&why),
            }));
            self.awaited = Some(bundle);
            return true;
        }
        self.awaited = None;
        self.report_bundle(None);
        if bundle != *current.bundle() {
            tracing::info!(?bundle, "trust bundle changed");
            let snapshot = Arc::new(Snapshot::new(current.svid().clone(), bundle));
            newest.send_replace(snapshot.clone());
            if is_new {
                self.requester.store(&snapshot).await;
            }
        }
        false
    }

    fn report_bundle(&self, error: Option<AnswerError>) {
        if let Some(error) = &error {
            tracing::warn!(%error, "trust bundle not accepted");
        }
        let error = error.map(|error| Arc::new(Error::from(error)));
        self.status.send_modify(|status| status.bundle_error = error);
    }
}

impl Plan {
    fn of(receipt: Receipt) -> Self {
        Self {
            renew_in: receipt.renew_in(jitter()),
            backoff: Backoff::for_life(receipt.life()),
            receipt,
            retry_at: None,
            is_orphaned: false,
        }
    }

    fn is_due(&self, now: &Reading) -> bool {
        let may_try = self.retry_at.is_none_or(|at| Instant::now() >= at);
        let is_needed = self.is_orphaned || self.receipt.stage(self.renew_in, now) != Stage::Current;
        may_try && is_needed && self.receipt.permits_success(now)
    }

    /// Until it is worth to look again.
    fn left(&self, now: &Reading) -> Duration {
        let due_in = if self.is_orphaned {
            self.receipt.floor()
        } else {
            self.renew_in
        };
        let due = self.receipt.due_at(due_in, now) - now.wall;
        let due = Duration::try_from(due).unwrap_or_default();
        let retry = self
            .retry_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        due.max(retry.unwrap_or_default())
    }
}
