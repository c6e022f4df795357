//! The proof in a request, and who is an administrator.

use serde_json::json;

use super::*;
use crate::authority::bench::{A, Ask, Bench, csr, holder, key, nobody, with_chain};

const ADMIN: &str = "spiffe://example.org/admin/x";

fn headers(values: &[&str]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for value in values {
        metadata.append("authorization", value.parse().unwrap());
    }
    metadata
}

#[test]
fn one_bearer_is_read_and_anything_else_is_refused() {
    let connection = nobody();
    for (values, expected) in [
        (&[][..], Ok(None)),
        (&["Bearer a.b.c"], Ok(Some("a.b.c"))),
        (&["bearer  sgt1.x "], Ok(Some("sgt1.x"))),
        (&["Bearer"], Err(Reason::TokenInvalid)),
        (&["Basic dTpw"], Err(Reason::TokenInvalid)),
        (&["Bearer a", "Bearer a"], Err(Reason::TokenInvalid)),
    ] {
        for lenient in [false, true] {
            let metadata = headers(values);
            let found = evidence(&connection, &metadata, lenient);
            let found = found.map(|e| e.bearer.map(str::to_owned)).map_err(|r| r.reason());
            assert_eq!(
                found,
                expected.map(|bearer| bearer.map(str::to_owned)),
                "{values:?}"
            );
        }
    }
    // Beside a certificate a proxy's header does no harm.
    let connection = with_chain(vec![vec![0x30, 0].into()]);
    let metadata = headers(&["Basic dTpw"]);
    assert!(evidence(&connection, &metadata, true).unwrap().bearer.is_none());
    assert!(evidence(&connection, &metadata, false).is_err());
}

fn admin(bench: &Bench, connection: Connection) -> Result<String, Reason> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Arc::new(connection));
    request.extensions_mut().insert(bench.judge());
    require_admin(&request).map_err(|refusal| refusal.reason())
}

#[tokio::test]
async fn an_administrator_is_whoever_opens_the_socket_or_holds_such_an_svid_that_counts() {
    let bench = Bench::new().await;
    let spec = json!({ "role": "admin", "spiffeId": ADMIN, "callers": ["token"] });
    bench.apply("admin", spec).await;
    bench
        .apply("a", json!({ "spiffeId": A, "callers": ["token"] }))
        .await;
    let kernel = Connection::over_socket(0, 7);
    assert_eq!(admin(&bench, kernel).unwrap(), "unix:uid=0,pid=7");
    assert_eq!(admin(&bench, nobody()), Err(Reason::NoProof));
    let workload = bench.enrol("t1", A, "a").await;
    assert_eq!(admin(&bench, holder(&workload)), Err(Reason::NotAdmin));
    let ask = Ask {
        spiffe_id: Some(ADMIN),
        ..Ask::default()
    };
    let socket = Connection::over_socket(0, 7);
    let issuance = bench.issue(&socket, &csr(&key(), &[]), ask).await.unwrap();
    assert_eq!(admin(&bench, holder(&issuance)).as_deref(), Ok(ADMIN));
    bench.revoke(&issuance).await;
    assert_eq!(admin(&bench, holder(&issuance)), Err(Reason::CertificateRevoked));
}
