//! A whole authority in memory for tests: its record in memory, its keys in a temporary folder, a clock that a test moves.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::{Clock, Fingerprint, JoinToken, KeyDigest, Reason, Serial, SpiffeId, TrustDomain};
use issuance::{Profile, ProfileName, RootAuthority};
use prometheus_client::registry::Registry;
use proto::Refusal;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SanType};
use runtime::logs::AuditLog;
use runtime::readiness::Readiness;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use zeroize::Zeroizing;

use super::keys::KeyFolder;
use super::signers::Signers;
use super::{Authority, Issuance, IssueRequest, Parts, answer, lifecycle};
use crate::audit::Audit;
use crate::caller::{Callers, CertificateJudge, Connection, Evidence};
use crate::grpc::Judge;
use crate::metrics::Metrics;
use crate::registration::{Profiles, Registrations};
use crate::store::{
    Command, MemoryStore, NewResource, Outcome, ResourceName, Revocation, Selection, Store, TokenRow,
};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
pub(crate) const A: &str = "spiffe://example.org/ns/default/sa/a";
pub(crate) const B: &str = "spiffe://example.org/ns/default/sa/b";

pub(crate) struct Hand(Mutex<OffsetDateTime>);

impl Clock for Hand {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

/// The authority of trust domain `example.org`, at [`NOW`], at work under a root of its own.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) registrations: Arc<Registrations>,
    pub(crate) signers: Arc<Signers>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) root: RootAuthority,
    registry: Registry,
    audit: Arc<Audit>,
    clock: Arc<Hand>,
    pub(crate) folder: TempDir,
}

/// What a test asks for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) bearer: Option<&'a str>,
    pub(crate) lenient: bool,
    pub(crate) spiffe_id: Option<&'a str>,
    pub(crate) life: Option<Duration>,
    pub(crate) clip_life: bool,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(Mutex::new(NOW)));
        let as_clock: Arc<dyn Clock> = Arc::<Hand>::clone(&clock);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&as_clock)));
        let trust_domain = TrustDomain::new("example.org").unwrap();
        let keys = KeyFolder::new(key_folder(folder.path()));
        let signers = Arc::new(Signers::new(trust_domain.clone(), keys, None));
        let root = lifecycle::own_root(&signers, NOW).unwrap();
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let log = AuditLog::file(&folder.path().join("audit.log")).unwrap();
        let condition = Readiness::new().condition("audit");
        let audit = Arc::new(Audit::start(log, condition, Arc::clone(&as_clock), Box::new(|_| ())).unwrap());
        let profiles = Profiles {
            workload: Profile::default_of(ProfileName::Workload),
            device: Profile::default_of(ProfileName::Device),
            agent: Profile::default_of(ProfileName::Agent),
        };
        let server_names = ["ca.example.org".parse().unwrap()];
        let registrations =
            Registrations::new(trust_domain.clone(), profiles, &server_names, Arc::clone(&store));
        let registrations = Arc::new(registrations.with_metrics(Arc::clone(&metrics)));
        let judge = CertificateJudge::new(Arc::clone(&store), Vec::new());
        let callers = Arc::new(Callers::new(Arc::clone(&store), judge, Vec::new()));
        let authority = Arc::new(Authority::new(Parts {
            trust_domain,
            store: Arc::clone(&store),
            callers: Arc::clone(&callers),
            registrations: Arc::clone(&registrations),
            signers: Arc::clone(&signers),
            metrics: Arc::clone(&metrics),
            audit: Arc::clone(&audit),
            clock: as_clock,
        }));
        let bench = Self {
            store,
            callers,
            registrations,
            signers,
            authority,
            metrics,
            root,
            registry,
            audit,
            clock,
            folder,
        };
        bench.renew_authority().await;
        bench
    }

    /// Another authority under the root takes over.
    pub(crate) async fn renew_authority(&self) {
        let profile = Profile::default_of(ProfileName::Intermediate);
        lifecycle::renew_under(
            &self.root,
            &profile,
            &self.signers,
            self.store.as_ref(),
            self.now(),
        )
        .await
        .unwrap();
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) fn later(&self, by: Duration) {
        *self.clock.0.lock().unwrap() += by;
    }

    /// The clock is set back.
    pub(crate) fn earlier(&self, by: Duration) {
        *self.clock.0.lock().unwrap() -= by;
    }

    pub(crate) async fn submit(&self, command: Command) -> Outcome {
        answer(self.store.submit(command)).await.unwrap()
    }

    /// Applies the registration `default/NAME`.
    pub(crate) async fn apply(&self, name: &str, spec: Value) {
        let document = serde_json::json!({
            "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": name }, "spec": spec,
        });
        let document = resources::Document::from_json(document.to_string().as_bytes()).unwrap();
        let resources = vec![NewResource {
            kind: document.kind.word().to_owned(),
            namespace: document.namespace,
            name: document.name,
            document_json: document.json.clone().into_bytes(),
        }];
        self.submit(Command::Apply {
            resources,
            dry_run: false,
            by: "test".to_owned(),
        })
        .await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        let which = vec![ResourceName {
            kind: "Registration".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }];
        let by = "test".to_owned();
        self.submit(Command::Delete { which, by }).await;
    }

    /// A join token of ten minutes for the identity, which `default/REGISTRATION` grants; `vary` completes its row.
    pub(crate) async fn token(
        &self,
        id: &str,
        spiffe_id: &str,
        registration: &str,
        vary: impl FnOnce(&mut TokenRow),
    ) -> String {
        let fingerprint = Fingerprint::of(self.root.certificate());
        let trust_domain = self.signers.trust_domain().clone();
        let secret = Zeroizing::new("0123456789abcdef0123456789abcdef".to_owned());
        let text = JoinToken::new(id, secret, "localhost:15012", fingerprint, trust_domain)
            .unwrap()
            .text();
        let mut token = TokenRow {
            id: id.to_owned(),
            digest: JoinToken::digest_of(&text).to_vec(),
            spiffe_id: spiffe_id.to_owned(),
            expires_at: (self.now() + Duration::from_secs(600)).unix_timestamp(),
            registration: format!("default/{registration}"),
            ..TokenRow::default()
        };
        vary(&mut token);
        self.submit(Command::CreateToken {
            token,
            registration: None,
            by: "test".to_owned(),
        })
        .await;
        text.to_string()
    }

    /// Sends a request through the whole cycle.
    pub(crate) async fn issue(
        &self,
        connection: &Connection,
        csr: &[u8],
        ask: Ask<'_>,
    ) -> Result<Issuance, Refusal> {
        let evidence = Evidence {
            connection,
            bearer: ask.bearer,
            lenient_bearer: ask.lenient,
        };
        let request = IssueRequest {
            csr,
            spiffe_id: ask.spiffe_id.map(|id| SpiffeId::new(id).unwrap()),
            life: ask.life,
            clip_life: ask.clip_life,
        };
        self.authority.issue(evidence, &request).await
    }

    /// The reason of a refusal.
    pub(crate) async fn refused(&self, connection: &Connection, csr: &[u8], ask: Ask<'_>) -> Reason {
        self.issue(connection, csr, ask).await.unwrap_err().reason()
    }

    /// Redeems a new token of the registration for the identity that it grants.
    pub(crate) async fn enrol(&self, token: &str, spiffe_id: &str, registration: &str) -> Issuance {
        let text = self.token(token, spiffe_id, registration, |_| ()).await;
        let ask = Ask {
            bearer: Some(&text),
            ..Ask::default()
        };
        self.issue(&nobody(), &csr(&key(), &[]), ask).await.unwrap()
    }

    pub(crate) async fn revoke(&self, issuance: &Issuance) {
        self.submit(Command::Revoke {
            which: Revocation::Serial(serial(issuance)),
            known: Selection::default(),
            reason: "superseded".to_owned(),
            by: "test".to_owned(),
        })
        .await;
    }

    /// What listeners hand to every request.
    pub(crate) fn judge(&self) -> Judge {
        Judge {
            callers: Arc::clone(&self.callers),
            clock: Arc::<Hand>::clone(&self.clock),
        }
    }

    /// The value of a metric; its labels stand in the name as they are printed.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(metric)?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Refusals with any reason.
    pub(crate) fn refusals(&self) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines()
            .filter(|line| line.starts_with("signet_refusals_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What the audit log holds once it is closed.
    pub(crate) fn audit_lines(&self) -> Vec<Value> {
        self.audit.close(Duration::from_secs(10));
        let text = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// `keys` in this folder, for its owner only.
pub(crate) fn key_folder(folder: &Path) -> PathBuf {
    let keys = folder.join("keys");
    DirBuilder::new().mode(0o700).create(&keys).unwrap();
    keys
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn digest(key: &KeyPair) -> KeyDigest {
    KeyDigest::of(key.subject_public_key_info().as_slice())
}

/// A CSR; names with `://` are URIs.
pub(crate) fn csr(key: &KeyPair, names: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| san(name)).collect();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(crate) fn san(name: &str) -> SanType {
    if name.contains("://") {
        SanType::URI(name.try_into().unwrap())
    } else {
        SanType::DnsName(name.try_into().unwrap())
    }
}

/// A connection of a client without certificate.
pub(crate) fn nobody() -> Connection {
    with_chain(Vec::new())
}

/// A connection of a client with this chain.
pub(crate) fn with_chain(chain: Vec<CertificateDer<'static>>) -> Connection {
    Connection::over_tls("192.0.2.1:4711".parse().unwrap(), chain)
}

/// A connection of the holder of a certificate.
pub(crate) fn holder(issuance: &Issuance) -> Connection {
    with_chain(issuance.chain.clone())
}

pub(crate) fn leaf(issuance: &Issuance) -> identity::Leaf {
    identity::Leaf::parse(&issuance.chain[0]).unwrap()
}

pub(crate) fn serial(issuance: &Issuance) -> Serial {
    leaf(issuance).serial()
}
