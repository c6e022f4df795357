//! The private key of an authority: made, read and written as PKCS#8 (RFC 5958), encrypted by PBES2 (RFC 8018) under a
//! passphrase. The type never leaves this crate, so that nothing outside can sign with it.

use std::fmt;
use std::str::FromStr;

use identity::Reason;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair,
};
use zeroize::Zeroizing;

use crate::certificate::{SignError, ec_spki};
use crate::csr::{KeyType, PublicKey};
use crate::der::{bit_string, sequence};
use crate::oid;

/// Longest key file that is read, in bytes.
const MAX_BYTES: usize = 16 * 1024;
const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Kinds of keys that authorities sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityKeyType {
    /// P-256 with SHA-256.
    P256,
    /// P-384 with SHA-384; many times slower.
    P384,
}

/// Why bytes are no key for an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, not PKCS#8, or not such a key.
    #[error("authority key cannot be read: {why}; expected a P-256 or P-384 key as PKCS#8 in PEM")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// The key is encrypted and there is no passphrase.
    #[error("authority key is encrypted, expected a passphrase")]
    PassphraseMissing,
    /// The passphrase does not decrypt the key.
    #[error("passphrase does not open the authority key")]
    PassphraseWrong,
    /// The operating system gives no random numbers.
    #[error("no key could be made, the system gives no random numbers")]
    Random,
}

impl KeyError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            KeyError::Malformed { .. } | KeyError::PassphraseMissing | KeyError::PassphraseWrong => {
                Reason::ResourceInvalid
            }
            KeyError::Random => Reason::Internal,
        }
    }
}

pub(crate) struct AuthorityKey {
    pair: EcdsaKeyPair,
    /// Zeroed when dropped; ring's own copy is not.
    pkcs8: SecretDocument,
    public: PublicKey,
    /// The whole AlgorithmIdentifier of its signatures.
    signature_algorithm: Vec<u8>,
    random: SystemRandom,
}

impl AuthorityKeyType {
    /// The word of command lines: `p256`, `p384`.
    pub fn word(self) -> &'static str {
        match self {
            AuthorityKeyType::P256 => "p256",
            AuthorityKeyType::P384 => "p384",
        }
    }

    fn ring(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            AuthorityKeyType::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            AuthorityKeyType::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }
}

/// A word that is no kind of authority key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no kind of authority key, expected p256 or p384")]
pub struct AuthorityKeyTypeError {
    found: String,
}

impl FromStr for AuthorityKeyType {
    type Err = AuthorityKeyTypeError;
    fn from_str(word: &str) -> Result<Self, AuthorityKeyTypeError> {
        [AuthorityKeyType::P256, AuthorityKeyType::P384]
            .into_iter()
            .find(|key_type| key_type.word() == word)
            .ok_or_else(|| AuthorityKeyTypeError {
                found: word.chars().take(100).collect(),
            })
    }
}

impl PublicKey {
    /// The public half of an authority's private key in PEM, for telling which key a file holds.
    pub fn of_authority_key(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        AuthorityKey::from_pem(pem, passphrase).map(|key| key.public)
    }
}

impl AuthorityKey {
    pub(crate) fn generate(key_type: AuthorityKeyType) -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(key_type.ring(), &SystemRandom::new())
            .map_err(|_| KeyError::Random)?;
        let document = SecretDocument::try_from(document.as_ref()).expect("ring writes its keys in DER");
        Self::from_pkcs8(document)
    }

    /// Reads a PEM block, encrypted or not. A passphrase for a key that is not encrypted is not needed and not looked at.
    pub(crate) fn from_pem(text: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let malformed = |why: &str| KeyError::Malformed { why: why.to_owned() };
        if text.len() > MAX_BYTES {
            return Err(malformed("longer than 16 KiB"));
        }
        let (label, document) = SecretDocument::from_pem(text).map_err(|e| malformed(&e.to_string()))?;
        match label {
            PLAIN => Self::from_pkcs8(document),
            ENCRYPTED => {
                let passphrase = passphrase.ok_or(KeyError::PassphraseMissing)?;
                let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(|e| malformed(&e.to_string()))?;
                // PBES2 has no check value: a wrong passphrase shows as wrong padding, or as plain text that is no key.
                let plain = encrypted
                    .decrypt(passphrase)
                    .map_err(|_| KeyError::PassphraseWrong)?;
                PrivateKeyInfoRef::try_from(plain.as_bytes()).map_err(|_| KeyError::PassphraseWrong)?;
                Self::from_pkcs8(plain)
            }
            other => Err(malformed(&format!(
                "a PEM block {other:?}, to be converted with openssl pkcs8 -topk8"
            ))),
        }
    }

    fn from_pkcs8(pkcs8: SecretDocument) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let read = |key_type: AuthorityKeyType| {
            EcdsaKeyPair::from_pkcs8(key_type.ring(), pkcs8.as_bytes(), &random).map(|pair| (key_type, pair))
        };
        let (key_type, pair) = read(AuthorityKeyType::P256)
            .or_else(|_| read(AuthorityKeyType::P384))
            .map_err(|e| KeyError::Malformed { why: e.to_string() })?;
        let (curve, signature, certified) = match key_type {
            AuthorityKeyType::P256 => (oid::P256, oid::ECDSA_SHA256, KeyType::P256),
            AuthorityKeyType::P384 => (oid::P384, oid::ECDSA_SHA384, KeyType::P384),
        };
        let public = PublicKey::new(certified, &ec_spki(curve, pair.public_key().as_ref()));
        Ok(Self {
            pair,
            pkcs8,
            public,
            signature_algorithm: sequence(&[&oid::element(signature)]),
            random,
        })
    }

    /// PKCS#8 in PEM; with a passphrase encrypted by AES-256-CBC under scrypt.
    pub(crate) fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        let pem = |label, document: &SecretDocument| {
            document
                .to_pem(label, LineEnding::LF)
                .map_err(|e| KeyError::Malformed { why: e.to_string() })
        };
        let Some(passphrase) = passphrase else {
            return pem(PLAIN, &self.pkcs8);
        };
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        self.random.fill(&mut salt).map_err(|_| KeyError::Random)?;
        self.random.fill(&mut iv).map_err(|_| KeyError::Random)?;
        // 16 MiB, five times over: one of the settings that OWASP holds equal, and within the 32 MiB that OpenSSL allows itself.
        let cost = scrypt::Params::new(14, 8, 5).expect("the parameters are in scrypt's range");
        let scheme = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv)
            .expect("a salt of 16 bytes is in range");
        let encrypted = PrivateKeyInfoRef::try_from(self.pkcs8.as_bytes())
            .map_err(|e| e.to_string())
            .and_then(|key| {
                key.encrypt_with_params(scheme, passphrase)
                    .map_err(|e| e.to_string())
            })
            .map_err(|why| KeyError::Malformed { why })?;
        pem(ENCRYPTED, &encrypted)
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn signature_algorithm(&self) -> &[u8] {
        &self.signature_algorithm
    }

    /// `SEQUENCE { signed, algorithm, signature }`: the form of certificates, CRLs and CSRs.
    pub(crate) fn sign_structure(&self, signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&self.random, signed)?;
        Ok(sequence(&[
            signed,
            &self.signature_algorithm,
            &bit_string(signature.as_ref()),
        ]))
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityKey({})", self.public.digest())
    }
}
