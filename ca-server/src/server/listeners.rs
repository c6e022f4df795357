//! The sockets of a server, and what is served on each.

use std::sync::Arc;

use identity::{Clock, Fingerprint};
use prometheus_client::registry::Registry;
use runtime::drain::Drain;
use runtime::listen::{SocketFile, bind, unix_socket};
use runtime::readiness::Readiness;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tower::layer::util::{Identity, Stack};

use super::{Ready, ServeError, Server};
use crate::caller::Connection;
use crate::caller::connection::Accepted;
use crate::config::ADMIN_SOCKET;
use crate::grpc::{self, DoorLayer, Services};
use crate::{http, tls};

/// The roots of the trust domain, in the data folder.
pub(super) const BUNDLE: &str = "bundle.pem";
/// Handshaken connections that wait to be served.
const BACKLOG: usize = 64;

/// Bound, not served yet.
pub(super) struct Listeners {
    grpc: TcpListener,
    crl: TcpListener,
    metrics: TcpListener,
    admin: UnixListener,
    admin_file: SocketFile,
}

impl Listeners {
    pub(super) fn bind(server: &Server) -> Result<Self, ServeError> {
        let addresses = server.settings.addresses();
        let keys = server.folder.join("keys");
        let (admin, admin_file) = unix_socket(&server.folder.join(ADMIN_SOCKET), 0o600, &keys)?;
        Ok(Self {
            grpc: bind("--listen-grpc", addresses.grpc)?,
            crl: bind("--listen-crl", addresses.crl)?,
            metrics: bind("--listen-metrics", addresses.metrics)?,
            admin,
            admin_file,
        })
    }

    pub(super) fn facts(&self, server: &Server, root: Option<Fingerprint>) -> Result<Ready, ServeError> {
        Ok(Ready {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            has_certificate: server.certificate.is_present(),
            trust_domain: server.trust_domain.to_string(),
            root_namespace: server.settings.root_namespace().to_owned(),
            fingerprint: root.map(|root| root.to_string()),
            grpc: self.grpc.local_addr()?,
            crl: self.crl.local_addr()?,
            metrics: self.metrics.local_addr()?,
            admin_socket: server.folder.join(ADMIN_SOCKET),
            bundle: server.folder.join(BUNDLE),
        })
    }

    /// Serves everything until the drain.
    pub(super) async fn serve(self, server: &Server, registry: Registry) -> Result<(), ServeError> {
        let grpc_port = self.grpc.local_addr()?.port();
        let services = Services::new(server, grpc_port);
        let drain = &server.drain;

        let config = Arc::new(tls::config(Arc::clone(&server.certificate))?);
        let (accepted, connections) = mpsc::channel(BACKLOG);
        tokio::spawn(tls::accept(
            self.grpc,
            config,
            Arc::clone(&server.metrics),
            drain.clone(),
            accepted,
        ));
        let router = router(server, &services, server.settings.limits().in_flight).await?;
        serve(
            drain,
            "gRPC",
            router.serve_with_incoming_shutdown(ReceiverStream::new(connections), begun(drain.clone())),
        );

        let router = self::router(server, &services, None).await?;
        let callers = UnixListenerStream::new(self.admin).map(|stream| {
            stream.map(|stream| {
                let credentials = stream.peer_cred();
                let (uid, pid) = credentials.map_or((u32::MAX, 0), |c| (c.uid(), c.pid().unwrap_or(0)));
                Accepted::new(stream, Connection::over_socket(uid, pid))
            })
        });
        let admin_file = self.admin_file;
        let served = router.serve_with_incoming_shutdown(callers, begun(drain.clone()));
        serve(drain, "admin.sock", async move {
            let _removed_at_the_end = admin_file;
            served.await
        });

        let published = Arc::clone(&server.crls) as Arc<dyn http::Published>;
        // These two are not waited for: they serve until the drain is over.
        tokio::spawn(runtime::http::serve(
            self.crl,
            http::router(published),
            drain.clone(),
        ));
        let probes = runtime::metrics::router(registry, server.readiness.clone(), drain.clone());
        tokio::spawn(runtime::http::serve(self.metrics, probes, drain.clone()));
        Ok(())
    }
}

async fn begun(drain: Drain) {
    drain.begun().await;
}

/// Runs a listener; the drain waits for it.
fn serve<E: std::fmt::Display + Send + 'static>(
    drain: &Drain,
    name: &'static str,
    listener: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let guard = drain.guard();
    tokio::spawn(async move {
        let _guard = guard;
        if let Err(e) = listener.await {
            tracing::error!("{name}: {e}");
        }
    });
}

/// All services behind the door, with health and reflection.
async fn router(
    server: &Server,
    services: &Services,
    in_flight: Option<usize>,
) -> Result<Router<Stack<DoorLayer, Identity>>, ServeError> {
    let judge = grpc::Judge {
        callers: Arc::clone(&server.callers),
        clock: Arc::clone(&server.clock) as Arc<dyn Clock>,
    };
    let door = DoorLayer::new(judge, Arc::clone(&server.metrics), in_flight);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::NotServing).await;
    tokio::spawn(report(reporter, server.readiness.clone(), server.drain.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(services
        .add_to(grpc::transport().layer(door))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// The health service says what readiness says.
async fn report(reporter: tonic_health::server::HealthReporter, readiness: Readiness, drain: Drain) {
    let mut states = readiness.watch();
    loop {
        let status = if states.borrow_and_update().is_ready() && !drain.has_begun() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in std::iter::once("").chain(grpc::SERVICES) {
            reporter.set_service_status(service, status).await;
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = drain.begun(), if !drain.has_begun() => {}
        }
    }
}
