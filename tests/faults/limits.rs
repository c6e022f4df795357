//! What is too large or too much is refused with its word, and every refusal is counted once, whatever port it came by.

use std::time::Duration;

use hyper::body::{Bytes, Frame};
use identity::Reason;
use proto::Refusal;
use proto::v1::ListTokensRequest;
use proto::v1::tokens_client::TokensClient;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{admin, configured};
use crate::support::wire::{answered, csr, key};
use crate::support::{Server, Wire, http_get, wait_for};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const CSR_LIMIT: usize = 64 * 1024;
const MESSAGE_LIMIT: usize = 256 * 1024;

/// All refusals that were counted so far, of any reason.
fn refusals(server: &Server) -> f64 {
    let text = http_get(server.fact("metrics"), "/metrics").1;
    let counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("signet_refusals_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    counts.sum()
}

/// Counts what one call adds to the refusals, of this reason and of all.
struct Count<'a> {
    server: &'a Server,
    reason: Reason,
    before: (f64, f64),
}

impl<'a> Count<'a> {
    fn of(server: &'a Server, reason: Reason) -> Self {
        let before = Self::now(server, reason);
        Self {
            server,
            reason,
            before,
        }
    }

    fn now(server: &Server, reason: Reason) -> (f64, f64) {
        let name = format!("signet_refusals_total{{reason=\"{}\"}}", reason.word());
        (server.metric(&name), refusals(server))
    }

    fn is_one(&self, what: &str) {
        let after = Self::now(self.server, self.reason);
        let added = (after.0 - self.before.0, after.1 - self.before.1);
        assert_eq!(added, (1.0, 1.0), "{what}: {} and all refusals", self.reason);
    }
}

fn is_too_large(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(Refusal::from_status(status).reason(), Reason::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csr_or_message_that_is_too_large_is_refused_alike_on_both_protocols_and_on_the_socket() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    let admin = admin(&server).await;
    for size in [CSR_LIMIT + 1, MESSAGE_LIMIT + 1, 1024 * 1024] {
        // Nested as deeply as the bytes allow: nobody should come to parse it.
        let bomb = vec![0x30; size];

        let count = Count::of(&server, Reason::TooLarge);
        let refusal = wire.issue(bomb.clone(), None).await.expect_err("too large");
        assert_eq!(refusal.reason(), Reason::TooLarge, "{refusal}");
        is_too_large(&refusal.to_status());
        count.is_one(&format!("{size} bytes on signet.v1"));

        let count = Count::of(&server, Reason::TooLarge);
        let text = String::from_utf8(bomb.clone()).expect("ASCII");
        is_too_large(&wire.create(text, None).await.expect_err("too large"));
        count.is_one(&format!("{size} bytes on istio.v1.auth"));

        let count = Count::of(&server, Reason::TooLarge);
        is_too_large(&admin.issue(bomb, WEB).await.expect_err("too large"));
        count.is_one(&format!("{size} bytes on admin.sock"));
    }
    let limit = Refusal::from_status(
        &wire
            .create("0".repeat(CSR_LIMIT + 1), None)
            .await
            .expect_err("too large"),
    );
    assert_eq!(limit.evidence("limit"), Some("65536"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_are_too_large_and_as_many_as_fit_are_refused_by_name() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    let (token, _) = admin(&server).await.create_token(WEB).await.expect("a token");
    let named = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}.example")).collect();
        key().request(None, &names).expect("a CSR").to_vec()
    };

    let csr = named(10_000);
    assert!(csr.len() > CSR_LIMIT && csr.len() < MESSAGE_LIMIT);
    let count = Count::of(&server, Reason::TooLarge);
    let refusal = wire.issue(csr, Some(&token)).await.expect_err("too many names");
    assert_eq!(refusal.reason(), Reason::TooLarge, "{refusal}");
    count.is_one("10 000 names");

    let count = Count::of(&server, Reason::NameNotGranted);
    let refusal = wire
        .issue(named(2), Some(&token))
        .await
        .expect_err("names that nobody granted");
    assert_eq!(refusal.reason(), Reason::NameNotGranted, "{refusal}");
    assert_eq!(refusal.evidence("name"), Some("n0.example"));
    count.is_one("two names");

    // None of it has spent the token.
    let key = key();
    wire.issue(csr_of_web(&key), Some(&token))
        .await
        .expect("a certificate");
}

fn csr_of_web(key: &client_lib::PrivateKey) -> Vec<u8> {
    csr(key, WEB)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_counts_once_under_its_word_on_every_port() {
    let server = Server::up();
    let admin = admin(&server).await;
    let wire = Wire::connect(&server, None).await;
    let (token, _) = admin.create_token(WEB).await.expect("a token");
    let key = key();
    let own = wire
        .issue(csr(&key, WEB), Some(&token))
        .await
        .expect("a certificate");
    let own = Wire::connect(&server, Some(answered(&own, &key))).await;
    let pem = identity::bundle::pem("CERTIFICATE REQUEST", &csr_of_web(&key));

    let bearers = [
        (None, Reason::NoProof),
        (Some("sgt1.AAAA"), Reason::TokenInvalid),
        (Some("a.b.c"), Reason::JwtInvalid),
    ];
    for (bearer, reason) in bearers {
        let count = Count::of(&server, reason);
        let refusal = wire.issue(csr_of_web(&key), bearer).await.expect_err("no proof");
        assert_eq!(refusal.reason(), reason, "{refusal}");
        count.is_one("signet.v1");
        let count = Count::of(&server, reason);
        wire.create(pem.clone(), bearer).await.expect_err("no proof");
        count.is_one("istio.v1.auth");
    }

    let count = Count::of(&server, Reason::CsrMalformed);
    let refusal = own.issue(b"nonsense".to_vec(), None).await.expect_err("no CSR");
    assert_eq!(refusal.reason(), Reason::CsrMalformed, "{refusal}");
    count.is_one("signet.v1, authenticated");
    let count = Count::of(&server, Reason::CsrMalformed);
    own.create("nonsense".to_owned(), None).await.expect_err("no CSR");
    count.is_one("istio.v1.auth, authenticated");

    let count = Count::of(&server, Reason::NotAdmin);
    let mut tokens = TokensClient::new(own.0.clone());
    let refused = tokens.list_tokens(ListTokensRequest::default()).await;
    let refusal = Refusal::from_status(&refused.expect_err("no administrator"));
    assert_eq!(refusal.reason(), Reason::NotAdmin);
    count.is_one("an administrator's service");

    let count = Count::of(&server, Reason::NotFound);
    admin.certificate("0a").await.expect_err("nothing");
    count.is_one("admin.sock");
    let count = Count::of(&server, Reason::IdentityNotGranted);
    let other = "spiffe://example.org/ns/default/sa/nobody";
    let refused = admin.issue(csr(&key, other), other).await;
    refused.expect_err("nobody registered it");
    count.is_one("issuing on admin.sock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_protobuf_counts_once_and_is_the_callers_fault() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    for path in [
        "/signet.v1.CertificateAuthority/IssueCertificate",
        "/istio.v1.auth.IstioCertificateService/CreateCertificate",
        "/signet.v1.Tokens/ListTokens",
    ] {
        // A gRPC frame of three bytes that announce a field and do not bring it.
        let count = Count::of(&server, Reason::ResourceInvalid);
        let frame = [0, 0, 0, 0, 3, 0x0a, 0x7f, 0x00];
        let body = Body::new(http_body_util::Full::from(frame.to_vec()));
        let response = wire.0.clone().oneshot(post(path, body)).await.expect("an answer");
        let status = Status::from_header_map(response.headers()).expect("a status in the headers");
        assert_eq!(status.code(), Code::InvalidArgument, "{path}: {status:?}");
        count.is_one(path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_in_flight_than_allowed_are_told_when_to_come_again_and_later_ones_are_served() {
    let server = configured("limits: { inFlight: 1 }\n");
    let wire = Wire::connect(&server, None).await;
    let held = Wire::connect(&server, None).await;
    // A request whose message does not come.
    let path = "/signet.v1.CertificateAuthority/IssueCertificate";
    let body = Body::new(http_body_util::StreamBody::new(never()));
    let held = tokio::spawn(async move { held.0.oneshot(post(path, body)).await });
    let in_flight = || server.metric("signet_requests_in_flight");
    tokio::task::block_in_place(|| wait_for("the request", || (in_flight() >= 1.0).then_some(())));

    let count = Count::of(&server, Reason::TooManyInFlight);
    let refusal = wire.issue(csr_of_web(&key()), None).await.expect_err("no place");
    assert_eq!(refusal.reason(), Reason::TooManyInFlight, "{refusal}");
    assert!(refusal.delay().is_some_and(|delay| delay > Duration::ZERO));
    count.is_one("signet.v1");
    let count = Count::of(&server, Reason::TooManyInFlight);
    let status = wire.create(String::new(), None).await.expect_err("no place");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(Refusal::from_status(&status).delay().is_some());
    count.is_one("istio.v1.auth");

    held.abort();
    tokio::task::block_in_place(|| wait_for("the place", || (in_flight() == 0.0).then_some(())));
    let refusal = wire.issue(csr_of_web(&key()), None).await.expect_err("no proof");
    assert_eq!(refusal.reason(), Reason::NoProof, "{refusal}");
}

/// The frames of a body that does not come.
fn never() -> tokio_stream::Pending<Result<Frame<Bytes>, Status>> {
    tokio_stream::pending()
}

fn post(path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request")
}
