//! One server from start to drain: folder, record, authority, listeners; ready when it can sign and record.

mod error;
mod keeper;
mod listeners;
mod ready;
mod reload;
mod timekeeping;

use std::sync::Arc;
use std::time::Duration;

use identity::{Clock, TrustDomain};
use runtime::drain::{DEADLINE, Drain, Outcome};
use runtime::instance::InstanceFolder;
use runtime::logs::AuditLog;
use runtime::readiness::{Condition, Readiness};
use runtime::ready::ReadyFile;
use tokio::sync::watch;

pub use error::ServeError;
pub use ready::Ready;

use crate::audit::Audit;
use crate::authority::crl::Crls;
use crate::authority::keys::KeyFolder;
use crate::authority::offline::settle;
use crate::authority::signers::Signers;
use crate::authority::{Authority, Parts, ServerNames};
use crate::caller::{Callers, CertificateJudge};
use crate::clock::{KeptTime, ServerClock};
use crate::config::{AuditSink, Mode, ServerArgs, ServerName, Settings};
use crate::metrics::Metrics;
use crate::registration::{Profiles, Registrations};
use crate::store::{Command, EmbeddedStore, Observer, Refused, Store};
use crate::tls::ServerCertificate;
use keeper::Keeper;
use listeners::Listeners;

/// Counts what the store does.
struct StoreMetrics(Arc<Metrics>);

impl Observer for StoreMetrics {
    fn synced(&self, took: Duration) {
        self.0.journal_synced(took);
    }

    fn snapshot_ended(&self, is_complete: bool) {
        self.0.snapshot_ended(is_complete);
    }
}

/// How long the audit log may take for its last lines.
const AUDIT_END: Duration = Duration::from_secs(2);

/// Everything a running server consists of.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) folder: InstanceFolder,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) server_names: Vec<ServerName>,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) signers: Arc<Signers>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) registrations: Arc<Registrations>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) certificate: Arc<ServerCertificate>,
    pub(crate) crls: Arc<Crls>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) readiness: Readiness,
    pub(crate) signing: Condition,
    pub(crate) recording: Condition,
    pub(crate) timekeeping: Condition,
    pub(crate) drain: Drain,
}

/// Runs until SIGTERM or SIGINT, then drains for at most ten seconds. `on_ready` is called once, when the server is ready, or waits
/// for nothing but an authority.
///
/// # Errors
/// What stopped the start: each error names the file, field, port or folder.
pub async fn run(args: ServerArgs, mode: Mode, on_ready: impl FnOnce(&Ready)) -> Result<(), ServeError> {
    let settings = Settings::load(&args, mode)?;
    runtime::logs::start(settings.log_format(), settings.log_level())?;
    let drain = Drain::new();
    drain.on_signals()?;
    let folder = InstanceFolder::claim(settings.data_dir())?;
    let mut registry = runtime::metrics::registry(env!("CARGO_PKG_VERSION"));
    let metrics = Arc::new(Metrics::register(&mut registry));
    let server = Server::build(settings, folder, metrics, drain.clone()).await?;
    let listeners = Listeners::bind(&server)?;
    let keeper = Keeper::new(&server, mode)?;
    keeper.start(&server).await?;
    let root = keeper.root();
    let facts = listeners.facts(&server, *root.borrow())?;
    listeners.serve(&server, registry).await?;
    keeper.spawn(&server).map_err(ServeError::Thread)?;
    timekeeping::spawn(&server);
    let failures = [server.store.failure(), server.audit.failure()];
    for failure in failures.clone() {
        tokio::spawn(drain_on(failure, drain.clone()));
    }
    reload::spawn(&server, args, mode).map_err(ServeError::Thread)?;
    // A server without an authority, or without the time, waits for it with everything else in service.
    if server.certificate.is_present() {
        tokio::select! {
            () = server.readiness.ready() => {}
            () = drain.begun() => {}
        }
    }
    let ready_file = ReadyFile::publish(&server.folder, &facts)?;
    on_ready(&facts);
    tokio::spawn(runtime::notify::follow(server.readiness.clone(), drain.clone()));
    tokio::select! {
        () = ready::keep(&ready_file, facts, root) => {}
        () = drain.begun() => {}
    }
    drop(ready_file);
    if let Outcome::Cut { left } = drain.finish(DEADLINE).await {
        tracing::warn!("{left} connections were still at work after {DEADLINE:?} and were cut");
    }
    let stopped = server.stop().await;
    match failures.iter().find_map(|failure| failure.borrow().clone()) {
        Some(why) => Err(ServeError::Failed(why)),
        None => stopped,
    }
}

/// Ends the process once a part has failed without which it cannot go on; a supervisor starts it again.
async fn drain_on(mut failure: watch::Receiver<Option<String>>, drain: Drain) {
    // An error says that the part is gone because the server stops.
    if let Ok(why) = failure.wait_for(Option::is_some).await {
        drain.begin(why.as_deref().unwrap_or_default());
    }
}

impl Server {
    async fn build(
        settings: Settings,
        folder: InstanceFolder,
        metrics: Arc<Metrics>,
        drain: Drain,
    ) -> Result<Self, ServeError> {
        let marks = KeptTime::of(folder.path()).read();
        let server_clock = Arc::new(ServerClock::system(marks));
        let clock: Arc<dyn Clock> = Arc::<ServerClock>::clone(&server_clock);
        let readiness = Readiness::new();
        let (signing, recording, auditing, timekeeping) = (
            readiness.condition("signing"),
            readiness.condition("record"),
            readiness.condition("audit"),
            readiness.condition("clock"),
        );
        let keys = KeyFolder::new(folder.subfolder("keys", 0o700)?);
        let observer = Arc::clone(&metrics);
        let store = Arc::new(EmbeddedStore::open(
            folder.path(),
            Arc::clone(&clock),
            StoreMetrics(observer),
        )?);
        let trust_domain = settle(
            store.as_ref(),
            settings.trust_domain().cloned(),
            settings.server_names(),
        )
        .await?;
        let server_names = server_names(store.as_ref());
        let audit = Arc::new(audit(&settings, auditing, &clock, &store)?);
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let signers = Arc::new(Signers::new(
            trust_domain.clone(),
            keys,
            settings.crl_base_url().cloned(),
        ));
        signers.follow(store.as_ref(), clock.now())?;
        let callers = Arc::new(Callers::new(
            Arc::clone(&shared),
            CertificateJudge::new(Arc::clone(&shared), settings.certificate_providers().to_vec()),
            settings.jwt_providers().to_vec(),
        ));
        let registrations = registrations(&trust_domain, &settings, &server_names, &shared, &metrics);
        let authority = Arc::new(Authority::new(Parts {
            trust_domain: trust_domain.clone(),
            store: Arc::clone(&shared),
            callers: Arc::clone(&callers),
            registrations: Arc::clone(&registrations),
            signers: Arc::clone(&signers),
            metrics: Arc::clone(&metrics),
            audit: Arc::clone(&audit),
            clock: Arc::clone(&clock),
        }));
        let crls = Arc::new(Crls::new(shared, Arc::clone(&signers), Arc::clone(&clock)));
        Ok(Self {
            settings,
            folder,
            trust_domain,
            server_names,
            store,
            signers,
            callers,
            registrations,
            authority,
            certificate: Arc::default(),
            crls,
            metrics,
            audit,
            clock: server_clock,
            readiness,
            signing,
            recording,
            timekeeping,
            drain,
        })
    }

    /// The names in the server's certificate, its SPIFFE ID with them.
    fn names(&self) -> Result<ServerNames, ServeError> {
        Ok(ServerNames::new(&self.trust_domain, &self.server_names)?)
    }

    async fn stop(self) -> Result<(), ServeError> {
        let Self { store, audit, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            audit.close(AUDIT_END);
            store.close()
        })
        .await;
        match ended {
            Ok(closed) => Ok(closed?),
            Err(panic) => Err(ServeError::Stop(panic.to_string())),
        }
    }
}

/// The stored registrations. They are compiled while the server starts, which also logs what of them is not
/// in force.
fn registrations(
    trust_domain: &TrustDomain,
    settings: &Settings,
    server_names: &[ServerName],
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
) -> Arc<Registrations> {
    let profiles = Profiles::from(settings.profiles());
    let registrations = Registrations::new(trust_domain.clone(), profiles, server_names, Arc::clone(store));
    let registrations = Arc::new(registrations.with_metrics(Arc::clone(metrics)));
    let first = Arc::clone(&registrations);
    tokio::task::spawn_blocking(move || drop(first.current()));
    registrations
}

fn server_names(store: &dyn Store) -> Vec<ServerName> {
    let state = store.read();
    state
        .instance()
        .map(|row| {
            row.server_names
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect()
        })
        .unwrap_or_default()
}

fn audit(
    settings: &Settings,
    condition: Condition,
    clock: &Arc<dyn Clock>,
    store: &Arc<EmbeddedStore>,
) -> Result<Audit, ServeError> {
    let log = match settings.audit() {
        AuditSink::Stdout => AuditLog::stdout()?,
        AuditSink::File(path) => AuditLog::file(path)?,
    };
    let store = Arc::clone(store);
    let to_journal = Box::new(move |count: crate::audit::RefusalCount| {
        // Nobody waits for the answer: if it cannot be recorded the store's health says so.
        drop(store.submit(Command::Refused {
            by: count.caller,
            refused: Refused {
                reason: count.reason.word().to_owned(),
                message: count.message,
                count: count.count,
            },
        }));
    });
    Audit::start(log, condition, Arc::clone(clock), to_journal).map_err(ServeError::Thread)
}
