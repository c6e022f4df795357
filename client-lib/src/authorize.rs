//! Which peers a program talks to, by SPIFFE ID. A peer is judged by its certificate first (`identity::PeerVerifier`), then by
//! one of these rules; a refusal says who came and who was expected.

use std::collections::BTreeSet;
use std::fmt;

use identity::{SpiffeId, TrustDomain};

/// A rule on the SPIFFE IDs of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Ids(BTreeSet<String>),
    TrustDomain(TrustDomain),
    Prefix(SpiffeId),
}

/// A peer that the rule does not name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer is {found}, expected {expected}")]
pub struct NotAuthorized {
    /// Who the peer is.
    pub found: SpiffeId,
    /// Who may come, in words.
    pub expected: String,
}

impl Authorize {
    /// Exactly this peer.
    pub fn id(id: &SpiffeId) -> Self {
        Self::any_of([id])
    }

    /// Any peer of this set; an empty set admits nobody.
    pub fn any_of<'a>(ids: impl IntoIterator<Item = &'a SpiffeId>) -> Self {
        Self(Rule::Ids(
            ids.into_iter().map(|id| id.as_str().to_owned()).collect(),
        ))
    }

    /// Every member of this trust domain.
    pub fn trust_domain(trust_domain: &TrustDomain) -> Self {
        Self(Rule::TrustDomain(trust_domain.clone()))
    }

    /// This ID and all below it, by whole path segments: `spiffe://td/ns/a` admits `/ns/a` and `/ns/a/sa/b`, not `/ns/ab`.
    pub fn prefix(prefix: &SpiffeId) -> Self {
        Self(Rule::Prefix(prefix.clone()))
    }

    /// Whether this peer may come.
    pub fn check(&self, peer: &SpiffeId) -> Result<(), NotAuthorized> {
        let admitted = match &self.0 {
            Rule::Ids(ids) => ids.contains(peer.as_str()),
            Rule::TrustDomain(trust_domain) => peer.is_member_of(trust_domain),
            Rule::Prefix(prefix) => peer
                .as_str()
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        if admitted {
            Ok(())
        } else {
            Err(NotAuthorized {
                found: peer.clone(),
                expected: self.to_string(),
            })
        }
    }
}

impl fmt::Display for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Ids(ids) if ids.is_empty() => f.write_str("nobody, the set is empty"),
            Rule::Ids(ids) => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                f.write_str(&ids.join(" or "))
            }
            Rule::TrustDomain(trust_domain) => {
                write!(f, "a member of trust domain {}", trust_domain.as_str())
            }
            Rule::Prefix(prefix) => write!(f, "{prefix} or an ID below it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SpiffeId {
        SpiffeId::new(text).unwrap()
    }

    #[test]
    fn each_rule_admits_whom_it_names_and_nobody_else() {
        let (web, db) = (id("spiffe://td/ns/a/sa/web"), id("spiffe://td/ns/a/sa/db"));
        let (sibling, foreign) = (id("spiffe://td/ns/ab/sa/web"), id("spiffe://other/ns/a/sa/web"));
        let deceptive = id("spiffe://td.evil/ns/a/sa/web");
        let td = TrustDomain::new("td").unwrap();
        let everyone = [&web, &db, &sibling, &foreign, &deceptive];
        for (rule, admitted) in [
            (Authorize::id(&web), vec![&web]),
            (Authorize::any_of([&web, &db]), vec![&web, &db]),
            (Authorize::any_of([]), vec![]),
            (Authorize::trust_domain(&td), vec![&web, &db, &sibling]),
            (Authorize::prefix(&id("spiffe://td/ns/a")), vec![&web, &db]),
            (Authorize::prefix(&td.id()), vec![&web, &db, &sibling]),
        ] {
            for peer in everyone {
                assert_eq!(
                    rule.check(peer).is_ok(),
                    admitted.contains(&peer),
                    "{rule}: {peer}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_says_who_came_and_who_was_expected() {
        let refusal = Authorize::any_of([&id("spiffe://td/b"), &id("spiffe://td/a")])
            .check(&id("spiffe://td/c"))
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "peer is spiffe://td/c, expected spiffe://td/a or spiffe://td/b"
        );
        let refusal = Authorize::trust_domain(&TrustDomain::new("td").unwrap())
            .check(&id("spiffe://other/c"))
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "peer is spiffe://other/c, expected a member of trust domain td"
        );
    }
}
