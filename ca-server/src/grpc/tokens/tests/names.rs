//! DNS names of tokens: the rule that registrations and CSRs follow, too.

use issuance::VerifiedCsr;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use resources::{Document, Resource};

use super::*;
use crate::authority::bench::{csr, key};

fn named(names: &[&str]) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..wish(DETAILS)
    }
}

fn by_token(bench: &Bench, name: &str) -> Option<Vec<String>> {
    let wish = Wish::read(&bench.admin, named(&[name]));
    wish.ok().map(|wish| wish.dns_names)
}

fn by_registration(name: &str) -> Option<Vec<String>> {
    let document = serde_json::json!({
        "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": "a" },
        "spec": { "spiffeId": "/a", "dnsNames": [name], "callers": ["token"] },
    });
    match Document::from_json(document.to_string().as_bytes())
        .ok()?
        .resource
    {
        Resource::Registration(registration) => Some(registration.dns_names().to_vec()),
        _ => None,
    }
}

fn by_csr(key: &rcgen::KeyPair, name: &str) -> Option<Vec<String>> {
    let csr = VerifiedCsr::parse(&csr(key, &[name])).unwrap();
    csr.other_names().is_empty().then(|| csr.dns_names().to_vec())
}

/// Names that users write, well and badly; none has a slash, which would make it a URI.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9-]{1,12}(\\.[a-zA-Z0-9-]{1,12}){0,3}\\.?",
        2 => "[0-9xXa-f]{1,6}(\\.[0-9xXa-f]{0,4}){0,4}",
        1 => "[*_.a-z0-9-]{0,12}",
        1 => "[a-z]{62,65}(\\.[a-z]{60,63}){0,4}",
        1 => "[ -.0-~]{0,20}",
    ]
}

#[test]
fn registration_token_and_csr_accept_the_same_names_in_the_same_form() {
    let (bench, key) = (Bench::new(), key());
    let check = |name: String| {
        let accepted = by_registration(&name);
        prop_assert_eq!(&by_token(&bench, &name), &accepted, "{:?}", name);
        prop_assert_eq!(&by_csr(&key, &name), &accepted, "{:?}", name);
        Ok(())
    };
    TestRunner::default().run(&name(), check).unwrap();
    for name in ["127.1", "0x7f.1", "2130706433", "*.a", "a_b", "A.b.", "xn--a.b"] {
        check(name.to_owned()).unwrap();
    }
}

#[tokio::test]
async fn names_are_kept_in_canonical_form_and_refused_where_they_read_as_addresses_or_repeat() {
    let bench = Bench::new();
    let token = create(&bench, named(&["Web.Example.org."]))
        .await
        .unwrap()
        .token
        .unwrap();
    {
        let state = bench.admin.store.read();
        assert_eq!(state.token(&token.id).unwrap().dns_names, ["web.example.org"]);
    }
    let many: Vec<String> = (0..100).map(|i| format!("n{i}.example.org")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let most = v1::CreateTokenRequest {
        spiffe_id: "spiffe://example.org/ns/default/sa/many".to_owned(),
        ..named(&many[..99])
    };
    assert!(create(&bench, most).await.is_ok());
    for (names, said) in [
        (&["127.1"][..], "reads as an address"),
        (&["256.256.256.256"], "reads as an address"),
        (&["2130706433"], "reads as an address"),
        (&["a.example.org", "A.example.org"], "listed twice"),
        (&many, "more than 99"),
    ] {
        let refusal = create(&bench, named(names)).await.unwrap_err();
        let found = (refusal.reason(), refusal.evidence("field"));
        assert_eq!(found, (Reason::ResourceInvalid, Some("dns_names")), "{refusal}");
        assert!(refusal.message().contains(said), "{refusal}");
    }
    for spelling in ["ca.example.org", "CA.Example.org."] {
        let refusal = create(&bench, named(&[spelling])).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::NameNotGranted, "{spelling}");
    }
}
