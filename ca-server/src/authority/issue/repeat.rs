//! Answers that are given again: the same token or parent certificate with the same key and request gets the
//! recorded certificate, provided that all it contains would be granted now.

use std::time::Duration;

use identity::{Leaf, Reason, duration};
use proto::Refusal;

use crate::authority::record::Recorded;
use crate::authority::{Authority, wish};
use crate::caller::{Attested, TokenProof};
use crate::registration::{Grant, Wish};
use crate::store::{Entry, redeemed_alike};

impl Authority {
    /// Refuses a token that was redeemed with another key or for another request, before anything else is
    /// decided about it.
    pub(super) fn check_redemption(&self, token: &TokenProof, wish: &Wish<'_>) -> Result<(), Refusal> {
        let state = self.store.read();
        let Some(row) = state.token(&token.id).filter(|row| row.redeemed.is_some()) else {
            return Ok(());
        };
        // A request for another identity than the token's is another request than the one that redeemed it.
        let mut requested = wish.spiffe_id.into_iter().chain(wish.csr.uri());
        let id = requested
            .find(|id| **id != token.spiffe_id)
            .unwrap_or(&token.spiffe_id);
        let digest = wish::digest(id, wish.csr.dns_names(), wish.life);
        redeemed_alike(row, wish.csr.key_digest().as_bytes(), &digest).map(|_| ())
    }

    /// The certificate recorded at `position` as the answer to this request; `None` if it is outdated and the
    /// caller, who renews, gets a new one.
    ///
    /// # Errors
    /// `TOKEN_SPENT` where it is outdated and was issued for a token, which enrols only once.
    pub(super) fn repeat(
        &self,
        position: u64,
        grant: &Grant,
        attested: &Attested,
    ) -> Result<Option<Recorded>, Refusal> {
        let absent = || {
            Refusal::new(
                Reason::Internal,
                format!("the journal has no certificate at position {position}"),
            )
        };
        let entry = self.store.entry(position)?.ok_or_else(absent)?;
        let outdated = outdated(&entry, grant)?;
        let issued = entry.issued.ok_or_else(absent)?;
        match (outdated, attested.token()) {
            (None, _) => Ok(Some(Recorded {
                issued,
                position,
                replayed: true,
                fork: false,
            })),
            (Some(_), None) => Ok(None),
            (Some(why), Some(token)) => Err(Refusal::new(
                Reason::TokenSpent,
                format!(
                    "join token {} was redeemed, and its certificate is not given again because {why}; \
                     request a new token",
                    token.id
                ),
            )
            .with("name", &token.id)),
        }
    }
}

/// The first thing in the recorded certificate that would not be granted now.
fn outdated(entry: &Entry, grant: &Grant) -> Result<Option<String>, Refusal> {
    let unreadable = |why: String| Refusal::new(Reason::Internal, format!("a recorded certificate: {why}"));
    let issued = entry
        .issued
        .as_ref()
        .ok_or_else(|| unreadable("none".to_owned()))?;
    let reference = &grant.registered.reference;
    let name = format!("{}/{}", reference.namespace, reference.name);
    if issued.spiffe_id != grant.spiffe_id.as_str() {
        return Ok(Some(format!("it is for {}", issued.spiffe_id)));
    }
    if issued.registration != name || issued.registration_created != reference.created_revision {
        return Ok(Some(format!(
            "registration {}, which granted it, was deleted or replaced",
            issued.registration
        )));
    }
    let profile = grant.profile.name().word();
    if issued.profile != profile {
        return Ok(Some(format!(
            "it has profile {}, and {profile} applies now",
            issued.profile
        )));
    }
    let leaf = Leaf::parse(&issued.der).map_err(|e| unreadable(e.to_string()))?;
    if let Some(name) = leaf
        .dns_names()
        .iter()
        .find(|name| !grant.dns_names.contains(name))
    {
        return Ok(Some(format!("its name {name} is no longer granted")));
    }
    // The entry was decided after the certificate's time of issuance, so that this is at most the lifetime
    // that was granted.
    let life = Duration::from_secs(issued.not_after.saturating_sub(entry.at).try_into().unwrap_or(0));
    if life > grant.longest {
        let [life, longest] = [life, grant.longest].map(duration::print);
        return Ok(Some(format!(
            "its lifetime of {life} exceeds {longest}, the limit now"
        )));
    }
    Ok(None)
}
