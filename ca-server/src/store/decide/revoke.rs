//! Revocations. What one means is decided here, so that a certificate that is renewed meanwhile is either
//! among those revoked or not renewed: its parent is revoked by then.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Reason, Serial};
use proto::Refusal;

use super::{Change, Decision};
use crate::store::command::Outcome;
use crate::store::revocation::{MAX_PER_ENTRY, Revocation, Selected, Selection};
use crate::store::rows::{RevocationRow, RowKind};
use crate::store::view::View;
use crate::store::writer::KEEP_BINDINGS;

/// The reason that bars a key permanently (RFC 5280 section 5.3.1).
const KEY_COMPROMISE: &str = "keyCompromise";

/// One entry revokes no more than [`MAX_PER_ENTRY`] certificates, the newest first, so that no number of
/// certificates makes a revocation too large to be recorded. A key that is compromised is barred before its
/// certificates are revoked.
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
    let (selected, same_key) = known.into_parts();
    let mut change = Change::new(view.now(), by, String::new());
    let mut is_complete = true;
    let mut certificates = BTreeMap::new();
    if reason == KEY_COMPROMISE {
        // Of expired certificates, too: their keys may be in other hands.
        let keys: BTreeSet<_> = selected.values().map(|one| one.key_digest.clone()).collect();
        take_all_of_keys(view, &keys, &selected, same_key, &mut certificates)?;
        let not_barred = keys.into_iter().filter(|key| !view.is_compromised(key));
        let mut not_barred = not_barred.map(RowKind::CompromisedKey);
        not_barred
            .by_ref()
            .take(MAX_PER_ENTRY)
            .for_each(|row| change.put(row));
        is_complete &= not_barred.next().is_none();
    }
    let is_named = matches!(which, Revocation::Serial(_));
    let is_any_valid = selected.values().any(|one| view.now() <= one.not_after);
    if certificates.is_empty() && !is_named && !is_any_valid {
        return Err(none_valid(which));
    }
    // What expired a moment ago is valid again if the clock is corrected.
    let meant = selected
        .into_iter()
        .filter(|(_, one)| is_named || view.now() - KEEP_BINDINGS <= one.not_after);
    certificates.extend(meant);
    let mut left = certificates
        .into_iter()
        .rev()
        .filter(|(_, one)| view.revocation(one.serial.as_bytes()).is_none());
    let mut revoked: Vec<Serial> = Vec::new();
    for (position, one) in left.by_ref().take(MAX_PER_ENTRY) {
        revoked.push(one.serial);
        change.put(RowKind::Revocation(row(position, one, reason, view.now())));
    }
    is_complete &= left.next().is_none();
    // In the order in which they were issued.
    revoked.reverse();
    change.entry.action = format!("revoke {} certificates: {reason}", revoked.len());
    let outcome = Outcome::Revoked {
        serials: revoked,
        is_complete,
    };
    if change.is_empty() {
        return Ok(Decision::unchanged(outcome));
    }
    change.revise(view);
    Ok(change.into_decision(outcome))
}

/// Every certificate of these keys: those that were read ahead, and what is valid and was not. Expired ones
/// are among them: whatever a clock says later, none of them is valid.
fn take_all_of_keys(
    view: &View<'_>,
    keys: &BTreeSet<Vec<u8>>,
    selected: &BTreeMap<u64, Selected>,
    same_key: BTreeMap<u64, Selected>,
    certificates: &mut BTreeMap<u64, Selected>,
) -> Result<(), Refusal> {
    for key in keys {
        take_valid_of_key(view, key, selected, &same_key, certificates)?;
    }
    certificates.extend(
        same_key
            .into_iter()
            .filter(|(_, one)| keys.contains(&one.key_digest)),
    );
    certificates.extend(selected.iter().map(|(position, one)| (*position, one.clone())));
    Ok(())
}

/// What is valid of a compromised key, as far as it is not among those read ahead.
fn take_valid_of_key(
    view: &View<'_>,
    key: &[u8],
    selected: &BTreeMap<u64, Selected>,
    same_key: &BTreeMap<u64, Selected>,
    certificates: &mut BTreeMap<u64, Selected>,
) -> Result<(), Refusal> {
    for position in view.positions_of_key(key)? {
        if selected.contains_key(&position) || same_key.contains_key(&position) {
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
        authority_generation: Some(selected.authority_generation),
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
