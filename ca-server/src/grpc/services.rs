//! The services of a listener, each with its limit on what it reads.

use std::sync::Arc;
use std::time::Duration;

use identity::{Clock, Fingerprint};
use proto::MAX_MESSAGE_BYTES;
use proto::istio::istio_certificate_service_server::{IstioCertificateServiceServer, SERVICE_NAME as ISTIO};
use proto::v1::authorities_server::{AuthoritiesServer, SERVICE_NAME as AUTHORITIES};
use proto::v1::certificate_authority_server::{CertificateAuthorityServer, SERVICE_NAME as AUTHORITY};
use proto::v1::certificates_server::{CertificatesServer, SERVICE_NAME as CERTIFICATES};
use proto::v1::clock_server::{ClockServer, SERVICE_NAME as CLOCK};
use proto::v1::resources_server::{ResourcesServer, SERVICE_NAME as RESOURCES};
use proto::v1::tokens_server::{SERVICE_NAME as TOKENS, TokensServer};
use tonic::transport::Server as Transport;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use super::admin::Admin;
use super::authorities::AuthoritiesService;
use super::certificates::CertificatesService;
use super::clock::ClockService;
use super::resources::ResourcesService;
use super::tokens::TokensService;
use super::{CertificateAuthorityService, DoorLayer, IstioCertificateService};
use crate::server::Server;
use crate::store::Store;

/// Names for the health service.
pub const SERVICES: [&str; 7] = [
    AUTHORITY,
    TOKENS,
    CERTIFICATES,
    RESOURCES,
    AUTHORITIES,
    CLOCK,
    ISTIO,
];

/// Most requests under way on one connection; more wait in the client.
const STREAMS: u32 = 256;
/// Largest header list: a bearer fits, with room for the rest.
const HEADER_BYTES: u32 = 32 * 1024;
/// How long a request may take to come in and be answered, so that who sends nothing more does not keep its place. Streams are answered
/// by their beginning.
const REQUEST: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether its other end is there, and how long it may take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Every service of Signet, ready to be served by a listener.
#[derive(Clone)]
pub struct Services {
    authority: CertificateAuthorityService,
    istio: IstioCertificateService,
    tokens: TokensService,
    certificates: CertificatesService,
    resources: ResourcesService,
    authorities: AuthoritiesService,
    clock: ClockService,
}

/// HTTP/2 with the limits above.
pub fn transport() -> Transport {
    Transport::builder()
        .timeout(REQUEST)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
}

impl Services {
    /// The services of this server; `grpc_port` stands in join tokens.
    pub(crate) fn new(server: &Server, grpc_port: u16) -> Self {
        let signers = Arc::clone(&server.signers);
        let admin = Admin {
            store: Arc::clone(&server.store) as Arc<dyn Store>,
            registrations: Arc::clone(&server.registrations),
            audit: Arc::clone(&server.audit),
            clock: Arc::clone(&server.clock) as Arc<dyn Clock>,
            drain: server.drain.clone(),
            trust_domain: server.trust_domain.clone(),
            server_names: server.server_names.clone().into(),
            grpc_port,
            root_namespace: server.settings.root_namespace().into(),
            profiles: *server.settings.profiles(),
            fingerprint: Arc::new(move || {
                let set = signers.current();
                set.active().ok().map(|active| Fingerprint::of(active.root()))
            }),
        };
        Self {
            authority: CertificateAuthorityService::new(Arc::clone(&server.authority), server.drain.clone()),
            istio: IstioCertificateService::new(Arc::clone(&server.authority)),
            tokens: TokensService::new(admin.clone()),
            certificates: CertificatesService::new(admin.clone()),
            resources: ResourcesService::new(admin.clone()),
            authorities: AuthoritiesService::new(admin.clone(), Arc::clone(&server.signers)),
            clock: ClockService::new(admin, Arc::clone(&server.clock), server.signers.keys().clone()),
        }
    }

    /// Adds them to a listener.
    pub(crate) fn add_to(
        &self,
        mut transport: Transport<Stack<DoorLayer, Identity>>,
    ) -> Router<Stack<DoorLayer, Identity>> {
        let Self {
            authority,
            istio,
            tokens,
            certificates,
            resources,
            authorities,
            clock,
        } = self.clone();
        let limit = MAX_MESSAGE_BYTES;
        transport
            .add_service(CertificateAuthorityServer::new(authority).max_decoding_message_size(limit))
            .add_service(IstioCertificateServiceServer::new(istio).max_decoding_message_size(limit))
            .add_service(TokensServer::new(tokens).max_decoding_message_size(limit))
            .add_service(CertificatesServer::new(certificates).max_decoding_message_size(limit))
            .add_service(ResourcesServer::new(resources).max_decoding_message_size(limit))
            .add_service(AuthoritiesServer::new(authorities).max_decoding_message_size(limit))
            .add_service(ClockServer::new(clock).max_decoding_message_size(limit))
    }
}
