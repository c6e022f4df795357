//! `istio.v1.auth.IstioCertificateService`: the CA protocol of stock mesh proxies, with the chain layout and the codes that they
//! rely on. The identity is the caller's; names in the CSR are checked against it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use identity::bundle::certificate_pem;
use identity::{Kind, Reason, TrustBundle};
use proto::{Refusal, istio};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Response, Status};

use super::door::Counted;
use super::{connection, evidence};
use crate::authority::{Authority, Issuance, IssueRequest};

/// The one message for every failed authentication: proxies match on it.
const UNAUTHENTICATED: &str = "request authenticate failure";
/// Member of `metadata` by which a node proxy asks for a workload of its node.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// The service.
#[derive(Clone)]
pub struct IstioCertificateService {
    authority: Arc<Authority>,
    /// What followed the leaf in the last answer.
    tail: Arc<ArcSwapOption<Tail>>,
}

/// The certificates above leaves, and their PEM: they change with the authority, not from answer to answer.
struct Tail {
    above: Vec<CertificateDer<'static>>,
    bundle: Arc<TrustBundle>,
    pem: Vec<String>,
}

impl IstioCertificateService {
    /// In front of this authority.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            tail: Arc::default(),
        }
    }

    async fn create(
        &self,
        request: Request<istio::IstioCertificateRequest>,
    ) -> Result<istio::IstioCertificateResponse, Refusal> {
        let connection = Arc::clone(connection(&request)?);
        Counted::elsewhere(&request);
        let (proof, _, message) = request.into_parts();
        let istio::IstioCertificateRequest {
            csr,
            validity_duration,
            metadata,
        } = message;
        let decoded = impersonation(metadata.as_ref())
            .and_then(|()| evidence(&connection, &proof, true))
            .map(|evidence| {
                (
                    evidence,
                    IssueRequest {
                        csr: csr.as_bytes(),
                        spiffe_id: None,
                        life: u64::try_from(validity_duration)
                            .ok()
                            .filter(|seconds| *seconds > 0)
                            .map(Duration::from_secs),
                        clip_life: true,
                    },
                )
            });
        match decoded {
            Ok((evidence, request)) => Ok(self.encode(&self.authority.issue(evidence, &request).await?)),
            Err(refusal) => Err(self.authority.refuse_early(&connection, refusal)),
        }
    }

    /// Element 0 the leaf alone, one intermediate for each in the middle, all roots in the last; each ends with a newline.
    fn encode(&self, issuance: &Issuance) -> istio::IstioCertificateResponse {
        let Issuance { chain, bundle, .. } = issuance;
        let (leaf, above) = chain.split_at(chain.len().min(1));
        let known = self.tail.load_full().filter(|known| known.is_of(above, bundle));
        let tail = known.unwrap_or_else(|| {
            let tail = Arc::new(Tail::of(above, bundle));
            self.tail.store(Some(Arc::clone(&tail)));
            tail
        });
        let leaf = leaf.iter().map(|cert| certificate_pem(cert));
        istio::IstioCertificateResponse {
            cert_chain: leaf.chain(tail.pem.iter().cloned()).collect(),
        }
    }
}

/// Asking for another's identity is refused; an empty name is absence.
fn impersonation(metadata: Option<&prost_types::Struct>) -> Result<(), Refusal> {
    use prost_types::value::Kind as Member;
    match metadata.and_then(|metadata| metadata.fields.get(IMPERSONATED)) {
        None => Ok(()),
        Some(value) => match &value.kind {
            Some(Member::StringValue(name)) if name.is_empty() => Ok(()),
            Some(Member::StringValue(_)) => Err(Refusal::new(
                Reason::ImpersonationRefused,
                "this server issues to callers for themselves only, not for another identity",
            )),
            _ => Err(Refusal::new(
                Reason::ResourceInvalid,
                "field metadata.ImpersonatedIdentity is not a string",
            )
            .with("field", "metadata.ImpersonatedIdentity")),
        },
    }
}

impl Tail {
    fn of(above: &[CertificateDer<'static>], bundle: &Arc<TrustBundle>) -> Self {
        let mut pem: Vec<String> = above.iter().map(|cert| certificate_pem(cert)).collect();
        pem.push(bundle.to_pem());
        Self {
            above: above.to_vec(),
            bundle: Arc::clone(bundle),
            pem,
        }
    }

    fn is_of(&self, above: &[CertificateDer<'static>], bundle: &Arc<TrustBundle>) -> bool {
        self.above == above && Arc::ptr_eq(&self.bundle, bundle)
    }
}

/// Failed authentication says nothing of its reason, which stands in log and metric; all else is as everywhere.
fn status(refusal: &Refusal) -> Status {
    let unauthenticated =
        refusal.reason().kind() == Kind::Unauthenticated || refusal.reason() == Reason::ImpersonationRefused;
    if unauthenticated {
        Status::unauthenticated(UNAUTHENTICATED)
    } else {
        refusal.to_status()
    }
}

#[tonic::async_trait]
impl istio::istio_certificate_service_server::IstioCertificateService for IstioCertificateService {
    async fn create_certificate(
        &self,
        request: Request<istio::IstioCertificateRequest>,
    ) -> Result<Response<istio::IstioCertificateResponse>, Status> {
        match self.create(request).await {
            Ok(response) => Ok(Response::new(response)),
            Err(refusal) => Err(status(&refusal)),
        }
    }
}

#[cfg(test)]
mod tests;
