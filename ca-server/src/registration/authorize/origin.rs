//! How a lineage of certificates began: recorded with its first certificate and carried on by each renewal.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::candidates::Terms;
use crate::caller::{Attested, Bearer, OwnCertificate};
use crate::store::entry::Origin;

pub(super) fn origin_of(own: &OwnCertificate) -> Origin {
    own.issued.origin.clone().unwrap_or_default()
}

pub(super) fn new_origin(
    attested: &Attested,
    registration: &resources::Registration,
    terms: Terms,
    now: OffsetDateTime,
) -> Origin {
    let (provider, subject) = match attested {
        Attested::Bearer { bearer, .. } => match bearer {
            Bearer::Token(token) => (String::new(), token.id.clone()),
            Bearer::Jwt(jwt) => (jwt.provider.clone(), jwt.subject.clone()),
        },
        Attested::Foreign(foreign) => (foreign.provider.clone(), foreign.id.clone()),
        Attested::Own(_) | Attested::Kernel { .. } => (String::new(), attested.to_string()),
    };
    let claims = match attested {
        Attested::Bearer {
            bearer: Bearer::Jwt(jwt),
            ..
        } => claims_read(registration, &jwt.claims),
        _ => String::new(),
    };
    Origin {
        at: now.unix_timestamp(),
        method: attested.method().to_owned(),
        provider,
        subject,
        claims,
        dns_names: terms.dns_names,
        life: terms.life.map_or(0, |life| life.as_secs()),
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
