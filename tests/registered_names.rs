//! Which registration applies to an identity, and the DNS names that it grants: those that a certificate may
//! hold, and none of the server's.

use serde_json::{Value, json};

use crate::registrations::{WEB, enrol, refused, registration};
use crate::support::{Caller, Server, Settings, Wanted, ask_openssl, python, repository, run, wait_for};

#[test]
fn a_registration_holds_dns_names_once_each_and_as_many_as_a_certificate_has_room_for() {
    let server = Server::up();
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("n{i}.shop")).collect();
        format!("  dnsNames: [ {} ]\n", names.join(", "))
    };
    for (names, said) in [
        ("[ a.b, 10.9.8.7 ]", "reads as an address"),
        ("[ a.b, A.b. ]", "listed twice"),
    ] {
        let error = refused(&server, &registration("web", &format!("  dnsNames: {names}\n")));
        assert_eq!(
            (&error["field"], &error["line"], &error["column"]),
            (&json!("spec.dnsNames[1]"), &json!(7), &json!(20)),
            "{error}"
        );
        assert!(
            error["message"].as_str().expect("a text").contains(said),
            "{error}"
        );
    }
    let error = refused(&server, &registration("web", &names(100)));
    assert_eq!(error["field"], "spec.dnsNames[99]", "{error}");
    server.apply(&registration("web", &names(99)));
    enrol(&server, "web");
    let issued = server.certificates(WEB).pop().expect("a certificate");
    assert_eq!(issued["dnsNames"].as_array().map(Vec::len), Some(99));
}

#[test]
fn a_name_that_became_the_servers_own_is_neither_issued_nor_renewed() {
    let server = Server::up();
    server.apply(&registration("web", "  dnsNames: [ ca.shop, web.shop ]\n"));
    let folder = enrol(&server, "web");
    let spare = server.token_file(WEB, &[]);
    let (code, data) = server.terminate();
    assert_eq!(code, 0);
    let names = ["--server-name", "localhost", "--server-name", "CA.shop"];
    let server = Server::start_in(
        data,
        Settings {
            arguments: names.map(str::to_owned).to_vec(),
            ..Settings::default()
        },
    );
    wait_for("the report of the start", || {
        server
            .log()
            .contains("registration shop/web lists ca.shop, a name of this server")
            .then_some(())
    });
    let csr = Wanted::new(server.folder(), "next").pem();
    let (chain, key) = (folder.join("svid.pem"), folder.join("svid_key.pem"));
    let refusal = Caller::new(&server, Some((&chain, &key)))
        .issue(&csr, None, json!({}))
        .expect_err("the certificate has the server's name");
    assert_eq!(
        (refusal.reason.as_str(), &refusal.evidence["name"]),
        ("NAME_NOT_GRANTED", &json!("ca.shop"))
    );
    let token = std::fs::read_to_string(spare).expect("a token");
    let mut caller = Caller::new(&server, None);
    for spelling in ["ca.shop", "CA.shop"] {
        let named = Wanted::named(server.folder(), "named", &format!("DNS:{spelling}")).pem();
        let refusal = caller
            .issue(&named, Some(&token), json!({}))
            .expect_err("the server's name");
        assert_eq!(refusal.reason, "NAME_NOT_GRANTED", "{}", refusal.message);
    }
    caller.issue(&csr, Some(&token), json!({})).expect("without it");
    let last = server.certificates(WEB).pop().expect("a certificate");
    assert_eq!(last["dnsNames"], json!(["web.shop"]));
    let error = refused(
        &server,
        &registration("other", "  dnsNames: [ web.shop, CA.Shop. ]\n"),
    );
    assert_eq!(error["field"], "spec.dnsNames[1]", "{error}");
}

#[test]
fn of_two_registrations_for_one_identity_the_first_by_name_applies_and_is_reported() {
    let server = Server::up();
    let file = server.path("twice.yaml");
    let text = [
        registration("web-b", "  dnsNames: [ b.shop ]\n"),
        registration("web-a", "  dnsNames: [ a.shop ]\n"),
    ];
    std::fs::write(&file, text.join("---\n")).expect("a file");
    let applied = server
        .signet(&["apply"])
        .arg("-f")
        .arg(&file)
        .output()
        .expect("signet runs");
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{said}");
    for line in [
        "warning IDENTITY_TWICE: Registration shop/web-b: grants the same identity as Registration shop/web-a",
        "warning IDENTITY_TWICE: Registration shop/web-a: grants the same identity as Registration shop/web-b",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    let token = server.token_file(WEB, &[]);
    let csr = Wanted::new(server.folder(), "web").csr;
    let mut explain = server.signet(&["explain", "identity", "-o", "json"]);
    let explained = run(explain.arg("--csr").arg(&csr).arg("--token-file").arg(&token));
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    assert_eq!(
        (&explained["registration"], &explained["alsoGrantedBy"]),
        (&json!("shop/web-a"), &json!(["shop/web-b"]))
    );
    enrol(&server, "out");
    let issued = server.certificates(WEB).pop().expect("a certificate");
    assert_eq!(issued["dnsNames"], json!(["a.shop"]));
}

#[test]
fn names_of_every_accepted_form_satisfy_independent_verifiers() {
    let server = Server::up();
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    let mut names: Vec<String> = [
        "1a",
        "127.1.shop",
        "0x7f.shop",
        "0xyz",
        "a--b.shop",
        "xn--bcher-kva.shop",
        "1-2.shop",
        "single",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push(longest);
    names.extend((names.len()..99).map(|i| format!("n{i}.shop")));
    server.apply(&registration(
        "web",
        &format!("  dnsNames: [ {} ]\n", names.join(", ")),
    ));
    let folder = enrol(&server, "web");
    let (bundle, chain) = (folder.join("bundle.pem"), folder.join("svid.pem"));
    for name in names.iter().take(10) {
        let mut verify = ask_openssl(&["verify", "-x509_strict", "-verify_hostname", name]);
        verify.arg("-CAfile").arg(&bundle).arg("-untrusted").arg(&chain);
        run(verify.arg(&chain));
        let mut verify = python();
        verify.arg(repository("tests/python/verify.py"));
        let verified = run(verify.arg(&bundle).arg(&chain).arg(name));
        let verified: Value = serde_json::from_str(&verified).expect("JSON");
        assert_eq!(verified["server"], true, "{name}");
        assert_eq!(verified["client"].as_array().map(Vec::len), Some(100));
    }
}
