//! A key that an issuing program makes for itself, for its own server certificate.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::KeyError;
use crate::certificate::ec_spki;
use crate::csr::{KeyType, PublicKey};
use crate::oid;

/// A fresh P-256 key; possession needs no proof, as it was made here.
pub struct LeafKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl LeafKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| KeyError::Random)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random)
            .expect("ring reads the key that it has just made");
        let public = PublicKey::new(KeyType::P256, &ec_spki(oid::P256, pair.public_key().as_ref()));
        Ok(Self { pkcs8, public })
    }

    /// What a certificate is drafted for.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The private key, PKCS#8 in DER.
    pub fn pkcs8_der(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeafKey({})", self.public.digest())
    }
}
