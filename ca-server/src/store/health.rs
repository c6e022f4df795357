//! Whether the store can record: the result of its last write, a write that has not returned, and a thread
//! that has ended by a panic. Readiness, callers and the process each follow the part that concerns them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::Reason;
use proto::Refusal;
use runtime::threads::Pulse;
use tokio::sync::watch;

/// After so long without an answer the journal is reported as not answering.
pub(super) const WRITE_LIMIT: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 3_000 });
/// The same for deciding one batch of commands, which may read many records.
const DECIDE_LIMIT: Duration = Duration::from_secs(15);
/// How often the writer is looked at.
pub(super) const INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1_000 });
/// When a refused caller should try again.
const RETRY: Duration = Duration::from_secs(5);

/// What the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Deciding = 1,
    Writing = 2,
}

/// The health of one store.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) pulse: Pulse,
    causes: Mutex<Causes>,
    trouble: watch::Sender<Option<String>>,
    failure: watch::Sender<Option<String>>,
    is_stalled: AtomicBool,
}

#[derive(Debug, Default)]
struct Causes {
    /// The last write failed.
    write: Option<String>,
    stall: Option<Stall>,
    panic: Option<String>,
}

#[derive(Debug)]
struct Stall {
    message: String,
    /// It is reported again when it has lasted so long, so that a log does not repeat it each second.
    next: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            pulse: Pulse::default(),
            causes: Mutex::default(),
            trouble: watch::Sender::new(None),
            failure: watch::Sender::new(None),
            is_stalled: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// Why nothing can be recorded; `None` while it can.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Why the process has to end, once it has to.
    pub(super) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// Whether the writer has not answered for too long, or never will.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// The refusal of a command that the writer has not seen.
    pub(super) fn not_done(&self) -> Refusal {
        self.refusal("so nothing was done; try again")
    }

    /// The refusal of a command that the writer may be writing.
    pub(super) fn unknown(&self) -> Refusal {
        self.refusal(
            "and until it does it is unknown whether this request was recorded; look at what is there before you repeat it. \
             A request for a certificate can be repeated with the same key: what was recorded is then returned",
        )
    }

    fn refusal(&self, consequence: &str) -> Refusal {
        let cause = self.trouble.borrow().clone();
        let cause = cause.unwrap_or_else(|| String::from("the journal did not answer for a while"));
        Refusal::new(Reason::StoreUnavailable, format!("{cause}, {consequence}")).retry_after(RETRY)
    }

    /// A write has returned, with or without success.
    pub(super) fn wrote(&self, result: Result<(), &String>) {
        // Nearly always nothing changes, and nothing is locked.
        if result.is_ok() && !self.is_troubled() {
            return;
        }
        let mut causes = self.causes();
        let stalled = causes.stall.take().is_some();
        let failed = causes.write.take().is_some();
        causes.write = result.err().cloned();
        if result.is_ok() && (stalled || failed) {
            tracing::info!("recording again");
        }
        self.publish(&causes);
    }

    /// The look of the watchdog. Returns whether the writer has not answered for too long.
    pub(super) fn check(&self) -> bool {
        let busy = self.pulse.busy().and_then(|(stage, since)| match stage {
            stage if stage == Stage::Writing as u8 && since >= WRITE_LIMIT => {
                Some((since, "the journal has not answered for"))
            }
            stage if stage == Stage::Deciding as u8 && since >= DECIDE_LIMIT => {
                Some((since, "the store has been reading for one decision for"))
            }
            _ => None,
        });
        let mut causes = self.causes();
        match (busy, &causes.stall) {
            (None, None) => return causes.panic.is_some(),
            (None, Some(_)) => causes.stall = None,
            (Some((since, _)), Some(stall)) if since < stall.next => return true,
            (Some((since, what)), _) => {
                causes.stall = Some(Stall {
                    message: format!("{what} {} s", since.as_secs()),
                    next: since * 2,
                });
            }
        }
        self.publish(&causes);
        self.is_stalled()
    }

    /// A thread that the store needs has ended by a panic. The process has to end: another one starts from
    /// what is durable.
    pub(super) fn panicked(&self, thread: &str) {
        let message = format!(
            "the store's thread \"{thread}\" ended by a panic; the process ends so that it can be restarted"
        );
        let mut causes = self.causes();
        causes.panic.get_or_insert(message);
        self.publish(&causes);
        self.failure
            .send_if_modified(|known| match (&causes.panic, known.is_some()) {
                (Some(message), false) => {
                    *known = Some(message.clone());
                    true
                }
                _ => false,
            });
    }

    fn publish(&self, causes: &Causes) {
        let stall = causes.stall.as_ref().map(|stall| &stall.message);
        let trouble = causes.panic.as_ref().or(stall).or(causes.write.as_ref()).cloned();
        self.is_stalled
            .store(causes.panic.is_some() || stall.is_some(), Ordering::Relaxed);
        self.trouble.send_if_modified(|known| {
            let is_news = *known != trouble;
            if let (true, Some(why)) = (is_news, &trouble) {
                tracing::error!("nothing can be recorded: {why}");
            }
            *known = trouble;
            is_news
        });
    }

    fn causes(&self) -> MutexGuard<'_, Causes> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
