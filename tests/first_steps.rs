//! What a new user does first: a server, a token, a certificate, a renewal; and again after a restart.

use crate::support::{Server, run, signet};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

#[test]
fn a_token_becomes_a_certificate_that_renews_across_a_restart() {
    let server = Server::up();
    let token = server.token_file(WEB, &[]);
    let out = server.path("web");
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(&token)
        .arg("--out")
        .arg(&out));
    let first = std::fs::read(out.join("svid.pem")).expect("a certificate");
    run(signet().args(["cert", "renew", "--force"]).arg(&out));
    let second = std::fs::read(out.join("svid.pem")).expect("a certificate");
    assert_ne!(first, second);

    let server = server.restart();
    let listed = run(&mut server.signet(&["cert", "list", "--spiffe-id", WEB, "-o", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["items"].as_array().expect("a list").len(), 2);
}
