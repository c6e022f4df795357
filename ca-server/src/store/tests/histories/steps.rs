//! What may happen in a history, to the store and to the model alike.

use std::fs;
use std::sync::atomic::Ordering;

use identity::{Reason, Serial, SpiffeId};

use super::model::{Answer, Certificate, Request, Seen};
use super::{DAY, History};
use crate::store::tests::support::{HOUR, apply, by, resource_name, revoke, token_row};
use crate::store::writer::KEEP_BINDINGS;
use crate::store::{
    AuthorityRow, Command, IssueCommand, IssueFacts, Issued, Outcome, Parent, RegistrationRef, ResourceRow,
    Revocation, Store, TokenRow, revocation,
};

const AUTHORITIES: [&[u8]; 2] = [b"one", b"two"];
/// How far a clock may be off without that being disputed, in seconds.
const UNDISPUTED: u64 = 300;

impl History {
    /// Requests that queue up while the writer waits for a reader: the first is a batch of its own, the
    /// others are one.
    pub(super) fn issue_some(&mut self) {
        let mut requests: Vec<Request> = Vec::new();
        for _ in 0..=self.random.below(4) {
            let mut request = self.request();
            if let Some(before) = requests.last().filter(|_| self.random.one_in(2)) {
                // Of the same parent, often with another key.
                (request.parent, request.name) = (before.parent, before.name.clone());
                request.token = before.token.clone();
            }
            requests.push(request);
        }
        let commands: Vec<_> = requests.iter().map(|request| self.command(request)).collect();
        let store = self.store().clone();
        let reading = store.read();
        let answers: Vec<_> = commands
            .into_iter()
            .map(|(command, certificate)| (store.submit(command), certificate))
            .collect();
        drop(reading);
        for (request, (answer, certificate)) in requests.iter().zip(answers) {
            let outcome = answer.blocking_recv().unwrap();
            self.compare_issue(request, certificate, outcome.map_err(|refusal| refusal.reason()));
        }
    }

    fn compare_issue(
        &mut self,
        request: &Request,
        certificate: Certificate,
        outcome: Result<Outcome, Reason>,
    ) {
        let expected = self.model.judge(request, self.now());
        let serial = certificate.serial;
        let found = match outcome {
            Ok(Outcome::Recorded { fork, .. }) => Answer::New { fork },
            Ok(Outcome::Replay { position }) => Answer::Replay(self.serial_at(position)),
            Ok(other) => panic!("{other:?}"),
            Err(reason) => Answer::Refused(reason),
        };
        self.log(&format!(
            "{request:?} for {} as {serial}: {found:?}",
            certificate.not_after
        ));
        self.assert_answer(request, &found, &expected);
        if let Answer::New { .. } = found {
            self.model.issue(certificate, request.token.as_deref());
        }
    }

    /// A request as a caller might make it: often a renewal, sometimes a repeat, sometimes of another's key
    /// or parent.
    pub(super) fn request(&mut self) -> Request {
        let parent = if self.random.one_in(2) {
            self.parent()
        } else {
            None
        };
        let name = match parent.and_then(|parent| self.model.certificate(parent)) {
            Some(parent) => parent.name.clone(),
            None => ["a", "b", "c"][usize::try_from(self.random.below(3)).unwrap()].to_owned(),
        };
        let token = (parent.is_none() && self.random.one_in(3)).then(|| self.some_token());
        let made = token
            .as_ref()
            .filter(|_| self.random_registration_of_token())
            .map(|id| format!("token-{id}"));
        let registration = match made {
            Some(name) => self.latest_seen(&name),
            None if self.random.one_in(2) => self.random.pick(&self.seen).map(|(_, seen)| seen.clone()),
            None => None,
        };
        Request {
            name,
            key: self.some_key(),
            wish: u8::try_from(self.random.below(2)).unwrap(),
            parent,
            token,
            registration,
            refuse_forks: self.random.one_in(4),
        }
    }

    /// Callers use few keys at a time, and others later: in the end many are barred.
    pub(super) fn some_key(&mut self) -> u8 {
        u8::try_from((self.serials / 25 + self.random.below(8)) % 250).unwrap()
    }

    fn random_registration_of_token(&mut self) -> bool {
        !self.random.one_in(4)
    }

    fn latest_seen(&self, name: &str) -> Option<Seen> {
        let of_name = self.seen.iter().rev().find(|(_, seen)| seen.name == name);
        of_name.map(|(_, seen)| seen.clone())
    }

    /// Mostly a recent certificate: those are valid.
    fn parent(&mut self) -> Option<Serial> {
        if self.random.one_in(50) {
            return Some("ffff".parse().unwrap());
        }
        let certificates = &self.model.certificates;
        let recent = certificates
            .len()
            .saturating_sub(if self.random.one_in(4) { 100 } else { 12 });
        self.random
            .pick(&certificates[recent..])
            .map(|issued| issued.serial)
    }

    fn some_token(&mut self) -> String {
        let recent = self.random.below(4);
        self.tokens.saturating_sub(recent).to_string()
    }

    fn command(&mut self, request: &Request) -> (Command, Certificate) {
        self.serials += 1;
        let serial = Serial::from_bytes(&[&[1], self.serials.to_be_bytes().as_slice()].concat()).unwrap();
        let lives = [10, HOUR / 2, HOUR, 5 * HOUR, DAY];
        let life = lives[usize::try_from(self.random.below(5)).unwrap()];
        let facts = self.facts(request);
        let authority = self.model.active_authority().unwrap().to_vec();
        let certificate = Certificate {
            serial,
            name: request.name.clone(),
            key: request.key,
            wish: request.wish,
            not_after: self.now() + life,
            parent: request.parent,
            registration: request.registration.as_ref().map(|seen| seen.name.clone()),
            authority: authority.clone(),
        };
        let issued = Issued {
            der: [b"certificate ", serial.as_bytes()].concat(),
            serial: serial.as_bytes().to_vec(),
            spiffe_id: facts.spiffe_id.clone(),
            key_digest: facts.key_digest.to_vec(),
            not_after: certificate.not_after,
            parent: facts
                .parent
                .map(|p| p.serial.as_bytes().to_vec())
                .unwrap_or_default(),
            parent_not_after: facts.parent.map_or(0, |parent| parent.not_after),
            authority,
            token: facts.token.clone().unwrap_or_default(),
            wish: facts.wish.to_vec(),
            registration: certificate
                .registration
                .as_ref()
                .map(|name| format!("default/{name}"))
                .unwrap_or_default(),
            ..Issued::default()
        };
        (
            Command::Issue(Box::new(IssueCommand { facts, issued })),
            certificate,
        )
    }

    pub(super) fn facts(&self, request: &Request) -> IssueFacts {
        let parent = request.parent.map(|serial| {
            let known = self.model.certificate(serial);
            Parent {
                serial,
                key_digest: [known.map_or(255, |parent| parent.key); 32],
                not_after: known.map_or(i64::MAX, |parent| parent.not_after),
            }
        });
        let registration = request.registration.as_ref().map(|wanted| {
            let known = self.seen.iter().find(|(_, seen)| seen == wanted);
            known.expect("it was seen").0.clone()
        });
        IssueFacts {
            spiffe_id: format!("spiffe://example.org/{}", request.name),
            key_digest: [request.key; 32],
            wish: [request.wish; 32],
            parent,
            token: request.token.clone(),
            registration,
            refuse_forks: request.refuse_forks,
            now: self.now(),
        }
    }

    pub(super) fn create_token(&mut self) {
        self.tokens += 1;
        let (id, ttl) = (
            self.tokens.to_string(),
            [HOUR / 2, 5 * HOUR][usize::from(self.random.one_in(2))],
        );
        let name = format!("token-{id}");
        let makes = !self.random.one_in(3);
        let token = TokenRow {
            registration: if makes {
                format!("default/{name}")
            } else {
                String::new()
            },
            made_registration: makes,
            ..token_row(&id, self.now() + ttl)
        };
        let registration = makes.then(|| ResourceRow {
            kind: String::from("Registration"),
            namespace: String::from("default"),
            name: name.clone(),
            document_json: b"{}".to_vec(),
            ..ResourceRow::default()
        });
        let created = self.submit(Command::CreateToken {
            token,
            registration,
            by: by(),
        });
        assert_eq!(created, Ok(Outcome::Done));
        self.model.create_token(&id, self.now() + ttl);
        if makes {
            self.model.apply(&name);
            self.see(&name);
        }
        self.log(&format!("token {id} for {ttl} s, with registration: {makes}"));
    }

    pub(super) fn revoke_token(&mut self) {
        let id = self.some_token();
        let revoked = self.submit(Command::RevokeToken {
            id: id.clone(),
            by: by(),
        });
        // An old one may be gone.
        assert!(revoked.is_ok() || !self.model.has_token(&id) || self.may_be_unknown(&id));
        self.model.revoke_token(&id);
        self.log(&format!("token {id} revoked"));
    }

    pub(super) fn apply(&mut self) {
        let name = ["x", "y"][usize::from(self.random.one_in(2))];
        self.serials += 1;
        let content = self.serials.to_string();
        self.submit(apply(&[(name, &content)], false)).unwrap();
        self.model.apply(name);
        self.see(name);
        self.log(&format!("registration {name} applied"));
    }

    pub(super) fn delete(&mut self) {
        let name = ["x", "y"][usize::from(self.random.one_in(2))];
        let deleted = self.submit(Command::Delete {
            which: vec![resource_name(name)],
            by: by(),
        });
        assert_eq!(deleted.is_ok(), self.model.delete(name), "{name}");
        self.log(&format!("registration {name} deleted"));
    }

    /// Callers see the registration as it is now.
    fn see(&mut self, name: &str) {
        let reference = {
            let state = self.store().read();
            let row = state.resource("Registration", "default", name).unwrap();
            RegistrationRef {
                namespace: row.namespace.clone(),
                name: row.name.clone(),
                created_revision: row.created_revision,
                revision: row.revision,
            }
        };
        let seen = self.model.registration(name).unwrap().clone();
        self.seen.push((reference, seen));
    }

    /// Selects, lets callers renew in between, then revokes.
    pub(super) fn revoke(&mut self) {
        let Some(target) = self
            .parent()
            .filter(|serial| self.model.certificate(*serial).is_some())
        else {
            return;
        };
        let name = self.model.certificate(target).unwrap().name.clone();
        let which = match self.random.below(4) {
            0 => Revocation::SpiffeId(SpiffeId::new(&format!("spiffe://example.org/{name}")).unwrap()),
            1 => Revocation::Serial(target),
            _ => Revocation::Lineage(target),
        };
        let is_compromise = self.random.one_in(12);
        let reason = if is_compromise {
            "keyCompromise"
        } else {
            "superseded"
        };
        let (mut revoked, mut is_first) = (Ok(false), true);
        while revoked == Ok(false) {
            let known = revocation::select(self.store().as_ref(), &which, is_compromise).unwrap();
            self.log(&format!("{which:?} selected: {reason}"));
            if std::mem::take(&mut is_first) && self.random.one_in(2) {
                self.issue_some();
            }
            revoked = match self.submit(revoke(&which, known, reason)) {
                Ok(Outcome::Revoked { is_complete, serials }) => {
                    Ok(is_complete && (!is_compromise || serials.is_empty()))
                }
                Ok(other) => panic!("{other:?}"),
                Err(reason) => Err(reason),
            };
        }
        let all = match &which {
            Revocation::Serial(serial) => vec![*serial],
            Revocation::Lineage(first) => self.model.lineage(*first, is_compromise),
            Revocation::SpiffeId(_) => {
                let of_name = self
                    .model
                    .certificates
                    .iter()
                    .filter(|issued| issued.name == name);
                of_name.map(|issued| issued.serial).collect()
            }
        };
        let any_valid = all
            .iter()
            .any(|serial| self.model.expires_from(*serial, self.now()));
        let is_named = matches!(which, Revocation::Serial(_));
        let is_any = is_named || any_valid || is_compromise;
        assert_eq!(revoked.is_ok(), is_any, "{which:?}: {revoked:?}");
        self.log(&format!("{which:?}: {revoked:?}"));
        if revoked.is_ok() {
            // What expired longer ago needs no revocation, unless it is named itself, or its key is
            // compromised.
            let since = if is_named || is_compromise {
                i64::MIN
            } else {
                self.now() - KEEP_BINDINGS
            };
            let meant = all
                .into_iter()
                .filter(|serial| self.model.expires_from(*serial, since));
            let meant: Vec<_> = meant.collect();
            self.model.revoke(&meant, is_compromise);
        }
    }

    pub(super) fn put_authority(&mut self, which: u64) {
        let key_id = AUTHORITIES[usize::try_from(which % 2).unwrap()];
        let row = AuthorityRow {
            key_id: key_id.to_vec(),
            ..AuthorityRow::default()
        };
        self.submit(Command::PutAuthority { row, by: by() }).unwrap();
        self.model.put_authority(key_id);
        self.log(&format!("authority {}", String::from_utf8_lossy(key_id)));
    }

    pub(super) fn put_crl(&mut self) {
        let (authority, number) = (AUTHORITIES[0], self.random.below(20));
        let put = self.submit(Command::PutCrl {
            authority: authority.to_vec(),
            number,
        });
        assert_eq!(put.is_ok(), self.model.put_crl(authority, number), "CRL {number}");
    }

    /// Time passes. What a wrong clock said for an hour is believed then.
    pub(super) fn pass(&mut self) {
        let seconds = match self.random.below(40) {
            0 => 8 * DAY,
            1..=10 => 5 * HOUR,
            _ => 1 + i64::try_from(self.random.below(40 * 60)).unwrap(),
        };
        self.clock.now.fetch_add(seconds, Ordering::SeqCst);
        if self.now() - self.set_at >= HOUR {
            self.ahead = None;
            self.clock.permits_deletion.store(true, Ordering::SeqCst);
        }
        self.log(&format!("{seconds} s passed"));
    }

    /// The clock is set: a little, far ahead, or back to where it should be.
    pub(super) fn jump(&mut self) {
        let step = match self.ahead.take() {
            Some(far) => -far,
            None if self.random.one_in(2) => {
                let little = i64::try_from(self.random.below(UNDISPUTED)).unwrap();
                let step = if self.random.one_in(2) {
                    little
                } else {
                    -little / 5
                };
                self.clock.now.fetch_add(step, Ordering::SeqCst);
                return self.log(&format!("the clock was set by {step} s, undisputed"));
            }
            None => {
                let far = [2 * HOUR, 3 * DAY, 30 * DAY][usize::try_from(self.random.below(3)).unwrap()];
                self.ahead = Some(far);
                far
            }
        };
        self.clock.permits_deletion.store(false, Ordering::SeqCst);
        self.clock.now.fetch_add(step, Ordering::SeqCst);
        self.set_at = self.now();
        self.log(&format!("the clock was set by {step} s"));
    }

    /// A stop of any kind, and a start.
    pub(super) fn restart(&mut self) {
        let store = self.store.take().expect("it is open between two steps");
        let how = self.random.below(3);
        if how > 0 {
            store.close().unwrap();
        }
        drop(store);
        if how == 2 {
            fs::remove_dir_all(self.dir.path().join("index")).unwrap();
        }
        self.open();
        self.log(&format!(
            "started again after {}",
            ["a crash", "a stop", "the loss of its index"][usize::try_from(how).unwrap()]
        ));
    }
}
