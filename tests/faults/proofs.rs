//! Certificates that prove nothing here, or nothing any more, whatever they say and however long their connection has been open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::Reason;
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::{admin, configured, until_past};
use crate::support::wire::{Pair, answered, certificates, config, csr, handshake, key, pair};
use crate::support::{REQUEST, Server, Wire, openssl, root_ca_sign, run, server_under_root, signet};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
/// A certificate that openssl mints under an authority of its own below the same root.
fn minted_by_sibling(folder: &Path, root: &Path, spiffe_id: &str) -> (PathBuf, PathBuf) {
    let path = |name: &str| folder.join(name);
    run(openssl(folder)
        .args(REQUEST)
        .args(["-keyout", "sibling-key.pem", "-out", "sibling.csr", "-subj", "/"])
        .args(["-addext", "subjectAltName=URI:spiffe://example.org"]));
    root_ca_sign(root, &path("sibling.csr"), &path("sibling.pem"), "1d");
    run(openssl(folder).args(REQUEST).args([
        "-keyout",
        "minted-key.pem",
        "-out",
        "minted.csr",
        "-subj",
        "/",
    ]));
    let extensions = format!(
        "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
         extendedKeyUsage = serverAuth, clientAuth\nsubjectKeyIdentifier = hash\n\
         authorityKeyIdentifier = keyid\nsubjectAltName = critical, URI:{spiffe_id}\n"
    );
    std::fs::write(path("minted.cnf"), extensions).expect("a file");
    run(openssl(folder)
        .args([
            "x509",
            "-req",
            "-in",
            "minted.csr",
            "-CA",
            "sibling.pem",
            "-CAkey",
            "sibling-key.pem",
        ])
        .args(["-days", "1", "-extfile", "minted.cnf", "-out", "minted.pem"]));
    // Every other judge trusts it: it is the record that lacks it.
    run(openssl(folder)
        .args(["verify", "-x509_strict", "-untrusted", "sibling.pem", "-CAfile"])
        .arg(root.join("root.pem"))
        .arg("minted.pem"));
    let chain = path("minted-chain.pem");
    let both = [path("minted.pem"), path("sibling.pem")];
    let both = both.map(|file| std::fs::read_to_string(file).expect("a certificate"));
    std::fs::write(&chain, both.concat()).expect("a file");
    (chain, path("minted-key.pem"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sibling_authority_under_the_same_root_mints_is_untrusted_whatever_it_says() {
    let server = server_under_root("90d");
    let root = server.path("root");

    for id in ["spiffe://example.org/admin/x", WEB] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (chain, minted_key) = minted_by_sibling(folder.path(), &root, id);
        let pair = (
            certificates(&chain),
            PrivateKeyDer::from_pem_file(&minted_key).expect("a key"),
        );
        let (wire, fresh) = (Wire::connect(&server, Some(pair)).await, key());
        let refusal = wire.issue(csr(&fresh, id), None).await;
        let refusal = refusal.expect_err("it is not in the record");
        assert_eq!(refusal.reason(), Reason::CertificateUntrusted, "{refusal}");
        let mut tokens = proto::v1::tokens_client::TokensClient::new(wire.0.clone());
        let listed = tokens.list_tokens(proto::v1::ListTokensRequest::default()).await;
        let refusal = proto::Refusal::from_status(&listed.expect_err("no administrator"));
        assert_eq!(refusal.reason(), Reason::CertificateUntrusted, "{refusal}");
    }
    let name = "signet_refusals_total{reason=\"CERTIFICATE_UNTRUSTED\"}";
    assert_eq!(server.metric(name), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_while_its_connection_is_open_is_refused_at_the_next_call() {
    let server = configured("profiles: { workload: { life: 10s, maxLife: 1h } }\n");
    let (token, _) = admin(&server).await.create_token(WEB).await.expect("a token");
    let first_key = key();
    let enrolling = Wire::connect(&server, None).await;
    let first = enrolling.issue(csr(&first_key, WEB), Some(&token)).await;
    let first = first.expect("a certificate");
    let wire = Wire::connect(&server, Some(answered(&first, &first_key))).await;
    let renewed = wire.issue(csr(&key(), WEB), None).await;
    renewed.expect("it counts as yet");
    let ends = identity::Leaf::parse(&first.chain[0]).expect("a certificate");
    until_past(ends.validity().not_after());

    let refusal = wire
        .issue(csr(&key(), WEB), None)
        .await
        .expect_err("it has ended");
    assert_eq!(refusal.reason(), Reason::CertificateExpired, "{refusal}");
    // On a new connection too.
    let wire = Wire::connect(&server, Some(answered(&first, &first_key))).await;
    let refusal = wire
        .issue(csr(&key(), WEB), None)
        .await
        .expect_err("it has ended");
    assert_eq!(refusal.reason(), Reason::CertificateExpired, "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_would_resume_has_a_full_handshake_with_the_server_each_time() {
    let server = Server::up();
    let out = server.path("web");
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(server.token_file(WEB, &[]))
        .arg("--out")
        .arg(&out));
    for own in [None, Some(pair(&out))] {
        let mut config = config(&server, own);
        config.resumption = Resumption::in_memory_sessions(16);
        let config = Arc::new(config);
        for _ in 0..3 {
            let mut stream = handshake(&server, Arc::clone(&config)).await;
            // The server's settings come after any ticket that it sends.
            let mut some = [0; 9];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut some)
                .await
                .expect("HTTP/2 settings");
            let tls = stream.get_ref().1;
            assert_eq!(tls.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(tls.tls13_tickets_received(), 0);
        }
    }
}

#[test]
fn openssl_is_given_no_session_that_it_could_offer_again() {
    let server = Server::up();
    let session = server.path("session.pem");
    let said = run(openssl(server.folder())
        .args([
            "s_client",
            "-connect",
            server.fact("grpc"),
            "-tls1_3",
            "-alpn",
            "h2",
        ])
        .arg("-CAfile")
        .arg(server.fact("bundle"))
        .arg("-sess_out")
        .arg(&session)
        .stdin(std::process::Stdio::null()));
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(!said.contains("Post-Handshake New Session Ticket"), "{said}");
    assert!(!session.exists(), "a session was kept: {said}");
}

/// A self-signed authority, and a leaf of it that begins and ends so.
fn factory(begins: time::OffsetDateTime, ends: time::OffsetDateTime) -> (String, Pair) {
    let new_key = || rcgen::KeyPair::generate().expect("a key");
    let (root_key, leaf_key) = (new_key(), new_key());
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "factory");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(root, root_key);
    let mut leaf = rcgen::CertificateParams::default();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "D-1");
    (leaf.not_before, leaf.not_after) = (begins, ends);
    let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a leaf");
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("PKCS#8");
    (root_pem, (vec![leaf.der().clone()], key))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_certificate_that_has_not_begun_or_has_ended_is_refused_saying_which() {
    let now = time::OffsetDateTime::now_utc();
    let day = time::Duration::days(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let roots = folder.path().join("factory.pem");
    let spans = [
        (now + day, now + 2 * day, Reason::CertificateNotYetValid),
        (now - 2 * day, now - day, Reason::CertificateExpired),
    ];
    for (begins, ends, reason) in spans {
        let (root, pair) = factory(begins, ends);
        std::fs::write(&roots, root).expect("a file");
        let server = configured(&format!(
            "authentication:\n  certificate: [ {{ name: factory, rootsFile: {}, idFrom: commonName }} ]\n",
            roots.display()
        ));
        let wire = Wire::connect(&server, Some(pair)).await;
        let refusal = wire
            .issue(csr(&key(), WEB), None)
            .await
            .expect_err("it does not count");
        assert_eq!(refusal.reason(), reason, "{refusal}");
    }
}
