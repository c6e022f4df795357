//! The requests of a round, made before its clock starts: a fresh P-256 key and CSR for each, as whole gRPC messages.

use std::fmt;
use std::thread;

use identity::{Leaf, Serial};
use prost::Message;
use prost::bytes::Bytes;
use proto::{istio, v1};
use rcgen::{CertificateParams, CertificateSigningRequest, KeyPair, SanType};

use super::Error;
use super::client::Caller;

/// gRPC puts a byte for compression and four for the length before each message.
const PREFIX: usize = 5;

/// By which service certificates are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Signet,
    Istio,
}

/// For each caller, what it will send.
pub(crate) struct Requests {
    pub(crate) protocol: Protocol,
    pub(crate) of_callers: Vec<Vec<Bytes>>,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Signet, Self::Istio];

    /// Where it is called.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Protocol::Signet => "/signet.v1.CertificateAuthority/IssueCertificate",
            Protocol::Istio => "/istio.v1.auth.IstioCertificateService/CreateCertificate",
        }
    }

    fn request(self, csr: &CertificateSigningRequest) -> Result<Bytes, Error> {
        Ok(match self {
            Protocol::Signet => framed(&v1::IssueCertificateRequest {
                csr: csr.der().to_vec(),
                ..Default::default()
            }),
            Protocol::Istio => framed(&istio::IstioCertificateRequest {
                csr: csr.pem()?,
                validity_duration: 3600,
                metadata: None,
            }),
        })
    }

    /// Serial number of the certificate in an answer.
    pub(crate) fn serial(self, body: &[u8]) -> Result<Serial, Error> {
        let message = body.get(PREFIX..).ok_or("an answer without a message")?;
        let leaf = match self {
            Protocol::Signet => v1::IssueCertificateResponse::decode(message)?
                .chain
                .into_iter()
                .next(),
            Protocol::Istio => istio::IstioCertificateResponse::decode(message)?
                .cert_chain
                .first()
                .map(|leaf| pem::parse(leaf).map(pem::Pem::into_contents))
                .transpose()?,
        };
        Ok(Leaf::parse(&leaf.ok_or("an answer without a certificate")?)?.serial())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Signet => "signet.v1",
            Protocol::Istio => "istio.v1.auth",
        })
    }
}

impl Requests {
    /// `count` of them, spread evenly over the callers; a thread for each caller.
    pub(crate) fn make(protocol: Protocol, callers: &[Caller], count: usize) -> Result<Self, Error> {
        let each = count / callers.len();
        let of_callers = thread::scope(|scope| {
            let makers: Vec<_> = callers
                .iter()
                .map(|caller| {
                    scope.spawn(move || {
                        (0..each)
                            .map(|_| protocol.request(&csr(&caller.spiffe_id)?))
                            .collect::<Result<Vec<_>, Error>>()
                            .map_err(|e| e.to_string())
                    })
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| {
                    maker
                        .join()
                        .map_err(|_| "a maker of requests panicked")?
                        .map_err(Error::from)
                })
                .collect::<Result<Vec<_>, Error>>()
        })?;
        Ok(Self { protocol, of_callers })
    }
}

/// A CSR by a new key.
pub(crate) fn csr(spiffe_id: &str) -> Result<CertificateSigningRequest, Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
    Ok(params.serialize_request(&KeyPair::generate()?)?)
}

fn framed(message: &impl Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).expect("a request is small");
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend(message.encode_to_vec());
    bytes.into()
}
