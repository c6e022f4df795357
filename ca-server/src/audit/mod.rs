//! One JSON line for each decision, for log collectors. The lines are handed to one thread, so that no request waits for the file; while
//! the file takes nothing, [`Audit::healthy`] is false and whoever would issue refuses instead.
//!
//! Refusals cannot flood it: those of strangers are sampled, those of callers that proved who they are stand once a minute with a
//! count, which also goes to the journal. The journal is the record; its head stands in the lines.

mod line;
mod tally;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::{Clock, Reason, Serial};
use proto::Refusal;
use runtime::logs::AuditLog;
use runtime::readiness::Condition;
use runtime::threads::{Pulse, Watchdog, Worker};
use tokio::sync::watch;

pub use line::{Decision, Line};
pub use tally::RefusalCount;

use tally::{Forks, Minute, Samples};
use writer::{Message, Writer};

/// Lines that may wait for the file before it counts as stuck. The channel holds twice as many: what was let in before is still written.
const BACKLOG: usize = 16 * 1024;

/// After so long without an answer the file is reported as not answering.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// How often the writer is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What takes the counted refusals of a minute to the journal; it must not block.
pub type ToJournal = Box<dyn Fn(RefusalCount) + Send>;

/// The audit log of one server.
pub struct Audit {
    shared: Arc<Shared>,
    messages: SyncSender<Message>,
    _watchdog: Watchdog,
}

/// What requests and the writer both see.
struct Shared {
    clock: Arc<dyn Clock>,
    condition: Condition,
    waiting: AtomicUsize,
    stuck: AtomicBool,
    closing: AtomicBool,
    /// Busy while lines are being written.
    pulse: Pulse,
    failure: watch::Sender<Option<String>>,
    lost: AtomicUsize,
    samples: Mutex<Samples>,
    minute: Mutex<Minute>,
    forks: Mutex<Forks>,
}

impl Audit {
    /// Starts the writer. `condition` is met while the file takes lines; `to_journal` gets the counted refusals of each minute.
    pub fn start(
        log: AuditLog,
        condition: Condition,
        clock: Arc<dyn Clock>,
        to_journal: ToJournal,
    ) -> std::io::Result<Self> {
        let (messages, queue) = sync_channel(2 * BACKLOG);
        let shared = Arc::new(Shared::new(clock, condition));
        let writer = Writer::new(Arc::clone(&shared), log, to_journal);
        let panicked = Arc::clone(&shared);
        // It ends with the process, or by `close`, and is not waited for.
        let _detached = Worker::start("audit", move || panicked.panicked(), move || writer.run(&queue))?;
        let watched = Arc::clone(&shared);
        let watchdog = Watchdog::start("audit-watch", INTERVAL, move || watched.check())?;
        shared.condition.set_ready();
        Ok(Self {
            shared,
            messages,
            _watchdog: watchdog,
        })
    }

    /// Why the process has to end, once it has to: the writer has ended by a panic.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.subscribe()
    }

    /// Whether the file takes lines. While it does not, nothing may be issued.
    pub fn healthy(&self) -> bool {
        !self.shared.stuck.load(Ordering::Relaxed) && self.shared.waiting.load(Ordering::Relaxed) < BACKLOG
    }

    /// The refusal for whoever asks while it does not.
    pub fn refusal() -> Refusal {
        Refusal::new(
            Reason::StoreUnavailable,
            "the audit log takes no lines, so nothing is issued; try again, see the server's log",
        )
    }

    /// Writes one line, soon.
    pub fn write(&self, line: Line) {
        line.log();
        self.send(Message::Line(Box::new(line)));
    }

    /// A refusal before the caller may ask for anything (steps 1 to 3): one line for each reason and second, with the count of those
    /// that were passed over since the last. `caller` is a network address, or what the caller claims.
    pub fn refused_early(
        &self,
        refusal: &Refusal,
        method: &'static str,
        caller: &str,
        complete: impl FnOnce(&mut Line),
    ) {
        log_refusal(refusal, caller);
        let now = self.shared.clock.now();
        let Some(count) = lock(&self.shared.samples).take(refusal.reason(), now) else {
            return;
        };
        let mut line = Line::refused(now, refusal, caller);
        line.method = Some(method);
        line.count = Some(count).filter(|count| *count > 1);
        complete(&mut line);
        self.send(Message::Line(Box::new(line)));
    }

    /// A refusal of a caller that proved who it is (step 4 and later): the first of each caller, reason and minute is a line at once,
    /// the minute's count a line and a journal entry when it ends.
    pub fn refused(&self, refusal: &Refusal, caller: &str, complete: impl FnOnce(&mut Line)) {
        log_refusal(refusal, caller);
        let now = self.shared.clock.now();
        let (first, over) = lock(&self.shared.minute).count(caller, refusal, now);
        if !over.is_empty() {
            self.send(Message::Counted(over));
        }
        if first {
            let mut line = Line::refused(now, refusal, caller);
            complete(&mut line);
            self.send(Message::Line(Box::new(line)));
        }
    }

    /// A second key was renewed from `parent`: one line for each parent and minute.
    pub fn forked(&self, parent: Serial, line: impl FnOnce() -> Line) {
        let now = self.shared.clock.now();
        if lock(&self.shared.forks).first(parent, now) {
            self.write(line());
        }
    }

    /// Opens the file again, after a log rotation moved it.
    pub fn reopen(&self) {
        self.send(Message::Reopen);
    }

    /// The counts of the open minute go out, the lines that wait are written, and the writer ends; later lines are lost. Blocks, at
    /// most for `deadline`.
    pub fn close(&self, deadline: Duration) {
        let (end, ended) = sync_channel(1);
        self.shared.closing.store(true, Ordering::Relaxed);
        self.send(Message::End(end));
        if ended.recv_timeout(deadline).is_err() {
            tracing::error!(?deadline, "the audit log did not take its last lines");
        }
    }

    fn send(&self, message: Message) {
        let shared = &self.shared;
        if shared.waiting.fetch_add(1, Ordering::Relaxed) + 1 == BACKLOG {
            shared.condition.set_not_ready(format!(
                "{BACKLOG} lines wait for the audit log; nothing is issued until it takes them"
            ));
        }
        if let Err(error) = self.messages.try_send(message) {
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
            if matches!(error, TrySendError::Disconnected(_)) {
                shared.stuck.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    /// The look of the watchdog: the writer itself cannot report a write that does not return. It reports the
    /// recovery.
    fn check(&self) {
        let Some((_, since)) = self.pulse.busy().filter(|(_, since)| *since >= WRITE_LIMIT) else {
            return;
        };
        if !self.stuck.swap(true, Ordering::Relaxed) {
            self.condition.set_not_ready(format!(
                "the audit log has not answered for {} s; nothing is issued until it does",
                since.as_secs()
            ));
        }
    }

    fn panicked(&self) {
        let message = "the audit log's thread ended by a panic; the process ends so that it can be restarted";
        self.stuck.store(true, Ordering::Relaxed);
        self.condition.set_not_ready(message);
        self.failure.send_replace(Some(message.to_owned()));
    }

    fn new(clock: Arc<dyn Clock>, condition: Condition) -> Self {
        Self {
            clock,
            condition,
            waiting: AtomicUsize::new(0),
            stuck: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            pulse: Pulse::default(),
            failure: watch::Sender::new(None),
            lost: AtomicUsize::new(0),
            samples: Mutex::default(),
            minute: Mutex::default(),
            forks: Mutex::default(),
        }
    }
}

/// For people who ask for each request (`log.level: debug`): every refusal, also those that the audit log only counts.
fn log_refusal(refusal: &Refusal, caller: &str) {
    // As fields, so that what a stranger sent is escaped.
    tracing::debug!(
        reason = refusal.reason().word(),
        caller,
        why = refusal.message(),
        "refused"
    );
}

/// The state behind these locks is counters, right after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
