//! HTTP/1.1 in the clear, for probes, scrapers and whoever downloads CRLs: strangers, so that their number, the size of what they ask
//! and their time are bounded. It serves until the drain is over, so that a load balancer sees `/readyz` turn before connections are
//! refused.

use crate::drain::Drain;
use crate::listen;
use crate::places::Places;
use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// What one port gives to strangers.
#[derive(Clone, Copy)]
struct Limits {
    /// Connections at once; the oldest gives way to who comes then.
    connections: usize,
    /// From the connection, or the last answer, to the end of a request's headers.
    header: Duration,
    /// The life of a connection: how long a slow reader may take for all its answers.
    connection: Duration,
}

const LIMITS: Limits = Limits {
    connections: 256,
    header: Duration::from_secs(10),
    connection: Duration::from_secs(300),
};
/// Most bytes of a request that are held.
const BUFFER: usize = 16 * 1024;

/// Serves until the drain is over.
pub async fn serve(listener: TcpListener, router: Router, drain: Drain) {
    serve_within(LIMITS, listener, router, drain).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router, drain: Drain) {
    let mut places = Places::new(limits.connections);
    loop {
        let (stream, _) = tokio::select! {
            () = drain.over() => return,
            accepted = listen::accept(&listener) => accepted,
        };
        places.spawn(connection(limits, stream, router.clone()));
    }
}

async fn connection(limits: Limits, stream: TcpStream, router: Router) {
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.connection, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection broke"),
        Err(_) => tracing::debug!("an HTTP connection ended after {:?}", limits.connection),
    }
}

#[cfg(test)]
mod tests;
