use std::net::IpAddr;
use std::time::Duration;

use identity::{Leaf, Reason, Serial};
use time::macros::datetime;

use super::*;
use crate::openssl::OpenSsl;
use crate::{
    AuthorityCsr, Draft, DraftError, LeafKey, Profile, ProfileName, RevocationReason, RootAuthority,
};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> OffsetDateTime {
    // openssl judges by the real clock.
    OffsetDateTime::now_utc()
}

fn trust_domain() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}

fn prepared() -> PreparedAuthority {
    PreparedAuthority::generate(trust_domain(), AuthorityKeyType::P256).unwrap()
}

fn root(now: OffsetDateTime) -> RootAuthority {
    RootAuthority::create(trust_domain(), 3650 * DAY, AuthorityKeyType::P256, now).unwrap()
}

fn authority_with(root: &RootAuthority, life: Duration, now: OffsetDateTime) -> SigningAuthority {
    let prepared = prepared();
    let csr = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
    let issued = root.sign_intermediate(&csr, life, now).unwrap();
    prepared.activate(&[issued.der], root.certificate(), now).unwrap()
}

fn draft(profile: &Profile, path: &str, now: OffsetDateTime) -> Draft<'static> {
    let profile: &'static Profile = Box::leak(Box::new(*profile));
    Draft {
        profile,
        spiffe_id: trust_domain().id_with_path(path).unwrap(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        subject_serial_number: None,
        key: LeafKey::generate().unwrap().public_key().clone(),
        life: profile.default_life(),
        now,
    }
}

fn workload(path: &str, now: OffsetDateTime) -> Draft<'static> {
    draft(&Profile::default_of(ProfileName::Workload), path, now)
}

fn write_chain(openssl: &OpenSsl, authority: &SigningAuthority, leaf: &[u8]) {
    let pem = identity::bundle::certificate_pem;
    openssl.write("root.pem", pem(authority.root()));
    openssl.write(
        "chain.pem",
        authority.chain().iter().map(|c| pem(c)).collect::<String>(),
    );
    openssl.write("leaf.pem", pem(leaf));
}

#[test]
fn openssl_and_peers_accept_a_workload_certificate_and_read_what_the_profile_demands() {
    let (now, openssl) = (now(), OpenSsl::new());
    let base = CrlBaseUrl::new("http://crl.example.org/").unwrap();
    let authority = authority_with(&root(now), 90 * DAY, now).with_crl_base_url(Some(&base));
    let issued = authority
        .sign(
            Draft {
                dns_names: vec!["details.default.svc.cluster.local".to_owned()],
                ..workload("/ns/default/sa/details", now)
            }
            .check()
            .unwrap(),
        )
        .unwrap();
    assert!(!issued.life_clipped);
    write_chain(&openssl, &authority, &issued.der);
    openssl.run("verify -x509_strict -CAfile root.pem -untrusted chain.pem -purpose sslserver leaf.pem");
    openssl.run("verify -x509_strict -CAfile root.pem -untrusted chain.pem -purpose sslclient leaf.pem");

    let text = openssl.run("x509 -in leaf.pem -noout -text");
    let key_id = identity::hex::encode(authority.key_id());
    for part in [
        "Version: 3 (0x2)",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Subject: \n",
        "X509v3 Subject Alternative Name: critical\n                URI:spiffe://example.org/ns/default/sa/details, DNS:details.default.svc.cluster.local",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        &format!("URI:http://crl.example.org/crl/{key_id}.crl"),
        &format!("CA Issuers - URI:http://crl.example.org/ca/{key_id}.cer"),
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }

    let bundle = TrustBundle::new(trust_domain(), vec![authority.root().clone()]).unwrap();
    let chain = [vec![issued.der.clone()], authority.chain().to_vec()].concat();
    let peer = PeerVerifier::new(&bundle)
        .verify(&chain, Usage::Client, now)
        .unwrap();
    assert_eq!(peer.id.path(), "/ns/default/sa/details");
    assert_eq!(peer.leaf.serial(), issued.serial);
    assert_eq!(peer.leaf.validity(), issued.validity);
    assert_eq!(peer.leaf.key_digest(), issued.key_digest);
    assert_eq!(peer.leaf.authority_key_id(), Some(authority.key_id()));
    assert_eq!(issued.serial.as_bytes().len(), 20);
}

#[test]
fn a_device_has_its_serial_number_as_subject_and_a_server_its_names() {
    let now = now();
    let authority = authority_with(&root(now), 90 * DAY, now);
    let device = Draft {
        subject_serial_number: Some("EX-0001".to_owned()),
        ..draft(&Profile::default_of(ProfileName::Device), "/device/EX-0001", now)
    };
    let leaf = Leaf::parse(&authority.sign(device.check().unwrap()).unwrap().der).unwrap();
    assert_eq!(leaf.subject_serial_number(), Some("EX-0001"));
    assert!(leaf.svid_id().is_ok());

    let openssl = OpenSsl::new();
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let server = Draft {
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: addresses.to_vec(),
        ..draft(
            &Profile::default_of(ProfileName::Server),
            "/server/localhost",
            now,
        )
    };
    let issued = authority.sign(server.check().unwrap()).unwrap();
    assert_eq!(Leaf::parse(&issued.der).unwrap().ip_addresses(), addresses);
    write_chain(&openssl, &authority, &issued.der);
    let verify = "verify -x509_strict -CAfile root.pem -untrusted chain.pem";
    openssl.run(&format!("{verify} -verify_hostname localhost leaf.pem"));
    openssl.run(&format!("{verify} -verify_ip 127.0.0.1 leaf.pem"));
    assert!(
        openssl
            .ask(&format!("{verify} -verify_hostname other leaf.pem"))
            .is_err()
    );
}

#[test]
fn root_and_intermediate_show_their_profile() {
    let (now, openssl) = (now(), OpenSsl::new());
    let root = root(now);
    let authority = authority_with(&root, 90 * DAY, now);
    write_chain(&openssl, &authority, authority.root());
    let common = [
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
        "URI:spiffe://example.org\n",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ];
    let year = now.year();
    for (file, constraints, subject) in [
        (
            "root.pem",
            "critical\n                CA:TRUE\n",
            format!("Subject: CN = example.org root {year}-"),
        ),
        (
            "chain.pem",
            "critical\n                CA:TRUE, pathlen:0\n",
            format!("Subject: CN = example.org authority {year}-"),
        ),
    ] {
        let text = openssl.run(&format!("x509 -in {file} -noout -text"));
        for part in common.iter().copied().chain([constraints, &subject]) {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("Name Constraints"));
    }
}

#[test]
fn no_certificate_outlives_its_authority() {
    let now = now();
    let root = root(now);
    let authority = authority_with(&root, Duration::from_secs(600), now);
    let clipped = authority.sign(workload("/a", now).check().unwrap()).unwrap();
    assert!(clipped.life_clipped);
    assert_eq!(clipped.validity.not_after(), authority.not_after());

    for late in [595, 600, 100_000] {
        let later = now + Duration::from_secs(late);
        let error = authority
            .sign(workload("/a", later).check().unwrap())
            .unwrap_err();
        assert_eq!(error.reason(), Reason::AuthorityEnded, "after {late} s");
    }
    let csr = AuthorityCsr::parse(&prepared().csr().unwrap()).unwrap();
    let last_day = root.validity().not_after() - DAY;
    let short = root.sign_intermediate(&csr, 90 * DAY, last_day).unwrap();
    assert!(short.life_clipped);
    assert_eq!(short.validity.not_after(), root.validity().not_after());
}

#[test]
fn an_authority_signs_for_its_own_trust_domain_and_never_for_its_own_key() {
    let now = now();
    let authority = authority_with(&root(now), 90 * DAY, now);
    let foreign = Draft {
        spiffe_id: SpiffeId::new("spiffe://other.org/a").unwrap(),
        ..workload("/a", now)
    };
    let error = authority.sign(foreign.check().unwrap()).unwrap_err();
    assert_eq!(error.reason(), Reason::IdentityNotGranted);
    let own = Draft {
        key: authority.public_key().clone(),
        ..workload("/a", now)
    };
    let error = authority.sign(own.check().unwrap()).unwrap_err();
    assert_eq!(error.reason(), Reason::KeyIsAuthority);
}

#[test]
fn a_draft_that_breaks_a_rule_is_refused() {
    let now = now();
    let good = || workload("/a", now);
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let id = |path: &str| trust_domain().id_with_path(path).unwrap();
    for (broken, reason) in [
        (
            Draft {
                spiffe_id: trust_domain().id(),
                ..good()
            },
            Reason::IdentityNotGranted,
        ),
        (
            Draft {
                spiffe_id: id("/server/a"),
                ..good()
            },
            Reason::IdentityNotGranted,
        ),
        (
            Draft {
                spiffe_id: id("/agent/a"),
                ..good()
            },
            Reason::IdentityNotGranted,
        ),
        (
            Draft {
                dns_names: names(&["*.example.org"]),
                ..good()
            },
            Reason::NameNotGranted,
        ),
        (
            Draft {
                dns_names: names(&["A.example.org"]),
                ..good()
            },
            Reason::NameNotGranted,
        ),
        (
            Draft {
                dns_names: names(&["a"; 100]),
                ..good()
            },
            Reason::NameNotGranted,
        ),
        (
            Draft {
                subject_serial_number: Some("1".to_owned()),
                ..good()
            },
            Reason::NameNotGranted,
        ),
        (
            Draft {
                life: Duration::from_secs(9),
                ..good()
            },
            Reason::LifeTooShort,
        ),
        (
            Draft {
                life: 2 * DAY,
                ..good()
            },
            Reason::LifeTooLong,
        ),
    ] {
        let error: DraftError = broken.check().unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
    let root = Profile::default_of(ProfileName::Root);
    assert!(draft(&root, "/a", now).check().is_err());
    assert!(workload("/admin/a", now).check().is_ok());
}

#[test]
fn what_does_not_fit_is_told_by_its_name() {
    let now = now();
    let root = root(now);
    let other_root = self::root(now);
    let certified = |prepared: &PreparedAuthority, root: &RootAuthority, life| {
        let csr = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
        root.sign_intermediate(&csr, life, now).unwrap().der
    };
    let says = |prepared: PreparedAuthority, chain: &[CertificateDer<'_>], at| {
        prepared
            .activate(chain, root.certificate(), at)
            .unwrap_err()
            .to_string()
    };

    let good = prepared();
    let chain = [certified(&good, &root, 90 * DAY)];
    assert!(says(prepared(), &chain, now).starts_with("wrong key: "));
    assert!(says(prepared(), &[], now).starts_with("wrong chain: there is no certificate"));
    assert!(says(prepared(), &[root.certificate().clone()], now).starts_with("wrong chain: "));
    let pem = good.to_pkcs8_pem(None).unwrap();
    let elsewhere = TrustDomain::new("other.org").unwrap();
    let renamed = PreparedAuthority::from_pkcs8_pem(elsewhere, &pem, None).unwrap();
    let message = says(renamed, &chain, now);
    assert!(
        message.starts_with("wrong trust domain: certificate is of example.org, expected other.org"),
        "{message}"
    );
    let again = || PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, None).unwrap();
    let late = says(again(), &chain, now + 91 * DAY);
    assert!(
        late.starts_with("wrong chain: certificate is valid from"),
        "{late}"
    );
    let sibling = [certified(&good, &other_root, 90 * DAY)];
    let message = says(again(), &sibling, now);
    assert!(message.starts_with("wrong chain: no valid path"), "{message}");
    let leaf = authority_with(&root, 90 * DAY, now)
        .sign(workload("/a", now).check().unwrap())
        .unwrap();
    assert!(says(again(), &[leaf.der], now).starts_with("wrong profile: basic constraints"));
    assert!(again().activate(&chain, root.certificate(), now).is_ok());
    let with_root = [chain[0].clone(), root.certificate().clone()];
    assert_eq!(
        again()
            .activate(&with_root, root.certificate(), now)
            .unwrap()
            .chain(),
        chain
    );
}

#[test]
fn a_root_of_openssl_makes_an_authority_if_it_keeps_the_profile() {
    // The certificates that openssl makes begin now, which is later than this line.
    let (now, openssl) = (now() + Duration::from_secs(30), OpenSsl::new());
    openssl.run(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 30 -subj /O=Company/CN=Root -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let certified = |prepared: &PreparedAuthority, extensions: &str| {
        openssl.write("csr.der", prepared.csr().unwrap());
        openssl.write("ext", extensions);
        openssl.run("req -inform DER -in csr.der -verify -noout");
        openssl.run(
            "x509 -req -inform DER -in csr.der -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 20 -extfile ext -outform DER -out ca2.der",
        );
        openssl.run("x509 -in ca.pem -outform DER -out ca.der");
        (
            CertificateDer::from(openssl.read("ca2.der")),
            CertificateDer::from(openssl.read("ca.der")),
        )
    };
    const RULES: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    let uri = "subjectAltName=URI:spiffe://example.org\n";
    let good = prepared();
    let (der, root) = certified(&good, &format!("{RULES}{uri}"));
    let authority = good.activate(&[der], &root, now).unwrap();
    let leaf = authority.sign(workload("/a", now).check().unwrap()).unwrap();
    write_chain(&openssl, &authority, &leaf.der);
    openssl.run("verify -x509_strict -CAfile root.pem -untrusted chain.pem leaf.pem");

    let changed = |from: &str, to: &str| format!("{}{uri}", RULES.replace(from, to));
    for (extensions, rule) in [
        (RULES.to_owned(), "certificate has 0 URI SANs"),
        (
            format!("{RULES}subjectAltName=URI:spiffe://example.org/a\n"),
            "URI SAN is spiffe://example.org/a",
        ),
        (
            format!("{RULES}subjectAltName=URI:spiffe://example.org,URI:spiffe://b.org\n"),
            "certificate has 2 URI SANs",
        ),
        (
            changed("keyUsage=critical,", "keyUsage="),
            "key usage is not critical",
        ),
        (changed(",cRLSign", ""), "key usage lacks keyCertSign or cRLSign"),
        (
            changed("CA:TRUE,pathlen:0", "CA:FALSE"),
            "basic constraints do not say CA:TRUE",
        ),
        (
            changed("KeyIdentifier=hash", "KeyIdentifier=none"),
            "subject key identifier is absent",
        ),
    ] {
        let prepared = prepared();
        let (der, root) = certified(&prepared, &extensions);
        let message = prepared.activate(&[der], &root, now).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("wrong profile: {rule}")),
            "{message}"
        );
    }
}

#[test]
fn crls_are_read_by_openssl() {
    let (now, openssl) = (now(), OpenSsl::new());
    let authority = authority_with(&root(now), 90 * DAY, now);
    let leaf = authority.sign(workload("/a", now).check().unwrap()).unwrap();
    let other = authority.sign(workload("/b", now).check().unwrap()).unwrap();
    write_chain(&openssl, &authority, &leaf.der);

    openssl.write("crl.der", authority.crl(1, now, now + DAY, &[]).unwrap());
    let text = openssl.run("crl -inform DER -in crl.der -noout -text -CAfile chain.pem");
    assert!(text.contains("No Revoked Certificates"), "{text}");
    let revoked = |serial: Serial, reason| Revoked {
        serial,
        at: now,
        reason,
    };
    let crl = authority
        .crl(
            300,
            now,
            now + DAY,
            &[
                revoked(leaf.serial, RevocationReason::KeyCompromise),
                revoked(other.serial, RevocationReason::Unspecified),
            ],
        )
        .unwrap();
    openssl.write("crl.pem", identity::bundle::pem("X509 CRL", &crl));
    let text = openssl.run("crl -in crl.pem -noout -text -CAfile chain.pem");
    for part in [
        "Version 2",
        "X509v3 CRL Number: \n                300",
        "X509v3 Authority Key Identifier",
        &format!("Serial Number: {}", leaf.serial.to_string().to_uppercase()),
        "Key Compromise",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(text.matches("X509v3 CRL Reason Code").count(), 1);
    let verify =
        "verify -x509_strict -crl_check -CRLfile crl.pem -CAfile root.pem -untrusted chain.pem leaf.pem";
    let refused = openssl.ask(verify).unwrap_err();
    assert!(refused.contains("certificate revoked"), "{refused}");
    assert!(authority.crl(2, now, now, &[]).is_err());
}

#[test]
fn keys_are_encrypted_so_that_openssl_opens_them_and_read_back() {
    let openssl = OpenSsl::new();
    for key_type in [AuthorityKeyType::P256, AuthorityKeyType::P384] {
        let prepared = PreparedAuthority::generate(trust_domain(), key_type).unwrap();
        openssl.write("public.der", prepared.public_key().spki_der());
        let pem = prepared.to_pkcs8_pem(Some("correct horse")).unwrap();
        openssl.write("key.pem", pem.as_bytes());
        openssl.write("pass", "correct horse\n");
        openssl.run("pkey -in key.pem -passin file:pass -pubout -outform DER -out opened.der");
        assert_eq!(openssl.read("opened.der"), openssl.read("public.der"));
        let read = |passphrase| PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, passphrase);
        assert_eq!(read(None).unwrap_err(), KeyError::PassphraseMissing);
        assert_eq!(read(Some("wrong")).unwrap_err(), KeyError::PassphraseWrong);
        let digest = read(Some("correct horse")).unwrap().public_key().digest();
        assert_eq!(digest, prepared.public_key().digest());
    }
}

#[test]
fn keys_of_openssl_are_read_and_other_keys_refused() {
    let openssl = OpenSsl::new();
    let read = |passphrase| {
        let pem = String::from_utf8(openssl.read("key.pem")).unwrap();
        PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, passphrase).map(|_| ())
    };
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    assert_eq!(read(None), Ok(()));
    openssl
        .run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -aes256 -pass pass:secret -out key.pem");
    assert_eq!(read(Some("secret")), Ok(()));
    assert_eq!(read(None), Err(KeyError::PassphraseMissing));
    openssl.run("genpkey -algorithm ED25519 -out key.pem");
    assert!(matches!(read(None), Err(KeyError::Malformed { .. })));
    openssl.run("ecparam -name prime256v1 -genkey -noout -out key.pem");
    let hint = read(None).unwrap_err().to_string();
    assert!(hint.contains("openssl pkcs8 -topk8"), "{hint}");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let prepared = prepared();
    let shown = format!("{prepared:?}");
    assert!(
        shown.contains(&prepared.public_key().digest().to_string()),
        "{shown}"
    );
    assert!(shown.len() < 200, "{shown}");
}

#[test]
fn the_wish_for_a_life_is_judged_at_any_time() {
    let at = datetime!(2049-12-31 23:59:00 UTC);
    let root = root(at);
    let authority = authority_with(&root, 90 * DAY, at);
    let leaf = authority.sign(workload("/a", at).check().unwrap()).unwrap();
    assert_eq!(Leaf::parse(&leaf.der).unwrap().validity(), leaf.validity);
}
