//! What administrators decide: tokens, authorities, and the server's own CRL numbers.

use identity::leaf::subject_der;
use identity::{Leaf, Reason, hex};
use proto::Refusal;

use super::{Change, Decision};
use crate::store::command::Outcome;
use crate::store::rows::{
    AuthorityRow, CorrectionRow, CrlRow, EarlierCertificate, InstanceRow, ResourceRow, RowKind, TokenRow,
    authority_keys,
};
use crate::store::view::{Hit, View};

/// Who acts where nobody asked.
pub(super) const SERVER: &str = "server";

pub(super) fn instance(view: &View<'_>, row: InstanceRow, now: i64) -> Result<Decision, Refusal> {
    match view.instance() {
        Some(known) if *known == row => return Ok(Decision::unchanged(Outcome::Done)),
        Some(known) if known.trust_domain != row.trust_domain => {
            let message = format!(
                "this data folder belongs to trust domain {}, not {}; give that one, or another data folder",
                known.trust_domain, row.trust_domain
            );
            return Err(Refusal::new(Reason::Conflict, message)
                .with("field", "trustDomain")
                .with("found", &row.trust_domain)
                .with("expected", &known.trust_domain));
        }
        _ => {}
    }
    let mut change = Change::new(now, SERVER.to_owned(), "instance");
    change.put(RowKind::Instance(row));
    change.revise(view);
    Ok(change.into_decision(Outcome::Done))
}

pub(super) fn create_token(
    view: &View<'_>,
    token: TokenRow,
    registration: Option<ResourceRow>,
    by: String,
    now: i64,
) -> Result<Decision, Refusal> {
    if view.token(&token.id).is_some() {
        let message = format!("join token {} exists already, expected a new id", token.id);
        return Err(Refusal::new(Reason::Conflict, message).with("name", &token.id));
    }
    let mut change = Change::new(
        now,
        by,
        format!("create token {} for {}", token.id, token.spiffe_id),
    );
    if let Some(row) = registration {
        if view.resource(&row.kind, &row.namespace, &row.name).is_some() {
            let name = format!("{}/{}", row.namespace, row.name);
            let message = format!(
                "registration {name} exists already, expected to make it for join token {}",
                token.id
            );
            return Err(Refusal::new(Reason::Conflict, message).with("name", name));
        }
        let revision = change.revise(view);
        change.put(RowKind::Resource(ResourceRow {
            revision,
            created_revision: revision,
            created_at: now,
            ..row
        }));
    }
    change.put(RowKind::Token(token));
    Ok(change.into_decision(Outcome::Done))
}

pub(super) fn revoke_token(view: &View<'_>, id: &str, by: String, now: i64) -> Result<Decision, Refusal> {
    let Some(row) = view.token(id) else {
        let message = format!("no join token has the id {id:?}; `signet token list` shows them");
        return Err(Refusal::new(Reason::NotFound, message).with("name", id));
    };
    if row.revoked {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    let mut change = Change::new(now, by, format!("revoke token {id}"));
    change.put(RowKind::Token(TokenRow {
        revoked: true,
        ..row.clone()
    }));
    Ok(change.into_decision(Outcome::Done))
}

/// From here on certificates that are recorded already may begin later than now. A token that was created
/// later than now was created by a clock that was ahead: it gets the same time to live from now on.
pub(super) fn accept_time(view: &View<'_>, at: i64, dispute: &str, by: String) -> Decision {
    let mut change = Change::new(at, by, format!("accept the wall clock: {dispute}"));
    change.put(RowKind::Correction(CorrectionRow {
        position: view.next_position(),
    }));
    let tokens = view.state.tokens_after("").filter_map(|row| view.token(&row.id));
    for row in tokens.filter(|row| row.created_at > at && !row.revoked) {
        change.put(RowKind::Token(TokenRow {
            created_at: at,
            expires_at: at + (row.expires_at - row.created_at),
            ..row.clone()
        }));
    }
    change.into_decision(Outcome::Done)
}

pub(super) fn put_authority(
    view: &View<'_>,
    mut row: AuthorityRow,
    by: String,
    now: i64,
) -> Result<Decision, Refusal> {
    if row.key_id.is_empty() {
        return Err(Refusal::new(
            Reason::Internal,
            "an authority without a subject key id, expected that of its certificate",
        ));
    }
    has_no_leaf(view, &row)?;
    is_not_barred(view, &row)?;
    let mut change = Change::new(
        now,
        by,
        format!("activate authority {}", hex::encode(&row.key_id)),
    );
    for replaced in view
        .authorities()
        .filter(|other| other.replaced_at == 0 && other.key_id != row.key_id)
    {
        change.put(RowKind::Authority(AuthorityRow {
            replaced_at: now,
            ..replaced.clone()
        }));
    }
    row.activated_at = if row.activated_at == 0 {
        now
    } else {
        row.activated_at
    };
    row.replaced_at = 0;
    if let Some(known) = view.authority(&row.key_id) {
        row.last_leaf_ends = row.last_leaf_ends.max(known.last_leaf_ends);
        row.generation = known.generation;
        row.location = known.location;
        row.earlier.clone_from(&known.earlier);
        if (&row.chain, &row.root) != (&known.chain, &known.root) {
            row.generation += 1;
            row.earlier.push(EarlierCertificate {
                generation: known.generation,
                chain: known.chain.clone(),
                root: known.root.clone(),
                replaced_at: now,
                last_leaf_ends: known.last_leaf_ends,
                location: known.location,
            });
            row.location = location(&row);
        }
    }
    change.put(RowKind::Authority(row));
    change.revise(view);
    Ok(change.into_decision(Outcome::Done))
}

/// That of the newest earlier certificate under which the same CRL applies, else its own: a CRL applies to
/// certificates whose issuer has its name (RFC 5280 section 6.3.3) and key.
fn location(row: &AuthorityRow) -> u32 {
    let issuer = |chain: &[Vec<u8>]| {
        let own = chain.first()?;
        let key = Leaf::parse(own).ok()?.key_digest();
        Some((subject_der(own).ok()?, key))
    };
    let own = issuer(&row.chain);
    let mut newest_first = row.earlier.iter().rev();
    newest_first
        .find(|earlier| issuer(&earlier.chain) == own)
        .map_or(row.generation, |same| same.location)
}

/// An authority's key has no valid leaf. A leaf recorded since activation began is seen here; later ones are
/// refused.
fn has_no_leaf(view: &View<'_>, row: &AuthorityRow) -> Result<(), Refusal> {
    let Some(own) = row.chain.first().and_then(|own| Leaf::parse(own).ok()) else {
        return Ok(());
    };
    let key = own.key_digest();
    match view.valid_of_key(key.as_bytes())? {
        Hit::None => Ok(()),
        _ => Err(Refusal::new(
            Reason::KeyBound,
            format!("key: {key} has a certificate, expected a key that nothing else uses; prepare another"),
        )
        .with("found", key)),
    }
}

/// A key that was revoked for compromise signs for no one, neither as the authority's nor above it. The
/// journal may have forgotten the leaf of that key; it does not forget the key.
fn is_not_barred(view: &View<'_>, row: &AuthorityRow) -> Result<(), Refusal> {
    match authority_keys(row).find(|key| view.is_compromised(key.as_bytes())) {
        None => Ok(()),
        Some(key) => Err(Refusal::new(
            Reason::KeyCompromised,
            format!("key: {key} was revoked for compromise, expected a key that never was; prepare another"),
        )
        .with("found", key)),
    }
}

pub(super) fn put_crl(
    view: &View<'_>,
    authority: Vec<u8>,
    number: u64,
    now: i64,
) -> Result<Decision, Refusal> {
    let last = view.crl_number(&authority);
    if number <= last {
        let message = format!(
            "CRL number {number} of authority {} is not greater than the last, {last}",
            hex::encode(&authority)
        );
        return Err(Refusal::new(Reason::Conflict, message)
            .with("found", number)
            .with("expected", last + 1));
    }
    let mut change = Change::new(now, SERVER.to_owned(), format!("CRL {number}"));
    change.put(RowKind::Crl(CrlRow { authority, number }));
    change.revise(view);
    Ok(change.into_decision(Outcome::Done))
}
