//! Which certificate may this caller have? Identity, names and life, each from the caller and the registrations; a CSR only wishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{Reason, SpiffeId};
use issuance::{LifeError, Profile, VerifiedCsr};
use proto::Refusal;
use resources::{Claims, Facts, Proof};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{Registered, RegistrationSet, Registrations};
use crate::caller::{Attested, OwnCertificate, TokenProof, disagree};
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
    /// Cut a life between the registration's and the profile's maximum, as stock proxies ask for a day without being told to.
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

struct Candidate {
    spiffe_id: SpiffeId,
    registered: Arc<Registered>,
    token: Option<TokenTerms>,
}

/// What the maker of a token asked for besides the identity.
#[derive(Default)]
struct TokenTerms {
    dns_names: Vec<String>,
    life: Option<Duration>,
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
        let set = self.current()?;
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
            token,
        } = candidate;
        let token = token.unwrap_or_default();
        let registration = &registered.registration;
        let granted = if token.dns_names.is_empty() {
            registration.dns_names()
        } else {
            &token.dns_names
        };
        let dns_names = grant_names(wish.csr, granted, &registered)?;
        let profile = self.profile(spiffe_id.role())?;
        let longest = registration
            .max_life()
            .map_or(profile.max_life(), |max| max.min(profile.max_life()));
        let asked = match wish.life {
            Some(life) if wish.clip_life && life <= profile.max_life() => Some(life.min(longest)),
            other => other,
        };
        let default = token.life.or(registration.life());
        let life = profile
            .life(asked, default, registration.max_life())
            .map_err(|e| life_refused(&e, longest))?;
        let origin = match attested {
            Attested::Own(own) => origin_of(own),
            first => new_origin(first, registration, now),
        };
        Ok(Grant {
            spiffe_id,
            dns_names,
            profile,
            life,
            registered,
            origin,
        })
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

    fn candidates(
        &self,
        set: &RegistrationSet,
        attested: &Attested,
        wished: Option<&SpiffeId>,
        now: OffsetDateTime,
    ) -> Result<Vec<Candidate>, Refusal> {
        match attested {
            Attested::Token(token) => Ok(vec![self.by_token(set, token)?]),
            Attested::Own(own) => Ok(vec![self.by_renewal(set, own, now)?]),
            Attested::Jwt { jwt, beside } => {
                let facts = Facts {
                    jwt_subject: Some(&jwt.subject),
                    jwt_claims: Some(&jwt.claims),
                    ..Facts::default()
                };
                let proof = Proof::Jwt {
                    provider: &jwt.provider,
                    subject: &jwt.subject,
                };
                let found = self.admitted(set, &proof, &facts);
                match beside {
                    None => Ok(found),
                    Some(id) => match found.into_iter().find(|candidate| candidate.spiffe_id == *id) {
                        Some(candidate) => Ok(vec![candidate]),
                        None => Err(self.jwt_disagrees(set, &proof, &facts, id)),
                    },
                }
            }
            Attested::Foreign(foreign) => {
                let facts = Facts {
                    certificate_id: Some(&foreign.id),
                    ..Facts::default()
                };
                let proof = Proof::Certificate {
                    provider: &foreign.provider,
                    id: &foreign.id,
                };
                let mut found = self.admitted(set, &proof, &facts);
                found.retain(|candidate| candidate.spiffe_id.role() == Role::Device);
                Ok(found)
            }
            Attested::Kernel { .. } => {
                let wished = wished.ok_or_else(|| {
                    Refusal::new(
                        Reason::IdentityAmbiguous,
                        "a call through admin.sock may have any registered identity; name one in spiffe_id",
                    )
                    .with("field", "spiffe_id")
                })?;
                let named = |registered: &&Arc<Registered>| {
                    registered
                        .registration
                        .spiffe_id_for(&self.trust_domain, &Facts::default())
                        .is_ok_and(|id| id == *wished)
                };
                Ok(set
                    .iter()
                    .filter(named)
                    .map(|registered| candidate(wished.clone(), registered))
                    .collect())
            }
        }
    }

    fn admitted(&self, set: &RegistrationSet, proof: &Proof<'_>, facts: &Facts<'_>) -> Vec<Candidate> {
        set.iter()
            .filter(|registered| registered.registration.grants_caller(proof).is_some())
            .filter_map(|registered| {
                let id = registered
                    .registration
                    .spiffe_id_for(&self.trust_domain, facts)
                    .ok()?;
                Some(candidate(id, registered))
            })
            .collect()
    }

    fn jwt_disagrees(
        &self,
        set: &RegistrationSet,
        proof: &Proof<'_>,
        facts: &Facts<'_>,
        certificate: &SpiffeId,
    ) -> Refusal {
        match self.admitted(set, proof, facts).first() {
            Some(other) => disagree(&other.spiffe_id, certificate),
            None => Refusal::new(
                Reason::IdentityNotGranted,
                "no registration grants an identity to this JWT",
            ),
        }
    }

    fn by_token(&self, set: &RegistrationSet, token: &TokenProof) -> Result<Candidate, Refusal> {
        let (name, terms) = {
            let state = self.store.read();
            let row = state
                .token(&token.id)
                .ok_or_else(|| Refusal::new(Reason::TokenInvalid, "join token is no longer known here"))?;
            let terms = TokenTerms {
                dns_names: row.dns_names.clone(),
                life: (row.life > 0).then(|| Duration::from_secs(row.life)),
            };
            (row.registration.clone(), terms)
        };
        let registered = find(set, &name).ok_or_else(|| gone(&token.spiffe_id, &name))?;
        let registration = &registered.registration;
        let still = registration.grants_caller(&Proof::Token).is_some()
            && registration
                .spiffe_id_for(&self.trust_domain, &Facts::default())
                .is_ok_and(|id| id == token.spiffe_id);
        if !still {
            return Err(narrowed(&token.spiffe_id, &name));
        }
        Ok(Candidate {
            spiffe_id: token.spiffe_id.clone(),
            registered: Arc::clone(registered),
            token: Some(terms),
        })
    }

    /// A certificate renews its own identity while the registration that granted it exists and still grants: the same identity,
    /// `renewFor` not passed, and the line of `callers` that admitted the first of the lineage still admits its caller.
    fn by_renewal(
        &self,
        set: &RegistrationSet,
        own: &OwnCertificate,
        now: OffsetDateTime,
    ) -> Result<Candidate, Refusal> {
        let issued = &own.issued;
        let registered = find(set, &issued.registration)
            .filter(|registered| registered.reference.created_revision == issued.registration_created)
            .ok_or_else(|| gone(&own.id, &issued.registration))?;
        let registration = &registered.registration;
        let origin = origin_of(own);
        let claims: Option<Map<String, Value>> = serde_json::from_str(&origin.claims).ok();
        let claims: Option<&dyn Claims> = claims.as_ref().map(|claims| claims as _);
        let facts = Facts {
            jwt_subject: (origin.method == "jwt").then_some(origin.subject.as_str()),
            jwt_claims: claims,
            certificate_id: (origin.method == "certificate").then_some(origin.subject.as_str()),
            ..Facts::default()
        };
        let names_it = registration
            .spiffe_id_for(&self.trust_domain, &facts)
            .is_ok_and(|id| id == own.id);
        let admits = match origin.method.as_str() {
            "token" => registration.grants_caller(&Proof::Token).is_some(),
            "jwt" => registration
                .grants_caller(&Proof::Jwt {
                    provider: &origin.provider,
                    subject: &origin.subject,
                })
                .is_some(),
            "certificate" => registration
                .grants_caller(&Proof::Certificate {
                    provider: &origin.provider,
                    id: &origin.subject,
                })
                .is_some(),
            "admin" => true,
            _ => false,
        };
        if !names_it || !admits {
            return Err(narrowed(&own.id, &issued.registration));
        }
        let age = now.unix_timestamp().saturating_sub(origin.at);
        if let Some(longest) = registration.renew_for()
            && u64::try_from(age).unwrap_or(0) > longest.as_secs()
        {
            return Err(Refusal::new(
                Reason::IdentityNotGranted,
                format!(
                    "registration {} lets a lineage renew for {} and this one is {} s old; prove the identity anew",
                    issued.registration,
                    identity::duration::print(longest),
                    age
                ),
            ));
        }
        Ok(candidate(own.id.clone(), registered))
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

/// A CSR without DNS names gets all that are granted, one with some just those; any other kind of name is granted by nobody.
fn grant_names(
    csr: &VerifiedCsr,
    granted: &[String],
    registered: &Registered,
) -> Result<Vec<String>, Refusal> {
    let refuse = |name: &str| {
        let reference = &registered.reference;
        Refusal::new(
            Reason::NameNotGranted,
            format!(
                "the CSR names {name}, which registration {}/{} does not grant; it grants: {}",
                reference.namespace,
                reference.name,
                if granted.is_empty() {
                    "no DNS names".to_owned()
                } else {
                    granted.join(", ")
                }
            ),
        )
        .with("name", name)
    };
    if let Some(other) = csr.other_names().first() {
        return Err(refuse(&other.to_string()));
    }
    if let Some(name) = csr.dns_names().iter().find(|name| !granted.contains(name)) {
        return Err(refuse(name));
    }
    Ok(if csr.dns_names().is_empty() {
        granted.to_vec()
    } else {
        csr.dns_names().to_vec()
    })
}

fn candidate(spiffe_id: SpiffeId, registered: &Arc<Registered>) -> Candidate {
    Candidate {
        spiffe_id,
        registered: Arc::clone(registered),
        token: None,
    }
}

fn find<'a>(set: &'a RegistrationSet, full_name: &str) -> Option<&'a Arc<Registered>> {
    let (namespace, name) = full_name.split_once('/')?;
    set.get(namespace, name)
}

fn gone(id: &SpiffeId, registration: &str) -> Refusal {
    Refusal::new(
        Reason::IdentityNotGranted,
        format!("registration {registration}, which granted {id}, was deleted (one applied again under its name is another); prove the identity anew"),
    )
    .with("name", id)
}

fn narrowed(id: &SpiffeId, registration: &str) -> Refusal {
    Refusal::new(
        Reason::IdentityNotGranted,
        format!("registration {registration} no longer grants {id} to this caller; ask its owner or prove the identity anew"),
    )
    .with("name", id)
}

fn origin_of(own: &OwnCertificate) -> Origin {
    own.issued.origin.clone().unwrap_or_default()
}

fn new_origin(attested: &Attested, registration: &resources::Registration, now: OffsetDateTime) -> Origin {
    let (provider, subject) = match attested {
        Attested::Token(token) => (String::new(), token.id.clone()),
        Attested::Jwt { jwt, .. } => (jwt.provider.clone(), jwt.subject.clone()),
        Attested::Foreign(foreign) => (foreign.provider.clone(), foreign.id.clone()),
        Attested::Own(_) | Attested::Kernel { .. } => (String::new(), attested.to_string()),
    };
    let claims = match attested {
        Attested::Jwt { jwt, .. } => claims_read(registration, &jwt.claims),
        _ => String::new(),
    };
    Origin {
        at: now.unix_timestamp(),
        method: attested.method().to_owned(),
        provider,
        subject,
        claims,
    }
}

/// The claims that a registration's template reads, so that renewals can be judged without the token.
fn claims_read(registration: &resources::Registration, claims: &Map<String, Value>) -> String {
    let read: Map<String, Value> = registration
        .claims_read()
        .filter_map(|name| Some((name.to_owned(), claims.get(name)?.clone())))
        .collect();
    if read.is_empty() {
        String::new()
    } else {
        Value::Object(read).to_string()
    }
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
