//! The gRPC port of a server without any client of ours in between: a bare channel, requests as a test wants them.

use std::path::Path;
use std::sync::Arc;

use client_lib::{KeyType, PrivateKey};
use hyper_util::rt::TokioIo;
use identity::SpiffeId;
use proto::Refusal;
use proto::istio::IstioCertificateRequest;
use proto::istio::istio_certificate_service_client::IstioCertificateServiceClient;
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use proto::v1::{IssueCertificateRequest, IssueCertificateResponse};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::Server;

/// A chain with its key.
pub type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// One TLS connection for all the requests of its clones.
#[derive(Clone)]
pub struct Wire(pub Channel);

impl Wire {
    /// Presents this pair, if any.
    pub async fn connect(server: &Server, pair: Option<Pair>) -> Self {
        let stream = handshake(server, config(server, pair)).await;
        let mut once = Some(TokioIo::new(stream));
        let dial = tower::service_fn(move |_| {
            let stream = once.take().ok_or_else(|| std::io::Error::other("connected once"));
            async move { stream }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        Self(endpoint.connect_with_connector(dial).await.expect("HTTP/2"))
    }

    /// `signet.v1`: a certificate for this CSR.
    pub async fn issue(
        &self,
        csr: Vec<u8>,
        bearer: Option<&str>,
    ) -> Result<IssueCertificateResponse, Refusal> {
        let message = IssueCertificateRequest {
            csr,
            ..IssueCertificateRequest::default()
        };
        let mut client = CertificateAuthorityClient::new(self.0.clone());
        let answer = client.issue_certificate(request(message, bearer)).await;
        let answer = answer.map_err(|status| Refusal::from_status(&status))?;
        Ok(answer.into_inner())
    }

    /// `istio.v1.auth`: the same.
    pub async fn create(&self, csr: String, bearer: Option<&str>) -> Result<Vec<String>, tonic::Status> {
        let message = IstioCertificateRequest {
            csr,
            ..IstioCertificateRequest::default()
        };
        let mut client = IstioCertificateServiceClient::new(self.0.clone());
        let answer = client.create_certificate(request(message, bearer)).await?;
        Ok(answer.into_inner().cert_chain)
    }
}

fn request<T>(message: T, bearer: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(bearer) = bearer {
        let value = format!("Bearer {bearer}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// As any TLS client: the published roots and the address count.
pub fn config(server: &Server, pair: Option<Pair>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in certificates(Path::new(server.fact("bundle"))) {
        roots.add(root).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match pair {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A connection to the gRPC port.
pub async fn handshake(server: &Server, config: impl Into<Arc<ClientConfig>>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server.fact("grpc")).await;
    let stream = stream.expect("the port is open");
    stream.set_nodelay(true).expect("a TCP socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(config.into());
    connector.connect(name, stream).await.expect("a handshake")
}

/// The pair in the folder of a certificate.
pub fn pair(folder: &Path) -> Pair {
    let key = PrivateKeyDer::from_pem_file(folder.join("svid_key.pem")).expect("a key");
    (certificates(&folder.join("svid.pem")), key)
}

/// The pair of an answer.
pub fn answered(answer: &IssueCertificateResponse, key: &PrivateKey) -> Pair {
    let chain = answer.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(key.pkcs8().to_vec()).expect("PKCS#8");
    (chain, key)
}

/// The certificates of a PEM file.
pub fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(file).expect("a file");
    all.collect::<Result<_, _>>().expect("certificates in PEM")
}

/// A fresh key.
pub fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::P256).expect("a key")
}

/// A CSR in DER for this identity.
pub fn csr(key: &PrivateKey, spiffe_id: &str) -> Vec<u8> {
    let id = SpiffeId::new(spiffe_id).expect("a SPIFFE ID");
    key.request(Some(&id), &[]).expect("a CSR").to_vec()
}
