//! Callers with a JSON Web Token of a configured issuer: who they are, and every way in which a token is none.

use serde_json::{Value, json};

use crate::support::issuer::{Issuer, claims, now, rs256};
use crate::support::{Caller, Server, Settings, Wanted, certificate_text, run, signet};

fn believer(issuer: &Issuer) -> Server {
    let server = Server::start(Settings {
        config: Some(issuer.config()),
        ..Settings::default()
    });
    server.apply(Issuer::REGISTRATION);
    server
}

/// A token that is good but for one claim.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims("shop", "web");
    claims[name] = value;
    rs256(&claims)
}

/// A token that is good but lacks one claim.
fn without(name: &str) -> Value {
    let mut claims = claims("shop", "web");
    claims.as_object_mut().expect("an object").remove(name);
    rs256(&claims)
}

/// A token with good claims and another signature.
fn signed(algorithm: &str, key: &str, kid: &str) -> Value {
    json!({ "alg": algorithm, "key": key, "kid": kid, "claims": claims("shop", "web") })
}

#[test]
fn a_service_account_is_given_the_identity_that_the_template_makes_of_it_and_renews_it() {
    let issuer = Issuer::new();
    let server = believer(&issuer);
    let (file, out) = (server.path("sa.jwt"), server.path("web"));
    std::fs::write(&file, issuer.token("shop", "web")).expect("a file");
    let mut issue = server.signet(&["cert", "issue"]);
    run(issue.arg("--jwt-file").arg(&file).arg("--out").arg(&out));
    let text = certificate_text(&out.join("svid.pem"));
    assert!(
        text.contains("URI:spiffe://example.org/ns/shop/sa/web\n"),
        "{text}"
    );
    let record = &server.certificates("spiffe://example.org/ns/shop/sa/web")[0];
    assert_eq!(record["method"], "jwt");
    assert_eq!(record["caller"], "jwt:k8s:system:serviceaccount:shop:web");
    assert_eq!(record["registration"], "istio-system/mesh");
    run(signet().args(["cert", "renew", "--force"]).arg(&out));
}

#[test]
fn good_tokens_of_every_key_in_the_set_are_accepted() {
    let issuer = Issuer::new();
    let server = believer(&issuer);
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut caller = Caller::new(&server, None);
    let good = [
        signed("RS256", "rsa", "rsa"),
        signed("ES256", "ec", "ec"),
        with("aud", json!("istio-ca")),
        with("aud", json!(["vault", "istio-ca"])),
        with("nbf", json!(now() - 60)),
    ];
    for (token, wanted) in issuer.sign(&good).iter().zip(&good) {
        caller
            .issue(&csr, Some(token), json!({}))
            .unwrap_or_else(|refused| panic!("{wanted}: {refused:?}"));
    }
}

#[test]
fn each_fault_of_a_token_is_refused_by_its_own_reason() {
    let issuer = Issuer::new();
    let server = believer(&issuer);
    let csr = Wanted::new(server.folder(), "web").pem();
    let bad = [
        (with("aud", json!("vault")), "JWT_AUDIENCE"),
        (with("aud", json!([])), "JWT_AUDIENCE"),
        (without("aud"), "JWT_AUDIENCE"),
        (
            with("iss", json!("https://other.example.org")),
            "JWT_ISSUER_UNKNOWN",
        ),
        (with("exp", json!(now() - 60)), "JWT_EXPIRED"),
        (with("nbf", json!(now() + 600)), "JWT_INVALID"),
        (without("exp"), "JWT_INVALID"),
        (without("iss"), "JWT_INVALID"),
        (without("sub"), "JWT_INVALID"),
        (with("exp", json!((now() + 600).to_string())), "JWT_INVALID"),
        (with("nbf", json!("now")), "JWT_INVALID"),
        (with("aud", json!({ "istio-ca": true })), "JWT_INVALID"),
        (with("aud", json!(["istio-ca", 7])), "JWT_INVALID"),
        (with("iss", json!([Issuer::NAME])), "JWT_INVALID"),
        (
            with("sub", json!(["system:serviceaccount:shop:web"])),
            "JWT_INVALID",
        ),
        (signed("none", "rsa", "rsa"), "JWT_INVALID"),
        (signed("HS256", "rsa", "rsa"), "JWT_INVALID"),
        (signed("RS256", "stranger", "rsa"), "JWT_INVALID"),
        (signed("RS256", "rsa", "ec"), "JWT_INVALID"),
    ];
    let tokens = issuer.sign(&bad.iter().map(|(wanted, _)| wanted.clone()).collect::<Vec<_>>());
    let mut caller = Caller::new(&server, None);
    for (token, (wanted, reason)) in tokens.iter().zip(&bad) {
        let refused = caller
            .issue(&csr, Some(token), json!({}))
            .map(|_| ())
            .expect_err(&wanted.to_string());
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("UNAUTHENTICATED", *reason),
            "{wanted}: {}",
            refused.message
        );
    }
    let audience = caller
        .issue(&csr, Some(&tokens[0]), json!({}))
        .expect_err("another audience");
    assert_eq!(
        audience.evidence,
        json!({ "found": "vault", "expected": "istio-ca" })
    );
    assert!(server.certificates("spiffe://example.org/ns/*").is_empty());
}

#[test]
fn a_subject_that_is_no_service_account_of_two_path_segments_gets_nothing() {
    let issuer = Issuer::new();
    let server = believer(&issuer);
    let csr = Wanted::new(server.folder(), "web").pem();
    let subjects = [
        "system:serviceaccount:shop",
        "system:serviceaccount:shop:web:more",
        "system:serviceaccount:shop:../../admin/root",
        "system:serviceaccount:shop/sa:web",
        "system:serviceaccount:..:web",
        "system:serviceaccount::web",
        "system:serviceaccount:shop:w%65b",
        "system:node:shop:web",
        "alice",
    ];
    let wanted: Vec<Value> = subjects
        .iter()
        .map(|subject| with("sub", json!(subject)))
        .collect();
    let mut caller = Caller::new(&server, None);
    for (token, subject) in issuer.sign(&wanted).iter().zip(subjects) {
        let refused = caller
            .issue(&csr, Some(token), json!({}))
            .map(|_| ())
            .expect_err(subject);
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("PERMISSION_DENIED", "IDENTITY_NOT_GRANTED"),
            "{subject}: {}",
            refused.message
        );
    }
}

#[test]
fn a_key_set_that_changes_on_disk_is_read_again() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let server = believer(&old);
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut caller = Caller::new(&server, None);
    caller
        .issue(&csr, Some(&old.token("shop", "web")), json!({}))
        .expect("the old set");
    let token = new.token("shop", "web");
    let refused = caller
        .issue(&csr, Some(&token), json!({}))
        .expect_err("keys not seen yet");
    assert_eq!(refused.reason, "JWT_INVALID");
    std::fs::copy(new.key_set(), old.key_set()).expect("the set is replaced");
    crate::support::wait_for("the server to read the new keys", || {
        caller.issue(&csr, Some(&token), json!({})).ok()
    });
    let refused = caller
        .issue(&csr, Some(&old.token("shop", "web")), json!({}))
        .expect_err("gone");
    assert_eq!(refused.reason, "JWT_INVALID");
}
