//! Whether two proofs of one call speak of the same caller. A certificate of ours names its identity; a factory's names what the
//! registrations give its holder, and nobody where they give nothing.

use std::collections::BTreeSet;

use identity::{Reason, SpiffeId};
use proto::Refusal;

use super::candidates::Candidate;
use crate::caller::{Attested, Bearer, Verified};
use crate::registration::{RegistrationSet, Registrations};

impl Registrations {
    /// Refuses a bearer and a certificate that name no identity in common, though each names one.
    pub fn agree(&self, attested: &Attested) -> Result<(), Refusal> {
        let Attested::Bearer {
            bearer,
            beside: Some(beside),
        } = attested
        else {
            return Ok(());
        };
        let set = self.current();
        let by_bearer = match bearer {
            Bearer::Token(token) => BTreeSet::from([token.spiffe_id.clone()]),
            Bearer::Jwt(jwt) => identities(self.by_jwt(&set, jwt)),
        };
        let by_certificate = self.named_by(&set, beside).unwrap_or_default();
        match (by_bearer.first(), by_certificate.first()) {
            (Some(bearer), Some(certificate)) if by_bearer.is_disjoint(&by_certificate) => {
                Err(disagree(bearer, certificate))
            }
            _ => Ok(()),
        }
    }

    /// The identities that a certificate speaks for; `None` if it speaks for nobody here.
    pub(super) fn named_by(
        &self,
        set: &RegistrationSet,
        certificate: &Verified,
    ) -> Option<BTreeSet<SpiffeId>> {
        match certificate {
            Verified::Own(own) => Some(BTreeSet::from([own.id.clone()])),
            Verified::Foreign(foreign) => {
                Some(identities(self.by_foreign(set, foreign))).filter(|named| !named.is_empty())
            }
        }
    }
}

fn identities(candidates: Vec<Candidate>) -> BTreeSet<SpiffeId> {
    candidates
        .into_iter()
        .map(|candidate| candidate.spiffe_id)
        .collect()
}

fn disagree(bearer: &SpiffeId, certificate: &SpiffeId) -> Refusal {
    Refusal::new(
        Reason::ProofsDisagree,
        format!("the bearer names {bearer}, the client certificate {certificate}; expected one identity, send one proof"),
    )
    .with("found", bearer)
    .with("expected", certificate)
}

#[cfg(test)]
mod tests;
