//! Which identities a caller's proof gives it, each with the registration that grants it; renewals are judged by the registration of the
//! first certificate of their lineage.

use std::sync::Arc;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{Reason, SpiffeId};
use proto::Refusal;
use resources::{Claims, Facts, Proof};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::origin::origin_of;
use crate::caller::{Attested, Bearer, ForeignCertificate, OwnCertificate, TokenProof, VerifiedJwt};
use crate::registration::{Registered, RegistrationSet, Registrations};
use crate::store::{TOKEN_REGISTRATION_NAMESPACE, TOKEN_REGISTRATION_PREFIX};

pub(super) struct Candidate {
    pub(super) spiffe_id: SpiffeId,
    pub(super) registered: Arc<Registered>,
    pub(super) terms: Terms,
}

/// The limits of a join token for its lineage, next to those of the registration.
#[derive(Default)]
pub(super) struct Terms {
    /// DNS names; empty: those of the registration.
    pub(super) dns_names: Vec<String>,
    /// Longest lifetime, also the default one; absent: the registration's.
    pub(super) life: Option<Duration>,
}

impl Registrations {
    pub(super) fn candidates(
        &self,
        set: &RegistrationSet,
        attested: &Attested,
        wished: Option<&SpiffeId>,
        now: OffsetDateTime,
    ) -> Result<Vec<Candidate>, Refusal> {
        match attested {
            Attested::Own(own) => Ok(vec![self.by_renewal(set, own, now)?]),
            Attested::Bearer {
                bearer: Bearer::Token(token),
                ..
            } => Ok(vec![self.by_token(set, token)?]),
            Attested::Bearer {
                bearer: Bearer::Jwt(jwt),
                beside,
            } => {
                let mut found = self.by_jwt(set, jwt);
                if let Some(named) = beside.as_ref().and_then(|beside| self.named_by(set, beside)) {
                    found.retain(|candidate| named.contains(&candidate.spiffe_id));
                }
                Ok(found)
            }
            Attested::Foreign(foreign) => Ok(self.by_foreign(set, foreign)),
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
                let found = set.fixed(wished).iter();
                Ok(found
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

    pub(super) fn by_jwt(&self, set: &RegistrationSet, jwt: &VerifiedJwt) -> Vec<Candidate> {
        let proof = Proof::Jwt {
            provider: &jwt.provider,
            subject: &jwt.subject,
        };
        let facts = Facts {
            jwt_subject: Some(&jwt.subject),
            jwt_claims: Some(&jwt.claims),
            ..Facts::default()
        };
        self.admitted(set, &proof, &facts)
    }

    /// A foreign certificate makes devices and nothing else.
    pub(super) fn by_foreign(&self, set: &RegistrationSet, foreign: &ForeignCertificate) -> Vec<Candidate> {
        let proof = Proof::Certificate {
            provider: &foreign.provider,
            id: &foreign.id,
        };
        let facts = Facts {
            certificate_id: Some(&foreign.id),
            ..Facts::default()
        };
        let mut found = self.admitted(set, &proof, &facts);
        found.retain(|candidate| candidate.spiffe_id.role() == Role::Device);
        found
    }

    fn by_token(&self, set: &RegistrationSet, token: &TokenProof) -> Result<Candidate, Refusal> {
        let (name, terms) = {
            let state = self.store.read();
            let row = state
                .token(&token.id)
                .ok_or_else(|| Refusal::new(Reason::TokenInvalid, "join token is no longer known here"))?;
            // The names are in the registration that it brought along, where an administrator may change
            // them.
            let names = if row.made_registration {
                &[]
            } else {
                row.dns_names.as_slice()
            };
            let terms = Terms::new(names, row.life);
            (row.registration.clone(), terms)
        };
        let registered = set.find(&name)?.ok_or_else(|| gone(&token.spiffe_id, &name))?;
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
            terms,
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
        let registered = set
            .find(&issued.registration)?
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
        let withdrawn =
            |name: &&String| !registration.dns_names().contains(name) || self.is_server_name(name);
        if let Some(name) = own.leaf.dns_names().iter().find(withdrawn) {
            return Err(Refusal::new(
                Reason::NameNotGranted,
                format!(
                    "registration {} no longer grants {name}, which the certificate to renew has{}; enrol again with a new proof",
                    issued.registration,
                    if self.is_server_name(name) {
                        ", because it is a name of this server now"
                    } else {
                        ""
                    }
                ),
            )
            .with("name", name));
        }
        let life = match origin.life {
            0 if is_made_for(&issued.registration, &origin.subject) => self.life_of_token(&origin.subject),
            life => life,
        };
        Ok(Candidate {
            terms: Terms::new(&origin.dns_names, life),
            ..candidate(own.id.clone(), registered)
        })
    }
}

impl Registrations {
    /// The limit that a token sets for a lineage whose first certificate was recorded without it, as those
    /// under a registration made for the token were until the limit applied to them, too; 0: none.
    fn life_of_token(&self, id: &str) -> u64 {
        let state = self.store.read();
        state.token(id).map_or(0, |row| row.life)
    }
}

impl Terms {
    fn new(stored: &[String], life: u64) -> Self {
        let mut dns_names = Vec::with_capacity(stored.len());
        for name in stored {
            // Tokens were once made with a name listed twice.
            if !dns_names.contains(name) {
                dns_names.push(name.clone());
            }
        }
        Self {
            dns_names,
            life: (life > 0).then(|| Duration::from_secs(life)),
        }
    }
}

fn candidate(spiffe_id: SpiffeId, registered: &Arc<Registered>) -> Candidate {
    Candidate {
        spiffe_id,
        registered: Arc::clone(registered),
        terms: Terms::default(),
    }
}

/// Whether the registration `full_name` is the one that this token brought along.
fn is_made_for(full_name: &str, token_id: &str) -> bool {
    let name = full_name
        .strip_prefix(TOKEN_REGISTRATION_NAMESPACE)
        .and_then(|rest| rest.strip_prefix('/'));
    name.and_then(|name| name.strip_prefix(TOKEN_REGISTRATION_PREFIX)) == Some(token_id)
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
