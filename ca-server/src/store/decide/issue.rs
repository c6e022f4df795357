//! Whether a certificate may be made: asked before the signature is spent, and once more before it is recorded. What was revoked,
//! deleted, redeemed or bound in between decides then.

use identity::{Reason, hex, moment};
use proto::Refusal;
use time::OffsetDateTime;

use super::Decision;
use crate::store::command::{IssueCommand, IssueFacts, Outcome, Parent, RegistrationRef, Verdict};
use crate::store::entry::{Entry, Issued, fingerprint};
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
        at: view.now(),
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
            "the key was revoked for compromise and is never certified again; generate a new key",
        )
        .with("found", hex::encode(&facts.key_digest)));
    }
    if view.is_authority_key(&facts.key_digest) {
        return Err(Refusal::new(
            Reason::KeyIsAuthority,
            "the key belongs to an authority, expected a key of the caller's own",
        )
        .with("found", hex::encode(&facts.key_digest)));
    }
    if let Some(parent) = &facts.parent {
        parent_is_valid(view, parent)?;
    }
    if let Some(seen) = &facts.registration {
        registration_stands(view, seen, &facts.spiffe_id)?;
    }
    if let Some(id) = &facts.token
        && let Some(position) = redeemed_by(view, facts, id)?
    {
        return Ok(Verdict::Replay { position });
    }
    let fork = match &facts.parent {
        Some(parent) => match succession(view, facts, parent)? {
            Succession::Same { position } => return Ok(Verdict::Replay { position }),
            Succession::Fork => true,
            Succession::Renewal => false,
        },
        None => false,
    };
    key_is_free(view, facts)?;
    Ok(Verdict::New { fork })
}

/// The caller's certificate was verified when its call began; here it is asked again what may have changed
/// since.
fn parent_is_valid(view: &View<'_>, parent: &Parent) -> Result<(), Refusal> {
    let serial = parent.serial;
    let revoked = |why: &str| {
        let message = format!("certificate {serial} was revoked ({why}); enrol again with a new proof");
        Err(Refusal::new(Reason::CertificateRevoked, message).with("name", serial))
    };
    // Before revocation: once it has expired, its revocation need not be remembered.
    if view.now() > parent.not_after {
        let end = OffsetDateTime::from_unix_timestamp(parent.not_after)
            .map_or_else(|_| parent.not_after.to_string(), moment);
        let message = format!("certificate {serial} expired at {end}; enrol again with a new proof");
        return Err(Refusal::new(Reason::CertificateExpired, message).with("name", serial));
    }
    if let Some(revocation) = view.revocation(serial.as_bytes()) {
        return revoked(&revocation.reason);
    }
    if view.is_compromised(&parent.key_digest) {
        return revoked("its key was revoked for compromise");
    }
    // That it is this very certificate was verified at the call, byte by byte.
    if !view.is_recorded(serial)? {
        let message =
            format!("certificate {serial} is not in the journal, expected one that this authority issued");
        return Err(Refusal::new(Reason::CertificateUntrusted, message).with("name", serial));
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
    token_counts(row, view.now())?;
    let Some(position) = redeemed_alike(row, &facts.key_digest, &facts.wish)? else {
        return Ok(None);
    };
    match view.issued_at(position)? {
        Some(issued) if view.is_valid(&issued) => Ok(Some(position)),
        _ => refuse(
            Reason::TokenSpent,
            "was redeemed, and its certificate was revoked or has ended; ask for a new one",
        ),
    }
}

/// The position of the certificate that the token was redeemed for, if by this key and request; `None` if it
/// was not redeemed.
pub(crate) fn redeemed_alike(
    row: &TokenRow,
    key_digest: &[u8; 32],
    wish: &[u8; 32],
) -> Result<Option<u64>, Refusal> {
    let Some(redemption) = &row.redeemed else {
        return Ok(None);
    };
    let how = if redemption.key_digest != key_digest {
        "with another key"
    } else if redemption.wish != wish {
        "with this key for another request (identity, names or lifetime)"
    } else {
        return Ok(Some(redemption.position));
    };
    let message = format!("join token {} was redeemed {how}; request a new one", row.id);
    Err(Refusal::new(Reason::TokenSpent, message).with("name", &row.id))
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

/// How a renewal relates to those of the same parent before it.
enum Succession {
    /// With the key of the first renewal, or the first.
    Renewal,
    /// The same request was answered.
    Same { position: u64 },
    /// The parent was renewed with another key first.
    Fork,
}

/// The first child decides, whether or not it is still valid: its holder may have renewed it since. A fork
/// matters as long as the parent or a descendant of the first child is valid; the parent is, or it could not
/// be renewed.
fn succession(view: &View<'_>, facts: &IssueFacts, parent: &Parent) -> Result<Succession, Refusal> {
    let Some(first_key) = view.first_child_key(parent)? else {
        return Ok(Succession::Renewal);
    };
    let answer = view.answer_to(parent, &facts.key_digest, &facts.wish)?;
    // One that begins later than now was issued while the clock was ahead, and is of no use.
    if let Some((position, issued)) = answer
        && view.is_valid(&issued)
        && issued.not_before <= view.now()
    {
        return Ok(Succession::Same { position });
    }
    if first_key == fingerprint(&[&facts.key_digest]) {
        return Ok(Succession::Renewal);
    }
    if !facts.refuse_forks {
        return Ok(Succession::Fork);
    }
    let serial = parent.serial;
    Err(Refusal::new(
        Reason::LineageFork,
        format!(
            "certificate {serial} was renewed with another key before, and its registration refuses forks; \
             if that was not you, the key is stolen: revoke the lineage"
        ),
    )
    .with("name", serial))
}

/// A key belongs to one identity while a certificate of it is valid.
fn key_is_free(view: &View<'_>, facts: &IssueFacts) -> Result<(), Refusal> {
    match view.valid_of_key(&facts.key_digest)? {
        Hit::None => Ok(()),
        Hit::One(_, bound) if bound.spiffe_id == facts.spiffe_id => Ok(()),
        // Too many to look at: the key is treated as bound.
        Hit::One(..) | Hit::TooMany => Err(Refusal::new(
            Reason::KeyBound,
            "the key is bound to another identity while a certificate for it is valid; generate a separate key for each \
             identity",
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
