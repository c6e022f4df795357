//! How connections end: every mode, everything that can arrive, on HTTP and TCP ports.

use resources::Protocol::{self, Http, Tcp};

use super::{compiled, enrolled, labels};
use crate::{Sends, Workload, admit};

/// Mode, the port, and the end of plaintext, TLS, TLS with a certificate of the client's own, and the mesh's mutual TLS.
const ENDINGS: &[(&str, Protocol, [&str; 4])] = &[
    ("DISABLE", Tcp, ["plaintext", "tls", "tls", "mtls"]),
    ("DISABLE", Http, ["plaintext", "refused", "refused", "refused"]),
    ("PERMISSIVE", Tcp, ["plaintext", "tls", "tls", "mtls"]),
    ("PERMISSIVE", Http, ["plaintext", "refused", "refused", "mtls"]),
    ("STRICT", Tcp, ["refused", "refused", "refused", "mtls"]),
    ("STRICT", Http, ["refused", "refused", "refused", "mtls"]),
];
const SENT: [Sends; 4] = [
    Sends::Plaintext,
    Sends::Tls,
    Sends::OwnMutualTls,
    Sends::MutualTls,
];

#[test]
fn every_mode_ends_what_arrives_as_istio_does() {
    let app = labels("app=a");
    for (mode, port, endings) in ENDINGS {
        let policies = compiled(&format!("pa shop/n {{ mtls: {{ mode: {mode} }} }}"));
        let server = enrolled("shop", &app);
        for (sends, expected) in SENT.into_iter().zip(endings) {
            let end = admit(&server, policies.inbound(&server, None), *port, sends);
            let found = end.as_ref().map_or("refused", |permit| permit.carries().word());
            assert_eq!(found, *expected, "{mode} {port:?} {sends:?}");
            let by = end
                .as_ref()
                .map_or_else(|refused| &refused.by, |permit| permit.by());
            assert_eq!(by.policy.map(|policy| policy.name.as_str()), Some("n"));
        }
    }
}

#[test]
fn a_workload_without_a_proxy_takes_anything_but_the_meshs_mutual_tls() {
    let app = labels("app=a");
    let policies = compiled("pa shop/n { mtls: { mode: STRICT } }");
    let server = Workload {
        is_enrolled: false,
        ..enrolled("shop", &app)
    };
    for (sends, expected) in SENT.into_iter().zip(["plaintext", "tls", "tls", "refused"]) {
        let end = admit(&server, policies.inbound(&server, None), Tcp, sends);
        let found = end.map_or("refused", |permit| permit.carries().word());
        assert_eq!(found, expected, "{sends:?}");
    }
}

#[test]
fn a_peer_of_the_mesh_is_a_workload_and_others_are_told_why_they_are_none() {
    let judged = |path: &str| {
        let id = format!("spiffe://example.org{path}");
        crate::mesh_peer(&identity::SpiffeId::new(&id).unwrap()).map_err(crate::Why::sentence)
    };
    for path in ["/ns/shop/sa/details", "/anything"] {
        assert_eq!(judged(path), Ok(()));
    }
    for (path, whose) in [
        ("/device/d1", "a device's"),
        ("/agent/n", "a node agent's"),
        ("/server/ca", "server's"),
        ("/admin/ann", "an administrator's"),
        ("", "names no workload"),
    ] {
        assert!(judged(path).unwrap_err().contains(whose), "{path}");
    }
}
