//! `authority.issue`: from proof and CSR to a certificate, the only door to an end-entity certificate for callers. The numbers in
//! the comments are those of docs/ISSUANCE.md.

mod repeat;

use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{Reason, SpiffeId, TrustBundle, Validity};
use issuance::{Draft, VerifiedCsr};
use proto::Refusal;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::record::{Handed, Recorded};
use super::signers::Signer;
use super::{Authority, wish};
use crate::audit::Audit;
use crate::caller::{Attested, Evidence};
use crate::clock::require_undisputed;
use crate::registration::{Grant, Wish};
use crate::store::{self, Command, IssueCommand, IssueFacts, Outcome, Verdict};

/// How often a request is authorized anew because the registration changed between the decision and the record.
const ATTEMPTS: usize = 3;

/// What a front end decoded.
#[derive(Clone, Debug)]
pub struct IssueRequest<'a> {
    /// PKCS#10, DER or PEM, unverified.
    pub csr: &'a [u8],
    /// The identity wished for, where the request names one.
    pub spiffe_id: Option<SpiffeId>,
    /// The life wished for, where the request names one.
    pub life: Option<Duration>,
    /// See [`Wish::clip_life`].
    pub clip_life: bool,
}

/// A certificate that may leave: its entry is on disk.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots to judge peers by.
    pub bundle: Arc<TrustBundle>,
    /// From when until when the leaf counts.
    pub validity: Validity,
    /// The authority ends before the life wished for.
    pub life_clipped: bool,
}

/// A refusal, and who was refused where that is known.
struct Refused {
    refusal: Refusal,
    caller: Option<(String, &'static str)>,
}

/// A request whose caller and CSR are proved.
struct Call<'a> {
    attested: &'a Attested,
    wish: Wish<'a>,
    began: Instant,
}

impl Authority {
    /// Issues one certificate, or says why not. Each refusal is counted here, once.
    pub async fn issue(
        &self,
        evidence: Evidence<'_>,
        request: &IssueRequest<'_>,
    ) -> Result<Issuance, Refusal> {
        let began = Instant::now();
        let connection = evidence.connection;
        match self.cycle(evidence, request, began).await {
            Ok(issuance) => Ok(issuance),
            Err(Refused {
                refusal,
                caller: None,
            }) => Err(self.refuse_early(connection, refusal)),
            Err(Refused {
                refusal,
                caller: Some((caller, method)),
            }) => {
                self.metrics.refused(refusal.reason());
                self.audit.refused(&refusal, &caller, |line| {
                    line.method = Some(method);
                    line.identity = request.spiffe_id.as_ref().map(ToString::to_string);
                });
                Err(refusal)
            }
        }
    }

    async fn cycle(
        &self,
        evidence: Evidence<'_>,
        request: &IssueRequest<'_>,
        began: Instant,
    ) -> Result<Issuance, Refused> {
        // 1. Limit: bytes and requests in flight were counted at the door; nothing is parsed of a CSR that is too large.
        if request.csr.len() > issuance::MAX_BYTES {
            return Err(Refused::early(too_large(request.csr.len())));
        }
        // No proof can be verified, and nothing signed, by a time that may be wrong.
        require_undisputed(self.clock.as_ref()).map_err(Refused::early)?;
        // 2. Authenticate.
        let now = self.clock.now();
        let attestation = self.callers.attest(evidence, now).map_err(Refused::early)?;
        if attestation.bearer_ignored {
            self.metrics.bearer_ignored();
        }
        let attested = attestation.attested;
        self.registrations.agree(&attested).map_err(Refused::early)?;
        // 3. Verify the CSR.
        let csr = VerifiedCsr::parse(request.csr)
            .map_err(|e| Refused::early(Refusal::new(e.reason(), format!("CSR: {e}"))))?;
        let wish = Wish {
            spiffe_id: request.spiffe_id.as_ref(),
            csr: &csr,
            life: request.life,
            clip_life: request.clip_life,
        };
        let call = Call {
            attested: &attested,
            wish,
            began,
        };
        let recorded = self
            .authorize_and_record(&call)
            .await
            .inspect_err(|refusal| self.note_fork(refusal))
            .map_err(|refusal| Refused::of(&attested, refusal))?;
        // 8. Audit.
        self.teller.note(&recorded, &attested, began.elapsed());
        // 9. Answer.
        self.answer(recorded.issued)
            .map_err(|refusal| Refused::of(&attested, refusal))
    }

    /// Steps 4 to 7; once more where the registration changed in between.
    async fn authorize_and_record(&self, call: &Call<'_>) -> Result<Recorded, Refusal> {
        // A token has one request under way at a time: a thousand racers cost one signature.
        let _claim = match call.attested.token() {
            Some(token) => {
                let claim = self.claims.lock(&token.id).await;
                self.check_redemption(token, &call.wish)?;
                Some(claim)
            }
            None => None,
        };
        for _ in 1..ATTEMPTS {
            match self.attempt(call).await {
                Err(refusal) if refusal.reason() == Reason::Conflict => {}
                decided => return decided,
            }
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Recorded, Refusal> {
        let Call {
            attested,
            wish,
            began: _,
        } = call;
        if !self.audit.healthy() {
            return Err(Audit::refusal());
        }
        // A request may have waited long for its token's claim: the time is that of this attempt.
        require_undisputed(self.clock.as_ref())?;
        let now = self.clock.now();
        // 4. Authorize.
        let mut grant = self.registrations.authorize(attested, wish, now)?;
        let mut facts = facts(attested, wish, &grant, now);
        while let Verdict::Replay { position } = self.store.judge(&facts)? {
            if let Some(recorded) = self.repeat(position, &grant, attested)? {
                return Ok(recorded);
            }
            // The new certificate is recorded as the answer to the request made after that one, so that it
            // can be repeated in turn.
            facts.wish = wish::after(&facts.wish, position);
        }
        // 5. Draft.
        let draft = Draft {
            profile: grant.profile,
            spiffe_id: grant.spiffe_id.clone(),
            dns_names: grant.dns_names.clone(),
            ip_addresses: Vec::new(),
            subject_serial_number: serial_number(wish.csr, &grant.spiffe_id),
            key: wish.csr.public_key().clone(),
            life: grant.life,
            now,
        }
        .check()
        .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        // 6. Sign.
        let signers = self.signers.current();
        let signer = signers.active()?;
        let signed = signer
            .sign(draft)
            .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        // 7. Record: judged once more by the writer, and durable before anything leaves.
        let origin = std::mem::take(&mut grant.origin);
        let issued = entry(&signed, signer, attested, &facts, &grant, origin);
        self.record(call, &grant, facts, issued).await
    }

    async fn record(
        &self,
        call: &Call<'_>,
        grant: &Grant,
        facts: IssueFacts,
        issued: store::Issued,
    ) -> Result<Recorded, Refusal> {
        let command = Command::Issue(Box::new(IssueCommand {
            facts,
            issued: issued.clone(),
        }));
        let handed = Handed {
            teller: &self.teller,
            attested: call.attested,
            began: call.began,
            issued,
            answer: Some(self.store.submit(command)),
        };
        let (outcome, issued) = handed.decided().await;
        match outcome? {
            Outcome::Recorded { position, fork } => Ok(Recorded {
                issued,
                position,
                replayed: false,
                fork,
            }),
            // An outdated answer of a request that ran at the same time: the next attempt sees it before it
            // signs.
            Outcome::Replay { position } => self.repeat(position, grant, call.attested)?.ok_or_else(|| {
                Refusal::new(
                    Reason::Conflict,
                    "the recorded answer is outdated; send the request again",
                )
            }),
            other => Err(Refusal::new(
                Reason::Internal,
                format!("the record answered {other:?} to a certificate"),
            )),
        }
    }

    /// A second key is a sign of theft also where it got nothing; the audit line is that of the refusal.
    fn note_fork(&self, refusal: &Refusal) {
        if refusal.reason() == Reason::LineageFork {
            self.metrics.forked();
        }
    }

    fn answer(&self, issued: store::Issued) -> Result<Issuance, Refusal> {
        let broken = |why: String| Refusal::new(Reason::Internal, why);
        let signers = self.signers.current();
        let above = signers
            .chain_of(&issued.authority, issued.authority_generation)
            .ok_or_else(|| {
                broken(format!(
                    "authority {} of a recorded certificate is not at work",
                    identity::hex::encode(&issued.authority)
                ))
            })?;
        let end = OffsetDateTime::from_unix_timestamp(issued.not_after).map_err(|e| broken(e.to_string()))?;
        let begin =
            OffsetDateTime::from_unix_timestamp(issued.not_before).map_err(|e| broken(e.to_string()))?;
        let validity = Validity::new(begin, end).map_err(|e| broken(e.to_string()))?;
        let mut chain = Vec::with_capacity(1 + above.len());
        chain.push(CertificateDer::from(issued.der));
        chain.extend_from_slice(above);
        Ok(Issuance {
            chain,
            bundle: self.signers.bundle(),
            validity,
            life_clipped: issued.life_clipped,
        })
    }
}

impl Refused {
    /// Before anybody is allowed to fill the record.
    fn early(refusal: Refusal) -> Self {
        Self {
            refusal,
            caller: None,
        }
    }

    fn of(attested: &Attested, refusal: Refusal) -> Self {
        Self {
            refusal,
            caller: Some((attested.to_string(), attested.method())),
        }
    }
}

fn facts(attested: &Attested, wish: &Wish<'_>, grant: &Grant, now: OffsetDateTime) -> IssueFacts {
    IssueFacts {
        spiffe_id: grant.spiffe_id.to_string(),
        key_digest: *wish.csr.key_digest().as_bytes(),
        wish: wish::digest(&grant.spiffe_id, wish.csr.dns_names(), wish.life),
        parent: match attested {
            Attested::Own(own) => Some(store::Parent {
                serial: own.serial(),
                key_digest: *own.leaf.key_digest().as_bytes(),
                not_after: own.issued.not_after,
            }),
            _ => None,
        },
        token: attested.token().map(|token| token.id.clone()),
        registration: Some(grant.registered.reference.clone()),
        refuse_forks: grant.registered.registration.forks() == resources::Forks::Refuse,
        now: now.unix_timestamp(),
    }
}

fn entry(
    signed: &issuance::Issued,
    signer: &Signer,
    attested: &Attested,
    facts: &IssueFacts,
    grant: &Grant,
    origin: store::Origin,
) -> store::Issued {
    let reference = &grant.registered.reference;
    store::Issued {
        der: signed.der.to_vec(),
        serial: signed.serial.as_bytes().to_vec(),
        spiffe_id: facts.spiffe_id.clone(),
        key_digest: facts.key_digest.to_vec(),
        not_before: signed.validity.not_before().unix_timestamp(),
        not_after: signed.validity.not_after().unix_timestamp(),
        method: attested.method().to_owned(),
        caller: attested.to_string(),
        registration: format!("{}/{}", reference.namespace, reference.name),
        registration_created: reference.created_revision,
        parent: facts
            .parent
            .map(|parent| parent.serial.as_bytes().to_vec())
            .unwrap_or_default(),
        parent_not_after: facts.parent.map_or(0, |parent| parent.not_after),
        authority: signer.key_id().to_vec(),
        authority_generation: signer.generation(),
        token: facts.token.clone().unwrap_or_default(),
        wish: facts.wish.to_vec(),
        origin: Some(origin),
        profile: grant.profile.name().word().to_owned(),
        life_clipped: signed.life_clipped,
    }
}

/// Only devices carry one into their certificate, and only their own: whoever reads subjects must not take one for another. Any
/// other is ignored like the rest of the subject.
fn serial_number(csr: &VerifiedCsr, id: &SpiffeId) -> Option<String> {
    let own = id.path().strip_prefix("/device/")?;
    csr.subject_serial_number()
        .filter(|number| *number == own)
        .map(str::to_owned)
}

fn too_large(found: usize) -> Refusal {
    let limit = issuance::MAX_BYTES;
    Refusal::new(
        Reason::TooLarge,
        format!("CSR of {found} bytes, expected at most {limit}"),
    )
    .with("found", found)
    .with("limit", limit)
}

#[cfg(test)]
mod tests;
