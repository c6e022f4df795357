//! Keeps what has an end from ending: the signing authority where its root is at hand, the server's own
//! certificate, `bundle.pem`, CRLs; and tells readiness when that fails. While the time is disputed it
//! remakes nothing; afterwards it looks at all of it again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{Clock as _, Fingerprint, Leaf, Reason, Serial, TrustBundle, Validity, moment};
use issuance::RootAuthority;
use proto::Refusal;
use runtime::readiness::Condition;
use runtime::threads::{Pulse, Watchdog, run_task};
use time::OffsetDateTime;
use tokio::sync::{Mutex, watch};

use super::{ServeError, Server};
use crate::authority::lifecycle::{self, Standing};
use crate::authority::signers::{Signer, Signers};
use crate::authority::{Authority, ServerNames};
use crate::clock::{ServerClock, require_undisputed};
use crate::config::{Mode, Profiles};
use crate::metrics::Metrics;
use crate::store::{EmbeddedStore, Store};
use crate::tls::ServerCertificate;

/// Longest pause between two looks: a clock that jumped is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the log warns of an authority that nobody renews by itself.
const WARN_EVERY: Duration = Duration::from_secs(3600);
/// How often at most the renewal of an authority is tried in what is left of its life.
const TRIES: u32 = 20;
/// How long one look may take before readiness reports it.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Does what is due.
pub(super) struct Keeper {
    authority: Arc<Authority>,
    signers: Arc<Signers>,
    store: Arc<EmbeddedStore>,
    certificate: Arc<ServerCertificate>,
    names: ServerNames,
    profiles: Profiles,
    makes_root: bool,
    metrics: Arc<Metrics>,
    clock: Arc<ServerClock>,
    signing: Condition,
    bundle_path: PathBuf,
    /// Of a look at everything that has an end.
    pulse: Arc<Pulse>,
    current: Mutex<Option<Current>>,
    root: watch::Sender<Option<Fingerprint>>,
    warned_at: std::sync::Mutex<Option<Instant>>,
}

/// The server's certificate at work.
struct Current {
    validity: Validity,
    serial: Serial,
    /// Another certificate for the authority's key makes another signer.
    signer: Arc<Signer>,
}

impl Keeper {
    pub(super) fn new(server: &Server, mode: Mode) -> Result<Arc<Self>, ServeError> {
        Ok(Arc::new(Self {
            authority: Arc::clone(&server.authority),
            signers: Arc::clone(&server.signers),
            store: Arc::clone(&server.store),
            certificate: Arc::clone(&server.certificate),
            names: server.names()?,
            profiles: *server.settings.profiles(),
            makes_root: mode == Mode::Up,
            metrics: Arc::clone(&server.metrics),
            clock: Arc::clone(&server.clock),
            signing: server.signing.clone(),
            bundle_path: server.folder.join(super::listeners::BUNDLE),
            pulse: Arc::default(),
            current: Mutex::new(None),
            root: watch::Sender::new(None),
            warned_at: std::sync::Mutex::default(),
        }))
    }

    /// The root of the authority at work, by which callers know the server; none while there is no such authority.
    pub(super) fn root(&self) -> watch::Receiver<Option<Fingerprint>> {
        self.root.subscribe()
    }

    /// Brings everything up to date for the first time.
    pub(super) async fn start(&self, server: &Server) -> Result<(), ServeError> {
        let now = self.clock.now();
        let is_new = server.store.read().authorities().next().is_none();
        if self.makes_root && is_new {
            let root = lifecycle::own_root(&self.signers, now)?;
            self.renew_authority(&root, now).await?;
            tracing::info!(
                "made a root; its key lies under keys/, fit for one machine and for trying: `signet authority prepare` puts an off-line root in its place"
            );
        }
        self.write_bundle(&self.signers.bundle())?;
        match self.look().await {
            Ok(()) => {}
            Err(refusal) if refusal.reason() == Reason::NotReady => {
                tracing::warn!(
                    "no signing authority yet: run `signet authority prepare --data {dir} --csr-out F`, have F signed, then \
                     `signet authority activate --data {dir} --chain F --root ROOT`",
                    dir = server.folder.path().display()
                );
                self.signing.set_not_ready(refusal.message());
                return Ok(());
            }
            Err(refusal) if refusal.reason() == Reason::ClockImplausible => {
                // `admin.sock` and the CRLs are served; TLS callers find no certificate until the time is
                // known.
                tracing::error!("the server has no certificate of its own yet: {refusal}");
                self.signing.set_not_ready(refusal.message());
                self.show_root();
            }
            Err(refusal) => return Err(refusal.into()),
        }
        server.crls.update().await?;
        Ok(())
    }

    /// Keeps on until the process ends. What reads or writes files does so on a thread of its own: a disk
    /// that hangs holds up no request.
    pub(super) fn spawn(self: Arc<Self>, server: &Server) -> io::Result<()> {
        let crls = Arc::clone(&server.crls);
        let disputes = server.clock.disputes();
        tokio::spawn(follow_health(server.store.health(), server.recording.clone()));
        run_task("crls", async move { crls.keep(disputes).await })?;
        run_task("bundle", Arc::clone(&self).follow_bundle())?;
        let watchdog = self.watch()?;
        run_task("keeper", async move {
            let _watchdog = watchdog;
            self.keep().await;
        })
    }

    /// Reports a look that does not end: the next one that does reports the state again.
    fn watch(&self) -> io::Result<Watchdog> {
        let (pulse, signing) = (Arc::clone(&self.pulse), self.signing.clone());
        Watchdog::start("keeper-watch", RETRY, move || {
            if pulse.busy().is_some_and(|(_, since)| since >= LOOK_LIMIT) {
                signing.set_not_ready(
                    "the keys of the signing authority have not been read or written for over 5 s; does the disk answer?",
                );
            }
        })
    }

    async fn keep(&self) {
        let mut changed = self.store.changed();
        let mut disputes = self.clock.disputes();
        let mut said = None;
        loop {
            if disputes.borrow_and_update().is_some() {
                // Until its certificate has been looked at after the dispute, the server is not ready.
                self.signing
                    .set_not_ready("nothing is signed while the time is disputed");
                if disputes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            self.pulse.begin(0);
            let looked = self.look().await;
            self.pulse.end();
            let pause = match looked {
                Ok(()) => {
                    said = None;
                    self.pause().await
                }
                Err(refusal) => {
                    let message = refusal.message().to_owned();
                    self.signing.set_not_ready(&message);
                    if said.as_ref() != Some(&message) {
                        tracing::error!(
                            "cannot keep the server's certificate and authority up to date: {message}"
                        );
                    }
                    said = Some(message);
                    RETRY
                }
            };
            tokio::select! {
                alive = changed.changed() => if alive.is_err() { return },
                alive = disputes.changed() => if alive.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look at everything that has an end.
    async fn look(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.signers
            .follow(self.store.as_ref(), now)
            .map_err(|e| Refusal::new(e.reason(), e.to_string()))?;
        if let Some(advice) = self.begins_later(now)? {
            // It signs nothing until then, the server's certificate included.
            self.signing.set_not_ready(advice);
            self.show_root();
            return Ok(());
        }
        let trouble = self.look_at_authority(now).await?;
        let signers = self.signers.current();
        let active = signers.active()?;
        let mut current = self.current.lock().await;
        let fits = current.as_ref().is_some_and(|current| {
            Arc::ptr_eq(&current.signer, active)
                && is_fresh(current.validity, now)
                && self.store.read().revocation(current.serial).is_none()
        });
        if !fits {
            let issued = self
                .authority
                .issue_server_certificate(&self.names, &self.profiles.server)
                .await;
            let (key, validity) = match issued {
                // Readiness says so; the certificate that is there serves until its own end.
                Err(refusal) if refusal.reason() == Reason::AuthorityEnded => {
                    self.signing
                        .set_not_ready(trouble.unwrap_or_else(|| refusal.message().to_owned()));
                    return Ok(());
                }
                issued => issued?,
            };
            let leaf = key.cert.first().map(|leaf| Leaf::parse(leaf));
            let leaf = leaf.and_then(Result::ok).ok_or_else(|| {
                Refusal::new(Reason::Internal, "the server's own certificate cannot be read")
            })?;
            self.certificate.replace(key);
            *current = Some(Current {
                validity,
                serial: leaf.serial(),
                signer: Arc::clone(active),
            });
        }
        self.show_root();
        // Last, so that readiness does not flicker while something above fails again and again.
        match trouble {
            None => self.signing.set_ready(),
            Some(why) => self.signing.set_not_ready(why),
        }
        Ok(())
    }

    /// The advice about the active authority, if it begins later and another cannot be made here.
    fn begins_later(&self, now: OffsetDateTime) -> Result<Option<String>, Refusal> {
        let Some(row) = self.store.read().active_authority().cloned() else {
            return Ok(None);
        };
        // The key is read only where it matters.
        if lifecycle::begins_later(&row, false, now).is_none() {
            return Ok(None);
        }
        let has_root_key = self.root_of(&row.root)?.is_some();
        Ok(lifecycle::begins_later(&row, has_root_key, now))
    }

    /// The root with its key, if it is here.
    fn root_of(&self, certificate: &[u8]) -> Result<Option<RootAuthority>, Refusal> {
        let root = self.signers.keys().load_root();
        let root = root.map_err(|e| Refusal::new(Reason::Internal, e.to_string()))?;
        Ok(root.filter(|root| **root.certificate() == *certificate))
    }

    /// The root of the active authority, if there is one.
    fn show_root(&self) {
        let signers = self.signers.current();
        let root = signers.active().ok().map(|active| Fingerprint::of(active.root()));
        self.root
            .send_if_modified(|known| std::mem::replace(known, root) != root);
    }

    /// Renews the authority if that is due and possible. Returns why nothing should be signed, if so.
    async fn look_at_authority(&self, now: OffsetDateTime) -> Result<Option<String>, Refusal> {
        let signers = self.signers.current();
        let active = signers.active()?;
        self.metrics.authority_ends(active.not_after());
        let leaf_life = self.profiles.workload.default_life();
        let standing = lifecycle::standing(active.validity(), leaf_life, now);
        // One that was made while the clock was ahead has not begun after the correction; see `begins_later`
        // for those that cannot be replaced here.
        let has_begun = active.validity().not_before() <= now;
        if standing == Standing::Fresh && has_begun {
            return Ok(active.trouble().map(rejected));
        }
        let root = self.root_of(active.root())?;
        match (root, standing) {
            (Some(root), _) => match self.renew_authority(&root, now).await {
                Ok(()) => Ok(None),
                // The present one has half of its life left.
                Err(refusal) if standing == Standing::Due => {
                    tracing::error!("the signing authority is not renewed yet: {refusal}");
                    Ok(None)
                }
                Err(refusal) => Err(refusal),
            },
            (None, Standing::Due) => {
                self.warn_of_end(&active.end());
                Ok(active.trouble().map(rejected))
            }
            (None, Standing::Ended) => Ok(Some(format!(
                "the signing authority ended at {}; activate a new one",
                active.end()
            ))),
            (None, _) => Ok(Some(format!(
                "the signing authority ends at {}, less than one leaf life ({}) from now; activate a new one",
                active.end(),
                identity::duration::print(leaf_life)
            ))),
        }
    }

    fn warn_of_end(&self, end: &str) {
        let mut last = self
            .warned_at
            .lock()
            .expect("nothing panics while it holds this lock");
        if last.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(
                "the signing authority ends at {end}, past the middle of its life; prepare and activate a new one"
            );
        }
    }

    async fn renew_authority(&self, root: &RootAuthority, now: OffsetDateTime) -> Result<(), Refusal> {
        require_undisputed(self.clock.as_ref())?;
        // While nothing can be recorded each try would only leave a key behind.
        if let Some(trouble) = self.store.health().borrow().clone() {
            return Err(Refusal::new(Reason::StoreUnavailable, trouble));
        }
        lifecycle::renew_under(
            root,
            &self.profiles.intermediate,
            &self.signers,
            self.store.as_ref(),
            now,
        )
        .await?;
        let signers = self.signers.current();
        let active = signers.active()?;
        self.metrics.authority_ends(active.not_after());
        let key_id = identity::hex::encode(active.key_id());
        tracing::info!(
            "signing authority {key_id} at work until {}",
            moment(active.not_after())
        );
        self.authority
            .note_change("server", format!("activated authority {key_id}"));
        Ok(())
    }

    /// Until the next thing is due, or is to be tried again.
    async fn pause(&self) -> Duration {
        let now = self.clock.now();
        let signers = self.signers.current();
        let authority = signers.active().ok().map(|active| {
            let validity = active.validity();
            if now < validity.middle() {
                until(validity.middle(), now)
            } else {
                (until(validity.not_after(), now) / TRIES).max(RETRY)
            }
        });
        let current = self.current.lock().await;
        let certificate = current
            .as_ref()
            .map(|current| until(current.validity.middle(), now))
            .filter(|left| !left.is_zero());
        [authority, certificate]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(LONGEST_PAUSE)
            .clamp(Duration::from_millis(10), LONGEST_PAUSE)
    }

    async fn follow_bundle(self: Arc<Self>) {
        let mut bundles = self.signers.bundles();
        while bundles.changed().await.is_ok() {
            let bundle = bundles.borrow_and_update().clone();
            while let Err(e) = self.write_bundle(&bundle) {
                tracing::error!("cannot write the trust bundle, trying again: {e}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn write_bundle(&self, bundle: &TrustBundle) -> Result<(), runtime::atomic::WriteError> {
        runtime::atomic::write(&self.bundle_path, bundle.to_pem().as_bytes(), 0o644)
    }
}

/// In the first half of its validity: before that, too, a certificate is replaced, as no client accepts it. A
/// clock that was set back leaves such a one behind.
fn is_fresh(validity: Validity, now: OffsetDateTime) -> bool {
    validity.not_before() <= now && now < validity.middle()
}

/// What is left; zero if it is past.
fn until(due: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(due - now).unwrap_or_default()
}

fn rejected(why: &str) -> String {
    format!("clients reject what the signing authority signs: {why}; activate another")
}

async fn follow_health(mut health: watch::Receiver<Option<String>>, recording: Condition) {
    loop {
        let trouble = health.borrow_and_update().clone();
        match trouble {
            None => recording.set_ready(),
            Some(reason) => recording.set_not_ready(reason),
        }
        if health.changed().await.is_err() {
            recording.set_not_ready("the record is closed");
            return;
        }
    }
}
