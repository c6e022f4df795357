//! Says before asking whether a request would be granted, by which registration, and if by none, which comes nearest and what it
//! lacks. It judges what registrations say; whether token, key and certificate are good is the server's to say.

use identity::{SpiffeId, TrustDomain};

use crate::registration::{Proof, Registration};
use crate::template::Facts;

/// What would be asked for, and by whom.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// How the caller would prove itself.
    pub asker: Asker<'a>,
    /// The trust domain of the server.
    pub trust_domain: &'a TrustDomain,
    /// The identity that the request names.
    pub wished: Option<&'a SpiffeId>,
    /// DNS names that the request names.
    pub dns_names: &'a [String],
    /// Names of other types that the request names, as text.
    pub other_names: &'a [String],
}

/// How the caller would prove itself.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// By a join token, which is made for one identity under one registration.
    Token {
        /// The identity.
        id: &'a SpiffeId,
        /// namespace/name.
        registration: &'a str,
    },
    /// By a certificate of this CA, which renews under the registration that granted it.
    Own {
        /// The identity.
        id: &'a SpiffeId,
        /// namespace/name.
        registration: &'a str,
    },
    /// By a certificate of a foreign CA.
    Foreign {
        /// Name of that CA in the server's configuration.
        provider: &'a str,
        /// The id that the configuration reads in the certificate.
        id: &'a str,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It would be granted.
    Granted {
        /// namespace/name.
        registration: String,
        /// The identity.
        spiffe_id: SpiffeId,
        /// Other registrations that grant the same identity to this caller and have no effect here,
        /// namespace/name in order.
        also: Vec<String>,
    },
    /// It would be refused.
    Refused {
        /// The registration that comes nearest, namespace/name; none where there is no registration at all.
        nearest: Option<String>,
        /// What is missing, in sentences.
        missing: Vec<String>,
    },
}

/// Judges a request by the registrations there are.
pub fn explain<'r>(
    registrations: impl IntoIterator<Item = &'r Registration>,
    asked: &Asked<'_>,
) -> Explanation {
    let mut nearest: Option<Candidate<'_>> = None;
    let mut rivals = Vec::new();
    for registration in registrations {
        if grants_too(registration, asked) {
            rivals.push(registration.full_name());
        }
        let candidate = Candidate::new(registration, asked);
        let is_nearer = nearest
            .as_ref()
            .is_none_or(|so_far| candidate.rank() < so_far.rank());
        if is_nearer {
            nearest = Some(candidate);
        }
    }
    match nearest {
        Some(Candidate {
            name,
            missing,
            id: Some(spiffe_id),
            ..
        }) if missing.is_empty() => {
            rivals.retain(|rival| *rival != name);
            rivals.sort_unstable();
            Explanation::Granted {
                registration: name,
                spiffe_id,
                also: rivals,
            }
        }
        Some(Candidate { name, missing, .. }) => Explanation::Refused {
            nearest: Some(name),
            missing,
        },
        None => Explanation::Refused {
            nearest: None,
            missing: vec!["there is no registration".to_owned()],
        },
    }
}

/// Whether the registration grants the caller's identity to its kind of proof, whichever registration applies
/// to this very proof.
fn grants_too(registration: &Registration, asked: &Asked<'_>) -> bool {
    let (proof, facts, id) = match asked.asker {
        Asker::Token { id, .. } => (Proof::Token, Facts::default(), Some(id)),
        // A certificate renews under its own registration, so that others with the same identity make no
        // difference.
        Asker::Own { .. } => return false,
        Asker::Foreign { provider, id } => {
            let facts = Facts {
                certificate_id: Some(id),
                ..Facts::default()
            };
            (Proof::Certificate { provider, id }, facts, asked.wished)
        }
    };
    registration.grants_caller(&proof).is_some()
        && registration
            .spiffe_id_for(asked.trust_domain, &facts)
            .is_ok_and(|granted| id.is_none_or(|id| *id == granted))
}

struct Candidate<'r> {
    registration: &'r Registration,
    name: String,
    id: Option<SpiffeId>,
    missing: Vec<String>,
}

impl<'r> Candidate<'r> {
    fn new(registration: &'r Registration, asked: &Asked<'_>) -> Self {
        let mut candidate = Self {
            registration,
            name: registration.full_name(),
            id: None,
            missing: Vec::new(),
        };
        candidate.judge_caller(registration, asked);
        candidate.judge_identity(registration, asked);
        candidate.judge_names(registration, asked);
        candidate
    }

    /// The least lacking goes first, then the first by name, as the server chooses.
    fn rank(&self) -> (usize, bool, &str, &str) {
        let Self { registration, .. } = self;
        (
            self.missing.len(),
            self.id.is_none(),
            registration.namespace(),
            registration.name(),
        )
    }

    fn lacks(&mut self, what: impl Into<String>) {
        self.missing.push(what.into());
    }

    fn judge_caller(&mut self, registration: &Registration, asked: &Asked<'_>) {
        match asked.asker {
            Asker::Own {
                registration: bound, ..
            } => {
                if bound != self.name {
                    self.lacks(format!(
                        "the certificate was granted by registration {bound} and renews under that one only"
                    ));
                }
            }
            Asker::Token {
                registration: bound, ..
            } => {
                if bound != self.name {
                    self.lacks(format!(
                        "the token was made under registration {bound} and counts for that one only"
                    ));
                } else if registration.grants_caller(&Proof::Token).is_none() {
                    self.lacks("callers has no line `token`");
                }
            }
            Asker::Foreign { provider, id } => {
                if registration
                    .grants_caller(&Proof::Certificate { provider, id })
                    .is_none()
                {
                    self.lacks(format!(
                        "callers has no line that admits certificate:{provider}:{id}, or the role is not device"
                    ));
                }
            }
        }
    }

    fn judge_identity(&mut self, registration: &Registration, asked: &Asked<'_>) {
        let (facts, bound) = match asked.asker {
            Asker::Token { id, .. } | Asker::Own { id, .. } => (Facts::default(), Some(id)),
            Asker::Foreign { id, .. } => (
                Facts {
                    certificate_id: Some(id),
                    ..Facts::default()
                },
                None,
            ),
        };
        if let (Some(bound), Some(wished)) = (bound, asked.wished)
            && bound != wished
        {
            self.lacks(format!("the request names {wished}, the proof is for {bound}"));
        }
        let expected = bound.or(asked.wished);
        match registration.spiffe_id_for(asked.trust_domain, &facts) {
            Ok(id) => match expected.filter(|expected| **expected != id) {
                Some(expected) => self.lacks(format!("it grants {id}, expected {expected}")),
                None => self.id = Some(id),
            },
            // A template is filled from the first proof, which a later renewal no longer shows: the server has it on record.
            Err(_) if matches!(asked.asker, Asker::Own { .. }) => self.id = bound.cloned(),
            Err(why) => self.lacks(why.to_string()),
        }
    }

    fn judge_names(&mut self, registration: &Registration, asked: &Asked<'_>) {
        for name in asked
            .dns_names
            .iter()
            .filter(|name| !registration.dns_names().contains(name))
        {
            self.lacks(format!("dnsNames does not have {name}"));
        }
        for name in asked.other_names {
            self.lacks(format!("no registration can grant {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Resource, parse};

    fn registrations() -> Vec<Registration> {
        let text = "
apiVersion: signet.dev/v1
kind: Registration
metadata: { name: web }
spec: { spiffeId: spiffe://td/ns/default/sa/web, dnsNames: [ web.example ], callers: [ token ] }
---
apiVersion: signet.dev/v1
kind: Registration
metadata: { name: meters }
spec: { role: device, spiffeId: '/device/{{ certificate.id }}', callers: [ 'certificate:factory:D-*' ] }
";
        let documents = parse(text, "").unwrap();
        let registration = |document: crate::Document| match document.resource {
            Resource::Registration(registration) => *registration,
            _ => panic!("not a registration"),
        };
        documents.into_iter().map(registration).collect()
    }

    fn ask(asker: Asker<'_>, wished: Option<&str>, dns_names: &[&str]) -> Explanation {
        let wished = wished.map(|id| SpiffeId::new(id).unwrap());
        let dns_names: Vec<String> = dns_names.iter().map(|name| (*name).to_owned()).collect();
        let asked = Asked {
            asker,
            trust_domain: &TrustDomain::new("td").unwrap(),
            wished: wished.as_ref(),
            dns_names: &dns_names,
            other_names: &[],
        };
        explain(&registrations(), &asked)
    }

    fn granted(registration: &str, id: &str) -> Explanation {
        Explanation::Granted {
            registration: registration.to_owned(),
            spiffe_id: SpiffeId::new(id).unwrap(),
            also: Vec::new(),
        }
    }

    #[test]
    fn other_registrations_that_grant_the_same_identity_are_named() {
        let text = ["a", "web", "x-y"].map(|name| {
            format!(
                "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: {name} }}\nspec: {{ spiffeId: /web, callers: [ token ] }}\n"
            )
        });
        let documents = parse(&text.join("---\n"), "").unwrap();
        let registrations = documents
            .into_iter()
            .filter_map(|document| match document.resource {
                Resource::Registration(registration) => Some(*registration),
                _ => None,
            });
        let registrations: Vec<Registration> = registrations.collect();
        let id = SpiffeId::new("spiffe://td/web").unwrap();
        let asked = Asked {
            asker: Asker::Token {
                id: &id,
                registration: "default/web",
            },
            trust_domain: &TrustDomain::new("td").unwrap(),
            wished: None,
            dns_names: &[],
            other_names: &[],
        };
        let expected = Explanation::Granted {
            registration: "default/web".to_owned(),
            spiffe_id: id.clone(),
            also: vec!["default/a".to_owned(), "default/x-y".to_owned()],
        };
        assert_eq!(explain(&registrations, &asked), expected);
    }

    #[test]
    fn what_a_registration_grants_is_told_with_its_name() {
        let web = SpiffeId::new("spiffe://td/ns/default/sa/web").unwrap();
        let token = Asker::Token {
            id: &web,
            registration: "default/web",
        };
        assert_eq!(
            ask(token, None, &["web.example"]),
            granted("default/web", web.as_str())
        );
        let own = Asker::Own {
            id: &web,
            registration: "default/web",
        };
        assert_eq!(
            ask(own, Some(web.as_str()), &[]),
            granted("default/web", web.as_str())
        );
        let meter = Asker::Foreign {
            provider: "factory",
            id: "D-7",
        };
        assert_eq!(
            ask(meter, None, &[]),
            granted("default/meters", "spiffe://td/device/D-7")
        );
    }

    #[test]
    fn the_nearest_registration_is_told_with_what_is_missing() {
        let web = SpiffeId::new("spiffe://td/ns/default/sa/web").unwrap();
        let token = Asker::Token {
            id: &web,
            registration: "default/web",
        };
        let Explanation::Refused { nearest, missing } = ask(token, None, &["other.example"]) else {
            panic!("not granted");
        };
        assert_eq!(nearest.as_deref(), Some("default/web"));
        assert_eq!(missing, ["dnsNames does not have other.example"]);

        let meter = Asker::Foreign {
            provider: "factory",
            id: "X-7",
        };
        let Explanation::Refused { nearest, missing } = ask(meter, None, &[]) else {
            panic!("not granted");
        };
        assert_eq!(nearest.as_deref(), Some("default/meters"));
        assert!(missing[0].contains("certificate:factory:X-7"), "{missing:?}");
    }

    #[test]
    fn a_request_for_another_identity_than_the_proofs_is_refused() {
        let web = SpiffeId::new("spiffe://td/ns/default/sa/web").unwrap();
        let own = Asker::Own {
            id: &web,
            registration: "default/gone",
        };
        let Explanation::Refused { missing, .. } = ask(own, Some("spiffe://td/other"), &[]) else {
            panic!("not granted");
        };
        assert!(
            missing.iter().any(|line| line.contains("default/gone")),
            "{missing:?}"
        );
        assert!(
            missing.iter().any(|line| line.contains("spiffe://td/other")),
            "{missing:?}"
        );
    }
}
