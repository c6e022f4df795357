//! Which key, chain, profile and trust domain make an authority.

use super::*;

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
fn what_does_not_fit_is_told_by_its_name() {
    let now = now();
    let root = root(now);
    let other_root = self::root(now);
    let certified = |prepared: &PreparedAuthority, root: &RootAuthority, life| {
        let csr = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
        root.sign_intermediate(&csr, &intermediate(), life, now)
            .unwrap()
            .der
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
    assert!(says(prepared(), &[], now).starts_with("wrong chain: it holds no certificate"));
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
        late.starts_with("wrong chain: certificate 1 of the chain (CN=example.org authority ")
            && late.contains("): validity is valid from"),
        "{late}"
    );
    let sibling = [certified(&good, &other_root, 90 * DAY)];
    let message = says(again(), &sibling, now);
    assert!(
        message.starts_with("wrong chain: certificate 1 of the chain"),
        "{message}"
    );
    assert!(message.contains("issuer is CN=example.org root"), "{message}");
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
    // A signer who copies what the CSR asks for needs no rules of its own.
    let copied = prepared();
    openssl.write("csr.der", copied.csr().unwrap());
    openssl.run("x509 -req -inform DER -in csr.der -CA ca.pem -CAkey ca-key.pem -days 20 -copy_extensions copy -outform DER -out ca2.der");
    let der = CertificateDer::from(openssl.read("ca2.der"));
    assert!(copied.activate(&[der], &root, now).is_ok());

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
