//! Property: whatever `VerifiedCsr` accepts can be drafted, signed and read again as an X.509-SVID; and no bytes make it panic.
#![allow(clippy::unwrap_used, reason = "a failure is the verdict of a test")]
use std::sync::LazyLock;
use std::time::Duration;

use identity::{DnsNames, Leaf, TrustDomain};
use issuance::{
    AuthorityCsr, AuthorityKeyType, Draft, PreparedAuthority, Profile, ProfileName, RootAuthority,
    SigningAuthority, VerifiedCsr,
};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::ServerName;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

static AUTHORITY: LazyLock<SigningAuthority> = LazyLock::new(|| {
    let trust_domain = TrustDomain::new("example.org").unwrap();
    let life = Duration::from_secs(86_400 * 365);
    let root = RootAuthority::create(trust_domain.clone(), life, AuthorityKeyType::P256, NOW).unwrap();
    let prepared = PreparedAuthority::generate(trust_domain, AuthorityKeyType::P256).unwrap();
    let csr = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
    let issued = root
        .sign_intermediate(&csr, &Profile::default_of(ProfileName::Intermediate), life, NOW)
        .unwrap();
    prepared.activate(&[issued.der], root.certificate(), NOW).unwrap()
});

static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ]
    .into_iter()
    .map(|algorithm| KeyPair::generate_for(algorithm).unwrap())
    .collect()
});

/// Names as callers would write them, well and badly.
fn name() -> impl Strategy<Value = SanType> {
    prop_oneof![
        3 => "spiffe://example\\.org(/[a-zA-Z0-9._-]{1,12}){0,4}".prop_map(|uri| SanType::URI(uri.try_into().unwrap())),
        1 => "[ -~]{0,40}".prop_map(|uri| SanType::URI(uri.try_into().unwrap())),
        3 => "[a-zA-Z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,4}".prop_map(|dns| SanType::DnsName(dns.try_into().unwrap())),
        1 => "[ -~]{0,300}".prop_map(|dns| SanType::DnsName(dns.try_into().unwrap())),
        1 => any::<[u8; 4]>().prop_map(|octets| SanType::IpAddress(octets.into())),
        1 => "[ -~]{0,40}".prop_map(|mail| SanType::Rfc822Name(mail.try_into().unwrap())),
    ]
}

fn csr_of(names: Vec<SanType>, common_name: &str, key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params.serialize_request(key).unwrap().der().to_vec()
}

/// Issues what the CSR wishes for, as a registration would that grants all of it.
fn issue(csr: &VerifiedCsr) {
    let default = AUTHORITY.trust_domain().id_with_path("/default").unwrap();
    let spiffe_id = csr.uri().cloned().unwrap_or(default);
    let Some(name) = ProfileName::for_role(spiffe_id.role()) else {
        panic!("{spiffe_id} was accepted and has no profile");
    };
    let profile = Profile::default_of(name);
    let draft = Draft {
        profile,
        spiffe_id: spiffe_id.clone(),
        dns_names: csr.dns_names().to_vec(),
        ip_addresses: Vec::new(),
        subject_serial_number: None,
        key: csr.public_key().clone(),
        life: profile.default_life(),
        now: NOW,
    };
    let issued = AUTHORITY.sign(draft.check().unwrap()).unwrap();
    let leaf = Leaf::parse(&issued.der).unwrap();
    assert_eq!(leaf.svid_id(), Ok(spiffe_id));
    assert_eq!(leaf.dns_names(), csr.dns_names());
    assert_eq!(leaf.key_digest(), csr.key_digest());
    assert_eq!(leaf.serial(), issued.serial);
    assert_eq!(leaf.validity(), issued.validity);
}

proptest! {
    #[test]
    fn accepted_implies_issuable(
        names in prop::collection::vec(name(), 0..6),
        common_name in "\\PC{0,64}",
        key in 0..3_usize,
    ) {
        if let Ok(csr) = VerifiedCsr::parse(&csr_of(names, &common_name, &KEYS[key])) {
            issue(&csr);
        }
    }

    #[test]
    fn one_spiffe_id_and_host_names_are_always_accepted(
        path in "(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,40}){1,8}",
        hosts in prop::collection::vec("[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,20}){0,4}", 0..20),
        key in 0..3_usize,
    ) {
        let uri = SanType::URI(format!("spiffe://example.org{path}").try_into().unwrap());
        let hosts = hosts.into_iter().map(|host| SanType::DnsName(host.try_into().unwrap()));
        let names = std::iter::once(uri).chain(hosts).collect();
        issue(&VerifiedCsr::parse(&csr_of(names, "x", &KEYS[key])).unwrap());
    }

    #[test]
    fn accepted_lists_of_dns_names_are_issuable_and_clients_take_them_for_names(
        texts in prop::collection::vec("[a-zA-Z0-9xX-]{1,9}(\\.[a-zA-Z0-9xX-]{0,9}){0,3}", 1..130),
    ) {
        let mut names = DnsNames::default();
        for text in &texts {
            // Those that are refused are the other half of this property; see `identity::dns_name`.
            drop(names.add(text));
        }
        let names: Vec<String> = names.into();
        let uri = SanType::URI("spiffe://example.org/a".try_into().unwrap());
        let hosts = names.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap()));
        let requested = std::iter::once(uri).chain(hosts).collect();
        let csr = VerifiedCsr::parse(&csr_of(requested, "x", &KEYS[0])).unwrap();
        prop_assert_eq!(csr.dns_names(), &names[..]);
        issue(&csr);
        for name in &names {
            let read = ServerName::try_from(name.as_str()).unwrap();
            prop_assert!(matches!(read, ServerName::DnsName(_)), "{name}");
        }
    }

    #[test]
    fn changed_bytes_are_refused_and_never_panic(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let uri = SanType::URI("spiffe://example.org/a".try_into().unwrap());
        let good = csr_of(vec![uri], "x", &KEYS[0]);
        let mut changed = good.clone();
        let at = at.index(good.len());
        changed[at] = to;
        prop_assert_eq!(VerifiedCsr::parse(&changed).is_ok(), changed == good);
        prop_assert!(VerifiedCsr::parse(&changed[..cut.index(good.len())]).is_err());
    }

    #[test]
    fn der_and_pem_have_one_verdict(names in prop::collection::vec(name(), 0..6), key in 0..3_usize) {
        let der = csr_of(names, "x", &KEYS[key]);
        let pem = identity::bundle::pem("CERTIFICATE REQUEST", &der);
        match (VerifiedCsr::parse(&der), VerifiedCsr::parse(pem.as_bytes())) {
            (Ok(der), Ok(pem)) => {
                prop_assert_eq!(der.uri(), pem.uri());
                prop_assert_eq!(der.dns_names(), pem.dns_names());
                prop_assert_eq!(der.key_digest(), pem.key_digest());
            }
            (Err(der), Err(pem)) => prop_assert_eq!(der.to_string(), pem.to_string()),
            (der, pem) => prop_assert!(false, "DER: {der:?}, PEM: {pem:?}"),
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(VerifiedCsr::parse(&bytes).is_err());
    }
}
