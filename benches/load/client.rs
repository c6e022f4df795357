//! The load generator: callers that renew over mutual TLS, 8 requests in flight on each connection. It takes part in the same cores as
//! the server, so it does little: whole messages are sent as they were made, of an answer only the status is looked at.

use std::cell::RefCell;
use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use http::{Request, Version};
use prost::bytes::Bytes;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;

use super::Error;
use super::requests::Requests;
use super::server::Server;

/// Requests under way on each connection.
const IN_FLIGHT: usize = 8;
/// More than is ever under way, so that no answer waits for a window.
const WINDOW: u32 = 8 << 20;

/// Somebody with a client certificate.
pub(crate) struct Caller {
    pub(crate) spiffe_id: String,
    tls: Arc<ClientConfig>,
}

impl Caller {
    /// Enrols by a join token, as an operator would do it.
    pub(crate) fn enrol(server: &Server, number: usize) -> Result<Self, Error> {
        let spiffe_id = format!("spiffe://example.org/ns/default/sa/caller-{number}");
        let (token, out) = (
            server.path(&format!("{number}.token")),
            server.path(&format!("caller-{number}")),
        );
        server.signet(&[
            "token".as_ref(),
            "create".as_ref(),
            "--spiffe-id".as_ref(),
            spiffe_id.as_ref(),
            "--out".as_ref(),
            token.as_ref(),
        ])?;
        server.signet(&[
            "cert".as_ref(),
            "issue".as_ref(),
            "--token-file".as_ref(),
            token.as_ref(),
            "--out".as_ref(),
            out.as_ref(),
        ])?;
        let tls = Arc::new(tls(&out)?);
        Ok(Self { spiffe_id, tls })
    }
}

fn tls(folder: &Path) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("bundle.pem"))? {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_file_iter(folder.join("svid.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(folder.join("svid_key.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Sends all requests and returns the bodies of the answers, and the time from the first request to the last answer. An answer that is
/// no certificate is an error.
pub(crate) fn round(
    server: &Server,
    callers: &[Caller],
    requests: &Requests,
) -> Result<(Vec<Bytes>, Duration), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let mut connections = Vec::with_capacity(callers.len());
        for caller in callers {
            connections.push(connect(&server.grpc, &caller.tls).await?);
        }
        let began = Instant::now();
        let mut workers = JoinSet::new();
        for (connection, requests_of_caller) in connections.iter().zip(&requests.of_callers) {
            let waiting = Rc::new(RefCell::new(requests_of_caller.clone()));
            for _ in 0..IN_FLIGHT {
                let path = format!("https://{}{}", server.grpc, requests.protocol.path());
                workers.spawn_local(work(connection.clone(), path, Rc::clone(&waiting)));
            }
        }
        let mut bodies = Vec::new();
        while let Some(done) = workers.join_next().await {
            bodies.extend(done??);
        }
        Ok((bodies, began.elapsed()))
    }))
}

async fn connect(address: &str, config: &Arc<ClientConfig>) -> Result<SendRequest<Bytes>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::from(stream.peer_addr()?.ip());
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    let (requests, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await?;
    // It ends with the last handle; what goes wrong before is seen by whoever waits for an answer.
    tokio::task::spawn_local(async { drop(connection.await) });
    Ok(requests)
}

/// One request after the other, until none waits.
async fn work(
    connection: SendRequest<Bytes>,
    uri: String,
    waiting: Rc<RefCell<Vec<Bytes>>>,
) -> Result<Vec<Bytes>, Error> {
    let head = Request::post(uri)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut bodies = Vec::new();
    let mut connection = connection.ready().await?;
    loop {
        let Some(message) = waiting.borrow_mut().pop() else {
            return Ok(bodies);
        };
        poll_fn(|cx| connection.poll_ready(cx)).await?;
        let (answer, mut sending) = connection.send_request(head.clone(), false)?;
        sending.send_data(message, true)?;
        let mut answer = answer.await?;
        // A refusal has its status in the headers and no body.
        if let Some(status) = answer.headers().get("grpc-status") {
            let message = answer.headers().get("grpc-message");
            return Err(format!("a refusal: status {status:?}, {message:?}").into());
        }
        let first = answer
            .body_mut()
            .data()
            .await
            .ok_or("an answer without a body")??;
        let mut more = Vec::new();
        while let Some(next) = answer.body_mut().data().await.transpose()? {
            more.extend_from_slice(&next);
        }
        let trailers = answer.body_mut().trailers().await?;
        if trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")) != Some(&ZERO) {
            return Err(format!("an answer that ended with {trailers:?}").into());
        }
        bodies.push(if more.is_empty() {
            first
        } else {
            [first.as_ref(), &more].concat().into()
        });
    }
}

const ZERO: http::HeaderValue = http::HeaderValue::from_static("0");
