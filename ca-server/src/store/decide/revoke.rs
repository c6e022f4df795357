//! Revocations. What one means is decided here, so that a certificate that is renewed meanwhile is either among those
//! revoked or not renewed: its parent is revoked by then.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Reason, Serial};
use proto::Refusal;

use super::{Change, Decision};
use crate::store::command::Outcome;
use crate::store::revocation::{MAX_SELECTED, Revocation, Selected, Selection};
use crate::store::rows::{RevocationRow, RowKind};
use crate::store::view::View;
use crate::store::writer::KEEP_BINDINGS;

/// The reason that bars a key permanently (RFC 5280 section 5.3.1).
const KEY_COMPROMISE: &str = "keyCompromise";

pub(super) fn revoke(
    view: &View<'_>,
    which: &Revocation,
    mut known: Selection,
    reason: &str,
    by: String,
) -> Result<Decision, Refusal> {
    for position in known.upto() + 1..view.next_position() {
        if let Some(issued) = view.issued_at(position)? {
            known.take(which, position, &issued)?;
        }
    }
    let (mut certificates, mut same_key) = known.into_parts();
    let is_compromise = reason == KEY_COMPROMISE;
    if is_compromise {
        same_key.extend(
            certificates
                .iter()
                .map(|(position, one)| (*position, one.clone())),
        );
    }
    if !matches!(which, Revocation::Serial(_)) {
        if !certificates
            .values()
            .any(|selected| view.now() <= selected.not_after)
        {
            return Err(none_valid(which));
        }
        // What expired a moment ago is valid again if the clock is corrected.
        certificates.retain(|_, selected| view.now() - KEEP_BINDINGS <= selected.not_after);
    }
    let mut change = Change::new(view.now(), by, String::new());
    if is_compromise {
        let keys: BTreeSet<_> = certificates.values().map(|one| one.key_digest.clone()).collect();
        for key in &keys {
            take_valid_of_key(view, key, &same_key, &mut certificates)?;
            if !view.is_compromised(key) {
                change.put(RowKind::CompromisedKey(key.clone()));
            }
        }
        // Also those that expired: whatever a clock says later, none of them is valid.
        let of_keys = same_key
            .into_iter()
            .filter(|(_, one)| keys.contains(&one.key_digest));
        certificates.extend(of_keys);
    }
    if certificates.len() > MAX_SELECTED {
        return Err(too_many(certificates.len()));
    }
    let mut revoked: Vec<Serial> = Vec::new();
    for (position, selected) in certificates {
        if view.revocation(selected.serial.as_bytes()).is_none() {
            revoked.push(selected.serial);
            change.put(RowKind::Revocation(row(position, selected, reason, view.now())));
        }
    }
    change.entry.action = format!("revoke {} certificates: {reason}", revoked.len());
    let outcome = Outcome::Revoked { serials: revoked };
    if change.is_empty() {
        return Ok(Decision::unchanged(outcome));
    }
    change.revise(view);
    Ok(change.into_decision(outcome))
}

/// What is valid of a compromised key, as far as it is not among those read ahead.
fn take_valid_of_key(
    view: &View<'_>,
    key: &[u8],
    known: &BTreeMap<u64, Selected>,
    certificates: &mut BTreeMap<u64, Selected>,
) -> Result<(), Refusal> {
    for position in view.positions_of_key(key)? {
        if known.contains_key(&position) {
            continue;
        }
        let issued = view.issued_at(position)?;
        if let Some(issued) = issued.filter(|issued| issued.key_digest == key) {
            certificates.insert(position, Selected::of(&issued)?);
        }
    }
    Ok(())
}

fn row(position: u64, selected: Selected, reason: &str, now: i64) -> RevocationRow {
    RevocationRow {
        serial: selected.serial.as_bytes().to_vec(),
        reason: reason.to_owned(),
        at: now,
        not_after: selected.not_after,
        authority: selected.authority,
        key_digest: selected.key_digest,
        position,
    }
}

fn none_valid(which: &Revocation) -> Refusal {
    let of = match which {
        Revocation::Serial(serial) => serial.to_string(),
        Revocation::SpiffeId(id) => id.to_string(),
        Revocation::Lineage(first) => format!("the lineage of {first}"),
    };
    let message = format!("no certificate of {of} is valid, so none was revoked");
    Refusal::new(Reason::NotFound, message).with("name", of)
}

fn too_many(found: usize) -> Refusal {
    let message = format!("{found} certificates, expected at most {MAX_SELECTED} to be revoked at once");
    Refusal::new(Reason::TooLarge, message)
        .with("found", found)
        .with("limit", MAX_SELECTED)
}
