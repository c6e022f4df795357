//! `signet.v1.CertificateAuthority`: Signet's own protocol of issuing, and the trust bundle for whoever asks.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use identity::{Reason, SpiffeId, TrustBundle};
use proto::{Refusal, v1};
use runtime::drain::Drain;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::door::Counted;
use super::{connection, evidence};
use crate::authority::{Authority, Issuance, IssueRequest};

/// The service, for callers over the network and through `admin.sock` alike.
#[derive(Clone)]
pub struct CertificateAuthorityService {
    authority: Arc<Authority>,
    drain: Drain,
}

impl CertificateAuthorityService {
    /// In front of this authority; its streams end with the drain.
    pub fn new(authority: Arc<Authority>, drain: Drain) -> Self {
        Self { authority, drain }
    }

    async fn issue(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<v1::IssueCertificateResponse, Refusal> {
        let connection = Arc::clone(connection(&request)?);
        Counted::elsewhere(&request);
        let (metadata, _, message) = request.into_parts();
        let v1::IssueCertificateRequest { csr, spiffe_id, life } = message;
        let decoded = evidence(&connection, &metadata, false).and_then(|evidence| {
            let spiffe_id = (!spiffe_id.is_empty())
                .then(|| SpiffeId::new(&spiffe_id))
                .transpose()
                .map_err(|e| {
                    Refusal::new(Reason::IdentityNotGranted, format!("field spiffe_id: {e}"))
                        .with("field", "spiffe_id")
                })?;
            let life = life
                .map(|life| {
                    let span = proto::duration_from_message(&life);
                    span.map(|span| Duration::from_secs(span.as_secs()))
                        .ok_or_else(|| {
                            Refusal::new(
                                Reason::LifeTooShort,
                                format!("field life: {} s, expected a positive duration", life.seconds),
                            )
                            .with("field", "life")
                        })
                })
                .transpose()?;
            Ok((
                evidence,
                IssueRequest {
                    csr: &csr,
                    spiffe_id,
                    life,
                    clip_life: false,
                },
            ))
        });
        let issuance = match decoded {
            Ok((evidence, request)) => self.authority.issue(evidence, &request).await?,
            Err(refusal) => return Err(self.authority.refuse_early(&connection, refusal)),
        };
        Ok(encode(&issuance))
    }
}

fn encode(issuance: &Issuance) -> v1::IssueCertificateResponse {
    v1::IssueCertificateResponse {
        chain: issuance.chain.iter().map(|cert| cert.to_vec()).collect(),
        bundle: Some(proto::bundle_to_message(&issuance.bundle)),
        renew_after: Some(proto::timestamp_to_message(issuance.validity.middle())),
        life_clipped: issuance.life_clipped,
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::certificate_authority_server::CertificateAuthority for CertificateAuthorityService {
    async fn issue_certificate(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        Ok(Response::new(self.issue(request).await?))
    }

    type IssueCertificatesStream = Responses<v1::IssueCertificatesResponse>;

    async fn issue_certificates(
        &self,
        _request: Request<Streaming<v1::IssueCertificatesRequest>>,
    ) -> Result<Response<Self::IssueCertificatesStream>, Status> {
        Err(Status::unimplemented(
            "IssueCertificates is not served yet; call IssueCertificate for each request",
        ))
    }

    async fn get_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::TrustBundle>, Status> {
        let bundles = self.bundles(&request.into_inner())?;
        let bundle = bundles.borrow().clone();
        Ok(Response::new(proto::bundle_to_message(&bundle)))
    }

    type WatchBundleStream = Responses<v1::TrustBundle>;

    async fn watch_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let bundles = self.bundles(&request.into_inner())?;
        let (messages, stream) = mpsc::channel(1);
        tokio::spawn(follow(bundles, messages, self.drain.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl CertificateAuthorityService {
    fn bundles(&self, request: &v1::GetBundleRequest) -> Result<watch::Receiver<Arc<TrustBundle>>, Refusal> {
        let v1::GetBundleRequest { trust_domain } = request;
        let own = self.authority.trust_domain();
        if trust_domain.is_empty() || trust_domain == own.as_str() {
            return Ok(self.authority.bundles());
        }
        Err(Refusal::new(
            Reason::NotFound,
            format!("no bundle of trust domain {trust_domain:?}, this server has that of {own}"),
        )
        .with("found", trust_domain.chars().take(255).collect::<String>())
        .with("expected", own))
    }
}

/// Sends the bundle now and after each change, until the caller goes or the server drains.
async fn follow(
    mut bundles: watch::Receiver<Arc<TrustBundle>>,
    messages: mpsc::Sender<Result<v1::TrustBundle, Status>>,
    drain: Drain,
) {
    loop {
        let message = proto::bundle_to_message(&bundles.borrow_and_update().clone());
        if messages.send(Ok(message)).await.is_err() {
            return;
        }
        tokio::select! {
            more = bundles.changed() => if more.is_err() { return },
            () = messages.closed() => return,
            () = drain.begun() => return,
        }
    }
}
