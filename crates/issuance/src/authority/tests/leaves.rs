//! What an authority signs, and what it does not: judged by openssl and by peers.

use super::*;

#[test]
fn openssl_and_peers_accept_a_workload_certificate_and_read_what_the_profile_demands() {
    let (now, openssl) = (now(), OpenSsl::new());
    let base = CrlBaseUrl::new("http://crl.example.org/").unwrap();
    let authority = authority_with(&root(now), 90 * DAY, now).with_crl_base_url(Some(&base), 0);
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
        ..draft(ProfileName::Device, "/device/EX-0001", now)
    };
    let leaf = Leaf::parse(&authority.sign(device.check().unwrap()).unwrap().der).unwrap();
    assert_eq!(leaf.subject_serial_number(), Some("EX-0001"));
    assert!(leaf.svid_id().is_ok());

    let openssl = OpenSsl::new();
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let server = Draft {
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: addresses.to_vec(),
        ..draft(ProfileName::Server, "/server/localhost", now)
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
fn no_certificate_outlives_its_authority_or_begins_before_it() {
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
    let earlier = now - DAY;
    let error = authority
        .sign(workload("/a", earlier).check().unwrap())
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ClockImplausible);
    let csr = AuthorityCsr::parse(&prepared().csr().unwrap()).unwrap();
    let error = root
        .sign_intermediate(&csr, &intermediate(), 90 * DAY, earlier)
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ClockImplausible);
    let last_day = root.validity().not_after() - DAY;
    let short = root
        .sign_intermediate(&csr, &intermediate(), 90 * DAY, last_day)
        .unwrap();
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

fn refused(broken: Draft, reason: Reason) {
    let error: DraftError = broken.check().unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
}

#[test]
fn a_draft_of_another_role_than_its_profile_is_refused() {
    let now = now();
    let others = ["/server/a", "/agent/a", "/device/a"].map(|path| workload(path, now));
    for other in others {
        refused(other, Reason::IdentityNotGranted);
    }
    let trust_domain = Draft {
        spiffe_id: trust_domain().id(),
        ..workload("/a", now)
    };
    refused(trust_domain, Reason::IdentityNotGranted);
    refused(draft(ProfileName::Server, "/a", now), Reason::IdentityNotGranted);
    for profile in [ProfileName::Root, ProfileName::Intermediate] {
        refused(draft(profile, "/a", now), Reason::IdentityNotGranted);
    }
    assert!(workload("/admin/a", now).check().is_ok());
}

#[test]
fn a_draft_with_names_beyond_its_profile_is_refused() {
    let now = now();
    for names in [
        &["*.example.org"][..],
        &["A.example.org"],
        &["10.0.0.1"],
        &["a"; 100],
    ] {
        let names = Draft {
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..workload("/a", now)
        };
        refused(names, Reason::NameNotGranted);
    }
    let address = Draft {
        ip_addresses: vec![[127, 0, 0, 1].into()],
        ..workload("/a", now)
    };
    refused(address, Reason::NameNotGranted);
    for (profile, path, number) in [
        (ProfileName::Workload, "/a", "1"),
        (ProfileName::Device, "/device/a", ""),
        (ProfileName::Device, "/device/a", "1\n2"),
    ] {
        let numbered = Draft {
            subject_serial_number: Some(number.to_owned()),
            ..draft(profile, path, now)
        };
        refused(numbered, Reason::NameNotGranted);
    }
}

#[test]
fn a_draft_with_a_life_beyond_its_profile_is_refused() {
    let living = |life| Draft {
        life,
        ..workload("/a", now())
    };
    refused(living(Duration::from_secs(9)), Reason::LifeTooShort);
    refused(living(2 * DAY), Reason::LifeTooLong);
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
fn the_wish_for_a_life_is_judged_at_any_time() {
    let at = datetime!(2049-12-31 23:59:00 UTC);
    let root = root(at);
    let authority = authority_with(&root, 90 * DAY, at);
    let leaf = authority.sign(workload("/a", at).check().unwrap()).unwrap();
    assert_eq!(Leaf::parse(&leaf.der).unwrap().validity(), leaf.validity);
}
