//! Join tokens, judged by the digest of their whole text; a forged token never spends a real one. One that has ended is refused here
//! already, since the registration that it brought along may be gone; who redeems it is decided in the store's writer.

use identity::{JoinToken, Reason, SpiffeId};
use proto::Refusal;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::store::{Store, token_counts};

/// A join token that is one of ours, to the last character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProof {
    /// Its public id.
    pub id: String,
    /// The identity that it stands for.
    pub spiffe_id: SpiffeId,
    /// It was redeemed: all that it can get is the same answer again.
    pub is_redeemed: bool,
}

/// Finds the token by its id and compares the digest of its text in constant time.
pub(super) fn verify(store: &dyn Store, text: &str, now: OffsetDateTime) -> Result<TokenProof, Refusal> {
    let unknown = || {
        Refusal::new(
            Reason::TokenInvalid,
            "join token is not known here; expected the whole text that `signet token create` printed for this server",
        )
    };
    let token = JoinToken::parse(text)
        .map_err(|e| Refusal::new(Reason::TokenInvalid, format!("join token cannot be read: {e}")))?;
    let state = store.read();
    let row = state.token(token.id()).ok_or_else(unknown)?;
    if !bool::from(row.digest.as_slice().ct_eq(&JoinToken::digest_of(text))) {
        return Err(unknown());
    }
    token_counts(row, now.unix_timestamp())?;
    let spiffe_id = SpiffeId::new(&row.spiffe_id).map_err(|e| {
        Refusal::new(
            Reason::Internal,
            format!("the recorded token names no SPIFFE ID: {e}"),
        )
    })?;
    Ok(TokenProof {
        id: row.id.clone(),
        spiffe_id,
        is_redeemed: row.redeemed.is_some(),
    })
}
