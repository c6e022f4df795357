//! The CA protocol of stock mesh proxies, spoken by Python's grpcio: identity, chain layout, codes, and how a bearer beside a
//! certificate is taken.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::issuer::{Issuer, claims, now, rs256};
use crate::support::{Caller, Refused, Server, Settings, Wanted, ask_openssl, run};

const FAILURE: &str = "request authenticate failure";
const WEB: &str = "spiffe://example.org/ns/shop/sa/web";

/// A server that believes an issuer and gives each service account its identity.
fn mesh() -> (Issuer, Server) {
    let issuer = Issuer::new();
    let server = Server::start(Settings {
        config: Some(issuer.config()),
        ..Settings::default()
    });
    server.apply(Issuer::REGISTRATION);
    (issuer, server)
}

/// Enrols and returns the files of the chain and key.
fn enrol(server: &Server, token: &str, name: &str) -> (PathBuf, PathBuf) {
    let wanted = Wanted::new(server.folder(), name);
    let chain = Caller::new(server, None).istio(&wanted.pem(), Some(token), json!({}));
    let path = server.path(&format!("{name}.chain"));
    let (_, chain) = chain
        .expect("enrolled")
        .split_last()
        .map(|(roots, chain)| (roots.clone(), chain.concat()))
        .expect("a chain");
    std::fs::write(&path, chain).expect("a file");
    (path, wanted.key)
}

fn refusals(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("signet_refusals_total{{reason=\"{reason}\"}}"))
}

/// The one answer to every failed authentication.
fn assert_failure(refused: &Refused) {
    assert_eq!(
        (refused.code.as_str(), refused.message.as_str()),
        ("UNAUTHENTICATED", FAILURE)
    );
    assert_eq!((refused.details, refused.reason.as_str()), (0, ""));
}

/// How long the leaf counts after the hour at which it was made, in seconds.
fn life(server: &Server, chain: &[String]) -> u64 {
    let path = server.path("leaf.pem");
    std::fs::write(&path, &chain[0]).expect("a file");
    let told = run(ask_openssl(&["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"]).arg(&path));
    let date = told
        .trim()
        .strip_prefix("notAfter=")
        .expect("openssl's words")
        .to_owned();
    let seconds = run(std::process::Command::new("date").args(["-u", "+%s", "-d", &date]));
    seconds.trim().parse::<u64>().expect("seconds") - now()
}

fn assert_near(found: u64, expected: u64) {
    assert!(
        found <= expected && found + 60 > expected,
        "{found} s, expected {expected}"
    );
}

#[test]
fn a_service_account_gets_leaf_intermediate_and_roots_where_proxies_look_for_them() {
    let (issuer, server) = mesh();
    let wanted = Wanted::new(server.folder(), "web");
    let token = issuer.token("shop", "web");
    let chain = Caller::new(&server, None)
        .istio(&wanted.pem(), Some(&token), json!({}))
        .expect("a chain");
    let blocks: Vec<usize> = chain
        .iter()
        .map(|pem| pem.matches("BEGIN CERTIFICATE").count())
        .collect();
    assert_eq!(blocks, [1, 1, 1]);
    assert!(
        chain
            .iter()
            .all(|pem| pem.ends_with("-----END CERTIFICATE-----\n")),
        "{chain:?}"
    );
    let roots = std::fs::read_to_string(server.fact("bundle")).expect("roots");
    assert_eq!(chain[2], roots);
    let paths = ["leaf", "intermediate", "roots"].map(|name| server.path(&format!("{name}.pem")));
    for (path, pem) in paths.iter().zip(&chain) {
        std::fs::write(path, pem).expect("a file");
    }
    let mut verify = ask_openssl(&["verify", "-x509_strict", "-purpose", "sslclient"]);
    run(verify
        .arg("-CAfile")
        .arg(&paths[2])
        .arg("-untrusted")
        .arg(&paths[1])
        .arg(&paths[0]));
    let names = run(ask_openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(&paths[0]));
    assert!(names.contains(&format!("URI:{WEB}\n")), "{names}");
    assert_near(life(&server, &chain), 3600);
}

#[test]
fn every_failed_authentication_has_one_message_without_details_and_its_reason_is_counted() {
    let (issuer, server) = mesh();
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut other_audience = claims("shop", "web");
    other_audience["aud"] = json!("vault");
    let mut ended = claims("shop", "web");
    ended["exp"] = json!(now() - 60);
    let [other_audience, ended] =
        <[String; 2]>::try_from(issuer.sign(&[rs256(&other_audience), rs256(&ended)])).expect("two");
    let mut proxy = Caller::new(&server, None);
    for (bearer, reason) in [
        (None, "NO_PROOF"),
        (Some(other_audience.as_str()), "JWT_AUDIENCE"),
        (Some(ended.as_str()), "JWT_EXPIRED"),
        (Some("sgt1.eyJpZCI6IngifQ"), "TOKEN_INVALID"),
        (Some("rubbish"), "JWT_INVALID"),
    ] {
        let refused = proxy.istio(&csr, bearer, json!({})).expect_err(reason);
        assert_failure(&refused);
        assert_eq!(refusals(&server, reason), 1.0, "{reason}");
    }
}

#[test]
fn a_bearer_that_does_not_verify_is_ignored_beside_a_certificate_and_counted() {
    let (issuer, server) = mesh();
    let (chain, key) = enrol(&server, &issuer.token("shop", "web"), "web");
    let mut ended = claims("shop", "web");
    ended["exp"] = json!(now() - 3600);
    let ended = issuer.sign(&[rs256(&ended)]).swap_remove(0);
    let csr = Wanted::new(server.folder(), "next").pem();
    let mut proxy = Caller::new(&server, Some((&chain, &key)));
    proxy
        .istio(&csr, Some(&ended), json!({}))
        .expect("the certificate decides");
    assert_eq!(server.metric("signet_ignored_bearers_total"), 1.0);
    assert_eq!(refusals(&server, "JWT_EXPIRED"), 0.0);
    let refused = proxy
        .issue(&csr, Some(&ended), json!({}))
        .expect_err("signet.v1 is strict");
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        ("UNAUTHENTICATED", "JWT_EXPIRED")
    );
    assert_eq!(server.metric("signet_ignored_bearers_total"), 1.0);
}

#[test]
fn a_bearer_and_a_certificate_that_both_verify_must_name_one_identity() {
    let (issuer, server) = mesh();
    let (chain, key) = enrol(&server, &issuer.token("shop", "web"), "web");
    let csr = Wanted::new(server.folder(), "next").pem();
    let mut proxy = Caller::new(&server, Some((&chain, &key)));
    proxy
        .istio(&csr, Some(&issuer.token("shop", "web")), json!({}))
        .expect("both name it");
    let other = issuer.token("shop", "db");
    assert_failure(
        &proxy
            .istio(&csr, Some(&other), json!({}))
            .expect_err("two identities"),
    );
    assert_eq!(refusals(&server, "PROOFS_DISAGREE"), 1.0);
    let refused = proxy
        .issue(&csr, Some(&other), json!({}))
        .expect_err("two identities");
    assert_eq!(refused.reason, "PROOFS_DISAGREE");
    assert_eq!(refused.evidence["expected"], WEB);
    assert_eq!(refused.evidence["found"], "spiffe://example.org/ns/shop/sa/db");
}

#[test]
fn a_life_is_defaulted_clipped_or_refused_by_registration_and_profile() {
    let (issuer, server) = mesh();
    let csr = Wanted::new(server.folder(), "web").pem();
    let token = issuer.token("shop", "web");
    let mut proxy = Caller::new(&server, None);
    let mut ask = |seconds: &str| proxy.istio(&csr, Some(&token), json!({ "validityDuration": seconds }));
    for (asked, expected) in [
        ("0", 3600),
        ("-1", 3600),
        ("600", 600),
        ("7200", 7200),
        ("86400", 7200),
    ] {
        let chain = ask(asked).unwrap_or_else(|refused| panic!("{asked}: {refused:?}"));
        assert_near(life(&server, &chain), expected);
    }
    for asked in ["86401", "9223372036854775807"] {
        let refused = ask(asked).expect_err(asked);
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("INVALID_ARGUMENT", "LIFE_TOO_LONG")
        );
        assert!(refused.evidence["limit"].is_string(), "{refused:?}");
    }
}

#[test]
fn asking_for_another_identity_is_refused_unless_the_name_is_empty() {
    let (issuer, server) = mesh();
    let csr = Wanted::new(server.folder(), "web").pem();
    let token = issuer.token("shop", "web");
    let mut proxy = Caller::new(&server, None);
    let mut ask = |wanted: Value| {
        let metadata = json!({ "metadata": { "ImpersonatedIdentity": wanted } });
        proxy.istio(&csr, Some(&token), metadata)
    };
    assert_failure(&ask(json!("spiffe://example.org/ns/shop/sa/db")).expect_err("another's"));
    assert_eq!(refusals(&server, "IMPERSONATION_REFUSED"), 1.0);
    ask(json!("")).expect("an empty name is absence");
    for wrong in [json!(7), json!(true), json!(["a"]), Value::Null] {
        let refused = ask(wrong).expect_err("not a text");
        assert_eq!(refused.code, "INVALID_ARGUMENT");
        assert!(refused.message.contains("ImpersonatedIdentity"), "{refused:?}");
    }
}

#[test]
fn refusals_that_are_no_failed_authentication_say_why() {
    let (issuer, server) = mesh();
    let token = issuer.token("shop", "web");
    let named = |name: &str, names: &str| Wanted::named(server.folder(), name, names).pem();
    let mut proxy = Caller::new(&server, None);
    for (csr, code, reason, evidence) in [
        (
            "rubbish".to_owned(),
            "INVALID_ARGUMENT",
            "CSR_MALFORMED",
            Value::Null,
        ),
        (
            named("dns", "DNS:web.shop"),
            "PERMISSION_DENIED",
            "NAME_NOT_GRANTED",
            json!("web.shop"),
        ),
        (
            named("uri", "URI:spiffe://example.org/ns/shop/sa/db"),
            "PERMISSION_DENIED",
            "IDENTITY_NOT_GRANTED",
            json!("spiffe://example.org/ns/shop/sa/db"),
        ),
        (
            named("far", "URI:spiffe://other.org/ns/shop/sa/web"),
            "PERMISSION_DENIED",
            "IDENTITY_NOT_GRANTED",
            json!("spiffe://other.org/ns/shop/sa/web"),
        ),
    ] {
        let refused = proxy.istio(&csr, Some(&token), json!({})).expect_err(reason);
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            (code, reason),
            "{refused:?}"
        );
        assert_eq!(refused.evidence["name"], evidence, "{refused:?}");
        assert_eq!(refused.details, 1);
    }
    let own = named("own", &format!("URI:{WEB}"));
    proxy
        .istio(&own, Some(&token), json!({}))
        .expect("its own identity as a wish");
}
