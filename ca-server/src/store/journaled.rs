//! A store that decides in its own process: one writer thread over a medium, and the state that it shares with all readers.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use identity::{Clock, Reason};
use journal::Head;
use proto::Refusal;
use runtime::threads::{Watchdog, Worker};
use tokio::sync::watch;

use super::answer::{self, Answer, Requester};
use super::command::{Command, IssueFacts, Outcome, Verdict};
use super::entry::Entry;
use super::error::StoreError;
use super::gather::Gather;
use super::health::{Health, INTERVAL};
use super::medium::{Medium, Records};
use super::snapshots::Snapshots;
use super::state::State;
use super::view::{Draft, View};
use super::writer::{Message, SOUND, Shared, Writer, closed};
use super::{Store, decide, prefetched};

/// Commands that may wait for the writer. Requests are limited before (`limits.inFlight`); this bounds what
/// comes without a limit.
pub(super) const QUEUE: usize = 4096;
/// How long a store may take to close, snapshot and index included.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// The same while the journal does not answer: it is given a last chance.
const STALLED_CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// When a refused caller should try again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a full queue is tried again by a close.
const CLOSE_RETRY: Duration = Duration::from_millis(10);

/// A store over a medium. It stops when it is dropped; a clean stop is [`Store::close`].
pub struct Journaled<M> {
    shared: Arc<Shared>,
    messages: Option<SyncSender<Message>>,
    writer: Mutex<Worker>,
    /// Nobody waits for the writer again after a close that took too long.
    is_abandoned: AtomicBool,
    _watchdog: Watchdog,
    medium: PhantomData<fn() -> M>,
}

/// What a store starts with.
pub(super) struct Start<M> {
    pub(super) medium: M,
    pub(super) records: Arc<dyn Records>,
    pub(super) state: Arc<RwLock<State>>,
    /// Position of the newest snapshot; 0 without one.
    pub(super) snapshot: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
}

impl<M: Medium> Journaled<M> {
    pub(super) fn start(start: Start<M>) -> std::io::Result<Self> {
        let Start {
            medium,
            records,
            state,
            snapshot,
            clock,
            health,
        } = start;
        let revision = state.read().expect(SOUND).revision();
        let shared = Arc::new(Shared {
            state,
            records,
            changed: watch::Sender::new(revision),
            health: Arc::clone(&health),
        });
        let (sender, messages) = mpsc::sync_channel(QUEUE);
        let messages = Arc::new(Mutex::new(messages));
        let waiting = Arc::downgrade(&messages);
        let writer = Writer {
            medium,
            shared: Arc::clone(&shared),
            clock,
            messages,
            snapshots: Snapshots::after(snapshot),
            pruned: None,
            gather: Gather::default(),
        };
        let panicked = Arc::clone(&health);
        let writer = Worker::start("store", move || panicked.panicked("store"), move || writer.run())?;
        let watchdog = Watchdog::start("store-watch", INTERVAL, move || {
            if health.check() {
                refuse_waiting(&waiting, &health);
            }
        })?;
        Ok(Self {
            shared,
            messages: Some(sender),
            writer: Mutex::new(writer),
            is_abandoned: AtomicBool::new(false),
            _watchdog: watchdog,
            medium: PhantomData,
        })
    }

    /// Hands a command to the writer without waiting, or answers it with a refusal.
    fn hand_over(&self, command: Command, requester: Requester<Outcome>) {
        let health = &self.shared.health;
        if health.is_stalled() {
            return requester.answer(Err(health.not_done()));
        }
        let Some(messages) = &self.messages else {
            return requester.answer(Err(closed()));
        };
        let (unsent, refusal) = match messages.try_send(Message::Decide(command, requester)) {
            Ok(()) => return,
            Err(TrySendError::Full(unsent)) => (unsent, too_many()),
            Err(TrySendError::Disconnected(unsent)) => (unsent, closed()),
        };
        if let Message::Decide(_, requester) = unsent {
            requester.answer(Err(refusal));
        }
    }

    /// Asks the writer to close; its queue may be full.
    fn send_close(&self, until: Instant) -> Result<Receiver<Result<(), StoreError>>, StoreError> {
        let messages = self.messages.as_ref().ok_or(StoreError::Closed)?;
        let (sender, answer) = mpsc::sync_channel(1);
        let mut message = Message::Close(sender);
        loop {
            message = match messages.try_send(message) {
                Ok(()) => return Ok(answer),
                Err(TrySendError::Disconnected(_)) => return Err(StoreError::Closed),
                Err(TrySendError::Full(message)) if Instant::now() < until => message,
                Err(TrySendError::Full(_)) => return Err(StoreError::Stalled),
            };
            thread::sleep(CLOSE_RETRY);
        }
    }

    /// As if it had been opened just now and had read nothing yet of where certificates are recorded.
    #[cfg(test)]
    pub(super) fn forget_bindings(&self) {
        *self.shared.state.write().expect(SOUND).bindings_mut() = super::bindings::Bindings::partial();
    }
}

/// While the writer does not answer, commands that wait for it are refused: none of them was decided.
fn refuse_waiting(messages: &Weak<Mutex<Receiver<Message>>>, health: &Health) {
    let Some(messages) = messages.upgrade() else {
        return;
    };
    // The writer holds it while it waits for a message: then it has recovered.
    let Ok(waiting) = messages.try_lock() else {
        return;
    };
    for message in waiting.try_iter() {
        match message {
            Message::Decide(_, requester) => requester.answer(Err(health.not_done())),
            Message::Close(answer) => drop(answer.send(Err(StoreError::Stalled))),
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        Reason::StoreUnavailable,
        format!("{QUEUE} commands wait for the journal already, so nothing was done; try again"),
    )
    .retry_after(RETRY)
}

impl<M: Medium> Store for Journaled<M> {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().expect(SOUND)
    }

    fn submit(&self, command: Command) -> Answer<Outcome> {
        let (requester, answer) = answer::channel(&self.shared.health);
        self.hand_over(command, requester);
        answer
    }

    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        self.shared.records.entry(position)
    }

    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        self.shared.records.find(field, fingerprint)
    }

    fn judge(&self, facts: &IssueFacts) -> Result<Verdict, Refusal> {
        let nothing = Draft::default();
        let verdict = prefetched::decide(self.shared.records.as_ref(), |records| {
            decide::judge(&View::new(&self.read(), &nothing, records, facts.now), facts)
        })?;
        // Refused before a signature is spent on it.
        if matches!(verdict, Verdict::New { .. }) && self.shared.health.is_stalled() {
            return Err(self.shared.health.not_done());
        }
        Ok(verdict)
    }

    fn head(&self) -> Head {
        self.shared.records.head()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn health(&self) -> watch::Receiver<Option<String>> {
        self.shared.health.trouble()
    }

    fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.health.failure()
    }

    fn close(&self) -> Result<(), StoreError> {
        let limit = match self.shared.health.is_stalled() {
            true => STALLED_CLOSE_LIMIT,
            false => CLOSE_LIMIT,
        };
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let closed = self
            .send_close(until)
            .and_then(|answer| match answer.recv_timeout(left()) {
                Ok(closed) => closed,
                Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
                Err(RecvTimeoutError::Timeout) => Err(StoreError::Stalled),
            });
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !writer.join(left().max(CLOSE_RETRY)) {
            self.is_abandoned.store(true, Ordering::Relaxed);
        }
        closed
    }
}

impl<M> Drop for Journaled<M> {
    /// The thread ends when its last sender is gone; it is waited for, so that the folder is free afterwards.
    fn drop(&mut self) {
        self.messages = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !*self.is_abandoned.get_mut() && !writer.join(CLOSE_LIMIT) {
            tracing::error!("{}", StoreError::Stalled);
        }
    }
}
