//! The protocol of stock proxies: layout of the chain, lives, and the one message of failed authentication.

use prost_types::{Struct, Value, value};
use proto::istio::istio_certificate_service_server::IstioCertificateService as _;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tonic::Code;

use super::*;
use crate::authority::bench::{A, Bench, nobody};

async fn bench() -> (Bench, String) {
    let bench = Bench::new().await;
    let spec = json!({ "spiffeId": A, "callers": ["token"], "maxLife": "2h" });
    bench.apply("a", spec).await;
    let token = bench.token("t", A, "a", |_| ()).await;
    (bench, token)
}

fn wish(seconds: i64) -> istio::IstioCertificateRequest {
    let csr = CertificateParams::default()
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    istio::IstioCertificateRequest {
        csr: csr.pem().unwrap(),
        validity_duration: seconds,
        metadata: None,
    }
}

async fn call(
    bench: &Bench,
    token: &str,
    message: istio::IstioCertificateRequest,
) -> Result<Vec<String>, Status> {
    let service = IstioCertificateService::new(Arc::clone(&bench.authority));
    ask(&service, token, message).await
}

async fn ask(
    service: &IstioCertificateService,
    token: &str,
    message: istio::IstioCertificateRequest,
) -> Result<Vec<String>, Status> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Arc::new(nobody()));
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let answer = service.create_certificate(request).await;
    answer.map(|answer| answer.into_inner().cert_chain)
}

fn metadata(kind: Option<value::Kind>) -> Option<Struct> {
    let fields = [(IMPERSONATED.to_owned(), Value { kind })];
    Some(Struct {
        fields: fields.into_iter().collect(),
    })
}

#[tokio::test]
async fn the_chain_is_the_leaf_then_each_intermediate_then_all_roots() {
    let (bench, token) = bench().await;
    let chain = call(&bench, &token, wish(0)).await.unwrap();
    assert_eq!(chain.len(), 3);
    for element in &chain {
        assert_eq!(element.matches("-----BEGIN CERTIFICATE-----").count(), 1);
        assert!(element.ends_with("-----END CERTIFICATE-----\n"));
    }
    assert_eq!(chain[2], certificate_pem(bench.root.certificate()));
}

#[tokio::test]
async fn an_answer_has_the_intermediate_that_signed_its_leaf() {
    let (bench, token) = bench().await;
    let again = bench.token("u", A, "a", |_| ()).await;
    let service = IstioCertificateService::new(Arc::clone(&bench.authority));
    let (old, new) = (wish(0), wish(0));
    let first = ask(&service, &token, old.clone()).await.unwrap();
    bench.renew_authority().await;
    let second = ask(&service, &again, new).await.unwrap();
    assert_ne!(second[1], first[1]);
    let authority = bench.signers.current();
    assert_eq!(
        second[1],
        certificate_pem(&authority.active().unwrap().chain()[0])
    );
    assert_eq!(second[2], first[2]);
    let replayed = ask(&service, &token, old).await.unwrap();
    assert_eq!(replayed, first);
}

#[tokio::test]
async fn a_life_is_cut_to_the_registration_and_refused_above_the_profile() {
    let (bench, _) = bench().await;
    for (n, seconds, expected) in [(0, i64::MIN, 3600), (1, 0, 3600), (2, 60, 60), (3, 86_400, 7200)] {
        let token = bench.token(&format!("t{n}"), A, "a", |_| ()).await;
        let chain = call(&bench, &token, wish(seconds)).await.unwrap();
        let der = rustls_pki_types::pem::PemObject::from_pem_slice(chain[0].as_bytes()).unwrap();
        let der: CertificateDer<'_> = der;
        let life = identity::Leaf::parse(&der).unwrap().validity().not_after() - bench.now();
        assert_eq!(life.whole_seconds(), expected, "{seconds}");
    }
    let token = bench.token("long", A, "a", |_| ()).await;
    for seconds in [86_401, i64::MAX] {
        let status = call(&bench, &token, wish(seconds)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Refusal::from_status(&status).reason(), Reason::LifeTooLong);
    }
}

#[tokio::test]
async fn failed_authentication_has_one_message_and_all_else_its_reason() {
    let (bench, token) = bench().await;
    let other = value::Kind::StringValue("spiffe://example.org/ns/x/sa/y".to_owned());
    let impersonating = istio::IstioCertificateRequest {
        metadata: metadata(Some(other)),
        ..wish(0)
    };
    for (bearer, message) in [
        ("sgt1.x", wish(0)),
        ("a.b.c", wish(0)),
        (token.as_str(), impersonating),
    ] {
        let status = call(&bench, bearer, message).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unauthenticated, UNAUTHENTICATED)
        );
        assert!(status.details().is_empty());
    }
    for (message, reason) in [
        (
            istio::IstioCertificateRequest {
                csr: "x".to_owned(),
                ..wish(0)
            },
            Reason::CsrMalformed,
        ),
        (
            istio::IstioCertificateRequest {
                metadata: metadata(Some(value::Kind::BoolValue(true))),
                ..wish(0)
            },
            Reason::ResourceInvalid,
        ),
    ] {
        let status = call(&bench, &token, message).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Refusal::from_status(&status).reason(), reason);
    }
    let nobodys = istio::IstioCertificateRequest {
        metadata: metadata(Some(value::Kind::StringValue(String::new()))),
        ..wish(0)
    };
    assert!(call(&bench, &token, nobodys).await.is_ok());
}
