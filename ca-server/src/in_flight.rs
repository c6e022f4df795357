//! The place of a request among those in flight (`limits.inFlight`). A command that the request handed to the
//! store holds it too: a caller that hangs up does not free its place while the store still works for it.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::metrics;

tokio::task_local! {
    static CURRENT: Place;
}

/// The place of one request. It is free when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    _permit: Option<OwnedSemaphorePermit>,
    _counted: metrics::InFlight,
}

impl Place {
    /// Without a permit there is no limit, and the request is only counted.
    pub(crate) fn new(permit: Option<OwnedSemaphorePermit>, counted: metrics::InFlight) -> Self {
        Self {
            _held: Arc::new(Held {
                _permit: permit,
                _counted: counted,
            }),
        }
    }

    /// The place of the request that the current task serves, if it serves one.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Serves a request in this place.
    pub(crate) async fn serve<F: Future>(self, request: F) -> F::Output {
        CURRENT.scope(self, request).await
    }
}
