//! Foreign judges on certificates that were fetched through the server: OpenSSL, pyca/cryptography and rustls-webpki verify them, and
//! CSRs of their making are accepted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::support::{
    Caller, OpensslRoot, Server, Wanted, ask_openssl, certificate_text, leaf_of, python, repository, run,
    serial_of, signet,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const NAME: &str = "web.example.org";

/// A folder with a certificate for [`WEB`] and [`NAME`], by the CSR at this path if one is given.
fn issue(server: &Server, out: &str, csr: Option<&Path>) -> PathBuf {
    let token = server.token_file(WEB, &["--dns", NAME]);
    let folder = server.path(out);
    let mut command = signet();
    command
        .args(["cert", "issue", "--token-file"])
        .arg(token)
        .arg("--out")
        .arg(&folder);
    if let Some(csr) = csr {
        command.arg("--csr").arg(csr);
    }
    run(&mut command);
    folder
}

fn openssl_verifies(folder: &Path) {
    for purpose in ["sslclient", "sslserver"] {
        let mut verify = ask_openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-verify_hostname",
            NAME,
        ]);
        verify.arg("-CAfile").arg(folder.join("bundle.pem"));
        verify.arg("-untrusted").arg(folder.join("svid.pem"));
        run(verify.arg(folder.join("svid.pem")));
    }
}

fn webpki_verifies(folder: &Path) {
    let read = |name: &str| -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(folder.join(name)).expect("a PEM file");
        certificates.map(|one| one.expect("a certificate")).collect()
    };
    let (roots, chain) = (read("bundle.pem"), read("svid.pem"));
    let anchors: Vec<_> = roots
        .iter()
        .map(|root| anchor_from_trusted_cert(root).expect("a root"))
        .collect();
    let leaf = EndEntityCert::try_from(&chain[0]).expect("a leaf");
    let now = UnixTime::since_unix_epoch(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("it is after 1970"),
    );
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &chain[1..],
            now,
            usage,
            None,
            None,
        )
        .expect("webpki finds a path");
    }
    let name = ServerName::try_from(NAME).expect("a DNS name");
    leaf.verify_is_valid_for_subject_name(&name)
        .expect("the name is in it");
}

fn pyca_verifies(folder: &Path) {
    let mut judge = python();
    judge.arg(repository("tests/python/verify.py"));
    let told = run(judge
        .arg(folder.join("bundle.pem"))
        .arg(folder.join("svid.pem"))
        .arg(NAME));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told, json!({ "client": [WEB, NAME], "server": true }));
}

#[test]
fn openssl_pyca_and_webpki_verify_what_the_server_issues_as_a_client_and_as_a_server() {
    let server = Server::up();
    let folder = issue(&server, "web", None);
    run(signet().args(["cert", "renew", "--force"]).arg(&folder));
    openssl_verifies(&folder);
    pyca_verifies(&folder);
    webpki_verifies(&folder);
}

#[test]
fn openssl_reads_in_a_certificate_what_the_profile_promises() {
    let server = Server::start(crate::support::Settings {
        config: Some("crl: { baseUrl: 'http://crl.example.org' }\n".to_owned()),
        ..Default::default()
    });
    let leaf = issue(&server, "web", None).join("svid.pem");
    let text = certificate_text(&leaf);
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let authority = listed["items"][0]["keyId"].as_str().expect("its key id");
    for expected in [
        "Version: 3 (0x2)",
        "Signature Algorithm: ecdsa-with-SHA256",
        "NIST CURVE: P-256",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        &format!("X509v3 Subject Alternative Name: critical\n                URI:{WEB}, DNS:{NAME}\n"),
        &format!("URI:http://crl.example.org/crl/{authority}.crl"),
        &format!("CA Issuers - URI:http://crl.example.org/ca/{authority}.cer"),
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    assert!(text.contains("Subject: \n"), "the subject is not empty: {text}");
    let serial = serial_of(&leaf);
    assert_eq!(serial.len(), 40, "not 20 bytes: {serial}");
    let shown = run(&mut server.signet(&["cert", "show", &serial, "-o", "json"]));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["serial"], serial);
}

#[test]
fn csrs_of_openssl_are_accepted_with_every_kind_of_key_and_their_certificates_verify() {
    let server = Server::up();
    let kinds: [(&str, &str, &[&str], &str); 4] = [
        ("p256", "EC", &["ec_paramgen_curve:P-256"], "NIST CURVE: P-256"),
        ("p384", "EC", &["ec_paramgen_curve:P-384"], "NIST CURVE: P-384"),
        ("ed25519", "ED25519", &[], "Public Key Algorithm: ED25519"),
        (
            "rsa2048",
            "RSA",
            &["rsa_keygen_bits:2048"],
            "Public-Key: (2048 bit)",
        ),
    ];
    for (kind, algorithm, options, expected) in kinds {
        let names = format!("subjectAltName=URI:{WEB},DNS:{NAME}");
        let wanted = Wanted::with(server.folder(), kind, algorithm, options, &["-addext", &names]);
        let folder = issue(&server, &format!("{kind}-out"), Some(&wanted.csr));
        assert!(
            !folder.join("svid_key.pem").exists(),
            "a key beside a CSR's certificate"
        );
        let leaf = folder.join("svid.pem");
        assert!(certificate_text(&leaf).contains(expected), "{kind}");
        let of_key = run(ask_openssl(&["pkey", "-pubout", "-in"]).arg(&wanted.key));
        assert_eq!(
            run(ask_openssl(&["x509", "-noout", "-pubkey", "-in"]).arg(&leaf)),
            of_key
        );
        openssl_verifies(&folder);
        webpki_verifies(&folder);
        // pyca's policy is the web's, which has no Ed25519.
        if kind != "ed25519" {
            pyca_verifies(&folder);
        }
    }
}

#[test]
fn csrs_of_pyca_and_rcgen_are_accepted_with_the_names_they_ask_for() {
    let server = Server::up();
    let of_pyca = Wanted {
        key: server.path("pyca.key"),
        csr: server.path("pyca.csr"),
    };
    let mut maker = python();
    maker.arg(repository("tests/python/csr.py"));
    run(maker.arg(&of_pyca.key).arg(&of_pyca.csr).args([WEB, NAME]));

    let key = rcgen::KeyPair::generate().expect("a key");
    let mut asked = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a name");
    asked
        .subject_alt_names
        .push(rcgen::SanType::URI(WEB.try_into().expect("ASCII")));
    let of_rcgen = asked.serialize_request(&key).expect("a CSR");
    let in_der = server.path("rcgen.csr");
    std::fs::write(&in_der, of_rcgen.der()).expect("a file");

    for (out, csr) in [("pyca", &of_pyca.csr), ("rcgen", &in_der)] {
        let folder = issue(&server, out, Some(csr));
        openssl_verifies(&folder);
        pyca_verifies(&folder);
    }
}

#[test]
fn a_client_generated_from_the_proto_enrols_and_renews_over_verified_tls() {
    let server = Server::up();
    let token = server.token_file(WEB, &["--dns", NAME]);
    let token = std::fs::read_to_string(token).expect("a token");
    let first = Wanted::new(server.folder(), "first");
    let mut stranger = Caller::new(&server, None);
    let refused = stranger
        .issue(&first.pem(), None, json!({}))
        .expect_err("no proof");
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        ("UNAUTHENTICATED", "NO_PROOF")
    );
    let enrolled = stranger
        .issue(&first.pem(), Some(&token), json!({}))
        .expect("enrolled");

    let chain = server.path("first.pem");
    write_chain(&enrolled, &chain);
    let mut holder = Caller::new(&server, Some((&chain, &first.key)));
    let second = Wanted::new(server.folder(), "second");
    let renewed = holder
        .issue(&second.pem(), None, json!({ "life": "600s" }))
        .expect("renewed");
    let path = server.path("second.der");
    std::fs::write(&path, leaf_of(&renewed)).expect("a file");
    let text = certificate_text(&path);
    assert!(text.contains(&format!("URI:{WEB}, DNS:{NAME}")), "{text}");
    let shown = run(&mut server.signet(&["cert", "show", &serial_of(&path), "-o", "json"]));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["method"], "renewal");
    assert_eq!(shown["parentSerial"], serial_of(&chain));

    let bundle = holder
        .call("signet.v1.CertificateAuthority", "GetBundle", &json!({}), None)
        .expect("the bundle is public");
    assert_eq!(bundle["trustDomain"], "example.org");
    assert_eq!(bundle["x509Authorities"], renewed["bundle"]["x509Authorities"]);
    assert_eq!(renewed["lifeClipped"], Value::Null);
}

#[test]
fn a_client_generated_from_the_proto_turns_pages() {
    let server = Server::up();
    let mut admin = Caller::admin(&server);
    for _ in 0..5 {
        admin
            .call(
                "signet.v1.Tokens",
                "CreateToken",
                &json!({ "spiffeId": WEB }),
                None,
            )
            .expect("a token");
    }
    let (mut ids, mut sizes, mut page_token) = (BTreeSet::new(), Vec::new(), Value::from(""));
    loop {
        let request = json!({ "pageSize": 2, "pageToken": page_token });
        let page = admin
            .call("signet.v1.Tokens", "ListTokens", &request, None)
            .expect("a page");
        let tokens = page["tokens"].as_array().expect("tokens");
        ids.extend(tokens.iter().map(|token| token["id"].to_string()));
        sizes.push(tokens.len());
        match &page["nextPageToken"] {
            Value::Null => break,
            next => page_token = next.clone(),
        }
    }
    assert_eq!((sizes.as_slice(), ids.len()), (&[2, 2, 1][..], 5));
}

#[test]
fn a_client_generated_from_the_proto_hears_of_a_new_root_as_it_comes() {
    let server = Server::up();
    let service = "signet.v1.CertificateAuthority";
    let mut follower = Caller::new(&server, None);
    follower.follow(service, "WatchBundle", 2);
    let first = follower.answer().expect("the bundle now");
    assert_eq!(first["x509Authorities"].as_array().map(Vec::len), Some(1));

    let root = OpensslRoot::make(server.path("root"));
    let (csr, chain) = (server.path("authority.csr"), server.path("chain.pem"));
    run(server
        .signet(&["authority", "prepare"])
        .arg("--csr-out")
        .arg(&csr));
    root.sign_as_asked(&csr, &chain);
    run(server
        .signet(&["authority", "activate"])
        .arg("--chain")
        .arg(&chain)
        .arg("--root")
        .arg(root.certificate()));
    let second = follower.answer().expect("the bundle then");
    let roots = second["x509Authorities"].as_array().expect("roots");
    assert!(
        roots.len() == 2 && roots.contains(&first["x509Authorities"][0]),
        "the old root stays while its leaves count"
    );
    assert_ne!(first["sequence"], second["sequence"]);
}

/// The chain in an answer, as a PEM file.
fn write_chain(answer: &Value, path: &Path) {
    let elements = answer["chain"].as_array().expect("a chain");
    let pem: String = elements
        .iter()
        .map(|element| {
            let base64 = element.as_str().expect("base64");
            format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
        })
        .collect();
    std::fs::write(path, pem).expect("a file");
}

/// What a client's verifier would see if a certificate outlived its chain.
#[test]
fn a_leaf_begins_a_little_before_it_was_made_and_lives_as_long_as_was_asked() {
    let server = Server::up();
    let token = server.token_file(WEB, &["--life", "10m"]);
    let folder = server.path("web");
    let asked = SystemTime::now();
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(token)
        .arg("--out")
        .arg(&folder));
    let leaf = std::fs::read(folder.join("svid.pem")).expect("a certificate");
    let leaf = CertificateDer::from_pem_slice(&leaf).expect("PEM");
    let validity = identity::Leaf::parse(&leaf).expect("a leaf").validity();
    let life = validity.not_after() - validity.not_before();
    let back_date = Duration::from_secs(60);
    assert_eq!(life, Duration::from_secs(600) + back_date);
    let begins = SystemTime::from(validity.not_before());
    assert!(
        begins + back_date + Duration::from_secs(1) >= asked,
        "{validity:?}"
    );
}
