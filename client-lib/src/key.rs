//! Private keys and certificate requests (PKCS#10, RFC 2986). A key is made here or read from PKCS#8; its bytes are zeroed when
//! it is dropped and stand in no `Debug`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use identity::bundle::pem;
use identity::{KeyDigest, SpiffeId};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SanType};
use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// The kinds of keys that can be made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256: the default, which every peer understands.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits, for peers that know nothing else.
    #[cfg(feature = "rsa")]
    Rsa2048,
}

/// A private key with the public key that belongs to it.
#[derive(Clone)]
pub struct PrivateKey {
    pkcs8: Arc<Zeroizing<Vec<u8>>>,
    digest: KeyDigest,
}

/// A key that cannot be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A word that names no kind of key.
    #[error("key type {found:?} is unknown, expected one of {}", words())]
    Type {
        /// The word.
        found: String,
    },
    /// The random generator failed.
    #[error("cannot make a key: {0}")]
    Make(String),
    /// Not a key, or none that can sign.
    #[error("private key cannot be read: {0}; expected unencrypted PKCS#8 of P-256, P-384, Ed25519 or RSA")]
    Read(String),
    /// The request could not be built.
    #[error("cannot build a certificate request: {0}")]
    Request(String),
}

impl KeyType {
    /// Every kind.
    pub const ALL: &[KeyType] = &[
        KeyType::P256,
        KeyType::P384,
        KeyType::Ed25519,
        #[cfg(feature = "rsa")]
        KeyType::Rsa2048,
    ];

    /// The word for it in flags.
    pub fn word(self) -> &'static str {
        match self {
            KeyType::P256 => "p256",
            KeyType::P384 => "p384",
            KeyType::Ed25519 => "ed25519",
            #[cfg(feature = "rsa")]
            KeyType::Rsa2048 => "rsa2048",
        }
    }
}

impl PrivateKey {
    /// Makes a fresh key.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        let algorithm = match kind {
            KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Ed25519 => &rcgen::PKCS_ED25519,
            #[cfg(feature = "rsa")]
            KeyType::Rsa2048 => return Self::generate_rsa(),
        };
        let pair = KeyPair::generate_for(algorithm).map_err(|e| KeyError::Make(e.to_string()))?;
        Self::from_pkcs8(Zeroizing::new(pair.serialize_der()))
    }

    /// ring makes no RSA keys.
    #[cfg(feature = "rsa")]
    fn generate_rsa() -> Result<Self, KeyError> {
        use rsa::pkcs8::EncodePrivateKey;
        const BITS: usize = 2048;
        let wrong = |e: &dyn fmt::Display| KeyError::Make(e.to_string());
        let key = rsa::PrivateKey::new(&mut getrandom::SysRng, BITS).map_err(|e| wrong(&e))?;
        let der = key.to_pkcs8_der().map_err(|e| wrong(&e))?;
        Self::from_pkcs8(der.to_bytes())
    }

    /// Reads PKCS#8 DER (RFC 5208) of any kind that Signet accepts, RSA included.
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let digest = KeyDigest::of(&pair_of(&der)?.subject_public_key_info());
        Ok(Self {
            pkcs8: Arc::new(der),
            digest,
        })
    }

    /// Reads the first private key of a PEM text; SEC1 and PKCS#1 are refused with the words of the parser.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|e| KeyError::Read(e.to_string()))?;
        let key = Zeroizing::new(key);
        Self::from_pkcs8(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
    }

    /// The key as PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.pkcs8))
    }

    /// The key as PKCS#8 DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Names the public key, as `identity::Leaf::key_digest` does.
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }

    /// A request for this key, with the names that the caller would like to have.
    pub fn request(
        &self,
        spiffe_id: Option<&SpiffeId>,
        dns_names: &[String],
    ) -> Result<CertificateSigningRequestDer<'static>, KeyError> {
        let wrong = |e: rcgen::Error| KeyError::Request(e.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(id) = spiffe_id {
            let uri = id.as_str().try_into().map_err(wrong)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        for name in dns_names {
            let name = name.as_str().try_into().map_err(wrong)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let request = params.serialize_request(&pair_of(&self.pkcs8)?).map_err(wrong)?;
        Ok(request.der().clone())
    }

    /// The key as rustls signs with it.
    pub fn signing_key(&self) -> Result<Arc<dyn SigningKey>, KeyError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()));
        rustls::crypto::ring::sign::any_supported_type(&der).map_err(|e| KeyError::Read(e.to_string()))
    }
}

fn words() -> String {
    let words: Vec<&str> = KeyType::ALL.iter().map(|kind| kind.word()).collect();
    words.join(", ")
}

fn pair_of(pkcs8: &[u8]) -> Result<KeyPair, KeyError> {
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(|e| KeyError::Read(e.to_string()))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(public key sha-256 {})", self.digest)
    }
}

impl FromStr for KeyType {
    type Err = KeyError;
    fn from_str(word: &str) -> Result<Self, KeyError> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| KeyError::Type {
                found: word.chars().take(40).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_reads_back_signs_and_asks() {
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(kind.word().parse().unwrap()).unwrap();
            let read = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert_eq!(read.digest(), key.digest());
            let id = SpiffeId::new("spiffe://td/a").unwrap();
            assert!(!key.request(Some(&id), &["a.example".into()]).unwrap().is_empty());
            assert!(key.signing_key().is_ok());
        }
    }

    #[test]
    fn a_word_that_is_no_kind_is_refused_naming_those_that_are() {
        let refused = "dsa".parse::<KeyType>().unwrap_err().to_string();
        assert!(
            refused.contains("expected one of p256, p384, ed25519"),
            "{refused}"
        );
    }

    #[test]
    fn garbage_is_no_key_and_debug_shows_no_secret() {
        assert!(matches!(
            PrivateKey::from_pem(b"nonsense"),
            Err(KeyError::Read(_))
        ));
        assert!(matches!(
            PrivateKey::from_pkcs8(Zeroizing::new(vec![0x30, 0])),
            Err(KeyError::Read(_))
        ));
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let digest = key.digest();
        assert_eq!(
            format!("{key:?}"),
            format!("PrivateKey(public key sha-256 {digest})")
        );
    }
}
