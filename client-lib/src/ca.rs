//! The client of the CA, `signet.v1.CertificateAuthority` over TLS 1.3. It sends nothing secret before the server is verified:
//! without any trust it begins with the fingerprint of one root (`bootstrap`), afterwards it has the trust bundle.

mod acceptance;
mod bootstrap;
mod channel;

use std::sync::Arc;
use std::time::Duration;

use identity::{Leaf, SpiffeId, TrustBundle, VerifyError};
use proto::{Refusal, v1};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Streaming};
use zeroize::Zeroizing;

use crate::boot_time::{LocalClock, Reading};
use crate::dial::{Dial, Tcp};
use crate::error::{AnswerError, Error};
use crate::identities::Snapshot;
use crate::key::PrivateKey;
use crate::proof::Proof;
use crate::renewal::{Receipt, Terms};
use crate::server::CaServer;
use crate::svid::{Svid, SvidRefused};

pub(crate) use acceptance::check_order;
use channel::{CaClock, Connection};

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
    clock: LocalClock,
    /// The last certificate that this client received, by which the time of the CA is known.
    receipt: Option<Arc<Receipt>>,
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
    /// The life that was requested.
    pub requested: Option<Duration>,
    /// The clocks of this machine when it was received.
    pub at: Reading,
}

/// The trust bundle of the CA, now and at each change.
#[derive(Debug)]
pub struct BundleWatch {
    stream: Streaming<v1::TrustBundle>,
    server: CaServer,
    /// The chain that the server showed on this connection.
    chain: Vec<CertificateDer<'static>>,
    clock: CaClock,
}

impl Ca {
    /// The CA there, known by its fingerprint alone.
    pub fn new(server: CaServer) -> Self {
        Self {
            server,
            dial: Arc::new(Tcp),
            bundle: None,
            clock: LocalClock::system(),
            receipt: None,
        }
    }

    pub(crate) fn clocked_by(self, clock: LocalClock) -> Self {
        Self { clock, ..self }
    }

    pub(crate) fn clock(&self) -> &LocalClock {
        &self.clock
    }

    /// The same, whose time is known from this certificate: a machine with a wrong clock can still verify the
    /// server.
    pub fn timed_by(self, receipt: &Receipt) -> Self {
        Self {
            receipt: Some(Arc::new(receipt.clone())),
            ..self
        }
    }

    fn ca_clock(&self) -> CaClock {
        CaClock::new(self.clock.clone(), self.receipt.clone())
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

    /// The same, known by its fingerprint only.
    pub(crate) fn without_bundle(self) -> Self {
        Self { bundle: None, ..self }
    }

    /// Where it is.
    pub fn server(&self) -> &CaServer {
        &self.server
    }

    /// The bundle in memory, if there is one.
    pub(crate) fn known_bundle(&self) -> Option<&Arc<TrustBundle>> {
        self.bundle.as_ref()
    }

    /// The bundle by which the server is verified: at hand, or fetched by the fingerprint.
    pub async fn bundle(&mut self) -> Result<Arc<TrustBundle>, Error> {
        if let Some(bundle) = &self.bundle {
            return Ok(bundle.clone());
        }
        let bundle = bootstrap::bootstrap(&self.server, &*self.dial, &self.ca_clock()).await?;
        let bundle = Arc::new(bundle);
        self.bundle = Some(bundle.clone());
        Ok(bundle)
    }

    /// Asks the verified server for the bundle in force.
    pub async fn fetch_bundle(&mut self) -> Result<TrustBundle, Error> {
        let Connection { mut client, chain } = self.connect(None).await?;
        let bundle = channel::fetch_bundle(&mut client, &self.server).await?;
        acceptance::check_server(&bundle, &self.server, &chain, &self.ca_clock())?;
        Ok(bundle)
    }

    /// Follows the bundle: the first message comes at once, the next at each change.
    pub async fn watch_bundle(&mut self) -> Result<BundleWatch, Error> {
        let Connection { mut client, chain } = self.connect(None).await?;
        let opened = client.watch_bundle(v1::GetBundleRequest::default());
        let stream = tokio::time::timeout(ANSWER_TIME, opened)
            .await
            .map_err(|_| channel::silent(&self.server, ANSWER_TIME))?
            .map_err(|status| Refusal::from_status(&status))?
            .into_inner();
        Ok(BundleWatch {
            stream,
            server: self.server.clone(),
            chain,
            clock: self.ca_clock(),
        })
    }

    /// A first certificate, by `proof`, for `key`, which is fresh.
    pub async fn enrol(&mut self, proof: &Proof, key: &PrivateKey, wish: &Wish) -> Result<Snapshot, Error> {
        let request = key.request(wish.spiffe_id.as_ref(), &wish.dns_names)?;
        let issued = self.issue(proof, &request, wish).await?;
        issued.snapshot(key, Duration::ZERO, None)
    }

    /// The next certificate of the holder of `own`, for `key`, which is fresh.
    pub async fn renew(&mut self, own: &Svid, key: &PrivateKey, wish: &Wish) -> Result<Snapshot, Error> {
        let request = key.request(Some(own.id()), &wish.dns_names)?;
        let issued = self.issue_next(own, &request, wish).await?;
        issued.snapshot(key, Duration::ZERO, Some(own.receipt()))
    }

    /// As [`Ca::renew`], for a request (PKCS#10 DER).
    pub async fn issue_next(&mut self, own: &Svid, request: &[u8], wish: &Wish) -> Result<Issued, Error> {
        let connection = self.connect(Some(own.certified_key())).await?;
        self.ask(connection, request, wish, None).await
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
        let connection = self.connect(proof.certificate_and_key()?).await?;
        self.ask(connection, request, wish, proof.bearer()?).await
    }

    async fn connect(&mut self, own: Option<Arc<CertifiedKey>>) -> Result<Connection, Error> {
        let bundle = self.bundle().await?;
        let trust = channel::Trust::server(&self.server, &bundle, self.ca_clock());
        channel::connect(&self.server, &*self.dial, trust, own).await
    }

    async fn ask(
        &self,
        Connection { mut client, chain }: Connection,
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
        self.read_answer(answer.into_inner(), &chain, wish)
    }

    /// Reads an answer. A bundle that is not accepted does not cost the certificate that came with it: the
    /// known one, by which the server was verified, is kept.
    fn read_answer(
        &self,
        answer: v1::IssueCertificateResponse,
        server_chain: &[CertificateDer<'_>],
        wish: &Wish,
    ) -> Result<Issued, Error> {
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
        let bundle = channel::read_bundle(bundle, &self.server)?;
        let accepted = acceptance::check_server(&bundle, &self.server, server_chain, &self.ca_clock())
            .and_then(|()| {
                self.bundle
                    .as_ref()
                    .map_or(Ok(()), |known| check_order(&bundle, known))
            });
        let bundle = match (accepted, &self.bundle) {
            (Ok(()), _) => bundle,
            (Err(why), Some(known)) => {
                tracing::warn!(address = self.server.address(), %why, "trust bundle of an answer not accepted");
                TrustBundle::clone(known)
            }
            (Err(why), None) => return Err(why.into()),
        };
        Ok(Issued {
            chain: chain.into_iter().map(CertificateDer::from).collect(),
            bundle,
            requested: wish.life,
            at: self.clock.read(),
            renew_after: renew_after.as_ref().and_then(proto::timestamp_from_message),
            life_clipped,
        })
    }
}

impl Issued {
    /// The certificate with its bundle, if peers would have accepted it when it was issued. `asked` is how
    /// long before its arrival `key` was first sent; `known` the receipt of the certificate before.
    pub fn snapshot(
        self,
        key: &PrivateKey,
        asked: Duration,
        known: Option<&Receipt>,
    ) -> Result<Snapshot, Error> {
        let receipt = self.receipt(asked, known)?;
        let svid = Svid::received(self.chain, key.clone(), &self.bundle, receipt)?;
        Ok(Snapshot::new(Arc::new(svid), Arc::new(self.bundle)))
    }

    /// When it was received, and when it is to be renewed.
    pub fn receipt(&self, asked: Duration, known: Option<&Receipt>) -> Result<Receipt, Error> {
        let leaf = self.chain.first().ok_or(AnswerError::Missing("chain"))?;
        let leaf = Leaf::parse(leaf).map_err(|e| SvidRefused::from(VerifyError::from(e)))?;
        let terms = Terms {
            validity: leaf.validity(),
            renew_after: self.renew_after,
            clipped: self.life_clipped,
            requested: self.requested,
        };
        let age = Receipt::age(&terms, known, asked, &self.at);
        Ok(Receipt::new(&terms, self.at.clone(), age))
    }
}

impl BundleWatch {
    /// The next state of the bundle, under which the server of this connection verifies; `None` when it ended
    /// the stream.
    pub async fn next(&mut self) -> Result<Option<TrustBundle>, Error> {
        match self.stream.message().await {
            Ok(Some(message)) => {
                let bundle = channel::read_bundle(message, &self.server)?;
                acceptance::check_server(&bundle, &self.server, &self.chain, &self.clock)?;
                Ok(Some(bundle))
            }
            Ok(None) => Ok(None),
            Err(status) => Err(Refusal::from_status(&status).into()),
        }
    }
}

#[cfg(test)]
mod tests;
