//! Revocation: by serial number, identity or lineage; in force at once, on open connections too; and on a CRL that OpenSSL reads.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Caller, Server, Wanted, ask_openssl, fails, http_get_bytes, run, serial_of, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const DB: &str = "spiffe://example.org/ns/shop/sa/db";

fn enrol(server: &Server, id: &str, out: &str) -> PathBuf {
    let token = server.token_file(id, &[]);
    let folder = server.path(out);
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(token)
        .arg("--out")
        .arg(&folder));
    folder
}

fn serial(folder: &Path) -> String {
    serial_of(&folder.join("svid.pem"))
}

fn holder(server: &Server, folder: &Path) -> Caller {
    let folder = folder.canonicalize().expect("a folder");
    Caller::new(
        server,
        Some((&folder.join("svid.pem"), &folder.join("svid_key.pem"))),
    )
}

fn revoke(server: &Server, arguments: &[&str]) -> String {
    run(server.signet(&["cert", "revoke"]).args(arguments))
}

/// The renewal that a holder asks for on its connection.
fn renewal(holder: &mut Caller, csr: &str) -> Result<(), (String, String)> {
    let answer = holder.issue(csr, None, json!({}));
    answer.map(|_| ()).map_err(|refused| {
        assert_eq!(refused.code, "UNAUTHENTICATED");
        (refused.reason, refused.message)
    })
}

/// The CRL of the one authority, checked by OpenSSL against its certificate: its number and the text.
fn crl(server: &Server) -> (u64, String) {
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let authority = listed["items"][0]["keyId"].as_str().expect("its key id");
    let fetched = |path: String, name: &str| {
        let (status, body) = http_get_bytes(server.fact("crl"), &path);
        assert_eq!(status, 200, "{path}");
        let file = server.path(name);
        std::fs::write(&file, body).expect("a file");
        file
    };
    let list = fetched(format!("/crl/{authority}.crl"), "authority.crl");
    let signer = fetched(format!("/ca/{authority}.cer"), "authority.cer");
    let pem = server.path("authority.pem");
    run(ask_openssl(&["x509", "-in"]).arg(&signer).arg("-out").arg(&pem));
    let mut check = ask_openssl(&["crl", "-noout", "-verify", "-text", "-in"]);
    let output = check
        .arg(&list)
        .arg("-CAfile")
        .arg(&pem)
        .output()
        .expect("openssl runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("verify OK"), "{said}");
    let text = String::from_utf8(output.stdout).expect("a text");
    let after = text.split("X509v3 CRL Number:").nth(1).expect("a CRL number");
    let number = after.split_whitespace().next().expect("a number");
    let number = match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => number.parse(),
    };
    (number.expect("a number"), text)
}

fn is_listed(text: &str, serial: &str) -> bool {
    text.contains(&format!("Serial Number: {}", serial.to_uppercase()))
}

#[test]
fn a_revoked_certificate_is_refused_at_once_on_a_connection_that_was_open_before() {
    let server = Server::up();
    let folder = enrol(&server, WEB, "web");
    let csr = Wanted::new(server.folder(), "next").pem();
    let mut web = holder(&server, &folder);
    renewal(&mut web, &csr).expect("it counts");
    let said = revoke(&server, &[&serial(&folder), "--reason", "superseded"]);
    assert!(
        said.contains(&format!("certificate {} revoked", serial(&folder))),
        "{said}"
    );
    let (reason, message) = renewal(&mut web, &csr).expect_err("revoked");
    assert_eq!(reason, "CERTIFICATE_REVOKED");
    for word in [serial(&folder).as_str(), "superseded", "enrol again"] {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
    let (_, said) = fails(signet().args(["cert", "renew", "--force"]).arg(&folder));
    assert!(said.contains("CERTIFICATE_REVOKED"), "{said}");
    let refused = web
        .istio(&csr, None, json!({}))
        .expect_err("revoked on every port");
    assert_eq!(refused.message, "request authenticate failure");
    let shown = run(&mut server.signet(&["cert", "show", &serial(&folder), "-o", "json"]));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["revocationReason"], "superseded");
    assert!(shown["revokedAt"].is_string(), "{shown}");
}

#[test]
fn a_lineage_is_revoked_with_everything_renewed_from_it_and_nothing_else() {
    let server = Server::up();
    let (web, twin, db) = (
        enrol(&server, WEB, "web"),
        enrol(&server, WEB, "twin"),
        enrol(&server, DB, "db"),
    );
    let first = serial(&web);
    for _ in 0..2 {
        run(signet().args(["cert", "renew", "--force"]).arg(&web));
    }
    let told = revoke(&server, &["--lineage", &first, "-o", "json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let serials: Vec<&str> = told["serials"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(serials.len(), 3);
    assert!(
        serials.contains(&first.as_str()) && serials.contains(&serial(&web).as_str()),
        "{told}"
    );
    let (_, said) = fails(signet().args(["cert", "renew", "--force"]).arg(&web));
    assert!(said.contains("CERTIFICATE_REVOKED"), "{said}");
    for other in [&twin, &db] {
        run(signet().args(["cert", "renew", "--force"]).arg(other));
    }
}

#[test]
fn an_identity_is_revoked_with_all_its_certificates_saying_which_registration_still_grants_it() {
    let server = Server::up();
    server.apply(&format!(
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: web, namespace: shop }}\n\
         spec: {{ spiffeId: '{WEB}', callers: [ token ] }}\n"
    ));
    let (web, twin, db) = (
        enrol(&server, WEB, "web"),
        enrol(&server, WEB, "twin"),
        enrol(&server, DB, "db"),
    );
    let said = revoke(&server, &["--spiffe-id", WEB]);
    for folder in [&web, &twin] {
        assert!(
            said.contains(&format!("certificate {} revoked", serial(folder))),
            "{said}"
        );
        fails(signet().args(["cert", "renew", "--force"]).arg(folder));
    }
    for word in [
        "registration shop/web still grants",
        "signet delete registration web -n shop",
    ] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    run(signet().args(["cert", "renew", "--force"]).arg(&db));
    enrol(&server, WEB, "again");
    run(&mut server.signet(&["delete", "registration", "web", "-n", "shop"]));
    let said = revoke(&server, &["--spiffe-id", WEB]);
    assert!(said.contains("cannot enrol again"), "{said}");
    let absent = "signet_refusals_total{reason=\"NOT_FOUND\"}";
    assert_eq!(
        server.metric(absent),
        0.0,
        "to look for registrations refuses nothing"
    );
    let (code, said) = fails(&mut server.signet(&["cert", "revoke", "0d6b3cf1a2"]));
    assert!(
        code == 1 && said.contains("0d6b3cf1a2") && said.contains("NOT_FOUND"),
        "{said}"
    );
}

#[test]
fn a_revocation_is_on_the_crl_within_seconds_and_the_number_never_falls() {
    let server = Server::up();
    let (first, text) = wait_for("the first list", || Some(crl(&server)));
    assert!(text.contains("No Revoked Certificates"), "{text}");
    let folder = enrol(&server, WEB, "web");
    let revoked = serial(&folder);
    let since = std::time::Instant::now();
    revoke(&server, &[&revoked.to_uppercase(), "--reason", "keyCompromise"]);
    let (second, text) = wait_for("the serial on the list", || {
        let (number, text) = crl(&server);
        is_listed(&text, &revoked).then_some((number, text))
    });
    assert!(
        since.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert!(second > first, "{second} after {first}");
    assert!(text.contains("Key Compromise"), "{text}");
    let server = server.restart();
    let (third, text) = crl(&server);
    assert!(
        third >= second && is_listed(&text, &revoked),
        "{third} after {second}: {text}"
    );
    let server = server.crash_and_restart();
    let (fourth, text) = crl(&server);
    assert!(
        fourth >= third && is_listed(&text, &revoked),
        "{fourth} after {third}: {text}"
    );
}

#[test]
fn a_key_that_was_revoked_for_compromise_is_never_certified_again_and_any_other_is() {
    let server = Server::up();
    let token =
        |server: &Server, id: &str| std::fs::read_to_string(server.token_file(id, &[])).expect("a token");
    let mut caller = Caller::new(&server, None);
    let folder = tempfile::tempdir().expect("a folder");
    let [lost, known_late, left] = ["lost", "late", "left"].map(|name| Wanted::new(folder.path(), name));
    for (wanted, reasons) in [
        (&lost, ["keyCompromise"].as_slice()),
        (&known_late, &["superseded", "keyCompromise"]),
        (&left, &["superseded"]),
    ] {
        let token = token(&server, WEB);
        caller
            .issue(&wanted.pem(), Some(&token), json!({}))
            .expect("enrolled");
        let last = server.certificates(WEB).pop().expect("a certificate");
        for reason in reasons {
            let serial = last["serial"].as_str().expect("a text");
            revoke(&server, &[serial, "--reason", reason]);
        }
    }
    let token_of_left = token(&server, WEB);
    caller
        .issue(&left.pem(), Some(&token_of_left), json!({}))
        .expect("nobody else knows that key");
    let server = server.restart();
    let mut caller = Caller::new(&server, None);
    for (wanted, id) in [(&lost, WEB), (&lost, DB), (&known_late, WEB)] {
        let token = token(&server, id);
        let refused = caller
            .issue(&wanted.pem(), Some(&token), json!({}))
            .expect_err("a compromised key");
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("INVALID_ARGUMENT", "KEY_COMPROMISED")
        );
        assert!(refused.message.contains("new key"), "{}", refused.message);
        let fresh = Wanted::new(folder.path(), "fresh").pem();
        caller
            .issue(&fresh, Some(&token), json!({}))
            .expect("the token is still its holder's");
    }
}

#[test]
fn a_key_revoked_for_compromise_takes_its_other_certificates_with_it() {
    let server = Server::up();
    let folder = tempfile::tempdir().expect("a folder");
    let stolen = Wanted::new(folder.path(), "stolen");
    let mut caller = Caller::new(&server, None);
    for _ in 0..2 {
        let token = std::fs::read_to_string(server.token_file(WEB, &[])).expect("a token");
        caller
            .issue(&stolen.pem(), Some(&token), json!({}))
            .expect("enrolled");
    }
    let serials: Vec<String> = server
        .certificates(WEB)
        .iter()
        .map(|certificate| certificate["serial"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(serials.len(), 2);
    let said = revoke(&server, &[&serials[0], "--reason", "keyCompromise"]);
    for serial in &serials {
        assert!(said.contains(&format!("certificate {serial} revoked")), "{said}");
    }
    wait_for("both on the list", || {
        let (_, text) = crl(&server);
        serials
            .iter()
            .all(|serial| is_listed(&text, serial))
            .then_some(())
    });
}

#[test]
fn a_server_whose_own_certificate_is_revoked_presents_another_one() {
    let server = Server::up();
    let serials = || -> Vec<String> {
        let listed = run(&mut server.signet(&[
            "cert",
            "list",
            "--spiffe-id",
            "spiffe://example.org/server/*",
            "-o",
            "json",
        ]));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let items = listed["items"].as_array().expect("certificates");
        let serials = items
            .iter()
            .map(|item| item["serial"].as_str().expect("a text").to_owned());
        serials.collect()
    };
    let first = serials();
    assert_eq!(first.len(), 1);
    revoke(&server, &[&first[0], "--reason", "keyCompromise"]);
    wait_for("another certificate", || (serials().len() == 2).then_some(()));
    // The one that clients see.
    let presented = server.path("presented.pem");
    wait_for("a handshake with it", || {
        let shown = ask_openssl(&[
            "s_client",
            "-connect",
            server.fact("grpc"),
            "-servername",
            "localhost",
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl runs");
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let begin = text.find("-----BEGIN CERTIFICATE-----")?;
        let end = text.find("-----END CERTIFICATE-----")? + "-----END CERTIFICATE-----".len();
        std::fs::write(&presented, &text[begin..end]).expect("a file");
        (serial_of(&presented) != first[0]).then_some(())
    });
}
