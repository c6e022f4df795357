//! Stores to be tested, a clock that stands still, and short words for what tests submit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use identity::{Clock, Reason, Serial};
use proto::Refusal;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::store::{
    AuthorityRow, Command, EmbeddedStore, IssueCommand, IssueFacts, Issued, MemoryStore, NewResource,
    Outcome, Parent, RegistrationRef, ResourceName, ResourceRow, Revocation, Selection, Store, TokenRow,
    Verdict, inventory, revocation,
};

/// Where the clock stands at first.
pub(super) const START: i64 = 1_800_000_000;
pub(super) const HOUR: i64 = 3600;
pub(super) const AUTHORITY: &[u8] = b"authority";

/// A store with its clock.
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<TestClock>,
    serials: AtomicU64,
    _dir: Option<TempDir>,
}

/// Stands still until it is told.
pub(super) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }
}

pub(super) fn memory() -> Subject {
    let clock = TestClock::new();
    Subject::new(Arc::new(MemoryStore::new(clock.clone())), clock, None)
}

pub(super) fn embedded() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    Subject::new(Arc::new(open(dir.path(), &clock)), clock, Some(dir))
}

/// With all that a start takes in.
pub(super) fn open(dir: &Path, clock: &Arc<TestClock>) -> EmbeddedStore {
    let store = EmbeddedStore::open(dir, clock.clone(), |_| {}).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.read().bindings().is_partial(clock.now().unix_timestamp()) {
        assert!(Instant::now() < deadline, "the bindings are not taken in");
        std::thread::yield_now();
    }
    store
}

/// A request for a certificate, to be varied.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) facts: IssueFacts,
    parent: Option<Serial>,
    pub(super) life: i64,
}

pub(super) fn ask(name: &str, key: u8) -> Ask {
    Ask {
        facts: IssueFacts {
            spiffe_id: format!("spiffe://example.org/{name}"),
            key_digest: [key; 32],
            wish: [7; 32],
            parent: None,
            token: None,
            registration: None,
            refuse_forks: false,
            now: START,
        },
        parent: None,
        life: HOUR,
    }
}

impl Ask {
    pub(super) fn token(mut self, id: &str) -> Self {
        self.facts.token = Some(id.to_owned());
        self
    }

    pub(super) fn parent(mut self, parent: Serial) -> Self {
        self.parent = Some(parent);
        self
    }

    /// A parent of which is known here what is looked up otherwise.
    pub(super) fn parent_of(mut self, serial: Serial, key: u8, life: i64) -> Self {
        self.parent = None;
        self.facts.parent = Some(Parent {
            serial,
            key_digest: [key; 32],
            not_after: START + life,
        });
        self
    }

    pub(super) fn wish(mut self, wish: u8) -> Self {
        self.facts.wish = [wish; 32];
        self
    }

    pub(super) fn refuse_forks(mut self) -> Self {
        self.facts.refuse_forks = true;
        self
    }

    pub(super) fn registration(mut self, seen: RegistrationRef) -> Self {
        self.facts.registration = Some(seen);
        self
    }

    pub(super) fn life(mut self, life: i64) -> Self {
        self.life = life;
        self
    }
}

impl Subject {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<TestClock>, dir: Option<TempDir>) -> Self {
        Self {
            store,
            clock,
            serials: AtomicU64::new(1),
            _dir: dir,
        }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub(super) fn submit(&self, command: Command) -> Result<Outcome, Refusal> {
        self.store.submit(command).blocking_recv().unwrap()
    }

    /// What the request is judged by now. A parent that is not recorded is one that has not expired.
    pub(super) fn facts(&self, ask: &Ask) -> IssueFacts {
        let parent = ask.parent.map(|serial| {
            let found = inventory::by_serial(self.store.as_ref(), serial).unwrap();
            Parent {
                serial,
                key_digest: found.as_ref().map_or([0; 32], |found| {
                    found.issued.key_digest.as_slice().try_into().unwrap()
                }),
                not_after: found.map_or(i64::MAX, |found| found.issued.not_after),
            }
        });
        IssueFacts {
            now: self.now(),
            parent: parent.or(ask.facts.parent),
            ..ask.facts.clone()
        }
    }

    /// What would be decided now.
    pub(super) fn judge(&self, ask: &Ask) -> Result<Verdict, Refusal> {
        self.store.judge(&self.facts(ask))
    }

    /// The command for a certificate with a new serial number.
    pub(super) fn command(&self, ask: &Ask) -> (Command, Serial) {
        let number = self.serials.fetch_add(1, Ordering::SeqCst);
        let serial = Serial::from_bytes(&[&[1], number.to_be_bytes().as_slice()].concat()).unwrap();
        let facts = self.facts(ask);
        let issued = Issued {
            der: [b"certificate ", serial.as_bytes()].concat(),
            serial: serial.as_bytes().to_vec(),
            spiffe_id: facts.spiffe_id.clone(),
            key_digest: facts.key_digest.to_vec(),
            not_after: facts.now + ask.life,
            parent: facts
                .parent
                .map(|p| p.serial.as_bytes().to_vec())
                .unwrap_or_default(),
            parent_not_after: facts.parent.map_or(0, |p| p.not_after),
            authority: AUTHORITY.to_vec(),
            token: facts.token.clone().unwrap_or_default(),
            wish: facts.wish.to_vec(),
            registration: facts
                .registration
                .as_ref()
                .map(|seen| format!("{}/{}", seen.namespace, seen.name))
                .unwrap_or_default(),
            ..Issued::default()
        };
        (Command::Issue(Box::new(IssueCommand { facts, issued })), serial)
    }

    /// The answer, and the serial number that a new certificate has.
    pub(super) fn try_issue(&self, ask: &Ask) -> Result<(Outcome, Serial), Refusal> {
        let (command, serial) = self.command(ask);
        self.submit(command).map(|outcome| (outcome, serial))
    }

    /// A new certificate: its serial number and position.
    pub(super) fn issue(&self, ask: &Ask) -> (Serial, u64) {
        match self.try_issue(ask).unwrap() {
            (Outcome::Recorded { position, .. }, serial) => (serial, position),
            (other, _) => panic!("{other:?} instead of a new certificate"),
        }
    }

    /// The reason for which it is refused, which must be the same before the signature and at the commit.
    pub(super) fn refused(&self, ask: &Ask) -> Reason {
        let early = self.judge(ask).unwrap_err();
        assert_eq!(self.try_issue(ask).unwrap_err(), early);
        assert!(!early.message().is_empty());
        early.reason()
    }

    pub(super) fn token(&self, id: &str, ttl: i64) {
        self.submit(Command::CreateToken {
            token: token_row(id, self.now() + ttl),
            registration: None,
            by: by(),
        })
        .unwrap();
    }

    /// A token with the registration `default/token-ID` made for it.
    pub(super) fn token_with_registration(&self, id: &str, ttl: i64) -> RegistrationRef {
        let name = format!("token-{id}");
        let token = TokenRow {
            registration: format!("default/{name}"),
            made_registration: true,
            ..token_row(id, self.now() + ttl)
        };
        let registration = Some(ResourceRow {
            kind: String::from("Registration"),
            namespace: String::from("default"),
            name: name.clone(),
            document_json: b"{}".to_vec(),
            ..ResourceRow::default()
        });
        let by = by();
        self.submit(Command::CreateToken {
            token,
            registration,
            by,
        })
        .unwrap();
        self.registration(&name).unwrap()
    }

    pub(super) fn registration(&self, name: &str) -> Option<RegistrationRef> {
        let state = self.store.read();
        let row = state.resource("Registration", "default", name)?;
        Some(RegistrationRef {
            namespace: row.namespace.clone(),
            name: row.name.clone(),
            created_revision: row.created_revision,
            revision: row.revision,
        })
    }

    pub(super) fn apply(&self, documents: &[(&str, &str)]) -> Result<Outcome, Refusal> {
        self.submit(apply(documents, false))
    }

    pub(super) fn delete(&self, names: &[&str]) -> Result<Outcome, Refusal> {
        let which = names.iter().map(|name| resource_name(name)).collect();
        self.submit(Command::Delete { which, by: by() })
    }

    /// Revokes one after the other; returns those that were not revoked before.
    pub(super) fn revoke(&self, serials: &[Serial], reason: &str) -> Result<Vec<Serial>, Refusal> {
        let mut revoked = Vec::new();
        for serial in serials {
            revoked.extend(self.revoke_which(&Revocation::Serial(*serial), reason)?);
        }
        Ok(revoked)
    }

    pub(super) fn revoke_which(&self, which: &Revocation, reason: &str) -> Result<Vec<Serial>, Refusal> {
        let mut revoked = Vec::new();
        loop {
            let known = revocation::select(self.store.as_ref(), which, reason == "keyCompromise")?;
            match self.submit(revoke(which, known, reason))? {
                Outcome::Revoked { serials, is_complete } => {
                    let is_closed = reason != "keyCompromise" || serials.is_empty();
                    revoked.extend(serials);
                    if is_complete && is_closed {
                        return Ok(revoked);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn put_authority(&self, key_id: &[u8]) {
        let row = AuthorityRow {
            key_id: key_id.to_vec(),
            ..AuthorityRow::default()
        };
        self.submit(Command::PutAuthority { row, by: by() }).unwrap();
    }

    pub(super) fn prune(&self) {
        self.submit(Command::Prune).unwrap();
    }
}

pub(super) fn token_row(id: &str, expires_at: i64) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        expires_at,
        ..TokenRow::default()
    }
}

pub(super) fn apply(documents: &[(&str, &str)], dry_run: bool) -> Command {
    let resources = documents
        .iter()
        .map(|(name, document)| NewResource {
            kind: String::from("Registration"),
            namespace: String::from("default"),
            name: (*name).to_owned(),
            document_json: document.as_bytes().to_vec(),
        })
        .collect();
    Command::Apply {
        resources,
        dry_run,
        by: by(),
    }
}

pub(super) fn revoke(which: &Revocation, known: Selection, reason: &str) -> Command {
    Command::Revoke {
        which: which.clone(),
        known,
        reason: reason.to_owned(),
        by: by(),
    }
}

pub(super) fn resource_name(name: &str) -> ResourceName {
    ResourceName {
        kind: String::from("Registration"),
        namespace: String::from("default"),
        name: name.to_owned(),
    }
}

pub(super) fn by() -> String {
    String::from("unix:uid=0,pid=1")
}
