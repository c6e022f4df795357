//! Which certificate may this caller have? Identity, names and life, each from the caller and the registrations; a CSR only wishes.

mod agree;
mod candidates;
mod origin;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{Reason, SpiffeId};
use issuance::{LifeError, Profile, VerifiedCsr};
use proto::Refusal;
use time::OffsetDateTime;

use self::candidates::{Candidate, Terms};
use self::origin::{new_origin, origin_of};
use super::{Registered, Registrations};
use crate::caller::Attested;
use crate::store::entry::Origin;

/// What a caller would like.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The identity, where the request names one.
    pub spiffe_id: Option<&'a SpiffeId>,
    /// The CSR, whose names are wishes too.
    pub csr: &'a VerifiedCsr,
    /// The life, where the request names one.
    pub life: Option<Duration>,
    /// Cut a life between the limit of token or registration and the profile's maximum, as stock proxies ask
    /// for a day without being told to.
    pub clip_life: bool,
}

/// What the caller may have: every field comes from a registration or a profile.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// The profile that the certificate is made by.
    pub profile: Profile,
    /// Its life.
    pub life: Duration,
    /// The longest life that would be granted.
    pub longest: Duration,
    /// The registration that grants it.
    pub registered: Arc<Registered>,
    /// How the lineage began: this request, or that of the first certificate.
    pub origin: Origin,
}

/// The usable profile of each role.
#[derive(Clone, Copy, Debug)]
pub struct Profiles {
    /// For mesh workloads and any path that is not reserved.
    pub workload: Profile,
    /// For `/device/`.
    pub device: Profile,
    /// For `/agent/`.
    pub agent: Profile,
}

impl Registrations {
    /// Decides what `attested` may have of its wish.
    pub fn authorize(
        &self,
        attested: &Attested,
        wish: &Wish<'_>,
        now: OffsetDateTime,
    ) -> Result<Grant, Refusal> {
        let wished = wished_id(wish)?;
        let set = self.current();
        let candidates = self.candidates(&set, attested, wished, now)?;
        let candidate = choose(candidates, wished, attested)?;
        self.grant(candidate, attested, wish, now)
    }

    fn grant(
        &self,
        candidate: Candidate,
        attested: &Attested,
        wish: &Wish<'_>,
        now: OffsetDateTime,
    ) -> Result<Grant, Refusal> {
        let Candidate {
            spiffe_id,
            registered,
            terms,
        } = candidate;
        let registration = &registered.registration;
        let dns_names = self.grant_names(wish.csr, &terms, &registered)?;
        let profile = self.profile(spiffe_id.role())?;
        let limits = [Some(profile.max_life()), registration.max_life(), terms.life];
        let longest = limits.into_iter().flatten().min().unwrap_or(profile.max_life());
        let asked = match wish.life {
            Some(life) if wish.clip_life && life <= profile.max_life() => Some(life.min(longest)),
            other => other,
        };
        let default = terms.life.or(registration.life());
        let life = profile
            .life(asked, default, Some(longest))
            .map_err(|e| life_refused(&e, longest))?;
        let origin = match attested {
            Attested::Own(own) => origin_of(own),
            first => new_origin(first, registration, terms, now),
        };
        Ok(Grant {
            spiffe_id,
            dns_names,
            profile,
            life,
            longest,
            registered,
            origin,
        })
    }

    /// A CSR without DNS names gets all that are granted, one with some only those; names of other kinds are
    /// never granted. The names that a token limits its lineage to must still be the registration's. A name
    /// of this server is not granted, whichever of registration, token and server had it first: stock proxies
    /// identify the CA by it.
    fn grant_names(
        &self,
        csr: &VerifiedCsr,
        terms: &Terms,
        registered: &Registered,
    ) -> Result<Vec<String>, Refusal> {
        let of_registration = registered.registration.dns_names();
        let limit = if terms.dns_names.is_empty() {
            of_registration
        } else {
            &terms.dns_names
        };
        let granted = || limit.iter().filter(|name| !self.is_server_name(name));
        if let Some(other) = csr.other_names().first() {
            return Err(name_refused(&other.to_string(), registered, granted()));
        }
        let requested = csr.dns_names();
        let names: Vec<String> = if requested.is_empty() {
            granted().cloned().collect()
        } else {
            requested.to_vec()
        };
        for name in &names {
            if self.is_server_name(name) {
                return Err(server_name_refused(name));
            }
            if !limit.contains(name) || !of_registration.contains(name) {
                return Err(name_refused(name, registered, granted()));
            }
        }
        Ok(names)
    }

    fn profile(&self, role: Role) -> Result<Profile, Refusal> {
        let profiles = &self.profiles;
        match role {
            Role::Workload | Role::Admin => Ok(profiles.workload),
            Role::Device => Ok(profiles.device),
            Role::Agent => Ok(profiles.agent),
            Role::Authority | Role::Server => Err(Refusal::new(
                Reason::IdentityNotGranted,
                format!("paths of role {} are never granted to callers", role.word()),
            )),
        }
    }
}

fn wished_id<'a>(wish: &Wish<'a>) -> Result<Option<&'a SpiffeId>, Refusal> {
    match (wish.spiffe_id, wish.csr.uri()) {
        (Some(asked), Some(uri)) if asked != uri => Err(Refusal::new(
            Reason::CsrSan,
            format!("the CSR names {uri} and the request {asked}, expected one identity"),
        )
        .with("found", uri)
        .with("expected", asked)),
        (asked, uri) => Ok(asked.or(uri)),
    }
}

fn choose(
    candidates: Vec<Candidate>,
    wished: Option<&SpiffeId>,
    attested: &Attested,
) -> Result<Candidate, Refusal> {
    let found: BTreeSet<&SpiffeId> = candidates.iter().map(|c| &c.spiffe_id).collect();
    let chosen = match wished {
        Some(wished) => found.contains(wished).then(|| wished.clone()).ok_or_else(|| {
            let granted = list(&found);
            Refusal::new(
                Reason::IdentityNotGranted,
                format!(
                    "{wished} is granted to this caller ({attested}) by no registration; granted: {granted}"
                ),
            )
            .with("name", wished)
            .with("found", granted)
        })?,
        None => match found.first() {
            None => {
                return Err(Refusal::new(
                    Reason::IdentityNotGranted,
                    format!(
                        "no registration grants an identity to this caller ({attested}); `signet get registrations -A` lists them"
                    ),
                ));
            }
            Some(_) if found.len() > 1 => {
                let granted = list(&found);
                return Err(Refusal::new(
                    Reason::IdentityAmbiguous,
                    format!("the caller may have {granted}; name one in spiffe_id or as URI SAN of the CSR"),
                )
                .with("found", granted)
                .with("field", "spiffe_id"));
            }
            Some(only) => (*only).clone(),
        },
    };
    // Several registrations may grant one identity; the first by name decides, whatever order they are stored in.
    candidates
        .into_iter()
        .filter(|candidate| candidate.spiffe_id == chosen)
        .min_by(|a, b| {
            let name = |c: &Candidate| {
                let reference = &c.registered.reference;
                (reference.namespace.clone(), reference.name.clone())
            };
            name(a).cmp(&name(b))
        })
        .ok_or_else(|| Refusal::new(Reason::Internal, "the chosen identity has no registration"))
}

fn list(ids: &BTreeSet<&SpiffeId>) -> String {
    const READABLE: usize = 10;
    if ids.is_empty() {
        return "none".to_owned();
    }
    let mut names: Vec<&str> = ids.iter().take(READABLE).map(|id| id.as_str()).collect();
    if ids.len() > READABLE {
        names.push("...");
    }
    names.join(", ")
}

fn name_refused<'a>(
    name: &str,
    registered: &Registered,
    granted: impl Iterator<Item = &'a String>,
) -> Refusal {
    let reference = &registered.reference;
    let granted: Vec<&str> = granted.map(String::as_str).collect();
    let granted = if granted.is_empty() {
        "no DNS names".to_owned()
    } else {
        granted.join(", ")
    };
    Refusal::new(
        Reason::NameNotGranted,
        format!(
            "{name} is requested, which registration {}/{} does not grant to this caller; it grants: {granted}",
            reference.namespace, reference.name,
        ),
    )
    .with("name", name)
}

/// A request for a name by which clients reach this server.
pub(crate) fn server_name_refused(name: &str) -> Refusal {
    Refusal::new(
        Reason::NameNotGranted,
        format!("{name} is a name of this server, by which stock proxies know it; it is never granted"),
    )
    .with("name", name)
}

fn life_refused(error: &LifeError, longest: Duration) -> Refusal {
    let limit = match error {
        LifeError::TooLong { .. } => longest,
        LifeError::TooShort { .. } => issuance::MIN_LIFE,
    };
    Refusal::new(error.reason(), error.to_string())
        .with("field", "life")
        .with("limit", identity::duration::print(limit))
}

#[cfg(test)]
mod tests;
