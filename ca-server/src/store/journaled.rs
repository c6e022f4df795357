//! A store that decides in its own process: one writer thread over a medium, and the state that it shares with all readers.

use std::marker::PhantomData;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use identity::Clock;
use journal::Head;
use proto::Refusal;
use tokio::sync::{oneshot, watch};

use super::command::{Command, IssueFacts, Outcome, Verdict};
use super::entry::Entry;
use super::error::StoreError;
use super::gather::Gather;
use super::medium::{Medium, Records};
use super::state::State;
use super::view::{Draft, View};
use super::writer::{Message, SOUND, Shared, Writer, closed};
use super::{Answer, Store, decide};

/// A store over a medium. It stops when it is dropped; a clean stop is [`Store::close`].
pub struct Journaled<M> {
    shared: Arc<Shared>,
    messages: Option<Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
}

impl<M: Medium> Journaled<M> {
    pub(super) fn start(start: Start<M>) -> std::io::Result<Self> {
        let Start {
            medium,
            records,
            state,
            snapshot,
            clock,
        } = start;
        let revision = state.read().expect(SOUND).revision();
        let shared = Arc::new(Shared {
            state,
            records,
            changed: watch::Sender::new(revision),
            health: watch::Sender::new(None),
        });
        let (sender, messages) = mpsc::channel();
        let writer = Writer {
            medium,
            shared: Arc::clone(&shared),
            clock,
            messages,
            snapshot,
            next_prune: 0,
            gather: Gather::default(),
        };
        let thread = std::thread::Builder::new()
            .name(String::from("store"))
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            messages: Some(sender),
            thread: Mutex::new(Some(thread)),
            medium: PhantomData,
        })
    }

    /// Gives back what nobody is there to take.
    fn send(&self, message: Message) -> Option<Message> {
        match &self.messages {
            Some(messages) => messages.send(message).err().map(|unsent| unsent.0),
            None => Some(message),
        }
    }

    /// As if it had been opened just now and had read nothing yet of where certificates are recorded.
    #[cfg(test)]
    pub(super) fn forget_bindings(&self) {
        *self.shared.state.write().expect(SOUND).bindings_mut() = super::bindings::Bindings::partial();
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the writer has been printed; whoever waits for an answer sees that nobody gives one.
        drop(thread.map(JoinHandle::join));
    }
}

impl<M: Medium> Store for Journaled<M> {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().expect(SOUND)
    }

    fn submit(&self, command: Command) -> Answer<Outcome> {
        let (sender, answer) = oneshot::channel();
        if let Some(Message::Decide(_, sender)) = self.send(Message::Decide(command, sender)) {
            drop(sender.send(Err(closed())));
        }
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
        decide::judge(
            &View::new(&self.read(), &nothing, self.shared.records.as_ref()),
            facts,
        )
    }

    fn head(&self) -> Head {
        self.shared.records.head()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn health(&self) -> watch::Receiver<Option<String>> {
        self.shared.health.subscribe()
    }

    fn close(&self) -> Result<(), StoreError> {
        let (sender, answer) = mpsc::sync_channel(1);
        if self.send(Message::Close(sender)).is_some() {
            return Err(StoreError::Closed);
        }
        let closed = answer.recv().unwrap_or(Err(StoreError::Closed));
        self.join();
        closed
    }
}

impl<M> Drop for Journaled<M> {
    /// The thread ends when its last sender is gone; it is waited for, so that the folder is free afterwards.
    fn drop(&mut self) {
        self.messages = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(thread.map(JoinHandle::join));
    }
}
