//! The service `Certificates`, asked by an administrator and by others.

use super::*;
use crate::grpc::admin::bench::{Bench, NOW};
use std::time::Duration;
use v1::certificates_server::Certificates;

const A: &str = "spiffe://example.org/ns/default/sa/a";
const B: &str = "spiffe://example.org/ns/default/sa/b";
const DEVICE: &str = "spiffe://example.org/device/1";
const HOUR: Duration = Duration::from_secs(3600);

fn service(bench: &Bench) -> CertificatesService {
    CertificatesService::new(bench.admin.clone())
}

async fn get(bench: &Bench, serial: &str) -> Result<v1::Certificate, Refusal> {
    let request = v1::GetCertificateRequest {
        serial: serial.to_owned(),
    };
    let answer = service(bench).get_certificate(bench.call(request)).await;
    answer
        .map(Response::into_inner)
        .map_err(|status| Refusal::from_status(&status))
}

/// The serial numbers on all pages, and how many pages there were.
async fn list(bench: &Bench, mut request: v1::ListCertificatesRequest) -> (Vec<String>, usize) {
    let (mut serials, mut pages) = (Vec::new(), 0);
    loop {
        let page = service(bench)
            .list_certificates(bench.call(request.clone()))
            .await
            .unwrap()
            .into_inner();
        serials.extend(
            page.certificates
                .into_iter()
                .map(|certificate| certificate.serial),
        );
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (serials, pages);
        }
    }
}

async fn revoke(bench: &Bench, which: Which, reason: &str) -> Result<Vec<String>, Refusal> {
    let request = v1::RevokeCertificatesRequest {
        which: Some(which),
        reason: reason.to_owned(),
    };
    let answer = service(bench).revoke_certificates(bench.call(request)).await;
    answer
        .map(|answer| answer.into_inner().serials)
        .map_err(|status| Refusal::from_status(&status))
}

fn texts(serials: &[Serial]) -> Vec<String> {
    serials.iter().map(Serial::to_string).collect()
}

#[tokio::test]
async fn a_certificate_is_found_by_any_spelling_of_its_serial_with_all_that_the_record_says() {
    let bench = Bench::new();
    let (parent, _) = bench.issue(A, HOUR, None).await;
    let (serial, key) = bench.issue(A, HOUR, Some(parent)).await;
    let found = get(&bench, &serial.to_string()).await.unwrap();
    assert_eq!(
        (found.spiffe_id.as_str(), found.dns_names.as_slice()),
        (A, &["a.example.org".to_owned()][..])
    );
    assert_eq!(
        (&found.key_digest, &found.parent_serial),
        (&key.to_string(), &parent.to_string())
    );
    assert_eq!(
        (
            found.method.as_str(),
            found.caller.as_str(),
            found.authority.as_str()
        ),
        ("token", "token:t1", "ab")
    );
    assert_eq!(found.not_after.unwrap().seconds, (NOW + HOUR).unix_timestamp());
    assert_eq!((found.journal_position, found.revoked_at), (2, None));
    assert_eq!(Leaf::parse(&found.der).unwrap().serial(), serial);
    let shouted = format!("0{}", serial.to_string().to_uppercase());
    assert_eq!(get(&bench, &shouted).await.unwrap().serial, serial.to_string());
    assert_eq!(get(&bench, "ff").await.unwrap_err().reason(), Reason::NotFound);
    assert_eq!(
        get(&bench, "no").await.unwrap_err().reason(),
        Reason::ResourceInvalid
    );
}

#[tokio::test]
async fn lists_are_filtered_and_come_newest_first_in_pages() {
    let bench = Bench::new();
    let (short, _) = bench.issue(A, HOUR, None).await;
    let (other, key) = bench.issue(B, 3 * HOUR, None).await;
    let (device, _) = bench.issue(DEVICE, 4 * HOUR, None).await;
    let (long, _) = bench.issue(A, 5 * HOUR, None).await;
    bench.later(2 * HOUR);
    let all = v1::ListCertificatesRequest::default();
    let of = |spiffe_id: &str| v1::ListCertificatesRequest {
        spiffe_id: spiffe_id.to_owned(),
        ..all.clone()
    };
    let with_ended = |request: v1::ListCertificatesRequest| v1::ListCertificatesRequest {
        include_expired: true,
        ..request
    };
    for (request, expected) in [
        (all.clone(), vec![long, device, other]),
        (with_ended(all.clone()), vec![long, device, other, short]),
        (of(A), vec![long]),
        (with_ended(of(A)), vec![long, short]),
        (of("spiffe://example.org/ns/*"), vec![long, other]),
        (of("spiffe://example.org/none/*"), vec![]),
        (
            v1::ListCertificatesRequest {
                key_digest: key.to_string(),
                ..all.clone()
            },
            vec![other],
        ),
        (
            v1::ListCertificatesRequest {
                expires_before: Some(seconds((NOW + 4 * HOUR).unix_timestamp())),
                ..all.clone()
            },
            vec![other],
        ),
    ] {
        assert_eq!(
            list(&bench, request.clone()).await.0,
            texts(&expected),
            "{request:?}"
        );
        let small = v1::ListCertificatesRequest {
            page_size: 1,
            ..request
        };
        let (found, pages) = list(&bench, small).await;
        assert_eq!(found, texts(&expected));
        assert!(pages >= expected.len());
    }
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused_with_its_field() {
    let bench = Bench::new();
    let all = v1::ListCertificatesRequest::default;
    for (request, field) in [
        (
            v1::ListCertificatesRequest {
                spiffe_id: "x".to_owned(),
                ..all()
            },
            "spiffe_id",
        ),
        (
            v1::ListCertificatesRequest {
                spiffe_id: "spiffe://*/a*".to_owned(),
                ..all()
            },
            "spiffe_id",
        ),
        (
            v1::ListCertificatesRequest {
                key_digest: "ab".to_owned(),
                ..all()
            },
            "key_digest",
        ),
        (
            v1::ListCertificatesRequest {
                page_size: -1,
                ..all()
            },
            "page_size",
        ),
        (
            v1::ListCertificatesRequest {
                page_token: "x".to_owned(),
                ..all()
            },
            "page_token",
        ),
    ] {
        let status = service(&bench)
            .list_certificates(bench.call(request))
            .await
            .unwrap_err();
        let refusal = Refusal::from_status(&status);
        assert_eq!(
            (refusal.reason(), refusal.evidence("field")),
            (Reason::ResourceInvalid, Some(field))
        );
    }
}

#[tokio::test]
async fn one_certificate_is_revoked_by_its_serial_and_says_so_afterwards() {
    let bench = Bench::new();
    let (serial, _) = bench.issue(A, HOUR, None).await;
    let (other, _) = bench.issue(A, HOUR, None).await;
    let revoked = revoke(&bench, Which::Serial(serial.to_string()), "keyCompromise")
        .await
        .unwrap();
    assert_eq!(revoked, [serial.to_string()]);
    let found = get(&bench, &serial.to_string()).await.unwrap();
    assert_eq!(found.revocation_reason, "keyCompromise");
    assert_eq!(found.revoked_at.unwrap().seconds, NOW.unix_timestamp());
    assert_eq!(get(&bench, &other.to_string()).await.unwrap().revoked_at, None);
    let again = revoke(&bench, Which::Serial(serial.to_string()), "")
        .await
        .unwrap();
    assert!(again.is_empty());
    let lines = bench.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["serial"]),
        (&"changed".into(), &serial.to_string().into())
    );
}

#[tokio::test]
async fn an_identity_loses_all_certificates_that_count() {
    let bench = Bench::new();
    let (_ended, _) = bench.issue(A, HOUR, None).await;
    let (one, _) = bench.issue(A, 5 * HOUR, None).await;
    let (_other, _) = bench.issue(B, 5 * HOUR, None).await;
    let (two, _) = bench.issue(A, 5 * HOUR, None).await;
    bench.later(2 * HOUR);
    let mut revoked = revoke(&bench, Which::SpiffeId(A.to_owned()), "superseded")
        .await
        .unwrap();
    revoked.sort();
    assert_eq!(revoked, texts(&[one, two]));
}

#[tokio::test]
async fn a_lineage_is_a_certificate_and_everything_renewed_from_it() {
    let bench = Bench::new();
    let (root, _) = bench.issue(A, 9 * HOUR, None).await;
    let (ended, _) = bench.issue(A, HOUR, Some(root)).await;
    let (child, _) = bench.issue(A, 9 * HOUR, Some(ended)).await;
    let (fork, _) = bench.issue(A, 9 * HOUR, Some(ended)).await;
    let (_stranger, _) = bench.issue(A, 9 * HOUR, None).await;
    bench.later(2 * HOUR);
    let mut revoked = revoke(&bench, Which::Lineage(ended.to_string()), "")
        .await
        .unwrap();
    revoked.sort();
    assert_eq!(revoked, texts(&[child, fork]));
    let rest = revoke(&bench, Which::Lineage(root.to_string()), "")
        .await
        .unwrap();
    assert_eq!(rest, texts(&[root]));
}

#[tokio::test]
async fn what_cannot_be_revoked_is_told_with_the_reason() {
    let bench = Bench::new();
    let (serial, _) = bench.issue(A, HOUR, None).await;
    for (which, reason, expected, word) in [
        (Which::Serial("ff".to_owned()), "", Reason::NotFound, "ff"),
        (Which::Lineage("ff".to_owned()), "", Reason::NotFound, "ff"),
        (Which::SpiffeId(B.to_owned()), "", Reason::NotFound, B),
        (
            Which::SpiffeId("spiffe://example.org/*".to_owned()),
            "",
            Reason::ResourceInvalid,
            "spiffe_id",
        ),
        (
            Which::Serial(serial.to_string()),
            "stolen",
            Reason::ResourceInvalid,
            "keyCompromise",
        ),
    ] {
        let refusal = revoke(&bench, which, reason).await.unwrap_err();
        assert_eq!(refusal.reason(), expected, "{refusal}");
        assert!(refusal.message().contains(word), "{refusal}");
    }
    let nothing = v1::RevokeCertificatesRequest::default();
    assert!(
        service(&bench)
            .revoke_certificates(bench.call(nothing))
            .await
            .is_err()
    );
    assert_eq!(get(&bench, &serial.to_string()).await.unwrap().revoked_at, None);
}

#[tokio::test]
async fn nobody_else_revokes() {
    let bench = Bench::new();
    let (serial, _) = bench.issue(A, HOUR, None).await;
    let which = Some(Which::Serial(serial.to_string()));
    let stranger = Request::new(v1::RevokeCertificatesRequest {
        which,
        reason: String::new(),
    });
    assert!(service(&bench).revoke_certificates(stranger).await.is_err());
    assert_eq!(get(&bench, &serial.to_string()).await.unwrap().revoked_at, None);
}
