//! The one writer. It takes a command and what else has queued up, decides them in their order, makes what they change durable as
//! one batch, makes that known, and answers. While nothing can be recorded it refuses, says why, and tries again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use identity::{Clock, Reason};
use journal::Record;
use prost::Message as _;
use proto::Refusal;
use tokio::sync::watch;

use super::answer::Requester;
use super::command::{Command, Outcome};
use super::decide::{Decision, decide};
use super::entry::{Entry, Issued, KIND_ENTRY};
use super::error::StoreError;
use super::gather::Gather;
use super::health::{Health, Stage};
use super::medium::{Medium, Records};
use super::snapshots::Snapshots;
use super::state::State;
use super::view::{Draft, View};
use crate::clock::require_undisputed;

/// Most commands decided for one batch; what waits longer than one write is a sign of too much work, not of too small batches.
const BATCH_COMMANDS: usize = 512;
/// A batch ends when its entries have this many bytes, so that large documents never come near the journal's limit.
const BATCH_BYTES: usize = 8 << 20;
/// Largest entry: with those before it in a batch it is below the journal's limit.
const ENTRY_BYTES: usize = journal::MAX_BATCH_BYTES - 2 * BATCH_BYTES;
/// How soon it tries again while it cannot record.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two looks for rows that have ended.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How long it waits for a message before it looks for such rows by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a close may take for its snapshot; the index that it leaves is enough for the next start.
const CLOSE_SNAPSHOT_LIMIT: Duration = Duration::from_secs(3);
/// Bindings of a certificate that expired are kept so long, for clocks that are set back without that being
/// disputed; in seconds.
pub(super) const KEEP_BINDINGS: i64 = 300;
pub(super) const SOUND: &str = "nothing panics while it writes the state";

/// What the writer and everybody else share.
pub(super) struct Shared {
    pub(super) state: Arc<RwLock<State>>,
    pub(super) records: Arc<dyn Records>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) health: Arc<Health>,
}

/// What is asked of the writer.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(super) enum Message {
    Decide(Command, Requester<Outcome>),
    Close(SyncSender<Result<(), StoreError>>),
}

/// The writer's thread.
pub(super) struct Writer<M> {
    pub(super) medium: M,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) messages: Arc<Mutex<Receiver<Message>>>,
    pub(super) snapshots: Snapshots,
    /// When it last looked for rows that have ended.
    pub(super) pruned: Option<Instant>,
    pub(super) gather: Gather,
}

/// A batch in the making.
struct Batch {
    draft: Draft,
    records: Vec<Record>,
    bytes: usize,
    answers: Vec<(Requester<Outcome>, Result<Outcome, Refusal>)>,
}

impl<M: Medium> Writer<M> {
    /// Works until it is told to close, or nobody is left who could tell it anything.
    pub(super) fn run(mut self) {
        loop {
            let is_ill = self.shared.health.is_troubled();
            let patience = match is_ill {
                true => RETRY,
                false if self.snapshots.is_under_way() => Duration::ZERO,
                false => PATIENCE,
            };
            self.shared.health.pulse.end();
            let received = self.messages().recv_timeout(patience);
            match received {
                Ok(message) => {
                    if let Some(answer) = self.work(message) {
                        return self.close(&answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_ill => self.probe(),
                Err(RecvTimeoutError::Timeout) if self.snapshots.is_under_way() => {
                    self.step_snapshot();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let batch = self.batch();
                    self.finish(batch);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes this message and those that wait. Returns whom to answer if one of them says to close.
    fn work(&mut self, first: Message) -> Option<SyncSender<Result<(), StoreError>>> {
        if let Some(pause) = self.gather.pause() {
            thread::sleep(pause);
        }
        let mut batch = self.batch();
        let mut next = Some(first);
        let mut closing = None;
        for _ in 0..BATCH_COMMANDS {
            let message = next.take().or_else(|| self.messages().try_recv().ok());
            match message {
                Some(Message::Decide(command, answer)) => self.decide(&mut batch, command, Some(answer)),
                Some(Message::Close(answer)) => closing = Some(answer),
                None => break,
            }
            if closing.is_some() || batch.bytes >= BATCH_BYTES {
                break;
            }
        }
        self.finish(batch);
        closing
    }

    /// A new batch. It begins with what a look for ended rows comes to, when that is due.
    fn batch(&mut self) -> Batch {
        self.shared.health.pulse.begin(Stage::Deciding as u8);
        let mut batch = Batch {
            draft: Draft::after(self.shared.records.head().position),
            records: Vec::new(),
            bytes: 0,
            answers: Vec::new(),
        };
        let is_due = self.pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY);
        if is_due {
            self.pruned = Some(Instant::now());
            self.decide(&mut batch, Command::Prune, None);
        }
        batch
    }

    fn decide(&self, batch: &mut Batch, command: Command, requester: Option<Requester<Outcome>>) {
        let decision = if matches!(command, Command::Prune) && !self.clock.permits_deletion() {
            Ok(Decision::unchanged(Outcome::Done))
        } else if command.needs_undisputed_time()
            && let Err(refusal) = require_undisputed(self.clock.as_ref())
        {
            // The clock may have jumped between the signature and the commit.
            Err(refusal)
        } else {
            let state = self.shared.state.read().expect(SOUND);
            let view = View::new(&state, &batch.draft, self.shared.records.as_ref(), self.now());
            decide(&view, command)
        };
        let outcome = decision.and_then(|Decision { entry, outcome }| {
            if let Some(entry) = entry {
                batch.add(entry)?;
            }
            Ok(outcome)
        });
        if let (Err(refusal), None) = (&outcome, &requester) {
            tracing::warn!("{refusal}");
        }
        if let Some(requester) = requester {
            batch.answers.push((requester, outcome));
        }
    }

    /// Makes the batch durable, then known, then answers.
    fn finish(&mut self, batch: Batch) {
        let Batch {
            mut draft,
            records,
            answers,
            ..
        } = batch;
        if !records.is_empty() {
            if let Err(why) = self.append(&records) {
                let refusal = Refusal::new(
                    Reason::StoreUnavailable,
                    format!(
                        "the journal cannot be written, so nothing was done, unless the server ends before it can be \
                         written again: {why}; try again"
                    ),
                )
                .retry_after(RETRY);
                for (requester, _) in answers {
                    requester.answer(Err(refusal.clone()));
                }
                return;
            }
            self.clock.entry_written();
            self.gather.learn(answers.len());
            let changes = draft.take_changes();
            let (position, revision) = self.publish(draft);
            self.shared
                .changed
                .send_if_modified(|known| std::mem::replace(known, revision) != revision);
            answer_all(answers);
            if !changes.is_empty() {
                self.medium.note(position, changes);
            }
            if self.snapshots.is_due(position) {
                self.step_snapshot();
            }
            return;
        }
        answer_all(answers);
    }

    /// Makes a durable batch known. Returns the position and the revision reached.
    fn publish(&self, draft: Draft) -> (u64, u64) {
        let mut state = self.shared.state.write().expect(SOUND);
        for (position, entry, keys) in draft.into_entries() {
            state.apply(position, entry, &keys);
        }
        if state.bindings().is_due() {
            let bound = self.now() - KEEP_BINDINGS;
            let has_ended = self.medium.has_ended(bound);
            state.bindings_mut().prune(bound, has_ended);
        }
        (state.position(), state.revision())
    }

    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        self.shared.health.pulse.begin(Stage::Writing as u8);
        let written = self.medium.append(records);
        self.shared.health.wrote(written.as_ref().copied());
        self.shared.health.pulse.begin(Stage::Deciding as u8);
        written
    }

    /// Tries whether recording works again, by an entry that says so.
    fn probe(&mut self) {
        let mut batch = self.batch();
        let added = batch.add(Entry {
            at: self.now(),
            by: String::from("server"),
            action: String::from("recording again"),
            ..Entry::default()
        });
        debug_assert!(added.is_ok(), "a small entry fits");
        self.finish(batch);
    }

    /// Writes the next record of a snapshot. Returns whether there is more to write.
    fn step_snapshot(&mut self) -> bool {
        let step = {
            let state = self.shared.state.read().expect(SOUND);
            self.snapshots.step(&state, self.now())
        };
        self.shared.health.pulse.begin(Stage::Writing as u8);
        let written = self.medium.append(std::slice::from_ref(&step.record));
        self.shared.health.pulse.begin(Stage::Deciding as u8);
        if let Err(why) = written {
            let pause = self.snapshots.failed(Instant::now());
            tracing::warn!(
                "a snapshot cannot be written, the next start reads more: {why}; tried again in {pause:?}"
            );
            self.medium.snapshot_ended(false);
            return false;
        }
        let position = self.shared.records.head().position;
        self.shared.state.write().expect(SOUND).pass(position);
        let is_complete = self.snapshots.written(position, step);
        if is_complete {
            self.medium.snapshot_ended(true);
        }
        !is_complete
    }

    fn close(mut self, answer: &SyncSender<Result<(), StoreError>>) {
        let until = Instant::now() + CLOSE_SNAPSHOT_LIMIT;
        if !self.snapshots.is_at(self.shared.records.head().position) {
            while self.step_snapshot() && Instant::now() < until {}
        }
        let Self { medium, messages, .. } = self;
        drop(answer.send(medium.close()));
        for message in lock(&messages).try_iter() {
            match message {
                Message::Decide(_, requester) => requester.answer(Err(closed())),
                Message::Close(answer) => drop(answer.send(Err(StoreError::Closed))),
            }
        }
    }

    fn messages(&self) -> MutexGuard<'_, Receiver<Message>> {
        lock(&self.messages)
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }
}

/// The writer holds this while it waits for a message, the watchdog while it refuses those that wait for a
/// stalled writer.
pub(super) fn lock(messages: &Mutex<Receiver<Message>>) -> MutexGuard<'_, Receiver<Message>> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    /// Takes in an entry, unless the journal has no room for one of its size: such a command alone is
    /// refused.
    fn add(&mut self, entry: Entry) -> Result<(), Refusal> {
        let payload = entry.encode_to_vec();
        if payload.len() > ENTRY_BYTES {
            let (found, limit) = (payload.len(), ENTRY_BYTES);
            return Err(Refusal::new(
                Reason::TooLarge,
                format!("the change has {found} bytes, expected at most {limit}; make it in several steps"),
            )
            .with("limit", limit));
        }
        self.bytes += payload.len();
        let ends = entry.issued.as_ref().map_or(0, Issued::matters_until);
        let keys = self.draft.add(entry).to_vec();
        self.records.push(Record {
            kind: KIND_ENTRY,
            ends,
            keys,
            payload,
        });
        Ok(())
    }
}

fn answer_all(answers: Vec<(Requester<Outcome>, Result<Outcome, Refusal>)>) {
    for (requester, outcome) in answers {
        requester.answer(outcome);
    }
}

/// The refusal of whoever asks a store that has stopped.
pub(super) fn closed() -> Refusal {
    Refusal::new(
        Reason::StoreUnavailable,
        "the record is closed, as the server is stopping; ask again when it is back",
    )
}
