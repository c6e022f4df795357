//! One request at a time for each join token, so that racers wait for the first and cost no signature. A claim that does not end in
//! the record is released by being dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

/// Below this many entries nothing is swept.
const FEW: usize = 64;

/// The tokens that requests hold or wait for.
#[derive(Default)]
pub(super) struct Claims {
    tokens: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// A token held by one request until this is dropped.
pub(super) struct Claim {
    _held: OwnedMutexGuard<()>,
}

impl Claims {
    /// Waits until no other request holds this token.
    pub(super) async fn lock(&self, id: &str) -> Claim {
        let lock = self.lock_of(id);
        Claim {
            _held: lock.lock_owned().await,
        }
    }

    fn lock_of(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut tokens = self
            .tokens
            .lock()
            .expect("nothing panics while it holds this lock");
        if let Some(lock) = tokens.get(id).and_then(Weak::upgrade) {
            return lock;
        }
        if tokens.len() >= FEW && tokens.len() == tokens.capacity() {
            tokens.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        tokens.insert(id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_held_by_one_and_others_are_free() {
        let claims = Claims::default();
        let first = claims.lock("a").await;
        let _other = claims.lock("b").await;
        let mut second = std::pin::pin!(claims.lock("a"));
        assert!(futures_poll_once(second.as_mut()).is_none(), "two hold one token");
        drop(first);
        second.await;
    }

    fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_nobody_holds_is_swept() {
        let claims = Claims::default();
        for i in 0..10_000 {
            drop(claims.lock(&i.to_string()).await);
        }
        assert!(claims.tokens.lock().unwrap().len() < 1_000);
    }
}
