//! Two proofs of one call: the bearer's identities against the certificate's.

use serde_json::{Map, json};

use super::*;
use crate::authority::bench::{A, B, Bench, holder};
use crate::caller::{ForeignCertificate, TokenProof, VerifiedJwt};

const DEVICE: &str = "spiffe://example.org/device/D-1";

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench
        .apply(
            "a",
            json!({ "spiffeId": A, "callers": ["token", "jwt:k8s:a", "jwt:k8s:both"] }),
        )
        .await;
    bench
        .apply(
            "b",
            json!({ "spiffeId": B, "callers": ["jwt:k8s:b", "jwt:k8s:both"] }),
        )
        .await;
    let devices = json!({
        "role": "device",
        "spiffeId": "/device/{{ certificate.id }}",
        "callers": ["certificate:factory:D-*", "token"],
    });
    bench.apply("devices", devices).await;
    bench
}

fn token(id: &str) -> Bearer {
    Bearer::Token(TokenProof {
        id: "t".to_owned(),
        spiffe_id: SpiffeId::new(id).unwrap(),
        is_redeemed: false,
    })
}

fn jwt(subject: &str) -> Bearer {
    Bearer::Jwt(VerifiedJwt {
        provider: "k8s".to_owned(),
        subject: subject.to_owned(),
        claims: Map::new(),
    })
}

fn factory(id: &str) -> Option<Verified> {
    Some(Verified::Foreign(ForeignCertificate {
        provider: "factory".to_owned(),
        id: id.to_owned(),
    }))
}

#[tokio::test]
async fn a_bearer_and_a_certificate_that_name_two_identities_are_refused_whoever_signed_the_certificate() {
    let bench = bench().await;
    let connection = holder(&bench.enrol("t", A, "a").await);
    let own = || bench.callers.certificate(&connection, bench.now()).unwrap();
    for (bearer, beside, agrees) in [
        (token(A), own(), true),
        (token(B), own(), false),
        (token(DEVICE), own(), false),
        (jwt("a"), own(), true),
        (jwt("both"), own(), true),
        (jwt("b"), own(), false),
        (token(DEVICE), factory("D-1"), true),
        (token(DEVICE), factory("D-2"), false),
        (token(A), factory("D-1"), false),
        (jwt("a"), factory("D-1"), false),
        // Where registrations give nothing to one of the two, it names nobody: the bearer alone is judged further.
        (token(A), factory("E-1"), true),
        (jwt("nobody"), own(), true),
        (jwt("nobody"), factory("D-1"), true),
        (token(A), None, true),
    ] {
        let what = format!("{bearer:?} beside {beside:?}");
        let agreed = bench.registrations.agree(&Attested::Bearer { bearer, beside });
        match agreed {
            Ok(()) => assert!(agrees, "{what}"),
            Err(refusal) => {
                assert!(!agrees, "{what}");
                assert_eq!(refusal.reason(), Reason::ProofsDisagree, "{what}");
            }
        }
    }
}
