//! The administrator's own connection to a server, for tests that ask more often than a command can be started.

use std::path::Path;

use hyper_util::rt::TokioIo;
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use proto::v1::certificates_client::CertificatesClient;
use proto::v1::revoke_certificates_request::Which;
use proto::v1::tokens_client::TokensClient;
use proto::v1::{
    Certificate, CreateTokenRequest, GetCertificateRequest, IssueCertificateRequest,
    IssueCertificateResponse, ListTokensRequest, RevokeCertificatesRequest, Token,
};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Error};

const PAGE: i32 = 500;

/// A connection through `admin.sock`; clones share it.
#[derive(Clone)]
pub struct Admin(Channel);

impl Admin {
    /// Connects to the server of this data folder.
    pub async fn connect(data: &Path) -> Result<Self, Error> {
        let socket = data.join("admin.sock");
        let dial = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://admin.sock");
        endpoint.connect_with_connector(dial).await.map(Self)
    }

    /// A join token for this identity, as a whole: its text and its id.
    pub async fn create_token(&self, spiffe_id: &str) -> Result<(String, String), Status> {
        let request = CreateTokenRequest {
            spiffe_id: spiffe_id.to_owned(),
            ..CreateTokenRequest::default()
        };
        let created = TokensClient::new(self.0.clone()).create_token(request).await?;
        let created = created.into_inner();
        let token = created.token.expect("a token comes with its facts");
        Ok((created.secret, token.id))
    }

    /// All join tokens.
    pub async fn tokens(&self) -> Result<Vec<Token>, Status> {
        let mut client = TokensClient::new(self.0.clone());
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListTokensRequest {
                page_size: PAGE,
                page_token,
            };
            let page = client.list_tokens(request).await?.into_inner();
            all.extend(page.tokens);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = page.next_page_token;
        }
    }

    /// The certificate with this serial.
    pub async fn certificate(&self, serial: &str) -> Result<Certificate, Status> {
        let request = GetCertificateRequest {
            serial: serial.to_owned(),
        };
        let mut client = CertificatesClient::new(self.0.clone());
        client
            .get_certificate(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Revokes one certificate.
    pub async fn revoke(&self, serial: &str) -> Result<(), Status> {
        let which = Which::Serial(serial.to_owned());
        self.revoke_which(which, "superseded").await.map(drop)
    }

    /// Revokes what is selected, and returns the serial numbers of what was not revoked before.
    pub async fn revoke_which(&self, which: Which, reason: &str) -> Result<Vec<String>, Status> {
        let request = RevokeCertificatesRequest {
            which: Some(which),
            reason: reason.to_owned(),
        };
        let mut client = CertificatesClient::new(self.0.clone());
        let answer = client.revoke_certificates(request).await?;
        Ok(answer.into_inner().serials)
    }

    /// A certificate by the administrator's own word, which needs the identity to be wished for.
    pub async fn issue(&self, csr: Vec<u8>, spiffe_id: &str) -> Result<IssueCertificateResponse, Status> {
        let request = IssueCertificateRequest {
            csr,
            spiffe_id: spiffe_id.to_owned(),
            life: None,
        };
        let mut client = CertificateAuthorityClient::new(self.0.clone());
        let answer = client.issue_certificate(request).await?;
        Ok(answer.into_inner())
    }
}
