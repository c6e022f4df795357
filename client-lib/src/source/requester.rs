//! The requests of a source: renewal with its certificate, enrolment with its proof, and the keys for both.

use std::sync::Arc;
use std::time::Duration;

use identity::{Fingerprint, KeyDigest, Reason, TrustBundle};
use proto::Refusal;

use super::files::Files;
use crate::boot_time::{BootTime, Reading};
use crate::ca::{Ca, Issued, Wish};
use crate::error::Error;
use crate::folder::{PendingKey, Stored};
use crate::identities::Snapshot;
use crate::key::{KeyType, PrivateKey};
use crate::proof::Proof;
use crate::renewal::Receipt;
use crate::svid::{Svid, SvidRefused};

/// So many keys that were used are remembered, in case the folder still offers one of them.
const USED_KEYS: usize = 4;

/// A client of the CA with its proof and its keys.
pub(super) struct Requester {
    pub(super) ca: Ca,
    pub(super) files: Files,
    proof: Proof,
    wish: Wish,
    key_type: KeyType,
    /// The key that was sent and not answered. A lost answer is asked for again with it.
    pending: Option<Sent>,
    /// Keys that have a certificate, or that the CA refuses.
    used: Vec<KeyDigest>,
    /// The proof of the last enrolment.
    enrolled_with: Option<Fingerprint>,
    /// A join token that the CA refused.
    rejected: Option<Fingerprint>,
    /// The refusal of a certificate that was revoked, with the proof that it came from.
    revoked: Option<(Fingerprint, Refusal)>,
}

/// A key since its first use.
struct Sent {
    key: PrivateKey,
    since: BootTime,
    /// Its age at that time.
    age: Duration,
}

/// How a key is kept until its request is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyStorage {
    /// In memory, if the folder cannot be written: the identity goes on, and only a crash before the
    /// certificate is stored makes the next key a fork.
    Preferred,
    /// In the folder, before a join token is spent on it: a crash would take the identity, and the token is
    /// gone.
    RequiredForToken,
}

impl Requester {
    pub(super) fn new(ca: Ca, proof: Proof, wish: Wish, key_type: KeyType, files: Files) -> Self {
        Self {
            ca,
            files,
            proof,
            wish,
            key_type,
            pending: None,
            used: Vec::new(),
            enrolled_with: None,
            rejected: None,
            revoked: None,
        }
    }

    /// The same, whose present certificate was enrolled with the proof of this fingerprint.
    pub(super) fn enrolled_with(self, proof: Option<Fingerprint>) -> Self {
        Self {
            enrolled_with: proof,
            ..self
        }
    }

    /// Verifies the server by this bundle and by the time of this receipt from now on.
    pub(super) fn rely_on(&mut self, bundle: &Arc<TrustBundle>, receipt: &Receipt) {
        self.ca = self.ca.clone().trusting(bundle.clone()).timed_by(receipt);
    }

    /// The next certificate: renewed with `own`, or enrolled where there is none, and where the CA refuses to
    /// renew and another proof may help.
    pub(super) async fn obtain(&mut self, own: Option<&Svid>, keys: KeyStorage) -> Result<Snapshot, Error> {
        let Some(own) = own else {
            return self.enrol(keys).await;
        };
        let refusal = match self.renew(own).await {
            Err(Error::Refused(refusal)) if calls_for_enrolment(refusal.reason()) => refusal,
            result => return result,
        };
        if let (Reason::CertificateRevoked, Some(proof)) = (refusal.reason(), self.enrolled_with) {
            self.revoked = Some((proof, refusal.clone()));
        }
        if !self.may_enrol(own, refusal.reason()) {
            return Err(refusal.into());
        }
        tracing::warn!(id = %own.id(), %refusal, "renewal refused, enrolling again");
        self.enrol(keys).await
    }

    async fn renew(&mut self, own: &Svid) -> Result<Snapshot, Error> {
        self.mark_used(own.key().digest());
        let key = self.key(KeyStorage::Preferred).await?;
        let request = key.request(Some(own.id()), &self.wish.dns_names)?;
        let issued = self.ca.issue_next(own, &request, &self.wish).await;
        self.answered(issued, Some(own.receipt())).await
    }

    async fn enrol(&mut self, keys: KeyStorage) -> Result<Snapshot, Error> {
        let fingerprint = self.proof.fingerprint()?;
        // Nor does it help when the revoked certificate has expired.
        if let Some((_, refusal)) = self.revoked.as_ref().filter(|(proof, _)| *proof == fingerprint) {
            return Err(refusal.clone().into());
        }
        let key = self.key(keys).await?;
        let request = key.request(self.wish.spiffe_id.as_ref(), &self.wish.dns_names)?;
        let issued = self.ca.issue(&self.proof, &request, &self.wish).await;
        let result = self.answered(issued, None).await;
        match &result {
            Ok(_) => self.enrolled_with = Some(fingerprint),
            Err(error) if is_final_for_a_token(error.reason()) => self.rejected = Some(fingerprint),
            Err(_) => {}
        }
        result
    }

    /// Whether the proof may help where renewal with `own` was refused. A token is never spent twice, and a
    /// certificate that was revoked takes a proof other than the one it came from.
    fn may_enrol(&self, own: &Svid, reason: Reason) -> bool {
        let Ok(proof) = self.proof.fingerprint() else {
            return false;
        };
        let is_new = self.enrolled_with != Some(proof);
        let is_own = own
            .chain()
            .first()
            .is_some_and(|leaf| Fingerprint::of(leaf) == proof);
        if is_own || self.rejected == Some(proof) {
            return false;
        }
        match reason {
            Reason::CertificateRevoked => is_new && self.enrolled_with.is_some(),
            _ => is_new || !self.proof.is_single_use(),
        }
    }

    /// The key of a request that was not answered, or a fresh one.
    pub(super) async fn key(&mut self, keys: KeyStorage) -> Result<PrivateKey, Error> {
        if let Some(sent) = &self.pending {
            return Ok(sent.key.clone());
        }
        let (kind, used) = (self.key_type, self.used.clone());
        let pending = match self.files.run(move |folder| folder.next_key(kind, &used)).await {
            Some(Ok(pending)) => pending,
            Some(Err(error)) if keys == KeyStorage::RequiredForToken && self.proof.is_single_use() => {
                return Err(error.into());
            }
            Some(Err(error)) => {
                self.files.report(error);
                fresh(kind)?
            }
            None => fresh(kind)?,
        };
        let key = pending.key.clone();
        self.pending = Some(Sent {
            key: pending.key,
            since: BootTime::now(),
            age: pending.age,
        });
        Ok(key)
    }

    /// Writes a certificate into the folder, where there is one.
    pub(super) async fn store(&mut self, snapshot: &Snapshot) {
        let stored = Stored::of(snapshot, self.ca.server(), self.wish.life).enrolled_with(self.enrolled_with);
        let pending = self.pending.as_ref().map(|sent| sent.key.digest());
        let serial = snapshot.svid().leaf().serial();
        self.files.store(stored, serial, pending).await;
    }

    /// Takes a certificate that arrived; gives up a key that will never be accepted; keeps the key in all
    /// other cases.
    async fn answered(
        &mut self,
        answer: Result<Issued, Error>,
        known: Option<&Receipt>,
    ) -> Result<Snapshot, Error> {
        let snapshot = answer.and_then(|issued| self.verified(issued, known));
        match &snapshot {
            Ok(snapshot) => {
                self.mark_used(snapshot.svid().key().digest());
                self.pending = None;
            }
            Err(error) if error.reason().is_about_the_key() => {
                if let Some(sent) = self.pending.take() {
                    self.mark_used(sent.key.digest());
                }
                // If it cannot be removed, it is known as used all the same.
                let _ = self.files.run(|folder| folder.forget_pending()).await;
            }
            Err(_) => {}
        }
        snapshot
    }

    /// The bundle may be newer than the answer: a certificate that it does not admit is not used.
    pub(super) fn verified(&self, issued: Issued, known: Option<&Receipt>) -> Result<Snapshot, Error> {
        let sent = self
            .pending
            .as_ref()
            .ok_or(crate::error::AnswerError::Missing("key"))?;
        let asked = sent.age + issued.at.boot.since(&sent.since).unwrap_or_default();
        let snapshot = issued.snapshot(&sent.key, asked, known)?;
        let Some(known) = self.ca.known_bundle() else {
            return Ok(snapshot);
        };
        let snapshot = newer_bundle(&snapshot, known);
        admits(snapshot.bundle(), snapshot.svid()).map_err(SvidRefused::from)?;
        Ok(snapshot)
    }

    fn mark_used(&mut self, digest: KeyDigest) {
        if !self.used.contains(&digest) {
            self.used.push(digest);
            let surplus = self.used.len().saturating_sub(USED_KEYS);
            self.used.drain(..surplus);
        }
    }

    /// The clocks of this machine.
    pub(super) fn now(&self) -> Reading {
        self.ca.clock().read()
    }
}

/// The SVID of `snapshot` with its bundle or the `other`, whichever is newer.
pub(super) fn newer_bundle(snapshot: &Snapshot, other: &Arc<TrustBundle>) -> Snapshot {
    let own = snapshot.bundle();
    let bundle = if own.sequence() >= other.sequence() {
        own
    } else {
        other
    };
    Snapshot::new(snapshot.svid().clone(), bundle.clone())
}

/// Whether the bundle admits the certificate, its time aside.
pub(super) fn admits(bundle: &TrustBundle, own: &Svid) -> Result<(), identity::VerifyError> {
    let verifier = identity::PeerVerifier::new(bundle);
    let at = own.receipt().ca_time();
    verifier
        .verify(own.chain(), identity::Usage::Client, at)
        .map(|_| ())
}

fn fresh(kind: KeyType) -> Result<PendingKey, Error> {
    Ok(PendingKey {
        key: PrivateKey::generate(kind)?,
        age: Duration::ZERO,
    })
}

/// Refusals of a renewal that another proof may answer: the certificate, or the registration that granted it,
/// is not valid. One that is not valid yet was issued while the clock of the CA was ahead, and may not become
/// valid for days.
fn calls_for_enrolment(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CertificateExpired
            | Reason::CertificateNotYetValid
            | Reason::CertificateUntrusted
            | Reason::CertificateNotSvid
            | Reason::CertificateRevoked
            | Reason::IdentityNotGranted
            | Reason::NameNotGranted
    )
}

/// Refusals after which the same token is never accepted.
fn is_final_for_a_token(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenRevoked | Reason::TokenSpent
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::fake::{FakeCa, WEB, root, uri};
    use crate::source::Status;

    #[tokio::test]
    async fn an_answer_that_a_newer_bundle_does_not_admit_is_refused_and_its_key_kept() {
        let fake = FakeCa::start().await;
        let newer = Arc::new(root().bundle().with_sequence(7));
        let proof = Proof::token(fake.token());
        let ca = fake.client().trusting(newer);
        let files = Files::new(None, watch::channel(Status::default()).0);
        let mut requester = Requester::new(ca, proof, Wish::default(), KeyType::P256, files);
        let (leaf, key) = fake.root.leaf(vec![uri(WEB)], Duration::from_secs(60));
        requester.pending = Some(Sent {
            key: key.clone(),
            since: BootTime::now(),
            age: Duration::ZERO,
        });
        let answer = Issued {
            chain: vec![leaf],
            bundle: fake.root.bundle(),
            renew_after: None,
            life_clipped: false,
            requested: None,
            at: Reading::now(),
        };
        let refused = requester.answered(Ok(answer.clone()), None).await;
        assert!(matches!(refused, Err(Error::Svid(_))));
        let kept = requester.key(KeyStorage::Preferred).await.unwrap();
        assert_eq!(kept.digest(), key.digest());
        requester.ca = fake.client();
        assert!(requester.answered(Ok(answer), None).await.is_ok());
        let next = requester.key(KeyStorage::Preferred).await.unwrap();
        assert_ne!(next.digest(), key.digest());
    }
}
