//! Join tokens: each enrols one identity once. What is asked of them through the command line is checked on what Python's grpcio gets.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Caller, Refused, Server, Wanted, fails, leaf_of, run, signet, wait_for};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

/// `signet token create -o json` for [`WEB`].
fn create(server: &Server, more: &[&str]) -> (String, String) {
    let mut command = server.signet(&["token", "create", "--spiffe-id", WEB, "-o", "json"]);
    let token: Value = serde_json::from_str(&run(command.args(more))).expect("JSON");
    assert_eq!(token["spiffeId"], WEB);
    assert!(token["expiresAt"].is_string(), "{token}");
    let text = |name: &str| token[name].as_str().expect("a text").to_owned();
    (text("id"), text("token"))
}

/// The token as `signet token list` knows it.
fn listed(server: &Server, id: &str) -> Value {
    let all = run(&mut server.signet(&["token", "list", "-o", "json"]));
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let found = all["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["id"] == id);
    found.expect("it is listed").clone()
}

fn assert_refused(found: Result<Value, Refused>, reason: &str) -> Refused {
    let refused = found.expect_err(reason);
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        ("UNAUTHENTICATED", reason),
        "{}",
        refused.message
    );
    refused
}

/// The fields inside a token.
fn inside(token: &str) -> Value {
    let json = URL_SAFE_NO_PAD
        .decode(token.strip_prefix("sgt1.").expect("the prefix"))
        .expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn a_token_says_all_that_a_client_needs_and_is_listed_without_its_secret() {
    let server = Server::up();
    let (id, token) = create(&server, &[]);
    let inside = inside(&token);
    assert_eq!(inside["id"], id);
    assert_eq!(inside["fingerprint"], server.fact("fingerprint"));
    assert_eq!(inside["trustDomain"], "example.org");
    let port = server.fact("grpc").rsplit_once(':').expect("host:port").1;
    assert_eq!(inside["server"], format!("localhost:{port}"));
    let found = listed(&server, &id);
    assert_eq!(
        (&found["state"], &found["spiffeId"]),
        (&json!("OFFERED"), &json!(WEB))
    );
    assert_eq!(found["registration"], format!("default/token-{id}"));
    assert!(
        !found
            .to_string()
            .contains(inside["secret"].as_str().expect("a text"))
    );
    let printed = run(&mut server.signet(&["token", "create", "--spiffe-id", WEB]));
    assert!(
        printed.starts_with("sgt1.") && printed.ends_with('\n') && printed.lines().count() == 1,
        "{printed}"
    );
    let file = std::fs::read_to_string(server.token_file(WEB, &[])).expect("a token");
    assert!(file.starts_with("sgt1.") && !file.ends_with('\n'), "{file}");
}

#[test]
fn the_same_key_and_wish_get_the_same_certificate_and_all_else_finds_the_token_spent() {
    let server = Server::up();
    let (id, token) = create(&server, &["--dns", "web.example.org"]);
    let first = Wanted::new(server.folder(), "first").pem();
    let mut caller = Caller::new(&server, None);
    let mut ask = |csr: &str, more: Value| caller.issue(csr, Some(&token), more);
    let issued = ask(&first, json!({})).expect("enrolled");
    let again = ask(&first, json!({})).expect("a lost answer is not a lost identity");
    assert_eq!(leaf_of(&issued), leaf_of(&again));
    let other_key = Wanted::new(server.folder(), "second").pem();
    let refused = assert_refused(ask(&other_key, json!({})), "TOKEN_SPENT");
    assert!(refused.message.contains("token"), "{}", refused.message);
    assert_refused(ask(&first, json!({ "life": "1200s" })), "TOKEN_SPENT");
    assert_eq!(server.metric("signet_replays_total"), 1.0);
    assert_eq!(
        server.metric("signet_certificates_issued_total{profile=\"workload\",method=\"token\"}"),
        1.0
    );
    let found = listed(&server, &id);
    assert_eq!(found["state"], "REDEEMED");
    let certificates = server.certificates(WEB);
    assert_eq!(certificates.len(), 1);
    assert_eq!(found["redeemedSerial"], certificates[0]["serial"]);
    assert_eq!(certificates[0]["der"], STANDARD.encode(leaf_of(&issued)));
}

#[test]
fn a_forged_secret_or_a_bad_csr_leaves_the_token_to_its_holder() {
    let server = Server::up();
    let (id, token) = create(&server, &[]);
    let mut forged = inside(&token);
    forged["secret"] = json!("0".repeat(forged["secret"].as_str().expect("a text").len()));
    let forged = format!("sgt1.{}", URL_SAFE_NO_PAD.encode(forged.to_string()));
    let mut changed = inside(&token);
    changed["server"] = json!("elsewhere.example.org:1");
    let changed = format!("sgt1.{}", URL_SAFE_NO_PAD.encode(changed.to_string()));
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut caller = Caller::new(&server, None);
    for wrong in [
        &forged,
        &changed,
        &format!("{token}A"),
        &token[..token.len() - 1].to_owned(),
    ] {
        assert_refused(caller.issue(&csr, Some(wrong), json!({})), "TOKEN_INVALID");
    }
    let named = Wanted::named(server.folder(), "named", "DNS:other.example.org").pem();
    let refused = caller
        .issue(&named, Some(&token), json!({}))
        .expect_err("a name not granted");
    assert_eq!(refused.reason, "NAME_NOT_GRANTED");
    let refused = caller
        .issue("rubbish", Some(&token), json!({}))
        .expect_err("no CSR");
    assert_eq!(refused.reason, "CSR_MALFORMED");
    assert_eq!(listed(&server, &id)["state"], "OFFERED");
    caller
        .issue(&csr, Some(&token), json!({}))
        .expect("the holder enrols");
}

#[test]
fn a_revoked_token_and_one_past_its_time_are_refused_by_their_own_reasons() {
    let server = Server::up();
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut caller = Caller::new(&server, None);
    let (id, token) = create(&server, &[]);
    run(&mut server.signet(&["token", "revoke", &id]));
    assert_refused(caller.issue(&csr, Some(&token), json!({})), "TOKEN_REVOKED");
    assert_eq!(listed(&server, &id)["state"], "REVOKED");
    let (code, said) = fails(&mut server.signet(&["token", "revoke", "nosuch"]));
    assert!(
        code == 1 && said.contains("nosuch") && said.contains("NOT_FOUND"),
        "{said}"
    );

    let (unused, late) = create(&server, &["--ttl", "1s"]);
    let (used, early) = create(&server, &["--ttl", "3s"]);
    let issued = caller.issue(&csr, Some(&early), json!({})).expect("in time");
    wait_for("the first to end", || {
        (listed(&server, &unused)["state"] == "EXPIRED").then_some(())
    });
    assert_refused(caller.issue(&csr, Some(&late), json!({})), "TOKEN_EXPIRED");
    wait_for("the second to end", || {
        // Within its time the holder gets the recorded certificate again.
        match caller.issue(&csr, Some(&early), json!({})) {
            Ok(again) => {
                assert_eq!(leaf_of(&again), leaf_of(&issued));
                None
            }
            refused => Some(assert_refused(refused, "TOKEN_SPENT")),
        }
    });
    assert_eq!(listed(&server, &used)["state"], "REDEEMED");
    let (code, said) = fails(&mut server.signet(&["token", "create", "--spiffe-id", WEB, "--ttl", "0s"]));
    assert!(code != 0 && said.contains("ttl"), "{said}");
}

#[test]
fn a_token_beside_a_certificate_of_another_identity_is_refused_and_stays_its_holders() {
    let server = Server::up();
    let out = server.path("db");
    let db = server.token_file("spiffe://example.org/ns/default/sa/db", &[]);
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(db)
        .arg("--out")
        .arg(&out));
    let (id, token) = create(&server, &[]);
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut other = Caller::new(&server, Some((&out.join("svid.pem"), &out.join("svid_key.pem"))));
    assert_refused(other.issue(&csr, Some(&token), json!({})), "PROOFS_DISAGREE");
    assert_eq!(listed(&server, &id)["state"], "OFFERED");
    Caller::new(&server, None)
        .issue(&csr, Some(&token), json!({}))
        .expect("the holder enrols");
}

#[test]
fn tokens_survive_a_restart_and_a_crash() {
    let server = Server::up();
    let (offered, token) = create(&server, &[]);
    let (spent, other) = create(&server, &[]);
    let csr = Wanted::new(server.folder(), "web").pem();
    let issued = Caller::new(&server, None)
        .issue(&csr, Some(&other), json!({}))
        .expect("enrolled");
    let server = server.restart().crash_and_restart();
    assert_eq!(listed(&server, &offered)["state"], "OFFERED");
    assert_eq!(listed(&server, &spent)["state"], "REDEEMED");
    let folder = tempfile::tempdir().expect("a folder");
    let mut caller = Caller::new(&server, None);
    let again = caller
        .issue(&csr, Some(&other), json!({}))
        .expect("the recorded one");
    assert_eq!(leaf_of(&again), leaf_of(&issued));
    let next = Wanted::new(folder.path(), "next").pem();
    assert_refused(caller.issue(&next, Some(&other), json!({})), "TOKEN_SPENT");
    caller
        .issue(&next, Some(&token), json!({}))
        .expect("a token made before the stops");
}

/// All files below a folder but sockets.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn the_secret_of_a_token_lies_nowhere_in_the_data_folder_or_the_log() {
    let server = Server::up();
    let (id, token) = create(&server, &[]);
    let secret = inside(&token)["secret"].as_str().expect("a text").to_owned();
    let csr = Wanted::new(server.folder(), "web").pem();
    Caller::new(&server, None)
        .issue(&csr, Some(&token), json!({}))
        .expect("enrolled");
    assert!(!server.log().contains(&secret) && !server.log().contains(&token));
    let (code, folder) = server.terminate();
    assert_eq!(code, 0);
    let payload = token.strip_prefix("sgt1.").expect("the prefix");
    let raw = (0..secret.len() / 2).map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16));
    let raw: Vec<u8> = raw.collect::<Result<_, _>>().expect("hex");
    let mut with_id = 0;
    for path in files(&folder.path().join("data")) {
        let bytes = std::fs::read(&path).expect("a file");
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        with_id += u32::from(holds(id.as_bytes()));
        for kept in [secret.as_bytes(), payload.as_bytes(), &raw] {
            assert!(!holds(kept), "the secret lies in {}", path.display());
        }
    }
    assert!(with_id > 0, "not even the id is found, so the search is blind");
}

#[test]
fn dns_names_that_clients_read_as_addresses_are_refused_for_tokens_and_in_csrs() {
    let server = Server::up();
    for name in [
        "127.1",
        "010.0.0.1",
        "256.256.256.256",
        "2130706433",
        "0x7f000001",
    ] {
        let mut command = server.signet(&["token", "create", "--spiffe-id", WEB, "--dns", name]);
        let (code, said) = fails(&mut command);
        assert!(
            code == 1 && said.contains("RESOURCE_INVALID") && said.contains("reads as an address"),
            "{said}"
        );
        let (_, token) = create(&server, &["--dns", "web.example.org"]);
        let csr = Wanted::named(server.folder(), "address", &format!("DNS:{name}")).pem();
        let refused = Caller::new(&server, None)
            .issue(&csr, Some(&token), json!({}))
            .expect_err(name);
        assert_eq!(refused.reason, "NAME_NOT_GRANTED", "{name}");
    }
    let mut command = server.signet(&["token", "create", "--spiffe-id", WEB]);
    let (code, said) = fails(command.args(["--dns", "web.example.org", "--dns", "WEB.example.org"]));
    assert!(code == 1 && said.contains("listed twice"), "{said}");
}

/// Seconds from the issuance of a leaf to its end.
fn life_of(issued: &Value) -> i64 {
    let leaf = identity::Leaf::parse(&leaf_of(issued)).expect("a leaf");
    (leaf.validity().not_after() - time::OffsetDateTime::now_utc()).whole_seconds()
}

#[test]
fn the_life_of_a_token_bounds_its_enrolment_and_every_renewal() {
    let server = Server::up();
    let (_, token) = create(&server, &["--life", "10m"]);
    let csr = Wanted::new(server.folder(), "web");
    let refused = Caller::new(&server, None)
        .issue(&csr.pem(), Some(&token), json!({ "life": "86400s" }))
        .expect_err("longer than the token allows");
    assert_eq!(
        (refused.reason.as_str(), &refused.evidence["limit"]),
        ("LIFE_TOO_LONG", &json!("10m"))
    );
    let token_file = server.path("web.token");
    std::fs::write(&token_file, &token).expect("a file");
    let out = server.path("web");
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(&token_file)
        .arg("--out")
        .arg(&out));
    let mut holder = Caller::new(&server, Some((&out.join("svid.pem"), &out.join("svid_key.pem"))));
    let next = Wanted::new(server.folder(), "next").pem();
    let refused = holder
        .issue(&next, None, json!({ "life": "601s" }))
        .expect_err("longer than the lineage allows");
    assert_eq!(refused.reason, "LIFE_TOO_LONG");
    let renewed = holder.issue(&next, None, json!({})).expect("renewed");
    assert!((1..=600).contains(&life_of(&renewed)), "{}", life_of(&renewed));
}

#[test]
fn a_repeated_request_brings_back_no_name_that_the_registration_no_longer_grants() {
    let server = Server::up();
    let registration = |names: &str| {
        format!(
            "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: web }}\nspec:\n  \
             spiffeId: {WEB}\n  callers: [ token ]\n  dnsNames: [ {names} ]\n"
        )
    };
    server.apply(&registration("web.example.org, www.example.org"));
    let (_, token) = create(&server, &[]);
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut caller = Caller::new(&server, None);
    let first = caller.issue(&csr, Some(&token), json!({})).expect("enrolled");
    server.apply(&registration("web.example.org"));
    let refused = assert_refused(caller.issue(&csr, Some(&token), json!({})), "TOKEN_SPENT");
    assert!(
        refused.message.contains("www.example.org is no longer granted"),
        "{}",
        refused.message
    );
    server.apply(&registration("web.example.org, www.example.org"));
    let again = caller
        .issue(&csr, Some(&token), json!({}))
        .expect("granted again");
    assert_eq!(leaf_of(&first), leaf_of(&again));
}
