//! A CSR as a list of parts, each of which a test may spoil before it is signed.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::certificate::{ec_spki, extension, name_of};
use crate::der::{bit_string, integer, sequence, tag, tlv, utf8_string};
use crate::oid;

pub(super) struct Recipe {
    pub(super) version: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    /// Whole attributes.
    pub(super) attributes: Vec<u8>,
    /// What follows the attributes inside the signed part.
    pub(super) after_attributes: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    /// What follows the signature.
    pub(super) after_signature: Vec<u8>,
    pub(super) key: EcdsaKeyPair,
}

impl Recipe {
    /// A good CSR for `spiffe://example.org/a`.
    pub(super) fn good() -> Self {
        Self::with_extensions(&[san(&[uri("spiffe://example.org/a")])])
    }

    pub(super) fn with_extensions(extensions: &[Vec<u8>]) -> Self {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self {
            version: integer(&[0]),
            subject: name_of(oid::COMMON_NAME, &utf8_string("x")),
            spki: ec_spki(oid::P256, key.public_key().as_ref()),
            attributes: extension_request(extensions),
            after_attributes: Vec::new(),
            algorithm: sequence(&[&oid::element(oid::ECDSA_SHA256)]),
            after_signature: Vec::new(),
            key,
        }
    }

    pub(super) fn with_names(names: &[Vec<u8>]) -> Self {
        Self::with_extensions(&[san(names)])
    }

    /// The same with another key in it; the signature does not fit.
    pub(super) fn with_spki(spki: Vec<u8>) -> Self {
        Self { spki, ..Self::good() }
    }

    pub(super) fn point(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let signed = sequence(&[
            &self.version,
            &self.subject,
            &self.spki,
            &tlv(tag::context_constructed(0), &[&self.attributes]),
            &self.after_attributes,
        ]);
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        sequence(&[
            &signed,
            &self.algorithm,
            &bit_string(signature.as_ref()),
            &self.after_signature,
        ])
    }
}

pub(super) fn extension_request(extensions: &[Vec<u8>]) -> Vec<u8> {
    if extensions.is_empty() {
        return Vec::new();
    }
    sequence(&[
        &oid::element(oid::EXTENSION_REQUEST),
        &tlv(tag::SET, &[&sequence(&[&extensions.concat()])]),
    ])
}

pub(super) fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension(oid::SUBJECT_ALT_NAME, false, &sequence(&[&names.concat()]))
}

pub(super) fn uri(text: &str) -> Vec<u8> {
    tlv(tag::context(6), &[text.as_bytes()])
}

pub(super) fn dns(text: &str) -> Vec<u8> {
    tlv(tag::context(2), &[text.as_bytes()])
}
