//! What happens to every gRPC request on its way in and out: a place among those in flight, and each refusal counted once under
//! its stable word. What tonic refuses by itself gets a word here: a message too large, or one that cannot be read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use identity::Reason;
use proto::Refusal;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::Judge;
use crate::in_flight::Place;
use crate::metrics::Metrics;

/// When a caller that found no place should try again.
const RETRY: Duration = Duration::from_secs(1);

/// Whether refusals of this request are counted where they are made, among each request's extensions. `authority.issue` does so, since
/// one of its front ends hides reasons from callers.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted(Arc<AtomicBool>);

impl Counted {
    /// From here on, the service counts what it refuses of this request.
    pub(super) fn elsewhere<T>(request: &tonic::Request<T>) {
        if let Some(Self(elsewhere)) = request.extensions().get() {
            elsewhere.store(true, Ordering::Relaxed);
        }
    }

    fn is_elsewhere(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a [`Door`] in front of a listener's services.
#[derive(Clone)]
pub struct DoorLayer {
    judge: Judge,
    metrics: Arc<Metrics>,
    places: Option<Arc<Semaphore>>,
}

impl DoorLayer {
    /// `in_flight` is the number of requests served at once; `None` is no limit.
    pub fn new(judge: Judge, metrics: Arc<Metrics>, in_flight: Option<usize>) -> Self {
        Self {
            judge,
            metrics,
            places: in_flight.map(|places| Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))),
        }
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door {
            inner,
            layer: self.clone(),
        }
    }
}

/// Stands before a listener's services.
#[derive(Clone)]
pub struct Door<S> {
    inner: S,
    layer: DoorLayer,
}

impl<S> Service<http::Request<Body>> for Door<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let metrics = Arc::clone(&self.layer.metrics);
        let permit = match &self.layer.places {
            None => None,
            Some(places) => match Arc::clone(places).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    metrics.refused(Reason::TooManyInFlight);
                    return Box::pin(std::future::ready(Ok(too_many().into_http())));
                }
            },
        };
        let counted = Counted::default();
        request.extensions_mut().insert(counted.clone());
        request.extensions_mut().insert(self.layer.judge.clone());
        let place = Place::new(permit, metrics.in_flight());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = place.serve(answer).await?;
            // A refusal stands in the headers alone; a good answer has its status in the trailers.
            if !response.headers().contains_key(Status::GRPC_STATUS) {
                return Ok(response);
            }
            Ok(outcome(response, counted.is_elsewhere(), &metrics))
        })
    }
}

fn outcome(
    response: http::Response<Body>,
    counted_elsewhere: bool,
    metrics: &Metrics,
) -> http::Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    match status.code() {
        Code::Ok | Code::Unimplemented | Code::Cancelled => response,
        _ if counted_elsewhere => response,
        Code::OutOfRange => refuse(&too_large(), metrics),
        // Our own refusals have details; this is a message that prost cannot decode, or a frame that tonic cannot.
        Code::Internal if status.details().is_empty() => refuse(&unreadable(&status), metrics),
        _ => {
            metrics.refused(Refusal::from_status(&status).reason());
            response
        }
    }
}

fn refuse(refusal: &Refusal, metrics: &Metrics) -> http::Response<Body> {
    metrics.refused(refusal.reason());
    refusal.to_status().into_http()
}

fn too_large() -> Refusal {
    let limit = proto::MAX_MESSAGE_BYTES;
    Refusal::new(
        Reason::TooLarge,
        format!("message is larger than {limit} bytes, expected less"),
    )
    .with("limit", limit)
}

fn unreadable(status: &Status) -> Refusal {
    Refusal::new(
        Reason::ResourceInvalid,
        format!(
            "the request cannot be read ({}), expected one message of this method",
            status.message()
        ),
    )
}

fn too_many() -> Status {
    Refusal::new(
        Reason::TooManyInFlight,
        "as many requests are in flight as the server takes (limits.inFlight); try again",
    )
    .retry_after(RETRY)
    .to_status()
}

#[cfg(test)]
mod tests;
