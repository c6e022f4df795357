//! The answer to a command. It comes when the decision is durable, or not for a long time: a caller is then
//! refused, and the answer can still be waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use identity::Reason;
use proto::Refusal;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use super::health::{Health, INTERVAL};
use crate::in_flight::Place;

/// The answer to a command. As a future it waits however long the journal takes; [`Answer::decided`] does
/// not.
#[derive(Debug)]
pub struct Answer<T> {
    receiver: oneshot::Receiver<Result<T, Refusal>>,
    health: Arc<Health>,
    has_come: bool,
}

/// Takes the answer to a command, and holds the place of its request among those in flight until then.
pub(super) struct Requester<T> {
    sender: oneshot::Sender<Result<T, Refusal>>,
    _place: Option<Place>,
}

/// An answer to come, and where to give it.
pub(super) fn channel<T>(health: &Arc<Health>) -> (Requester<T>, Answer<T>) {
    let (sender, receiver) = oneshot::channel();
    let answer = Answer {
        receiver,
        health: Arc::clone(health),
        has_come: false,
    };
    let requester = Requester {
        sender,
        _place: Place::current(),
    };
    (requester, answer)
}

impl<T> Requester<T> {
    /// A caller that does not wait any more finds the answer in the journal.
    pub(super) fn answer(self, answer: Result<T, Refusal>) {
        drop(self.sender.send(answer));
    }
}

impl<T> Answer<T> {
    /// Waits for the answer while the journal answers. The wait can be taken up again after a refusal if
    /// [`Answer::is_open`].
    ///
    /// # Errors
    /// The refusal of the command; `STORE_UNAVAILABLE` if the journal does not answer, or the store has
    /// ended.
    pub async fn decided(&mut self) -> Result<T, Refusal> {
        loop {
            match tokio::time::timeout(INTERVAL, &mut self.receiver).await {
                Ok(answer) => {
                    self.has_come = true;
                    return flat(answer);
                }
                Err(_) if self.health.is_stalled() => return Err(self.health.unknown()),
                Err(_) => {}
            }
        }
    }

    /// Waits for the answer however long it takes.
    ///
    /// # Errors
    /// The refusal of the command; `STORE_UNAVAILABLE` if the store has ended.
    pub async fn settled(self) -> Result<T, Refusal> {
        flat(self.receiver.await)
    }

    /// Whether the answer is still to come.
    pub fn is_open(&self) -> bool {
        !self.has_come
    }

    /// Blocks until the answer comes.
    ///
    /// # Errors
    /// The store has ended.
    pub fn blocking_recv(self) -> Result<Result<T, Refusal>, RecvError> {
        self.receiver.blocking_recv()
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<Result<T, Refusal>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context)
    }
}

fn flat<T>(answer: Result<Result<T, Refusal>, RecvError>) -> Result<T, Refusal> {
    answer.unwrap_or_else(|_| {
        Err(Refusal::new(
            Reason::StoreUnavailable,
            "the store has ended before it answered, and it is unknown whether this request was recorded; repeat it when the \
             server is back",
        ))
    })
}
