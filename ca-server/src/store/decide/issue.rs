//! Whether a certificate may be made: asked before the signature is spent, and once more before it is recorded. What was revoked,
//! deleted, redeemed or bound in between decides then.

use identity::{Reason, Serial, hex};
use proto::Refusal;

use super::Decision;
use crate::store::command::{IssueCommand, IssueFacts, Outcome, RegistrationRef, Verdict};
use crate::store::entry::{Entry, Issued, field, fingerprint};
use crate::store::rows::{Redemption, Row, RowKind, TokenRow};
use crate::store::view::{Hit, View};

const REGISTRATION: &str = "Registration";

/// Records the certificate, or says what is the answer instead.
pub(super) fn issue(view: &View<'_>, command: IssueCommand) -> Result<Decision, Refusal> {
    let IssueCommand { facts, issued } = command;
    let fork = match judge(view, &facts)? {
        Verdict::Replay { position } => return Ok(Decision::unchanged(Outcome::Replay { position })),
        Verdict::New { fork } => fork,
    };
    let position = view.next_position();
    let redeemed = facts
        .token
        .as_ref()
        .and_then(|id| view.token(id))
        .map(|row| redeem(row, &facts, &issued, position));
    let entry = Entry {
        at: facts.now,
        puts: redeemed.into_iter().collect(),
        issued: Some(issued),
        ..Entry::default()
    };
    Ok(Decision::recorded(entry, Outcome::Recorded { position, fork }))
}

/// The same for a certificate that is not made yet.
pub(in crate::store) fn judge(view: &View<'_>, facts: &IssueFacts) -> Result<Verdict, Refusal> {
    if view.is_compromised(&facts.key_digest) {
        return Err(Refusal::new(
            Reason::KeyCompromised,
            "the key was revoked for compromise and is never certified again; make a new key",
        )
        .with("found", hex::encode(&facts.key_digest)));
    }
    if let Some(parent) = facts.parent {
        parent_counts(view, parent)?;
    }
    if let Some(seen) = &facts.registration {
        registration_stands(view, seen, &facts.spiffe_id)?;
    }
    if let Some(id) = &facts.token
        && let Some(position) = redeemed_by(view, facts, id)?
    {
        return Ok(Verdict::Replay { position });
    }
    let fork = match facts
        .parent
        .map(|parent| succession(view, facts, parent))
        .transpose()?
    {
        Some(Succession::Same { position }) => return Ok(Verdict::Replay { position }),
        Some(Succession::Fork) => true,
        Some(Succession::First) | None => false,
    };
    key_is_free(view, facts)?;
    Ok(Verdict::New { fork })
}

fn parent_counts(view: &View<'_>, parent: Serial) -> Result<(), Refusal> {
    if let Some(revocation) = view.revocation(parent.as_bytes()) {
        let message = format!(
            "certificate {parent} was revoked ({}), expected one that counts; enrol again with a new proof",
            revocation.reason
        );
        return Err(Refusal::new(Reason::CertificateRevoked, message).with("name", parent));
    }
    // That it is this very certificate was seen when the connection was judged, byte by byte.
    if !view.has(field::SERIAL, fingerprint(&[parent.as_bytes()]))? {
        let message =
            format!("certificate {parent} is not in the record, expected one that this authority issued");
        return Err(Refusal::new(Reason::CertificateUntrusted, message).with("name", parent));
    }
    Ok(())
}

/// The registration is the one that the caller read: still there, not another of its name, and as it was.
fn registration_stands(view: &View<'_>, seen: &RegistrationRef, spiffe_id: &str) -> Result<(), Refusal> {
    let name = || format!("{}/{}", seen.namespace, seen.name);
    match view.resource(REGISTRATION, &seen.namespace, &seen.name) {
        Some(row) if row.created_revision != seen.created_revision => Err(Refusal::new(
            Reason::IdentityNotGranted,
            format!(
                "registration {} was deleted and made anew since it granted {spiffe_id}; enrol again with a new proof",
                name()
            ),
        )
        .with("name", name())),
        Some(row) if row.revision != seen.revision => Err(Refusal::new(
            Reason::Conflict,
            format!("registration {} has changed meanwhile; ask again", name()),
        )
        .with("name", name())
        .with("found", row.revision)
        .with("expected", seen.revision)),
        Some(_) => Ok(()),
        None => Err(Refusal::new(
            Reason::IdentityNotGranted,
            format!(
                "registration {}, which granted {spiffe_id}, does not exist any more; apply one that grants it",
                name()
            ),
        )
        .with("name", name())),
    }
}

/// The position of the answer if the token was redeemed by this very request; `None` if it is offered.
fn redeemed_by(view: &View<'_>, facts: &IssueFacts, id: &str) -> Result<Option<u64>, Refusal> {
    let refuse = |reason, message: &str| {
        Err(Refusal::new(reason, format!("join token {id} {message}")).with("name", id))
    };
    let Some(row) = view.token(id) else {
        return refuse(Reason::TokenInvalid, "is not known here; ask for a new one");
    };
    token_counts(row, facts.now)?;
    let Some(redemption) = &row.redeemed else {
        return Ok(None);
    };
    if redemption.key_digest != facts.key_digest {
        return refuse(
            Reason::TokenSpent,
            "was redeemed with another key; ask for a new one",
        );
    }
    if redemption.wish != facts.wish {
        return refuse(
            Reason::TokenSpent,
            "was redeemed with this key for another wish (names or life); ask for a new one",
        );
    }
    let position = redemption.position;
    match view.issued_at(position)? {
        Some(issued) if view.is_live(&issued, facts.now) => Ok(Some(position)),
        _ => refuse(
            Reason::TokenSpent,
            "was redeemed, and its certificate was revoked or has ended; ask for a new one",
        ),
    }
}

/// Whether a token may be redeemed still, or asked with again; what else must hold depends on the request.
pub(crate) fn token_counts(row: &TokenRow, now: i64) -> Result<(), Refusal> {
    let (reason, message) = match (&row.redeemed, now > row.expires_at) {
        _ if row.revoked => (Reason::TokenRevoked, "was revoked; ask for a new one"),
        (_, false) => return Ok(()),
        (None, true) => (
            Reason::TokenExpired,
            "has expired and was never redeemed; ask for a new one",
        ),
        (Some(_), true) => (
            Reason::TokenSpent,
            "was redeemed, and its time to ask again is over; renew the certificate or ask for a new token",
        ),
    };
    Err(Refusal::new(reason, format!("join token {} {message}", row.id)).with("name", &row.id))
}

/// How a renewal stands to those made of the same parent before.
enum Succession {
    First,
    /// The same request was answered.
    Same {
        position: u64,
    },
    /// Another key has a certificate that still counts.
    Fork,
}

fn succession(view: &View<'_>, facts: &IssueFacts, parent: Serial) -> Result<Succession, Refusal> {
    let of_parent = fingerprint(&[parent.as_bytes()]);
    if !view.has(field::PARENT, of_parent)? {
        return Ok(Succession::First);
    }
    let is_child = |issued: &Issued| issued.parent == parent.as_bytes() && view.is_live(issued, facts.now);
    let same = view.find(
        field::CHILD,
        fingerprint(&[parent.as_bytes(), &facts.key_digest]),
        |issued| is_child(issued) && issued.key_digest == facts.key_digest && issued.wish == facts.wish,
    )?;
    if let Hit::One(position, _) = same {
        return Ok(Succession::Same { position });
    }
    let other = view.find(field::PARENT, of_parent, |issued| {
        is_child(issued) && issued.key_digest != facts.key_digest
    })?;
    match other {
        Hit::None => Ok(Succession::First),
        _ if !facts.refuse_forks => Ok(Succession::Fork),
        // Where it cannot be told it counts as one.
        _ => Err(Refusal::new(
            Reason::LineageFork,
            format!(
                "certificate {parent} was renewed with another key already, and its registration refuses forks; \
                 if that was not you the key is stolen: revoke the lineage"
            ),
        )
        .with("name", parent)),
    }
}

/// A key belongs to one identity while a certificate of it counts.
fn key_is_free(view: &View<'_>, facts: &IssueFacts) -> Result<(), Refusal> {
    let of_key = fingerprint(&[&facts.key_digest]);
    let is_live = |issued: &Issued| issued.key_digest == facts.key_digest && view.is_live(issued, facts.now);
    // While one counts no other identity gets one, so that the newest which counts speaks for all.
    match view.find(field::KEY, of_key, is_live)? {
        Hit::None => Ok(()),
        Hit::One(_, bound) if bound.spiffe_id == facts.spiffe_id => Ok(()),
        // Where it cannot be told the key counts as bound.
        _ => Err(Refusal::new(
            Reason::KeyBound,
            "the key belongs to another identity as long as a certificate of it counts; make a key for each identity",
        )
        .with("found", hex::encode(&facts.key_digest))),
    }
}

fn redeem(row: &TokenRow, facts: &IssueFacts, issued: &Issued, position: u64) -> Row {
    Row::from(RowKind::Token(TokenRow {
        redeemed: Some(Redemption {
            key_digest: facts.key_digest.to_vec(),
            wish: facts.wish.to_vec(),
            position,
            serial: issued.serial.clone(),
        }),
        ..row.clone()
    }))
}
