//! From a signed certificate to its entry in the record, and what is said of it: metrics and the audit line. Who asked may hang up at
//! any moment; a certificate that is recorded nevertheless is told of nevertheless.

use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::Clock;
use issuance::ProfileName;
use proto::Refusal;

use crate::audit::{Audit, Decision, Line};
use crate::caller::Attested;
use crate::metrics::Metrics;
use crate::store::{Answer, Issued, Outcome, Store};

/// A recorded certificate, and how it came about.
pub(super) struct Recorded {
    pub(super) issued: Issued,
    pub(super) position: u64,
    pub(super) replayed: bool,
    pub(super) fork: bool,
}

/// Counts what was recorded and writes it down for log collectors.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) audit: Arc<Audit>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A certificate that the writer has, and has not answered yet.
pub(super) struct Handed<'a> {
    pub(super) teller: &'a Teller,
    pub(super) attested: &'a Attested,
    pub(super) began: Instant,
    pub(super) issued: Issued,
    pub(super) answer: Option<Answer<Outcome>>,
}

impl Teller {
    /// Tells of one certificate.
    pub(super) fn note(&self, recorded: &Recorded, attested: &Attested, took: Duration) {
        let Recorded {
            issued,
            position,
            replayed,
            fork,
        } = recorded;
        let serial = identity::Serial::from_bytes(&issued.serial).ok();
        let line = |decision| Line {
            identity: Some(issued.spiffe_id.clone()),
            serial,
            parent: identity::Serial::from_bytes(&issued.parent).ok(),
            method: Some(attested.method()),
            registration: Some(issued.registration.clone()),
            position: Some(*position),
            head: Some(self.store.head().hash),
            ..Line::new(self.clock.now(), decision, issued.caller.clone())
        };
        if *replayed {
            self.metrics.replayed();
            self.audit.write(line(Decision::Replayed));
            return;
        }
        let profile = ProfileName::from_word(&issued.profile).unwrap_or(ProfileName::Workload);
        self.metrics.issued(profile, attested.method(), took);
        self.audit.write(line(Decision::Issued));
        if let (true, Attested::Own(parent)) = (*fork, attested) {
            self.metrics.forked();
            self.audit.forked(parent.serial(), || Line {
                parent: Some(parent.serial()),
                message: Some("a second key was renewed from one certificate".to_owned()),
                ..line(Decision::Forked)
            });
        }
    }
}

impl Handed<'_> {
    /// The writer's answer, and the certificate that it speaks of.
    pub(super) async fn decided(mut self) -> (Result<Outcome, Refusal>, Issued) {
        let outcome = match &mut self.answer {
            Some(waiting) => waiting.decided().await,
            None => Ok(Outcome::Done),
        };
        // The journal does not answer: the certificate may still be recorded, and is then counted and
        // audited.
        if self.answer.as_ref().is_some_and(Answer::is_open) {
            return (outcome, Issued::default());
        }
        self.answer = None;
        (outcome, std::mem::take(&mut self.issued))
    }
}

/// Dropped before the answer: who asked has hung up. Somebody waits in its place.
impl Drop for Handed<'_> {
    fn drop(&mut self) {
        let (Some(waiting), Ok(runtime)) = (self.answer.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (teller, attested, began) = (self.teller.clone(), self.attested.clone(), self.began);
        let issued = std::mem::take(&mut self.issued);
        runtime.spawn(async move {
            if let Ok(Outcome::Recorded { position, fork }) = waiting.settled().await {
                let recorded = Recorded {
                    issued,
                    position,
                    replayed: false,
                    fork,
                };
                teller.note(&recorded, &attested, began.elapsed());
            }
        });
    }
}
