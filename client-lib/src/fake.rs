//! A small CA for the tests: issues what it is asked for, remembers what it was shown, and fails on request.

mod conn;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::{Fingerprint, JoinToken, KeyDigest, Leaf, SpiffeId, TrustBundle, TrustDomain};
use proto::v1::certificate_authority_server::{CertificateAuthority, CertificateAuthorityServer};
use proto::{Refusal, v1};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use crate::ca::Ca;
use crate::identities::Snapshot;
use crate::key::{KeyType, PrivateKey};
use crate::server::CaServer;
use crate::svid::Svid;
use conn::ClientChain;

pub(crate) const WEB: &str = "spiffe://td/ns/a/sa/web";

/// A certificate that signs.
pub(crate) struct Signer {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
}

/// What the fake CA remembers and does.
pub(crate) struct State {
    pub(crate) life: Duration,
    /// Every request so far: the key, the bearer, the serial of the certificate presented.
    pub(crate) requests: Vec<Seen>,
    /// So many answers are lost after the certificate was made.
    pub(crate) lose: u32,
    /// Certificates are signed by somebody that nobody trusts.
    pub(crate) spoil: bool,
    /// Every request is refused with this.
    pub(crate) refuse: Option<Refusal>,
    /// Every renewal is refused with this.
    pub(crate) refuse_renewals: Option<Refusal>,
    /// Leaves are signed by this in place of the root.
    pub(crate) signer: Option<Arc<Signer>>,
    /// How often the bundle was subscribed to.
    pub(crate) streams: usize,
    /// Streams end after their first message.
    pub(crate) end_streams: bool,
    redeemed: HashMap<String, (KeyDigest, v1::IssueCertificateResponse)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) key: KeyDigest,
    pub(crate) bearer: Option<String>,
    pub(crate) presented: Option<Leaf>,
}

#[derive(Clone)]
pub(crate) struct FakeCa {
    pub(crate) root: Arc<Signer>,
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) bundle: watch::Sender<TrustBundle>,
}

pub(crate) fn td() -> TrustDomain {
    TrustDomain::new("td").unwrap()
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

pub(crate) fn root() -> Signer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let name = KeyDigest::of(key.public_key_raw()).to_string();
    params.distinguished_name.push(DnType::CommonName, &name[..16]);
    let der = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    Signer { issuer, der }
}

fn leaf_params(names: Vec<SanType>, life: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = now - life / 10;
    params.not_after = now + life;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = names;
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

impl Signer {
    /// A chain of one leaf with these names and its key.
    pub(crate) fn leaf(&self, names: Vec<SanType>, life: Duration) -> (CertificateDer<'static>, PrivateKey) {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let pair = KeyPair::try_from(key.pkcs8()).unwrap();
        let params = leaf_params(names, life);
        (params.signed_by(&pair, &self.issuer).unwrap().der().clone(), key)
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        TrustBundle::new(td(), vec![self.der.clone()]).unwrap()
    }

    /// A snapshot of somebody under this root.
    pub(crate) fn snapshot(&self, who: &str, life: Duration) -> Snapshot {
        let (leaf, key) = self.leaf(vec![uri(who)], life);
        let svid = Svid::new(vec![leaf], key, &self.bundle(), OffsetDateTime::now_utc()).unwrap();
        Snapshot::new(Arc::new(svid), Arc::new(self.bundle()))
    }
}

impl FakeCa {
    /// A CA whose own certificate is as it should be.
    pub(crate) async fn start() -> Self {
        let root = root();
        let bundle = root.bundle();
        Self::start_with(root, bundle, "spiffe://td/server/ca", "127.0.0.1").await
    }

    /// A server under `root` that hands out `bundle` and has these names.
    pub(crate) async fn start_with(root: Signer, bundle: TrustBundle, server_id: &str, host: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = match host.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(host.try_into().unwrap()),
        };
        let (leaf, key) = root.leaf(vec![uri(server_id), name], Duration::from_secs(3_600));
        let ca = Self {
            root: Arc::new(root),
            address,
            state: Arc::new(Mutex::new(State {
                life: Duration::from_secs(3_600),
                requests: Vec::new(),
                lose: 0,
                spoil: false,
                refuse: None,
                refuse_renewals: None,
                signer: None,
                streams: 0,
                end_streams: false,
                redeemed: HashMap::new(),
            })),
            bundle: watch::channel(bundle.with_sequence(1)).0,
        };
        let service = CertificateAuthorityServer::new(ca.clone());
        let incoming = conn::accept(listener, vec![leaf], &key);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        ca
    }

    pub(crate) fn server(&self) -> CaServer {
        CaServer::new(self.address.to_string(), Fingerprint::of(&self.root.der), td()).unwrap()
    }

    pub(crate) fn client(&self) -> Ca {
        Ca::new(self.server())
    }

    pub(crate) fn token(&self) -> JoinToken {
        self.token_with(Fingerprint::of(&self.root.der))
    }

    pub(crate) fn token_with(&self, fingerprint: Fingerprint) -> JoinToken {
        let secret = Zeroizing::new("very secret".to_owned());
        JoinToken::new("t1", secret, self.address.to_string(), fingerprint, td()).unwrap()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().requests.clone()
    }

    fn sign(&self, csr: &[u8], who: &str, life: Duration, state: &State) -> v1::IssueCertificateResponse {
        let csr = CertificateSigningRequestDer::from(csr.to_vec());
        let request = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let mut names = request.params.subject_alt_names.clone();
        names.retain(|name| matches!(name, SanType::DnsName(_)));
        names.push(uri(who));
        let stranger = root();
        let issuer = match &state.signer {
            _ if state.spoil => &stranger.issuer,
            Some(signer) => &signer.issuer,
            None => &self.root.issuer,
        };
        let leaf = leaf_params(names, life)
            .signed_by(&request.public_key, issuer)
            .unwrap();
        v1::IssueCertificateResponse {
            chain: vec![leaf.der().to_vec()],
            bundle: Some(proto::bundle_to_message(&self.bundle.borrow())),
            renew_after: None,
            life_clipped: false,
        }
    }

    fn issue(
        &self,
        seen: Seen,
        request: &v1::IssueCertificateRequest,
    ) -> Result<v1::IssueCertificateResponse, Refusal> {
        let mut state = self.state.lock().unwrap();
        state.requests.push(seen.clone());
        if let Some(refusal) = &state.refuse {
            return Err(refusal.clone());
        }
        let wished = request.life.as_ref().and_then(proto::duration_from_message);
        let life = wished.unwrap_or(state.life);
        let answer = match (&seen.bearer, &seen.presented) {
            (Some(bearer), _) => match state.redeemed.get(bearer) {
                Some((key, answer)) if *key == seen.key => answer.clone(),
                Some(_) if bearer.starts_with("Bearer sgt1.") => {
                    return Err(Refusal::new(identity::Reason::TokenSpent, "token is spent"));
                }
                _ => self.sign(&request.csr, WEB, life, &state),
            },
            (None, Some(_)) if state.refuse_renewals.is_some() => {
                return Err(state.refuse_renewals.clone().unwrap());
            }
            (None, Some(own)) if own.validity().contains(OffsetDateTime::now_utc()) => {
                self.sign(&request.csr, &own.uris()[0], life, &state)
            }
            (None, Some(_)) => {
                return Err(Refusal::new(
                    identity::Reason::CertificateExpired,
                    "certificate ended",
                ));
            }
            (None, None) => return Err(Refusal::new(identity::Reason::NoProof, "no proof")),
        };
        if let Some(bearer) = seen.bearer {
            state.redeemed.insert(bearer, (seen.key, answer.clone()));
        }
        if state.lose > 0 {
            state.lose -= 1;
            return Err(Refusal::new(identity::Reason::NotReady, "answer lost"));
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl CertificateAuthority for FakeCa {
    type IssueCertificatesStream = WatchStream<Result<v1::IssueCertificatesResponse, Status>>;
    type WatchBundleStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::TrustBundle, Status>> + Send>>;

    async fn issue_certificate(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        let csr = CertificateSigningRequestDer::from(request.get_ref().csr.clone());
        let parsed = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let presented = request
            .extensions()
            .get::<ClientChain>()
            .and_then(|chain| chain.0.first());
        let seen = Seen {
            key: KeyDigest::of(&rcgen::PublicKeyData::subject_public_key_info(&parsed.public_key)),
            bearer: request
                .metadata()
                .get("authorization")
                .map(|value| value.to_str().unwrap().to_owned()),
            presented: presented.map(|leaf| Leaf::parse(leaf).unwrap()),
        };
        Ok(Response::new(self.issue(seen, request.get_ref())?))
    }

    async fn issue_certificates(
        &self,
        _: Request<Streaming<v1::IssueCertificatesRequest>>,
    ) -> Result<Response<Self::IssueCertificatesStream>, Status> {
        Err(Status::unimplemented("not in the fake"))
    }

    async fn get_bundle(
        &self,
        _: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::TrustBundle>, Status> {
        Ok(Response::new(proto::bundle_to_message(&self.bundle.borrow())))
    }

    async fn watch_bundle(
        &self,
        _: Request<v1::GetBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let bundles = WatchStream::new(self.bundle.subscribe());
        let stream = bundles.map(|bundle| Ok(proto::bundle_to_message(&bundle)));
        let mut state = self.state.lock().unwrap();
        state.streams += 1;
        if state.end_streams {
            return Ok(Response::new(Box::pin(stream.take(1))));
        }
        Ok(Response::new(Box::pin(stream)))
    }
}
