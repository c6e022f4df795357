//! The client of the CA, `signet.v1.CertificateAuthority` over TLS 1.3. It sends nothing secret before the server is verified:
//! without any trust it begins with the fingerprint of one root (`bootstrap`), afterwards it has the trust bundle.

mod bootstrap;
mod channel;

use std::sync::Arc;
use std::time::Duration;

use identity::{Clock as _, SpiffeId, SystemClock, TrustBundle};
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use proto::{Refusal, v1};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use zeroize::Zeroizing;

use crate::dial::{Dial, Tcp};
use crate::error::{AnswerError, Error};
use crate::identities::Snapshot;
use crate::key::PrivateKey;
use crate::proof::Proof;
use crate::server::CaServer;
use crate::svid::Svid;

/// How long the CA is given for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: a chain and a bundle of full size.
const MAX_ANSWER_BYTES: usize = 2 * identity::bundle::MAX_BYTES;

/// A CA that a program deals with. Each call opens a connection of its own, so it always presents the certificate it is given.
#[derive(Clone, Debug)]
pub struct Ca {
    server: CaServer,
    dial: Arc<dyn Dial>,
    bundle: Option<Arc<TrustBundle>>,
}

/// What a caller would like to have. The CA decides by its registrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Who to be; needed only by a caller with several identities.
    pub spiffe_id: Option<SpiffeId>,
    /// DNS names beside the SPIFFE ID.
    pub dns_names: Vec<String>,
    /// How long the certificate should count.
    pub life: Option<Duration>,
}

/// An answer of the CA, not yet judged.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots in force.
    pub bundle: TrustBundle,
    /// When the CA would like to see the caller again.
    pub renew_after: Option<OffsetDateTime>,
    /// The authority ends before the life wished.
    pub life_clipped: bool,
}

/// The trust bundle of the CA, now and at each change.
#[derive(Debug)]
pub struct BundleWatch {
    stream: Streaming<v1::TrustBundle>,
    server: CaServer,
}

impl Ca {
    /// The CA there, known by its fingerprint alone.
    pub fn new(server: CaServer) -> Self {
        Self {
            server,
            dial: Arc::new(Tcp),
            bundle: None,
        }
    }

    /// The same, reached by another road.
    pub fn dialled_by(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial, ..self }
    }

    /// The same, verified by this bundle; no bootstrap is needed.
    pub fn trusting(self, bundle: Arc<TrustBundle>) -> Self {
        Self {
            bundle: Some(bundle),
            ..self
        }
    }

    /// Where it is.
    pub fn server(&self) -> &CaServer {
        &self.server
    }

    /// The bundle at hand, if there is one.
    pub(crate) fn known_bundle(&self) -> Option<&Arc<TrustBundle>> {
        self.bundle.as_ref()
    }

    /// The bundle by which the server is verified: at hand, or fetched by the fingerprint.
    pub async fn bundle(&mut self) -> Result<Arc<TrustBundle>, Error> {
        if let Some(bundle) = &self.bundle {
            return Ok(bundle.clone());
        }
        let bundle = Arc::new(bootstrap::bootstrap(&self.server, &*self.dial).await?);
        self.bundle = Some(bundle.clone());
        Ok(bundle)
    }

    /// Asks the verified server for the bundle in force.
    pub async fn fetch_bundle(&mut self) -> Result<TrustBundle, Error> {
        let mut client = self.connect(None).await?;
        channel::fetch_bundle(&mut client, &self.server).await
    }

    /// Follows the bundle: the first message comes at once, the next at each change.
    pub async fn watch_bundle(&mut self) -> Result<BundleWatch, Error> {
        let mut client = self.connect(None).await?;
        let opened = client.watch_bundle(v1::GetBundleRequest::default());
        let stream = tokio::time::timeout(ANSWER_TIME, opened)
            .await
            .map_err(|_| channel::silent(&self.server, ANSWER_TIME))?
            .map_err(|status| Refusal::from_status(&status))?
            .into_inner();
        Ok(BundleWatch {
            stream,
            server: self.server.clone(),
        })
    }

    /// A first certificate, by `proof`, for `key`.
    pub async fn enrol(&mut self, proof: &Proof, key: &PrivateKey, wish: &Wish) -> Result<Snapshot, Error> {
        let request = key.request(wish.spiffe_id.as_ref(), &wish.dns_names)?;
        let issued = self.issue(proof, &request, wish).await?;
        snapshot(issued, key)
    }

    /// The next certificate of the holder of `own`, for `key`.
    pub async fn renew(&mut self, own: &Svid, key: &PrivateKey, wish: &Wish) -> Result<Snapshot, Error> {
        let request = key.request(Some(own.id()), &wish.dns_names)?;
        let mut client = self.connect(Some(own.certified_key())).await?;
        let issued = self.ask(&mut client, &request, wish, None).await?;
        snapshot(issued, key)
    }

    /// As [`Ca::enrol`], for a request (PKCS#10 DER) whose key the caller keeps. The answer is not judged.
    pub async fn issue(&mut self, proof: &Proof, request: &[u8], wish: &Wish) -> Result<Issued, Error> {
        if let Some(expected) = proof
            .trust_domain()
            .filter(|td| *td != self.server.trust_domain())
        {
            return Err(AnswerError::TrustDomain {
                found: self.server.trust_domain().as_str().to_owned(),
                expected: expected.as_str().to_owned(),
            }
            .into());
        }
        let mut client = self.connect(proof.certificate_and_key()?).await?;
        self.ask(&mut client, request, wish, proof.bearer()?).await
    }

    async fn connect(
        &mut self,
        own: Option<Arc<CertifiedKey>>,
    ) -> Result<CertificateAuthorityClient<Channel>, Error> {
        let bundle = self.bundle().await?;
        let trust = channel::Trust::server(&self.server, &bundle);
        channel::connect(&self.server, &*self.dial, trust, own).await
    }

    async fn ask(
        &self,
        client: &mut CertificateAuthorityClient<Channel>,
        csr: &[u8],
        wish: &Wish,
        bearer: Option<Zeroizing<String>>,
    ) -> Result<Issued, Error> {
        let mut request = Request::new(v1::IssueCertificateRequest {
            csr: csr.to_vec(),
            spiffe_id: wish
                .spiffe_id
                .as_ref()
                .map(|id| id.as_str().to_owned())
                .unwrap_or_default(),
            life: wish.life.map(proto::duration_to_message),
        });
        if let Some(bearer) = bearer {
            let text = Zeroizing::new(format!("Bearer {}", *bearer));
            let mut value: MetadataValue<Ascii> = text
                .parse()
                .expect("tokens and JWTs are printable ASCII, their constructors checked it");
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        let answer = tokio::time::timeout(ANSWER_TIME, client.issue_certificate(request))
            .await
            .map_err(|_| channel::silent(&self.server, ANSWER_TIME))?
            .map_err(|status| Refusal::from_status(&status))?;
        self.read_answer(answer.into_inner())
    }

    fn read_answer(&self, answer: v1::IssueCertificateResponse) -> Result<Issued, Error> {
        let v1::IssueCertificateResponse {
            chain,
            bundle,
            renew_after,
            life_clipped,
        } = answer;
        if chain.is_empty() {
            return Err(AnswerError::Missing("chain").into());
        }
        let bundle = bundle.ok_or(AnswerError::Missing("bundle"))?;
        Ok(Issued {
            chain: chain.into_iter().map(CertificateDer::from).collect(),
            bundle: channel::read_bundle(bundle, &self.server)?,
            renew_after: renew_after.as_ref().and_then(proto::timestamp_from_message),
            life_clipped,
        })
    }
}

impl BundleWatch {
    /// The next state of the bundle; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Result<Option<TrustBundle>, Error> {
        match self.stream.message().await {
            Ok(Some(message)) => Ok(Some(channel::read_bundle(message, &self.server)?)),
            Ok(None) => Ok(None),
            Err(status) => Err(Refusal::from_status(&status).into()),
        }
    }
}

/// Judges what was issued as peers will, before anybody uses it.
fn snapshot(issued: Issued, key: &PrivateKey) -> Result<Snapshot, Error> {
    let svid = Svid::new(issued.chain, key.clone(), &issued.bundle, SystemClock.now())?;
    Ok(Snapshot::new(Arc::new(svid), Arc::new(issued.bundle)))
}

#[cfg(test)]
mod tests;
