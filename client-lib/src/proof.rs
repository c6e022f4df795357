//! What a program shows the CA to get its first certificate. Files are read again at each use, because platforms rotate them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::join_token::JoinTokenError;
use identity::{Fingerprint, JoinToken, Reason, TrustDomain};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::folder::{Folder, FolderError, read_file};
use crate::key::{KeyError, PrivateKey};
use crate::server::CaServer;

/// A proof. No secret of it stands in `Debug`.
#[derive(Clone, Debug)]
pub struct Proof(Kind);

#[derive(Clone)]
enum Kind {
    Token(JoinToken),
    Jwt(Zeroizing<String>),
    JwtFile(PathBuf),
    Certificate(Arc<CertifiedKey>),
    CertificateFiles { chain: PathBuf, key: PathBuf },
    Folder(Folder),
}

/// A proof that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A file that cannot be read.
    #[error(transparent)]
    File(#[from] FolderError),
    /// No join token.
    #[error(transparent)]
    Token(#[from] JoinTokenError),
    /// No JWT.
    #[error("{place} holds no JWT, expected one compact JWT (RFC 7519) of printable characters")]
    Jwt {
        /// Which file, or the text given.
        place: String,
    },
    /// No certificate.
    #[error("{place} holds no certificate: {why}, expected PEM, leaf first")]
    Certificate {
        /// Which file.
        place: String,
        /// What the parser said.
        why: String,
    },
    /// An empty folder.
    #[error("{place} holds no certificate, expected one that was issued before")]
    Nothing {
        /// Which folder.
        place: String,
    },
    /// A certificate whose key is elsewhere.
    #[error("{place} holds no key, expected svid_key.pem; renew with a request made where the key is")]
    NoKey {
        /// Which folder.
        place: String,
    },
    /// A key that cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key that does not belong to the certificate.
    #[error("key does not belong to the certificate of the proof, expected its private key")]
    Mismatch,
}

impl ProofError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            ProofError::Token(_) => Reason::TokenInvalid,
            ProofError::Jwt { .. } => Reason::JwtInvalid,
            ProofError::Certificate { .. } | ProofError::Mismatch => Reason::CertificateUntrusted,
            ProofError::File(_)
            | ProofError::Key(_)
            | ProofError::Nothing { .. }
            | ProofError::NoKey { .. } => Reason::NoProof,
        }
    }
}

impl Proof {
    /// A join token: enrols once, and says where the CA is.
    pub fn token(token: JoinToken) -> Self {
        Self(Kind::Token(token))
    }

    /// The join token in this file.
    pub fn token_file(path: impl AsRef<Path>) -> Result<Self, ProofError> {
        let text = read_file(path.as_ref())?;
        let token = JoinToken::parse(std::str::from_utf8(&text).map_err(|_| JoinTokenError::Prefix)?)?;
        Ok(Self::token(token))
    }

    /// A JWT of an issuer that the CA knows.
    pub fn jwt(text: &str) -> Result<Self, ProofError> {
        jwt_of(text.as_bytes(), "the text given").map(|jwt| Self(Kind::Jwt(jwt)))
    }

    /// The JWT in this file, read at each use.
    pub fn jwt_file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::JwtFile(path.into()))
    }

    /// A certificate with its key: one of this CA, or of a factory that the CA knows.
    pub fn certificate(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<Self, ProofError> {
        certified(chain, key).map(|pair| Self(Kind::Certificate(pair)))
    }

    /// The certificate (PEM, leaf first) and key (PKCS#8 PEM) in these files, read at each use.
    pub fn certificate_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self(Kind::CertificateFiles {
            chain: chain.into(),
            key: key.into(),
        })
    }

    /// The certificate that lies in this folder, read at each use.
    pub fn folder(folder: Folder) -> Self {
        Self(Kind::Folder(folder))
    }

    /// The CA that the proof itself names.
    pub fn server(&self) -> Option<CaServer> {
        match &self.0 {
            Kind::Token(token) => Some(CaServer::from(token)),
            _ => None,
        }
    }

    /// Names the proof as it is now: SHA-256 of the token, the JWT, or the leaf. Another one is a new proof.
    pub fn fingerprint(&self) -> Result<Fingerprint, ProofError> {
        if let Some(bearer) = self.bearer()? {
            return Ok(Fingerprint::of(bearer.as_bytes()));
        }
        let pair = self.certificate_and_key()?;
        let leaf = pair.as_ref().and_then(|pair| pair.cert.first());
        Ok(Fingerprint::of(leaf.map(AsRef::as_ref).unwrap_or_default()))
    }

    /// Whether the CA accepts the proof only once.
    pub fn is_single_use(&self) -> bool {
        matches!(self.0, Kind::Token(_))
    }

    /// The trust domain that the proof is for, if it says so: it must be the CA's.
    pub(crate) fn trust_domain(&self) -> Option<&TrustDomain> {
        match &self.0 {
            Kind::Token(token) => Some(token.trust_domain()),
            _ => None,
        }
    }

    /// What goes into the header `authorization`.
    pub(crate) fn bearer(&self) -> Result<Option<Zeroizing<String>>, ProofError> {
        Ok(match &self.0 {
            Kind::Token(token) => Some(token.text()),
            Kind::Jwt(text) => Some(text.clone()),
            Kind::JwtFile(path) => Some(jwt_of(&read_file(path)?, &path.display().to_string())?),
            Kind::Certificate(_) | Kind::CertificateFiles { .. } | Kind::Folder(_) => None,
        })
    }

    /// What is presented in the TLS handshake.
    pub(crate) fn certificate_and_key(&self) -> Result<Option<Arc<CertifiedKey>>, ProofError> {
        Ok(match &self.0 {
            Kind::Certificate(pair) => Some(pair.clone()),
            Kind::CertificateFiles { chain, key } => {
                let certificates = CertificateDer::pem_slice_iter(&read_file(chain)?)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|e| ProofError::Certificate {
                        place: chain.display().to_string(),
                        why: e.to_string(),
                    })?;
                Some(certified(certificates, &PrivateKey::from_pem(&read_file(key)?)?)?)
            }
            Kind::Folder(folder) => {
                let stored = folder.read()?.ok_or_else(|| ProofError::Nothing {
                    place: folder.path().display().to_string(),
                })?;
                let key = stored.key.ok_or_else(|| ProofError::NoKey {
                    place: folder.path().display().to_string(),
                })?;
                Some(certified(stored.chain, &key)?)
            }
            Kind::Token(_) | Kind::Jwt(_) | Kind::JwtFile(_) => None,
        })
    }
}

fn jwt_of(text: &[u8], place: &str) -> Result<Zeroizing<String>, ProofError> {
    let text = text.trim_ascii();
    let printable = text.iter().all(u8::is_ascii_graphic);
    if !printable || text.split(|b| *b == b'.').count() != 3 {
        return Err(ProofError::Jwt {
            place: place.to_owned(),
        });
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(text).into_owned()))
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<Arc<CertifiedKey>, ProofError> {
    let leaf = chain.first().map(|leaf| identity::Leaf::parse(leaf));
    let fits = match leaf {
        Some(Ok(leaf)) => leaf.key_digest() == key.digest(),
        Some(Err(e)) => {
            return Err(ProofError::Certificate {
                place: "the proof".to_owned(),
                why: e.to_string(),
            });
        }
        None => false,
    };
    if !fits {
        return Err(ProofError::Mismatch);
    }
    Ok(Arc::new(CertifiedKey::new(chain, key.signing_key()?)))
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Token(token) => write!(f, "join token {}", token.id()),
            Kind::Jwt(_) => f.write_str("JWT"),
            Kind::JwtFile(path) => write!(f, "JWT in {}", path.display()),
            Kind::Certificate(_) => f.write_str("certificate"),
            Kind::CertificateFiles { chain, .. } => write!(f, "certificate in {}", chain.display()),
            Kind::Folder(folder) => write!(f, "certificate in {}", folder.path().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_file_is_read_at_each_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt");
        let proof = Proof::jwt_file(&path);
        assert!(matches!(proof.bearer(), Err(ProofError::File(_))));
        for text in ["a.b.c", "d.e.f"] {
            std::fs::write(&path, format!("{text}\n")).unwrap();
            assert_eq!(proof.bearer().unwrap().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_jwt_is_refused_without_being_quoted() {
        for bad in ["", "a.b", "a.b.c.d", "a b.c.d", "a.\u{e9}.c"] {
            assert!(matches!(Proof::jwt(bad), Err(ProofError::Jwt { .. })), "{bad}");
        }
        assert_eq!(format!("{:?}", Proof::jwt("s3.cr.et").unwrap()), "Proof(JWT)");
    }

    #[test]
    fn a_folder_without_certificate_or_without_key_is_no_proof_and_says_why() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("web")).unwrap();
        let proof = Proof::folder(folder.clone());
        let nothing = proof.certificate_and_key().unwrap_err();
        assert!(matches!(nothing, ProofError::Nothing { .. }), "{nothing}");
        let root = crate::fake::root();
        let snapshot = root.snapshot(crate::fake::WEB, std::time::Duration::from_secs(60));
        let print = Fingerprint::of(&root.der);
        let server = CaServer::new("ca.example:1", print, crate::fake::td()).unwrap();
        let mut stored = crate::Stored::of(&snapshot, &server, None);
        folder.write(&stored).unwrap();
        assert!(proof.certificate_and_key().unwrap().is_some());
        stored.key = None;
        folder.write(&stored).unwrap();
        let keyless = proof.certificate_and_key().unwrap_err();
        assert!(matches!(keyless, ProofError::NoKey { .. }), "{keyless}");
        assert_eq!(keyless.reason(), Reason::NoProof);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let pair = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let own = PrivateKey::from_pkcs8(Zeroizing::new(pair.signing_key.serialize_der())).unwrap();
        let other = PrivateKey::generate(crate::KeyType::P256).unwrap();
        let chain = vec![pair.cert.der().clone()];
        assert!(Proof::certificate(chain.clone(), &own).is_ok());
        assert!(matches!(
            Proof::certificate(chain, &other),
            Err(ProofError::Mismatch)
        ));
    }
}
