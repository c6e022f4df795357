//! Who gets which identity, names and life, first and at each renewal.

mod limits;

use serde_json::json;

use super::*;
use crate::authority::bench::{A, Ask, B, Bench, csr, holder, key, leaf, nobody};
use crate::caller::{Bearer, Connection, ForeignCertificate, Verified, VerifiedJwt};
use serde_json::Map;

const HOUR: Duration = Duration::from_secs(3600);

fn decide(bench: &Bench, attested: &Attested, names: &[&str]) -> Result<Grant, Refusal> {
    let csr = VerifiedCsr::parse(&csr(&key(), names)).unwrap();
    let wish = Wish {
        spiffe_id: None,
        csr: &csr,
        life: None,
        clip_life: false,
    };
    bench.registrations.authorize(attested, &wish, bench.now())
}

fn reason(bench: &Bench, attested: &Attested, names: &[&str]) -> Reason {
    decide(bench, attested, names).unwrap_err().reason()
}

fn jwt(subject: &str, beside: Option<&Verified>) -> Attested {
    Attested::Bearer {
        bearer: Bearer::Jwt(VerifiedJwt {
            provider: "k8s".to_owned(),
            subject: subject.to_owned(),
            claims: Map::new(),
        }),
        beside: beside.cloned(),
    }
}

/// The verdict on a certificate that was issued just now.
async fn own(bench: &Bench, token: &str, id: &str, registration: &str) -> Verified {
    let connection = holder(&bench.enrol(token, id, registration).await);
    let judged = bench.callers.certificate(&connection, bench.now());
    judged.unwrap().unwrap()
}

fn foreign(id: &str) -> Attested {
    Attested::Foreign(ForeignCertificate {
        provider: "factory".to_owned(),
        id: id.to_owned(),
    })
}

const KERNEL: Attested = Attested::Kernel { uid: 0, pid: 1 };

async fn renew(bench: &Bench, connection: &Connection, names: &[&str]) -> Result<Vec<String>, Reason> {
    let renewed = bench.issue(connection, &csr(&key(), names), Ask::default()).await;
    renewed
        .map(|issuance| leaf(&issuance).dns_names().to_vec())
        .map_err(|refusal| refusal.reason())
}

#[tokio::test]
async fn a_service_account_gets_its_identity_and_no_other() {
    let bench = Bench::new().await;
    let spec = json!({
        "spiffeId": "/ns/{{ jwt.namespace }}/sa/{{ jwt.serviceAccount }}",
        "callers": ["jwt:k8s:system:serviceaccount:default:*"],
    });
    bench.apply("accounts", spec).await;
    let caller = jwt("system:serviceaccount:default:a", None);
    assert_eq!(decide(&bench, &caller, &[]).unwrap().spiffe_id.as_str(), A);
    assert!(decide(&bench, &caller, &[A]).is_ok());
    for other in [
        B,
        "spiffe://example.com/ns/default/sa/a",
        "spiffe://example.org/server/x",
    ] {
        let refusal = decide(&bench, &caller, &[other]).unwrap_err();
        assert_eq!(refusal.reason(), Reason::IdentityNotGranted);
        assert!(
            refusal.message().contains(other) && refusal.message().contains(A),
            "{refusal}"
        );
    }
    for subject in [
        "system:serviceaccount:other:a",
        "system:serviceaccount:default:a/../b",
        "system:serviceaccount:default:",
        "a",
    ] {
        assert_eq!(
            reason(&bench, &jwt(subject, None), &[]),
            Reason::IdentityNotGranted,
            "{subject}"
        );
    }
}

#[tokio::test]
async fn several_identities_are_listed_and_a_wish_chooses() {
    let bench = Bench::new().await;
    for (name, id) in [("a", A), ("b", B)] {
        bench
            .apply(name, json!({ "spiffeId": id, "callers": ["jwt:k8s:*", "token"] }))
            .await;
    }
    let refusal = decide(&bench, &jwt("x", None), &[]).unwrap_err();
    assert_eq!(refusal.reason(), Reason::IdentityAmbiguous);
    assert_eq!(refusal.evidence("found"), Some(format!("{A}, {B}").as_str()));
    assert_eq!(
        decide(&bench, &jwt("x", None), &[B]).unwrap().spiffe_id.as_str(),
        B
    );
    // With a certificate beside it the identity is settled.
    let beside = own(&bench, "a", A, "a").await;
    let settled = decide(&bench, &jwt("x", Some(&beside)), &[]).unwrap();
    assert_eq!(settled.spiffe_id.as_str(), A);
}

#[tokio::test]
async fn the_wish_of_the_request_and_that_of_the_csr_are_one() {
    let bench = Bench::new().await;
    bench
        .apply("a", json!({ "spiffeId": A, "callers": ["token"] }))
        .await;
    let (a, b) = (SpiffeId::new(A).unwrap(), SpiffeId::new(B).unwrap());
    let csr = VerifiedCsr::parse(&csr(&key(), &[A])).unwrap();
    let wish = |spiffe_id| Wish {
        spiffe_id: Some(spiffe_id),
        csr: &csr,
        life: None,
        clip_life: false,
    };
    let ask = |wish: Wish<'_>| bench.registrations.authorize(&KERNEL, &wish, bench.now());
    assert!(ask(wish(&a)).is_ok());
    assert_eq!(ask(wish(&b)).unwrap_err().reason(), Reason::CsrSan);
}

#[tokio::test]
async fn a_factory_certificate_gets_a_device_only() {
    let bench = Bench::new().await;
    let device = json!({ "role": "device", "spiffeId": "/device/{{ certificate.id }}", "callers": ["certificate:factory:D-*"] });
    bench.apply("device", device).await;
    let workload = json!({ "spiffeId": A, "callers": ["certificate:factory:*"] });
    bench.apply("workload", workload).await;
    let grant = decide(&bench, &foreign("D-1"), &[]).unwrap();
    assert_eq!(grant.spiffe_id.as_str(), "spiffe://example.org/device/D-1");
    assert_eq!(grant.profile.name(), issuance::ProfileName::Device);
    for (id, wish) in [
        ("E-1", None),
        ("D-1/../x", None),
        ("D-1", Some(A)),
        ("D-1", Some("spiffe://example.org/device/D-2")),
    ] {
        let names: Vec<&str> = wish.into_iter().collect();
        assert_eq!(
            reason(&bench, &foreign(id), &names),
            Reason::IdentityNotGranted,
            "{id}"
        );
    }
}

#[tokio::test]
async fn the_socket_needs_a_wish_and_a_registration_whatever_its_callers() {
    let bench = Bench::new().await;
    bench
        .apply(
            "x",
            json!({ "role": "admin", "spiffeId": "/admin/x", "callers": ["token"] }),
        )
        .await;
    assert_eq!(reason(&bench, &KERNEL, &[]), Reason::IdentityAmbiguous);
    assert!(decide(&bench, &KERNEL, &["spiffe://example.org/admin/x"]).is_ok());
    for other in [
        "spiffe://example.org/admin/y",
        "spiffe://example.org/server/localhost",
        A,
    ] {
        assert_eq!(
            reason(&bench, &KERNEL, &[other]),
            Reason::IdentityNotGranted,
            "{other}"
        );
    }
}

#[tokio::test]
async fn names_are_granted_one_by_one_and_renewed_as_before() {
    let bench = Bench::new().await;
    let named = |names: &[&str]| json!({ "spiffeId": A, "dnsNames": names, "callers": ["token"] });
    bench.apply("a", named(&["one", "two"])).await;
    assert_eq!(decide(&bench, &KERNEL, &[A]).unwrap().dns_names, ["one", "two"]);
    assert_eq!(decide(&bench, &KERNEL, &[A, "two"]).unwrap().dns_names, ["two"]);
    let refusal = decide(&bench, &KERNEL, &[A, "two", "three"]).unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.evidence("name")),
        (Reason::NameNotGranted, Some("three"))
    );

    let connection = holder(&bench.enrol("t", A, "a").await);
    assert_eq!(renew(&bench, &connection, &[]).await.unwrap(), ["one", "two"]);
    bench.apply("a", named(&["one", "two", "three"])).await;
    assert_eq!(
        renew(&bench, &connection, &[]).await.unwrap(),
        ["one", "two", "three"]
    );
    bench.apply("a", named(&["one"])).await;
    assert_eq!(renew(&bench, &connection, &[]).await, Err(Reason::NameNotGranted));
    assert_eq!(
        renew(&bench, &connection, &["two"]).await,
        Err(Reason::NameNotGranted)
    );
    assert_eq!(
        renew(&bench, &connection, &["one"]).await,
        Err(Reason::NameNotGranted)
    );
}

#[tokio::test]
async fn what_a_token_limits_stays_limited_in_its_lineage() {
    let bench = Bench::new().await;
    let named = |names: &[&str]| json!({ "spiffeId": A, "dnsNames": names, "callers": ["token"] });
    bench.apply("a", named(&["one", "two"])).await;
    let limit = |row: &mut crate::store::TokenRow| {
        row.dns_names = vec!["one".to_owned()];
        row.life = 600;
    };
    let token = bench.token("t", A, "a", limit).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    let first = bench.issue(&nobody(), &csr(&key(), &[]), ask).await.unwrap();
    let renewed = bench
        .issue(&holder(&first), &csr(&key(), &[]), Ask::default())
        .await
        .unwrap();
    for issuance in [&first, &renewed] {
        assert_eq!(leaf(issuance).dns_names(), ["one"]);
        assert_eq!(
            issuance.validity.not_after() - bench.now(),
            time::Duration::seconds(600)
        );
    }
    assert_eq!(
        renew(&bench, &holder(&renewed), &["two"]).await,
        Err(Reason::NameNotGranted)
    );

    let late = bench.token("late", A, "a", limit).await;
    bench.apply("a", named(&["two"])).await;
    let ask = Ask {
        bearer: Some(&late),
        ..Ask::default()
    };
    assert_eq!(
        bench.refused(&nobody(), &csr(&key(), &[]), ask).await,
        Reason::NameNotGranted
    );
}

#[tokio::test]
async fn a_renewal_needs_the_registration_that_granted_it() {
    let bench = Bench::new().await;
    let spec = |renew_for: &str| json!({ "spiffeId": A, "callers": ["token"], "renewFor": renew_for });
    bench.apply("a", spec("2h")).await;
    let first = bench.enrol("t", A, "a").await;
    let connection = holder(&first);
    assert!(renew(&bench, &connection, &[]).await.is_ok());
    // The line of callers that admitted it is gone.
    bench
        .apply("a", json!({ "spiffeId": A, "callers": ["jwt:k8s:*"] }))
        .await;
    assert_eq!(
        renew(&bench, &connection, &[]).await,
        Err(Reason::IdentityNotGranted)
    );
    bench
        .apply("a", json!({ "spiffeId": B, "callers": ["token"] }))
        .await;
    assert_eq!(
        renew(&bench, &connection, &[]).await,
        Err(Reason::IdentityNotGranted)
    );
    bench.apply("a", spec("2h")).await;
    assert!(renew(&bench, &connection, &[]).await.is_ok());
    // The lineage is older than renewFor, counted from its first certificate.
    let mut newest = bench
        .issue(&connection, &csr(&key(), &[]), Ask::default())
        .await
        .unwrap();
    for _ in 0..3 {
        bench.later(HOUR * 2 / 3);
        newest = bench
            .issue(&holder(&newest), &csr(&key(), &[]), Ask::default())
            .await
            .unwrap();
    }
    bench.later(Duration::from_secs(1));
    assert_eq!(
        renew(&bench, &holder(&newest), &[]).await,
        Err(Reason::IdentityNotGranted)
    );
    // Deleted and applied again it is another one.
    bench.apply("a", spec("1d")).await;
    assert!(renew(&bench, &holder(&newest), &[]).await.is_ok());
    bench.delete("a").await;
    assert_eq!(
        renew(&bench, &holder(&newest), &[]).await,
        Err(Reason::IdentityNotGranted)
    );
    bench.apply("a", spec("1d")).await;
    assert_eq!(
        renew(&bench, &holder(&newest), &[]).await,
        Err(Reason::IdentityNotGranted)
    );
}

#[tokio::test]
async fn a_life_is_granted_refused_or_cut_for_proxies() {
    let bench = Bench::new().await;
    bench
        .apply(
            "a",
            json!({ "spiffeId": A, "callers": ["token"], "life": "5m", "maxLife": "10m" }),
        )
        .await;
    let csr = VerifiedCsr::parse(&csr(&key(), &[A])).unwrap();
    let ask = |seconds: u64, clip_life| {
        let wish = Wish {
            spiffe_id: None,
            csr: &csr,
            life: (seconds > 0).then(|| Duration::from_secs(seconds)),
            clip_life,
        };
        let grant = bench.registrations.authorize(&KERNEL, &wish, bench.now());
        grant
            .map(|grant| grant.life.as_secs())
            .map_err(|refusal| refusal.reason())
    };
    for clips in [false, true] {
        assert_eq!(ask(0, clips), Ok(300));
        assert_eq!(ask(600, clips), Ok(600));
        assert_eq!(ask(9, clips), Err(Reason::LifeTooShort));
        assert_eq!(ask(86_401, clips), Err(Reason::LifeTooLong));
        assert_eq!(ask(i64::MAX as u64, clips), Err(Reason::LifeTooLong));
    }
    assert_eq!(ask(601, false), Err(Reason::LifeTooLong));
    assert_eq!(ask(86_400, true), Ok(600));
}
