//! Which rows have no use any more: what they are about has expired. It cannot be undone, so the writer asks
//! only while the time has long been undisputed.

use std::collections::HashSet;

use super::admin::SERVER;
use super::{Change, Decision};
use crate::store::command::Outcome;
use crate::store::rows::{self, AuthorityRow, ResourceRow, RowKind, TokenRow};
use crate::store::state::TOKEN_REGISTRATION_NAMESPACE;
use crate::store::view::View;

/// How long lists go on showing a token that has ended, and a second use is told from an unknown token; in seconds.
const KEEP_TOKENS: i64 = 7 * 24 * 3600;
/// A revoked certificate stays until a CRL that was issued after its end has shown it (RFC 5280 section 3.3); in seconds.
const KEEP_REVOCATIONS: i64 = 24 * 3600;
/// All else stays this long after its end, for clocks that are set back without that being disputed, and for
/// what is under way when an authority is replaced; in seconds.
const KEEP_ENDED: i64 = 3600;

/// Goes through the state, and judges each row as the batch has left it. Rows that the batch added wait for the next time.
pub(super) fn prune(view: &View<'_>, now: i64) -> Decision {
    let mut change = Change::new(now, SERVER.to_owned(), "prune");
    let mut moves = false;
    let tokens = || view.state.tokens_after("").filter_map(|row| view.token(&row.id));
    // A later token for the same identity stands on the registration that an earlier one brought along.
    let in_use: HashSet<&str> = tokens()
        .filter(|token| !is_over(token, now))
        .map(|token| token.registration.as_str())
        .collect();
    for token in tokens() {
        if token.made_registration && in_use.contains(token.registration.as_str()) {
            continue;
        }
        if let Some(row) = brought_along(view, token) {
            change.delete(rows::resource_key(&row.kind, &row.namespace, &row.name));
            moves = true;
        }
        if token.expires_at.max(token.last_leaf_ends) < now - KEEP_TOKENS {
            change.delete(rows::token_key(&token.id));
        }
    }
    let revocations = view.state.revocations();
    for revocation in revocations.filter_map(|row| view.revocation(&row.serial)) {
        if revocation.not_after < now - KEEP_REVOCATIONS {
            change.delete(rows::revocation_key(&revocation.serial));
        }
    }
    let authorities = view.state.authorities();
    let authorities = authorities.filter_map(|row| view.authority(&row.key_id));
    for authority in authorities.filter(|row| has_ended(row, now)) {
        change.delete(rows::authority_key(&authority.key_id));
        moves = true;
    }
    let authorities = view.state.authorities();
    let authorities = authorities.filter_map(|row| view.authority(&row.key_id));
    for authority in authorities.filter(|row| !has_ended(row, now)) {
        let (ended, kept): (Vec<_>, Vec<_>) = authority
            .earlier
            .iter()
            .cloned()
            .partition(|own| own.last_leaf_ends.max(own.replaced_at) < now - KEEP_ENDED);
        if !ended.is_empty() {
            change.put(RowKind::Authority(AuthorityRow {
                earlier: kept,
                ..authority.clone()
            }));
            moves = true;
        }
    }
    if change.is_empty() {
        return Decision::unchanged(Outcome::Done);
    }
    if moves {
        change.revise(view);
    }
    change.into_decision(Outcome::Done)
}

/// The registration that the token brought along, unless somebody has changed it since: then it is theirs.
fn brought_along<'a>(view: &View<'a>, token: &TokenRow) -> Option<&'a ResourceRow> {
    let (namespace, name) = token.registration.split_once('/')?;
    if !token.made_registration || namespace != TOKEN_REGISTRATION_NAMESPACE {
        return None;
    }
    view.resource("Registration", namespace, name)
        .filter(|row| row.revision == row.created_revision)
}

/// It can be redeemed no more, nor asked with again, and the last certificate that it led to has expired.
fn is_over(token: &TokenRow, now: i64) -> bool {
    token.expires_at.max(token.last_leaf_ends) < now - KEEP_ENDED
}

fn has_ended(authority: &AuthorityRow, now: i64) -> bool {
    authority.replaced_at != 0 && authority.last_leaf_ends.max(authority.replaced_at) < now - KEEP_ENDED
}
