//! Downloads over plain HTTP, for whoever checks certificates: CRLs and authority certificates under the URLs that certificates carry
//! (RFC 5280 sections 4.2.1.13 and 4.2.2.1, media types of RFC 2585), and roots, which a fingerprint proves.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use identity::{Fingerprint, hex};
use issuance::AuthorityLocation;
use ring::digest::{SHA256, digest};

const CRL: HeaderValue = HeaderValue::from_static("application/pkix-crl");
const CERTIFICATE: HeaderValue = HeaderValue::from_static("application/pkix-cert");
/// Kept, but asked about each time: a CRL is reissued within seconds of a revocation.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// What can be downloaded, DER.
pub trait Published: Send + Sync {
    /// The CRL of the authority that publishes there.
    fn crl(&self, location: &AuthorityLocation) -> Option<Bytes>;
    /// The certificate of that authority.
    fn authority(&self, location: &AuthorityLocation) -> Option<Bytes>;
    /// The root with this fingerprint.
    fn root(&self, fingerprint: &Fingerprint) -> Option<Bytes>;
}

/// `GET` and `HEAD` of `/crl/<location>.crl`, `/ca/<location>.cer` and `/root/<fingerprint>.cer`; 404
/// otherwise. A location is `<key id>` or `<key id>-<generation>`.
pub fn router(published: Arc<dyn Published>) -> Router {
    Router::new()
        .route("/crl/{name}", get(crl))
        .route("/ca/{name}", get(authority))
        .route("/root/{name}", get(root))
        .with_state(published)
}

type Source = State<Arc<dyn Published>>;

async fn crl(State(published): Source, Path(name): Path<String>, asked: HeaderMap) -> Response {
    let der = location(&name, ".crl").and_then(|at| published.crl(&at));
    answer(der, CRL, &asked)
}

async fn authority(State(published): Source, Path(name): Path<String>, asked: HeaderMap) -> Response {
    let der = location(&name, ".cer").and_then(|at| published.authority(&at));
    answer(der, CERTIFICATE, &asked)
}

async fn root(State(published): Source, Path(name): Path<String>, asked: HeaderMap) -> Response {
    let fingerprint = name.strip_suffix(".cer").and_then(|text| text.parse().ok());
    answer(
        fingerprint.and_then(|of| published.root(&of)),
        CERTIFICATE,
        &asked,
    )
}

fn location(name: &str, suffix: &str) -> Option<AuthorityLocation> {
    name.strip_suffix(suffix)?.parse().ok()
}

fn answer(der: Option<Bytes>, media_type: HeaderValue, asked: &HeaderMap) -> Response {
    let Some(der) = der else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", hex::encode(digest(&SHA256, &der).as_ref()));
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| matches(value, &tag));
    let tag = HeaderValue::from_str(&tag).expect("hex between quotes is a header value");
    let facts = [(header::ETAG, tag), (header::CACHE_CONTROL, REVALIDATE)];
    if known {
        return (StatusCode::NOT_MODIFIED, facts).into_response();
    }
    (facts, [(header::CONTENT_TYPE, media_type)], der).into_response()
}

/// RFC 9110 section 13.1.2: a list of tags, weak ones too, or `*`.
fn matches(value: &HeaderValue, tag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',')
            .map(|item| item.trim().trim_start_matches("W/"))
            .any(|item| item == tag || item == "*")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    const ROOT: &[u8] = b"root";

    struct Shelf;

    impl Published for Shelf {
        fn crl(&self, location: &AuthorityLocation) -> Option<Bytes> {
            match (location.key_id(), location.generation()) {
                ([0x0a, 0xbc], 0) => Some(Bytes::from_static(b"crl")),
                ([0x0a, 0xbc], 2) => Some(Bytes::from_static(b"second crl")),
                _ => None,
            }
        }
        fn authority(&self, location: &AuthorityLocation) -> Option<Bytes> {
            match (location.key_id(), location.generation()) {
                ([0x0a, 0xbc], 0) => Some(Bytes::from_static(b"certificate")),
                ([0x0a, 0xbc], 2) => Some(Bytes::from_static(b"second certificate")),
                _ => None,
            }
        }
        fn root(&self, fingerprint: &Fingerprint) -> Option<Bytes> {
            (*fingerprint == Fingerprint::of(ROOT)).then(|| Bytes::from_static(ROOT))
        }
    }

    async fn ask(method: &str, path: &str, none_match: Option<&str>) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = none_match {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = router(Arc::new(Shelf))
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, body)
    }

    #[tokio::test]
    async fn each_document_has_its_path_and_media_type() {
        let root = format!("/root/{}.cer", Fingerprint::of(ROOT));
        for (path, media_type, bytes) in [
            ("/crl/0abc.crl", "application/pkix-crl", &b"crl"[..]),
            ("/crl/0ABC.crl", "application/pkix-crl", b"crl"),
            ("/ca/0abc.cer", "application/pkix-cert", b"certificate"),
            ("/crl/0abc-2.crl", "application/pkix-crl", b"second crl"),
            ("/ca/0abc-2.cer", "application/pkix-cert", b"second certificate"),
            (&root, "application/pkix-cert", ROOT),
        ] {
            let (status, headers, body) = ask("GET", path, None).await;
            assert_eq!(
                (status, &headers[header::CONTENT_TYPE], &body[..]),
                (StatusCode::OK, &media_type.parse().unwrap(), bytes)
            );
            let (status, headers, body) = ask("HEAD", path, None).await;
            assert_eq!(
                (status, &headers[header::CONTENT_LENGTH]),
                (StatusCode::OK, &bytes.len().into())
            );
            assert!(body.is_empty());
        }
    }

    #[tokio::test]
    async fn all_else_is_not_found() {
        let long = format!("/crl/{}.crl", "a".repeat(200));
        for path in [
            "/",
            "/crl",
            "/crl/",
            "/crl/0abc",
            "/crl/0abc.cer",
            "/crl/0abd.crl",
            "/crl/0abc-1.crl",
            "/crl/0abc-0.crl",
            "/crl/0abc-02.crl",
            "/crl/.crl",
            "/crl/zz.crl",
            "/crl/%00.crl",
            "/crl/../ca/0abc.cer",
            "/ca/0abc.crl",
            "/root/0abc.cer",
            &long,
        ] {
            assert_eq!(ask("GET", path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(
            ask("POST", "/crl/0abc.crl", None).await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }

    #[tokio::test]
    async fn who_has_it_already_is_told_so() {
        let (_, headers, _) = ask("GET", "/crl/0abc.crl", None).await;
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let (status, _, body) = ask("GET", "/crl/0abc.crl", Some(&known)).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        }
        assert_eq!(ask("GET", "/crl/0abc.crl", Some("\"x\"")).await.0, StatusCode::OK);
    }
}
