//! CRLs: one full list for each authority, from the first start, renewed at half of its span and immediately
//! when a certificate is revoked (RFC 5280 section 5). Certificates of one key with different subjects are
//! different issuers, so each has a list under its own name (section 6.3.3). The lists of a key share their
//! numbers, and a number is in the journal before its list is published, so that it never falls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use identity::{Clock, Dispute, Fingerprint, Serial};
use issuance::{AuthorityLocation, RevocationReason, Revoked};
use proto::Refusal;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::answer;
use super::signers::{Signer, SignerSet, Signers};
use crate::http::Published;
use crate::store::{Command, RevocationRow, Store};

/// From one update to the next.
pub const SPAN: Duration = Duration::from_secs(24 * 3600);
/// When a list is made anew though nothing changed.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);
/// When to try again after a list could not be made.
const RETRY: Duration = Duration::from_secs(2);

/// The lists in force, and the certificates that go with them.
pub struct Crls {
    store: Arc<dyn Store>,
    signers: Arc<Signers>,
    clock: Arc<dyn Clock>,
    published: Mutex<HashMap<AuthorityLocation, List>>,
}

#[derive(Clone)]
struct List {
    der: Bytes,
    /// The authority that signed it, under its certificate of that time.
    signer: Arc<Signer>,
    made_at: OffsetDateTime,
    revoked: Vec<Serial>,
}

impl Crls {
    /// No list yet.
    pub fn new(store: Arc<dyn Store>, signers: Arc<Signers>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            signers,
            clock,
            published: Mutex::default(),
        }
    }

    /// Brings every authority's list up to date, now, after each change of the store and after each dispute
    /// over the time, until the server stops.
    pub async fn keep(&self, mut disputes: watch::Receiver<Option<Dispute>>) {
        let mut changed = self.store.changed();
        loop {
            changed.mark_unchanged();
            disputes.mark_unchanged();
            // The change may be an activation that reached this task first: its signer must have a list now,
            // not in an hour. An authority that cannot be loaded is reported by the task that keeps the
            // server's certificate.
            let _ = self.signers.follow(self.store.as_ref(), self.clock.now());
            let pause = match self.update().await {
                Ok(()) => RENEWAL / 12,
                Err(refusal) => {
                    tracing::warn!("a CRL could not be made, trying again: {refusal}");
                    RETRY
                }
            };
            tokio::select! {
                alive = changed.changed() => if alive.is_err() { return },
                alive = disputes.changed() => if alive.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Makes what is missing, due, or no longer says what the store says; drops the lists of authorities that are gone.
    pub async fn update(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        // During a dispute a list is made only to show revocations: by the best known time, which never lies
        // before that of the list before it. One that merely gets old is remade afterwards.
        let may_renew = self.clock.dispute().is_none();
        let signers = self.signers.current();
        self.lists().retain(|location, _| signers.has_location(location));
        let mut outcome = Ok(());
        for signer in signers.crl_signers() {
            let revoked = self.revoked(&signers, signer.location());
            let serials: Vec<Serial> = revoked.iter().map(|entry| entry.serial).collect();
            let known = self.list(signer.location());
            let is_due = known.is_none_or(|list| {
                !Arc::ptr_eq(&list.signer, signer)
                    || list.revoked != serials
                    || may_renew && !(list.made_at..list.made_at + RENEWAL).contains(&now)
            });
            if is_due && signer.validity().contains(now) {
                let published = self.publish(signer, &revoked, serials, now).await;
                // The other authorities' lists do not depend on this one.
                outcome = outcome.and(published);
            }
        }
        outcome
    }

    async fn publish(
        &self,
        signer: &Arc<Signer>,
        revoked: &[Revoked],
        serials: Vec<Serial>,
        now: OffsetDateTime,
    ) -> Result<(), Refusal> {
        let authority = signer.key_id().to_vec();
        let number = self.store.read().crl_number(&authority) + 1;
        let der = signer
            .crl(number, now, now + SPAN, revoked)
            .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        let command = Command::PutCrl { authority, number };
        answer(self.store.submit(command)).await?;
        let list = List {
            der: der.into(),
            signer: Arc::clone(signer),
            made_at: now,
            revoked: serials,
        };
        self.lists().insert(signer.location().clone(), list);
        Ok(())
    }

    /// What the list there shows. A row of an earlier release does not say under which certificate of the key
    /// the revoked one was signed, nor does one whose issuer is forgotten: it is on every list of the key.
    fn revoked(&self, signers: &SignerSet, location: &AuthorityLocation) -> Vec<Revoked> {
        let is_listed = |row: &&RevocationRow| {
            let generation = row.authority_generation;
            let issuer = generation.and_then(|generation| signers.location_of(&row.authority, generation));
            row.authority == location.key_id() && issuer.is_none_or(|issuer| issuer == location)
        };
        self.store
            .read()
            .revocations()
            .filter(is_listed)
            .filter_map(|row| {
                Some(Revoked {
                    serial: Serial::from_bytes(&row.serial).ok()?,
                    at: OffsetDateTime::from_unix_timestamp(row.at).ok()?,
                    reason: row.reason.parse().unwrap_or(RevocationReason::Unspecified),
                })
            })
            .collect()
    }

    fn list(&self, location: &AuthorityLocation) -> Option<List> {
        self.lists().get(location).cloned()
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, HashMap<AuthorityLocation, List>> {
        self.published
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Published for Crls {
    fn crl(&self, location: &AuthorityLocation) -> Option<Bytes> {
        self.list(location).map(|list| list.der)
    }

    fn authority(&self, location: &AuthorityLocation) -> Option<Bytes> {
        let set = self.signers.current();
        let own = set.certificate_at(location)?;
        Some(Bytes::copy_from_slice(own))
    }

    fn root(&self, fingerprint: &Fingerprint) -> Option<Bytes> {
        let bundle = self.signers.bundle();
        bundle.root(fingerprint).map(|root| Bytes::copy_from_slice(root))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::RwLockReadGuard;

    use identity::Reason;

    use super::*;
    use crate::authority::bench::{A, Bench, NOW};
    use crate::store::{Answer, Entry, IssueFacts, Outcome, State, StoreError, Verdict};

    struct At(OffsetDateTime);

    impl Clock for At {
        fn now(&self) -> OffsetDateTime {
            self.0
        }
    }

    #[tokio::test]
    async fn the_list_of_an_authority_is_there_until_it_is_gone() {
        let bench = Bench::new().await;
        let location = |bench: &Bench| bench.signers.current().active().unwrap().location().clone();
        let old = location(&bench);
        let crls = Crls::new(
            Arc::clone(&bench.store),
            Arc::clone(&bench.signers),
            Arc::new(At(NOW)),
        );
        bench.renew_authority().await;
        crls.update().await.unwrap();
        assert!(crls.crl(&old).is_some() && crls.crl(&location(&bench)).is_some());

        // It signed no leaf that is still out.
        bench.later(SPAN);
        bench.submit(Command::Prune).await;
        bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
        crls.update().await.unwrap();
        assert!(crls.crl(&old).is_none() && crls.crl(&location(&bench)).is_some());
    }

    /// A clock whose time a test sets, and disputes.
    struct Disputable(Mutex<(OffsetDateTime, bool)>);

    impl Clock for Disputable {
        fn now(&self) -> OffsetDateTime {
            self.0.lock().unwrap().0
        }

        fn dispute(&self) -> Option<Dispute> {
            let (now, is_disputed) = *self.0.lock().unwrap();
            is_disputed.then(|| Dispute {
                wall: now + SPAN,
                expected: now,
                witness: identity::Witness::BootClock,
            })
        }
    }

    #[tokio::test]
    async fn during_a_dispute_a_list_is_made_for_a_revocation_and_not_for_its_age() {
        let bench = Bench::new().await;
        let registration = serde_json::json!({ "spiffeId": A, "callers": ["token"] });
        bench.apply("a", registration).await;
        let issuance = bench.enrol("t1", A, "a").await;
        let clock = Arc::new(Disputable(Mutex::new((NOW, false))));
        let crls = Crls::new(
            Arc::clone(&bench.store),
            Arc::clone(&bench.signers),
            Arc::<Disputable>::clone(&clock),
        );
        let location = bench.signers.current().active().unwrap().location().clone();
        crls.update().await.unwrap();
        let first = crls.crl(&location);

        *clock.0.lock().unwrap() = (NOW + SPAN, true);
        crls.update().await.unwrap();
        assert_eq!(crls.crl(&location), first, "it is only old");
        bench.revoke(&issuance).await;
        crls.update().await.unwrap();
        let second = crls.crl(&location);
        assert_ne!(second, first, "it does not show the revocation");

        // A clock that was ahead is set back: the list begins in the future.
        *clock.0.lock().unwrap() = (NOW, false);
        crls.update().await.unwrap();
        assert_ne!(crls.crl(&location), second);
    }

    /// A store that records no CRL of one authority.
    struct Refusing {
        store: Arc<dyn Store>,
        authority: Vec<u8>,
    }

    impl Store for Refusing {
        fn read(&self) -> RwLockReadGuard<'_, State> {
            self.store.read()
        }
        fn submit(&self, command: Command) -> Answer<Outcome> {
            self.store.submit(match command {
                // The writer refuses a number that is not greater than the last.
                Command::PutCrl { authority, .. } if authority == self.authority => {
                    Command::PutCrl { authority, number: 0 }
                }
                other => other,
            })
        }
        fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
            self.store.entry(position)
        }
        fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
            self.store.find(field, fingerprint)
        }
        fn judge(&self, facts: &IssueFacts) -> Result<Verdict, Refusal> {
            self.store.judge(facts)
        }
        fn head(&self) -> journal::Head {
            self.store.head()
        }
        fn changed(&self) -> watch::Receiver<u64> {
            self.store.changed()
        }
        fn health(&self) -> watch::Receiver<Option<String>> {
            self.store.health()
        }
        fn failure(&self) -> watch::Receiver<Option<String>> {
            self.store.failure()
        }
        fn close(&self) -> Result<(), StoreError> {
            self.store.close()
        }
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_made_does_not_hold_up_those_of_other_authorities() {
        let bench = Bench::new().await;
        let active = |bench: &Bench| bench.signers.current().active().unwrap().location().clone();
        let first = active(&bench);
        bench.renew_authority().await;
        let second = active(&bench);
        // Whichever comes first, the other one is made.
        for (refused, made) in [(&first, &second), (&second, &first)] {
            let store = Arc::new(Refusing {
                store: Arc::clone(&bench.store),
                authority: refused.key_id().to_vec(),
            });
            let crls = Crls::new(store, Arc::clone(&bench.signers), Arc::new(At(NOW)));
            assert_eq!(crls.update().await.unwrap_err().reason(), Reason::Conflict);
            assert!(crls.crl(refused).is_none());
            assert!(crls.crl(made).is_some());
        }
    }
}
