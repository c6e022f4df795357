//! What a store must answer, in the plainest way: lists that are looked through from one end to the other, in
//! which nothing is ever indexed, pruned or forgotten.

use std::collections::{HashMap, HashSet};

use identity::{Reason, Serial};

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) serial: Serial,
    pub(super) name: String,
    pub(super) key: u8,
    pub(super) wish: u8,
    pub(super) not_after: i64,
    pub(super) parent: Option<Serial>,
    pub(super) registration: Option<String>,
    pub(super) authority: Vec<u8>,
}

/// A request for a certificate.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) key: u8,
    pub(super) wish: u8,
    pub(super) parent: Option<Serial>,
    pub(super) token: Option<String>,
    pub(super) registration: Option<Seen>,
    pub(super) refuse_forks: bool,
}

/// A registration as a caller saw it: which of its name, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) created: u64,
    pub(super) version: u64,
}

/// What is answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    New { fork: bool },
    Replay(Serial),
    Refused(Reason),
}

#[derive(Clone, Debug)]
struct Token {
    expires: i64,
    revoked: bool,
    /// Key, wish and certificate.
    redeemed: Option<(u8, u8, Serial)>,
}

/// Everything that ever happened.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) certificates: Vec<Certificate>,
    tokens: HashMap<String, Token>,
    registrations: HashMap<String, Seen>,
    changes: u64,
    revoked: HashSet<Serial>,
    compromised: HashSet<u8>,
    authorities: Vec<Vec<u8>>,
    crl_numbers: HashMap<Vec<u8>, u64>,
}

impl Model {
    pub(super) fn certificate(&self, serial: Serial) -> Option<&Certificate> {
        self.certificates.iter().find(|issued| issued.serial == serial)
    }

    /// Whether it was issued and expires then or later.
    pub(super) fn expires_from(&self, serial: Serial, time: i64) -> bool {
        self.certificate(serial)
            .is_some_and(|issued| issued.not_after >= time)
    }

    pub(super) fn is_revoked(&self, serial: Serial) -> bool {
        self.revoked.contains(&serial)
    }

    pub(super) fn is_compromised(&self, key: u8) -> bool {
        self.compromised.contains(&key)
    }

    pub(super) fn is_valid(&self, issued: &Certificate, now: i64) -> bool {
        now <= issued.not_after && !self.is_revoked(issued.serial)
    }

    pub(super) fn registration(&self, name: &str) -> Option<&Seen> {
        self.registrations.get(name)
    }

    pub(super) fn active_authority(&self) -> Option<&[u8]> {
        self.authorities.last().map(Vec::as_slice)
    }

    /// The decision on a request.
    pub(super) fn judge(&self, request: &Request, now: i64) -> Answer {
        match self.granted(request, now) {
            Ok(answer) => answer,
            Err(reason) => Answer::Refused(reason),
        }
    }

    fn granted(&self, request: &Request, now: i64) -> Result<Answer, Reason> {
        if self.is_compromised(request.key) {
            return Err(Reason::KeyCompromised);
        }
        if let Some(parent) = request.parent {
            self.parent_is_valid(parent, now)?;
        }
        if let Some(seen) = &request.registration {
            match self.registrations.get(&seen.name) {
                Some(known) if known.created != seen.created => return Err(Reason::IdentityNotGranted),
                Some(known) if known.version != seen.version => return Err(Reason::Conflict),
                Some(_) => {}
                None => return Err(Reason::IdentityNotGranted),
            }
        }
        if let Some(id) = &request.token
            && let Some(serial) = self.redeemed(id, request, now)?
        {
            return Ok(Answer::Replay(serial));
        }
        let mut fork = false;
        if let Some(parent) = request.parent {
            let children = || {
                self.certificates
                    .iter()
                    .filter(|issued| issued.parent == Some(parent))
            };
            let same = children()
                .rfind(|child| (child.key, child.wish) == (request.key, request.wish))
                .filter(|child| self.is_valid(child, now));
            if let Some(same) = same {
                return Ok(Answer::Replay(same.serial));
            }
            fork = children().next().is_some_and(|first| first.key != request.key);
            if fork && request.refuse_forks {
                return Err(Reason::LineageFork);
            }
        }
        let of_key = self
            .certificates
            .iter()
            .filter(|issued| issued.key == request.key);
        let bound = of_key
            .filter(|issued| self.is_valid(issued, now))
            .max_by_key(|issued| issued.not_after);
        if bound.is_some_and(|bound| bound.name != request.name) {
            return Err(Reason::KeyBound);
        }
        Ok(Answer::New { fork })
    }

    fn parent_is_valid(&self, parent: Serial, now: i64) -> Result<(), Reason> {
        let Some(parent) = self.certificate(parent) else {
            return Err(Reason::CertificateUntrusted);
        };
        if now > parent.not_after {
            return Err(Reason::CertificateExpired);
        }
        if self.is_revoked(parent.serial) || self.is_compromised(parent.key) {
            return Err(Reason::CertificateRevoked);
        }
        Ok(())
    }

    fn redeemed(&self, id: &str, request: &Request, now: i64) -> Result<Option<Serial>, Reason> {
        let Some(token) = self.tokens.get(id) else {
            return Err(Reason::TokenInvalid);
        };
        if token.revoked {
            return Err(Reason::TokenRevoked);
        }
        match token.redeemed {
            None if now > token.expires => Err(Reason::TokenExpired),
            None => Ok(None),
            Some(_) if now > token.expires => Err(Reason::TokenSpent),
            Some((key, wish, serial)) => {
                let issued = self.certificate(serial).expect("it was issued");
                let is_same = (key, wish) == (request.key, request.wish);
                if is_same && self.is_valid(issued, now) {
                    Ok(Some(serial))
                } else {
                    Err(Reason::TokenSpent)
                }
            }
        }
    }

    /// When a token and everything granted through it has ended.
    pub(super) fn token_ends(&self, id: &str) -> Option<i64> {
        let token = self.tokens.get(id)?;
        let registration = format!("token-{id}");
        let granted = self
            .certificates
            .iter()
            .filter(|issued| issued.registration.as_deref() == Some(&registration));
        let last = granted.map(|issued| issued.not_after).max();
        Some(token.expires.max(last.unwrap_or(0)))
    }

    pub(super) fn issue(&mut self, issued: Certificate, token: Option<&str>) {
        if let Some(token) = token.and_then(|id| self.tokens.get_mut(id)) {
            token.redeemed = Some((issued.key, issued.wish, issued.serial));
        }
        self.certificates.push(issued);
    }

    pub(super) fn has_token(&self, id: &str) -> bool {
        self.tokens.contains_key(id)
    }

    pub(super) fn create_token(&mut self, id: &str, expires: i64) {
        let token = Token {
            expires,
            revoked: false,
            redeemed: None,
        };
        self.tokens.insert(id.to_owned(), token);
    }

    pub(super) fn revoke_token(&mut self, id: &str) {
        if let Some(token) = self.tokens.get_mut(id) {
            token.revoked = true;
        }
    }

    pub(super) fn apply(&mut self, name: &str) {
        self.changes += 1;
        let created = self
            .registrations
            .get(name)
            .map_or(self.changes, |known| known.created);
        let seen = Seen {
            name: name.to_owned(),
            created,
            version: self.changes,
        };
        self.registrations.insert(name.to_owned(), seen);
    }

    pub(super) fn delete(&mut self, name: &str) -> bool {
        self.registrations.remove(name).is_some()
    }

    /// The certificate and all that were renewed from it; where keys are compromised also all that have one
    /// of their keys, and so on.
    pub(super) fn lineage(&self, first: Serial, is_compromise: bool) -> Vec<Serial> {
        let mut lineage = vec![first];
        let mut before = 0;
        while before != lineage.len() {
            before = lineage.len();
            for issued in &self.certificates {
                let has_key = |serial: &Serial| {
                    let known = self.certificate(*serial).expect("it was issued");
                    // A lineage keeps its identity.
                    is_compromise && (known.key, &known.name) == (issued.key, &issued.name)
                };
                let is_child = issued.parent.is_some_and(|parent| lineage.contains(&parent));
                if !lineage.contains(&issued.serial) && (is_child || lineage.iter().any(has_key)) {
                    lineage.push(issued.serial);
                }
            }
        }
        lineage
    }

    pub(super) fn revoke(&mut self, serials: &[Serial], is_compromise: bool) {
        self.revoked.extend(serials);
        if !is_compromise {
            return;
        }
        let keys = self
            .certificates
            .iter()
            .filter(|issued| serials.contains(&issued.serial));
        self.compromised.extend(keys.map(|issued| issued.key));
        let of_keys = self
            .certificates
            .iter()
            .filter(|issued| self.compromised.contains(&issued.key));
        self.revoked.extend(of_keys.map(|issued| issued.serial));
    }

    pub(super) fn put_authority(&mut self, key_id: &[u8]) {
        self.authorities.retain(|known| known != key_id);
        self.authorities.push(key_id.to_vec());
    }

    /// Whether the number may be used.
    pub(super) fn put_crl(&mut self, authority: &[u8], number: u64) -> bool {
        let last = self.crl_numbers.entry(authority.to_vec()).or_default();
        let is_greater = number > *last;
        *last = number.max(*last);
        is_greater
    }
}
