//! A server in memory for the tests of the administrators' services, and calls through `admin.sock`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::{Clock, Fingerprint, KeyDigest, Serial, TrustDomain};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType, SerialNumber};
use runtime::drain::Drain;
use runtime::logs::AuditLog;
use runtime::readiness::Readiness;
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use tonic::Request;

use super::Admin;
use crate::audit::Audit;
use crate::authority::keys::KeyFolder;
use crate::caller::Connection;
use crate::config::{Config, Mode, Settings};
use crate::registration::Registrations;
use crate::store::{Command, IssueCommand, IssueFacts, Issued, MemoryStore, Outcome, Parent, Store};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
pub(crate) const ROOT: &[u8] = b"root";

/// A clock that a test moves.
pub(crate) struct Hand(Mutex<OffsetDateTime>);

impl Clock for Hand {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

/// The server `ca.example.org` of trust domain `example.org`, at [`NOW`].
pub(crate) struct Bench {
    pub(crate) admin: Admin,
    clock: Arc<Hand>,
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::file(&folder.path().join("audit.log")).unwrap();
        Self::with_audit_log(folder, log)
    }

    pub(crate) fn with_audit_log(folder: TempDir, log: AuditLog) -> Self {
        let clock = Arc::new(Hand(Mutex::new(NOW)));
        let as_clock: Arc<dyn Clock> = Arc::<Hand>::clone(&clock);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&as_clock)));
        let condition = Readiness::new().condition("audit");
        let audit = Audit::start(log, condition, Arc::clone(&as_clock), Box::new(|_| ())).unwrap();
        let trust_domain = TrustDomain::new("example.org").unwrap();
        let config = Config {
            data_dir: Some(folder.path().to_owned()),
            server_names: vec!["ca.example.org".parse().unwrap(), "::1".parse().unwrap()],
            ..Config::default()
        };
        let settings = Settings::new(config, Mode::Up).unwrap();
        let profiles = settings.profiles().into();
        let registrations = Registrations::new(
            trust_domain.clone(),
            profiles,
            settings.server_names(),
            Arc::clone(&store),
        );
        let admin = Admin {
            registrations: Arc::new(registrations),
            store,
            audit: Arc::new(audit),
            clock: as_clock,
            drain: Drain::new(),
            trust_domain,
            server_names: settings.server_names().into(),
            grpc_port: 15012,
            root_namespace: settings.root_namespace().into(),
            profiles: *settings.profiles(),
            fingerprint: Arc::new(|| Some(Fingerprint::of(ROOT))),
        };
        let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
        Self {
            admin,
            clock,
            folder,
            issuer,
        }
    }

    /// A call by whoever may open `admin.sock`.
    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .extensions_mut()
            .insert(Arc::new(Connection::over_socket(0, 7)));
        request
    }

    /// No keys yet.
    pub(crate) fn keys(&self) -> KeyFolder {
        KeyFolder::new(self.folder.path().join("keys"))
    }

    pub(crate) fn later(&self, by: Duration) {
        *self.clock.0.lock().unwrap() += by;
    }

    /// What the audit log holds once it is closed.
    pub(crate) fn audit_lines(&self) -> Vec<Value> {
        self.admin.audit.close(Duration::from_secs(10));
        let text = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Records a certificate of a fresh key that lives for `life`.
    pub(crate) async fn issue(
        &self,
        id: &str,
        life: Duration,
        parent: Option<Serial>,
    ) -> (Serial, KeyDigest) {
        let now = self.admin.clock.now();
        let serial = Serial::from_bytes(&(self.admin.store.head().position + 1).to_be_bytes()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example.org".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::URI(id.try_into().unwrap()));
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        (params.not_before, params.not_after) = (now, now + life);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let key_digest = KeyDigest::of(rcgen::PublicKeyData::subject_public_key_info(&key).as_slice());
        let issued = Issued {
            der,
            serial: serial.as_bytes().to_vec(),
            spiffe_id: id.to_owned(),
            key_digest: key_digest.as_bytes().to_vec(),
            not_after: (now + life).unix_timestamp(),
            method: "token".to_owned(),
            caller: "token:t1".to_owned(),
            registration: "default/a".to_owned(),
            parent: parent
                .map(|parent| parent.as_bytes().to_vec())
                .unwrap_or_default(),
            authority: vec![0xab],
            ..Issued::default()
        };
        let facts = IssueFacts {
            spiffe_id: id.to_owned(),
            key_digest: *key_digest.as_bytes(),
            wish: [0; 32],
            parent: parent.map(|serial| Parent {
                serial,
                key_digest: [0; 32],
                not_after: i64::MAX,
            }),
            token: None,
            registration: None,
            refuse_forks: false,
            now: now.unix_timestamp(),
        };
        let command = Command::Issue(Box::new(IssueCommand { facts, issued }));
        let outcome = self.admin.submit(command).await.unwrap();
        assert!(matches!(outcome, Outcome::Recorded { .. }));
        (serial, key_digest)
    }
}
