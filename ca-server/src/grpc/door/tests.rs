//! Requests on their way through the door, to real services: each refusal counts once under its word.

use axum::body::Body as Bytes;
use proto::istio::istio_certificate_service_server::IstioCertificateServiceServer;
use proto::v1::certificate_authority_server::CertificateAuthorityServer;
use runtime::drain::Drain;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::authority::bench::{Bench, nobody};
use crate::grpc::{CertificateAuthorityService, IstioCertificateService};

const ISSUE: &str = "/signet.v1.CertificateAuthority/IssueCertificate";
const BUNDLE: &str = "/signet.v1.CertificateAuthority/GetBundle";
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// A gRPC request with one message, which says that it has `length` bytes.
fn request(path: &str, length: usize, message: &[u8]) -> http::Request<Body> {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .body(Body::new(Bytes::from(body)))
        .unwrap();
    request.extensions_mut().insert(Arc::new(nobody()));
    request
}

fn door(bench: &Bench, in_flight: Option<usize>) -> DoorLayer {
    DoorLayer::new(bench.judge(), Arc::clone(&bench.metrics), in_flight)
}

/// The refusal that a request gets from the service that its path names.
async fn refused(bench: &Bench, request: http::Request<Body>) -> (Code, Refusal) {
    let layer = door(bench, None);
    let response = if request.uri().path() == CREATE {
        let service = IstioCertificateService::new(Arc::clone(&bench.authority));
        let service = IstioCertificateServiceServer::new(service);
        let service = service.max_decoding_message_size(proto::MAX_MESSAGE_BYTES);
        layer.layer(service).oneshot(request).await.unwrap()
    } else {
        let service = CertificateAuthorityService::new(Arc::clone(&bench.authority), Drain::new());
        let service = CertificateAuthorityServer::new(service);
        let service = service.max_decoding_message_size(proto::MAX_MESSAGE_BYTES);
        layer.layer(service).oneshot(request).await.unwrap()
    };
    let status = Status::from_header_map(response.headers()).unwrap();
    (status.code(), Refusal::from_status(&status))
}

#[tokio::test]
async fn every_refusal_of_every_method_counts_once_under_its_word() {
    let bench = Bench::new().await;
    let huge = proto::MAX_MESSAGE_BYTES + 1;
    let long = [&[0x0a, 0x80, 0x08][..], &[b'x'; 1024]].concat();
    for (request, code, expected) in [
        (request(ISSUE, 0, &[]), Code::Unauthenticated, Reason::NoProof),
        (
            request(ISSUE, 2, &[0xff, 0xff]),
            Code::InvalidArgument,
            Reason::ResourceInvalid,
        ),
        (
            request(CREATE, 2, &[0xff, 0xff]),
            Code::InvalidArgument,
            Reason::ResourceInvalid,
        ),
        (
            request(BUNDLE, 2, &[0xff, 0xff]),
            Code::InvalidArgument,
            Reason::ResourceInvalid,
        ),
        (
            request(ISSUE, huge, &[]),
            Code::ResourceExhausted,
            Reason::TooLarge,
        ),
        (
            request(CREATE, huge, &[]),
            Code::ResourceExhausted,
            Reason::TooLarge,
        ),
        (
            request(BUNDLE, huge, &[]),
            Code::ResourceExhausted,
            Reason::TooLarge,
        ),
        (
            request(BUNDLE, long.len(), &long),
            Code::NotFound,
            Reason::NotFound,
        ),
    ] {
        let path = request.uri().path().to_owned();
        let word = format!("signet_refusals_total{{reason=\"{}\"}}", expected.word());
        let before = (bench.refusals(), bench.count(&word));
        let (found, refusal) = refused(&bench, request).await;
        assert_eq!((found, refusal.reason()), (code, expected), "{path}");
        assert_eq!(
            (bench.refusals(), bench.count(&word)),
            (before.0 + 1, before.1 + 1),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_proxy_learns_no_reason_and_the_metric_has_it() {
    let bench = Bench::new().await;
    let (code, refusal) = refused(&bench, request(CREATE, 0, &[])).await;
    assert_eq!(
        (code, refusal.message()),
        (Code::Unauthenticated, "request authenticate failure")
    );
    assert_eq!(bench.count("signet_refusals_total{reason=\"NO_PROOF\"}"), 1);
    assert_eq!(bench.refusals(), 1);
}

#[tokio::test]
async fn a_command_that_was_handed_over_holds_the_place_of_a_caller_that_hangs_up() {
    let bench = Bench::new().await;
    // As the store does with each command.
    let handed_over = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hand_over = Arc::clone(&handed_over);
    let service = service_fn(move |_: http::Request<Body>| {
        let hand_over = Arc::clone(&hand_over);
        async move {
            hand_over
                .lock()
                .unwrap()
                .push(Place::current().expect("a request has a place"));
            std::future::pending::<()>().await;
            Ok::<_, std::convert::Infallible>(Status::ok("").into_http::<Body>())
        }
    });
    let door = door(&bench, Some(1)).layer(service);
    let refused = async || {
        let answer = tokio::time::timeout(Duration::ZERO, door.clone().oneshot(request(ISSUE, 0, &[]))).await;
        answer.is_ok()
    };
    assert!(!refused().await, "the first is served until its caller hangs up");
    assert!(refused().await);
    assert_eq!(bench.count("signet_requests_in_flight"), 1);
    handed_over.lock().unwrap().clear();
    assert_eq!(bench.count("signet_requests_in_flight"), 0);
    assert!(!refused().await);
}

#[tokio::test]
async fn who_finds_no_place_is_told_when_to_come_back_and_a_place_is_free_after_its_answer() {
    let bench = Bench::new().await;
    let (release, wait) = tokio::sync::watch::channel(false);
    let service = service_fn(move |_: http::Request<Body>| {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.unwrap();
            Ok::<_, std::convert::Infallible>(Status::ok("").into_http::<Body>())
        }
    });
    let door = door(&bench, Some(1)).layer(service);
    let first = tokio::spawn(door.clone().oneshot(request(ISSUE, 0, &[])));
    while bench.count("signet_requests_in_flight") == 0 {
        tokio::task::yield_now().await;
    }
    let second = door.clone().oneshot(request(ISSUE, 0, &[])).await.unwrap();
    let refusal = Refusal::from_status(&Status::from_header_map(second.headers()).unwrap());
    assert_eq!(
        (refusal.reason(), refusal.delay()),
        (Reason::TooManyInFlight, Some(RETRY))
    );
    assert_eq!(bench.refusals(), 1);
    release.send(true).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(bench.count("signet_requests_in_flight"), 0);
    let third = door.oneshot(request(ISSUE, 0, &[])).await.unwrap();
    assert_eq!(Status::from_header_map(third.headers()).unwrap().code(), Code::Ok);
}
