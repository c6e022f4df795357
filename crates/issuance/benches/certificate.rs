//! What a certificate costs, against what no authority can do without: one P-256 verification and one P-256 signature by ring
//! (`pair`). `issue` is the whole: verify the CSR, draft, check, sign. Divide the second by the first.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use identity::{SpiffeId, TrustDomain};
use issuance::{
    AuthorityCsr, AuthorityKeyType, CrlBaseUrl, Draft, PreparedAuthority, Profile, ProfileName,
    RootAuthority, SigningAuthority, VerifiedCsr,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn authority() -> SigningAuthority {
    let trust_domain = TrustDomain::new("example.org").expect("a valid name");
    let year = Duration::from_secs(365 * 86_400);
    let root =
        RootAuthority::create(trust_domain.clone(), 10 * year, AuthorityKeyType::P256, NOW).expect("a root");
    let prepared = PreparedAuthority::generate(trust_domain, AuthorityKeyType::P256).expect("a key");
    let csr = AuthorityCsr::parse(&prepared.csr().expect("a CSR")).expect("an accepted CSR");
    let issued = root
        .sign_intermediate(&csr, &Profile::default_of(ProfileName::Intermediate), year, NOW)
        .expect("an intermediate");
    let base = CrlBaseUrl::new("http://crl.example.org").expect("a valid URL");
    prepared
        .activate(&[issued.der], root.certificate(), NOW)
        .expect("a fitting chain")
        .with_crl_base_url(Some(&base), 0)
}

fn workload_csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    let id = "spiffe://example.org/ns/default/sa/details";
    params.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().expect("ASCII"))];
    params.serialize_request(&key).expect("a CSR").der().to_vec()
}

fn pair(c: &mut Criterion) {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref().to_vec());
    let message = [7; 600];
    let signature = key.sign(&random, &message).expect("a signature");
    c.bench_function("pair", |b| {
        b.iter(|| {
            public
                .verify(black_box(&message), signature.as_ref())
                .expect("a good signature");
            key.sign(&random, black_box(&message)).expect("a signature")
        });
    });
}

fn issue(c: &mut Criterion) {
    let authority = authority();
    let request = workload_csr();
    let profile = Profile::default_of(ProfileName::Workload);
    c.bench_function("issue", |b| {
        b.iter(|| {
            let csr = VerifiedCsr::parse(black_box(&request)).expect("an accepted CSR");
            let spiffe_id: SpiffeId = csr.uri().expect("one URI").clone();
            let draft = Draft {
                profile,
                spiffe_id,
                dns_names: Vec::new(),
                ip_addresses: Vec::new(),
                subject_serial_number: None,
                key: csr.public_key().clone(),
                life: profile.default_life(),
                now: NOW,
            };
            authority
                .sign(draft.check().expect("a good draft"))
                .expect("a certificate")
        });
    });
}

criterion_group!(benches, pair, issue);
criterion_main!(benches);
