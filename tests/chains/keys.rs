//! Keys for the certificates of the comparison: those that ring can make, and by way of openssl those that it
//! cannot.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};

use super::certificate::{bit_string, oid, sequence};
use crate::support::run;

/// A key pair, and the algorithm with which it signs.
pub struct Key {
    /// SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// AlgorithmIdentifier of its signatures.
    pub algorithm: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    File(PathBuf, &'static str),
}

/// Kinds of keys that only openssl makes: name, options of `genpkey`, digest, and AlgorithmIdentifier.
const FOREIGN: [(&str, &[&str], &str, &[u8]); 4] = [
    (
        "rsa-2048",
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "-sha256",
        RSA_SHA256,
    ),
    (
        "rsa-1024",
        &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        "-sha256",
        RSA_SHA256,
    ),
    (
        "p-521",
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
        "-sha512",
        ECDSA_SHA512,
    ),
    (
        "p-256 with SHA-1",
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "-sha1",
        ECDSA_SHA1,
    ),
];

const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ECDSA_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ECDSA_SHA512: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
const ECDSA_SHA1: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
const RSA_SHA256: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0];

impl Key {
    /// A new key of P-256.
    pub fn p256() -> Rc<Self> {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).expect("a key");
        let spki = spki(&[&oid(EC), &oid(P256)], pair.public_key().as_ref());
        Self::of(spki, ECDSA_SHA256, Pair::Ecdsa(pair))
    }

    /// A public key that is no point of its curve; nothing is signed with it.
    pub fn off_the_curve() -> Rc<Self> {
        let point = [&[4][..], &[7; 64]].concat();
        let spki = spki(&[&oid(EC), &oid(P256)], &point);
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        Self::of(spki, ECDSA_SHA256, Pair::Ed25519(pair))
    }

    /// A new key of P-384.
    pub fn p384() -> Rc<Self> {
        let random = SystemRandom::new();
        let kind = &ECDSA_P384_SHA384_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).expect("a key");
        let spki = spki(&[&oid(EC), &oid(P384)], pair.public_key().as_ref());
        Self::of(spki, ECDSA_SHA384, Pair::Ecdsa(pair))
    }

    /// The key of Ed25519 that belongs to this number; its signatures are always the same.
    pub fn ed25519(seed: u8) -> Rc<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let spki = spki(&[&oid(ED25519)], pair.public_key().as_ref());
        Self::of(spki, &oid(ED25519), Pair::Ed25519(pair))
    }

    /// One key of each kind in [`FOREIGN`], made in this folder.
    pub fn foreign(folder: &Path) -> Vec<(&'static str, Rc<Self>)> {
        let make = |(name, options, digest, algorithm): (&'static str, &[&str], &'static str, &[u8])| {
            let file = folder.join(name);
            run(Command::new("openssl")
                .args(["genpkey", "-quiet", "-out"])
                .arg(&file)
                .arg("-algorithm")
                .args(options));
            let mut public = Command::new("openssl");
            public
                .args(["pkey", "-pubout", "-outform", "DER", "-in"])
                .arg(&file);
            let spki = public.output().expect("openssl runs").stdout;
            (name, Self::of(spki, algorithm, Pair::File(file, digest)))
        };
        FOREIGN.into_iter().map(make).collect()
    }

    fn of(spki: Vec<u8>, algorithm: &[u8], pair: Pair) -> Rc<Self> {
        let algorithm = sequence(&[algorithm]);
        Rc::new(Self {
            spki,
            algorithm,
            pair,
        })
    }

    /// The signature of these bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).expect("a signature");
                signature.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::File(file, digest) => sign_with_openssl(file, digest, message),
        }
    }

    /// A key identifier of 20 octets.
    pub fn id(&self) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, &self.spki).as_ref()[..20].to_vec()
    }
}

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(algorithm), &bit_string(0, key)])
}

fn sign_with_openssl(key: &Path, digest: &str, message: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["dgst", digest, "-sign"]).arg(key);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(message).expect("openssl reads");
    drop(input);
    let output = child.wait_with_output().expect("openssl ends");
    assert!(
        output.status.success(),
        "openssl does not sign with {}",
        key.display()
    );
    output.stdout
}
